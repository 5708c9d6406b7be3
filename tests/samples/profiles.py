"""ICC profiles built from their published primaries, so that no profile file has to be shipped.

Layout after ICC.1:2010 (version 2 encodings, which every reader knows).
"""

from collections.abc import Callable
from itertools import product as combinations
from struct import pack

from tests.samples.colour import Matrix, Triple, inverse, multiply, product, srgb_to_xyz, xyz_to_lab

D50: Triple = (0.9642, 1.0, 0.8249)
"""White of ICC's connection space, CIE XYZ."""

BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
"""CIE XYZ to the cone responses in which ICC adapts a white to another."""

Chromaticities = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

DISPLAY_P3: Chromaticities = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB: Chromaticities = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
ADOBE_GAMMA = 563 / 256
WHITE_D65 = (0.3127, 0.3290)


def rgb_to_xyz(primaries: Chromaticities, white: tuple[float, float] = WHITE_D65) -> Matrix:
    """The matrix from linear RGB of these primaries to CIE XYZ."""
    (red, green, blue), target = ([_xyz(*xy) for xy in primaries], _xyz(*white))
    columns: Matrix = (red, green, blue)
    rows = _transposed(columns)
    scale = multiply(inverse(rows), target)
    x, y, z = (tuple(value * factor for value, factor in zip(row, scale, strict=True)) for row in rows)
    return (x[0], x[1], x[2]), (y[0], y[1], y[2]), (z[0], z[1], z[2])


def adaptation(source: Triple, target: Triple) -> Matrix:
    """The Bradford matrix from colours seen under one white to those under another."""
    before, after = multiply(BRADFORD, source), multiply(BRADFORD, target)
    x, y, z = (new / old for old, new in zip(before, after, strict=True))
    return product(inverse(BRADFORD), product(((x, 0, 0), (0, y, 0), (0, 0, z)), BRADFORD))


def rgb_profile(name: str, primaries: Chromaticities, curve: bytes) -> bytes:
    """A display profile of three primaries under D65 and one tone curve (`gamma_curve`, `tone_curve`)."""
    to_d50 = product(adaptation(_xyz(*WHITE_D65), D50), rgb_to_xyz(primaries))
    red, green, blue = (_xyz_tag(column) for column in _transposed(to_d50))
    tags = {b"wtpt": _xyz_tag(D50), b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return _profile(name, b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(name: str, gamma: float) -> bytes:
    """A one-channel profile of a pure power law."""
    return _profile(name, b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz_tag(D50), b"kTRC": gamma_curve(gamma)})


def cmyk_profile(name: str, model: Callable[[float, float, float, float], Triple], grid: int = 6) -> bytes:
    """A printer profile that tabulates a model, exact at the nodes of its grid.

    Args:
        name: the profile's description.
        model: cyan, magenta, yellow and black of 0 to 1 to an sRGB colour of 0 to 255.
        grid: nodes to a side; with 6, ink values that are multiples of 51 of 255 lie on nodes.

    """
    to_d50 = adaptation((0.95047, 1.0, 1.08883), D50)
    nodes = [step / (grid - 1) for step in range(grid)]
    table = bytearray()
    for cyan, magenta, yellow, black in combinations(nodes, repeat=4):
        xyz = multiply(to_d50, srgb_to_xyz(model(cyan, magenta, yellow, black)))
        lightness, a, b = xyz_to_lab(xyz, D50)
        encoded = (lightness * 652.8, (a + 128) * 256, (b + 128) * 256)
        table += pack(">3H", *(min(65535, max(0, round(value))) for value in encoded))
    identity = pack(">9l", *(65536 if row == column else 0 for row in range(3) for column in range(3)))
    ramp = pack(">2H", 0, 65535)
    lookup = b"mft2" + bytes(4) + bytes((4, 3, grid, 0)) + identity + pack(">2H", 2, 2)
    lookup += ramp * 4 + bytes(table) + ramp * 3
    return _profile(name, b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz_tag(D50), b"A2B0": lookup})


def gamma_curve(gamma: float) -> bytes:
    """A tone curve that is a pure power law."""
    return b"curv" + bytes(4) + pack(">lH", 1, round(gamma * 256))


def tone_curve(decode: Callable[[float], float], points: int = 1024) -> bytes:
    """A tone curve sampled from a function of 0 to 1 onto 0 to 1."""
    samples = (round(decode(step / (points - 1)) * 65535) for step in range(points))
    return b"curv" + bytes(4) + pack(f">l{points}H", points, *samples)


def _xyz(x: float, y: float) -> Triple:
    return x / y, 1.0, (1 - x - y) / y


def _transposed(matrix: Matrix) -> Matrix:
    first, second, third = zip(*matrix, strict=True)
    return first, second, third


def _xyz_tag(xyz: Triple) -> bytes:
    return b"XYZ " + bytes(4) + pack(">3l", *(round(value * 65536) for value in xyz))


def _profile(name: str, kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = name.encode("ascii") + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + pack(">l", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67),
        b"cprt": b"text" + bytes(4) + b"public domain\0",
        **tags,
    }
    offset = 128 + 4 + 12 * len(tags)
    directory, body = pack(">l", len(tags)), b""
    for signature, content in tags.items():
        directory += signature + pack(">2l", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = pack(">l4sl4s4s4s", offset + len(body), b"lcms", 0x02400000, kind, space, connection)
    header += pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(4 + 4 + 4 + 4 + 8 + 4)
    header += pack(">3l", *(round(value * 65536) for value in D50))
    return header.ljust(128, b"\0") + directory + body
