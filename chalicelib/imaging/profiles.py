"""ICC profiles of colour spaces that files tell by numbers, so that one converter does for both kinds."""

import math
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from chalicelib.imaging.spaces import D65, HLG, PQ, SRGB, Chromaticity, Primaries, Space, of_cicp

Row = tuple[float, float, float]
Matrix = tuple[Row, Row, Row]

_D50: Row = (0.9642, 1.0, 0.8249)
"""CIE XYZ of the white that profiles refer to (ICC.1:2022, 7.2.16)."""
_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
"""CIE XYZ to the cone responses in which whites are adapted (ICC.1:2022, Annex E)."""
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""IEC 61966-2-1, as the parameters of an ICC curve of type 3: exponent, a, b, c, d."""
_HEADER, _ENTRY = 128, 12
"""Bytes of a profile's header, and of an entry of the table of its tags (ICC.1:2022, 7.2 and 7.3)."""
_MOST_TAGS = 100
"""Of a profile's table that are looked at; real ones have some 20."""
_LOOKED_UP = {b"A2B0", b"A2B1"}
"""Tags of colours that are looked up in a table; by the second, lcms finds a profile's black point."""
_FOR_CONVERSION = _LOOKED_UP | {
    *(b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC"),
    *(b"wtpt", b"chad"),
}
"""Tags by which lcms converts from a profile."""
_MOST_INPUTS = 16
"""Dimensions of a table of colours."""


@lru_cache(maxsize=64)
def of_space(space: Space) -> bytes:
    """Write a display profile of a space's primaries and curve (ICC.1:2022, 8.3).

    Args:
        space: its transfer is sRGB's or a power law; its levels are the caller's business.

    Raises:
        ValueError: the transfer is PQ or HLG, which no curve of a profile turns into light for a display.

    """
    if space.transfer in {PQ, HLG}:
        raise ValueError(f"{space.transfer} needs tone mapping.")
    parameters = _SRGB_CURVE if space.transfer == SRGB else (float(space.transfer),)
    curve = b"para" + bytes(4) + struct.pack(">HH", 3 if len(parameters) > 1 else 0, 0)
    curve += b"".join(map(_fixed, parameters))
    adapted = product(_adaptation(to_xyz_of_white(space.white), _D50), to_xyz(space.primaries, space.white))
    tags = {b"wtpt": _xyz(_D50)}
    for name, column in zip((b"r", b"g", b"b"), zip(*adapted, strict=True), strict=True):
        tags[name + b"XYZ"] = _xyz(column)
        tags[name + b"TRC"] = curve
    return _profile(tags)


def hdr_space(profile: bytes) -> Space | None:
    """Return the space that a profile names in its `cicp` tag (ICC.1:2022, 9.2.17), if that is PQ or HLG.

    What else such a profile has is for programs that know nothing of tone mapping.
    """
    if profile[16:20] != b"RGB ":
        return None
    for entry in _entries(profile):
        if entry[:4] == b"cicp":
            start = int.from_bytes(entry[4:8], "big")
            numbers = profile[start + 8 : start + 12]
            space = of_cicp(numbers[0], numbers[1]) if len(numbers) == 4 else None  # noqa: PLR2004 - its size
            return space if space and space.transfer in {PQ, HLG} else None
    return None


def for_conversion(profile: bytes) -> bytes:
    """Return a profile of which lcms sees only the tags that converting from it takes.

    What it allocates for these is a small multiple of the profile. It would prefer D2B0 and its kin, programs
    of as many elements as the file says, all of which may be the same bytes: 30,000 took 18 s, 300 large ones
    3 GB. Profiles have to do without them, too (ICC.1:2022, 9.2). And it clears the memory of a table before
    it finds that the file has less: half a gigabyte for 2 KB. Such a tag is left out.
    """
    kept = [
        entry
        for entry in _entries(profile)
        if entry[:4] in _FOR_CONVERSION
        and (entry[:4] not in _LOOKED_UP or _table_values(profile, entry) <= len(profile))
    ]
    table = struct.pack(">L", len(kept)) + b"".join(kept)
    # The contents of the tags stay where the entries say.
    return profile[:_HEADER] + table + profile[_HEADER + len(table) :]


def _table_values(profile: bytes, entry: bytes) -> int:
    """Count the values that the table of a tag should have, of a byte or two each (ICC.1:2022, 10.10-12)."""
    start = int.from_bytes(entry[4:8], "big")
    tag = profile[start : start + 32].ljust(32, b"\0")
    inputs, outputs, points = tag[8:11]
    if tag[:4] != b"mAB ":
        return int(outputs * points**inputs)
    offset = int.from_bytes(tag[24:28], "big")
    at = (start + offset) % (1 << 32)  # as lcms adds
    return outputs * math.prod(profile[at : at + min(inputs, _MOST_INPUTS)]) if offset else 0


def _entries(profile: bytes) -> Iterator[bytes]:
    """Yield the entries of a profile's table: name, offset and size of each tag."""
    start = _HEADER + 4
    count = min(int.from_bytes(profile[_HEADER:start], "big"), _MOST_TAGS)
    for at in range(start, min(start + count * _ENTRY, len(profile) - _ENTRY + 1), _ENTRY):
        yield profile[at : at + _ENTRY]


def to_xyz(primaries: Primaries, white: Chromaticity = D65) -> Matrix:
    """Return the matrix from linear RGB of these primaries to CIE XYZ, white being of luminance 1.

    SMPTE RP 177, 3.3.
    """
    columns = [to_xyz_of_white(each) for each in primaries]
    unscaled = _matrix(zip(*columns, strict=True))
    scale = multiply(inverse(unscaled), to_xyz_of_white(white))
    return _matrix(
        tuple(value * factor for value, factor in zip(row, scale, strict=True)) for row in unscaled
    )


def to_xyz_of_white(chromaticity: Chromaticity) -> Row:
    """Return CIE XYZ of a colour of luminance 1."""
    x, y = chromaticity
    return x / y, 1.0, (1 - x - y) / y


def multiply(matrix: Matrix, vector: Row) -> Row:
    """Multiply a matrix by a column."""
    x, y, z = (row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2] for row in matrix)
    return x, y, z


def product(left: Matrix, right: Matrix) -> Matrix:
    """Multiply a matrix by a matrix."""
    return _matrix(zip(*(multiply(left, column) for column in zip(*right, strict=True)), strict=True))


def inverse(matrix: Matrix) -> Matrix:
    """Invert a regular matrix, by its cofactors."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    return _matrix(tuple(value / determinant for value in row) for row in cofactors)


def _matrix(rows: Iterable[Iterable[float]]) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return (a, b, c), (d, e, f), (g, h, i)


def _adaptation(source: Row, target: Row) -> Matrix:
    """Return the matrix from colours seen under one white to the same colours seen under another."""
    before, after = multiply(_BRADFORD, source), multiply(_BRADFORD, target)
    x, y, z = (new / old for old, new in zip(before, after, strict=True))
    return product(inverse(_BRADFORD), product(((x, 0, 0), (0, y, 0), (0, 0, z)), _BRADFORD))


def _fixed(value: float) -> bytes:
    """Write an s15Fixed16Number (ICC.1:2022, 4.6)."""
    return struct.pack(">l", round(value * 65536))


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _profile(tags: dict[bytes, bytes]) -> bytes:
    """Write header, table and contents of the tags (ICC.1:2022, 7)."""
    table, body = struct.pack(">L", len(tags)), b""
    start = _HEADER + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4s2L", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">L4sL4s4s4s", start + len(body), bytes(4), 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, _D50))
    return header.ljust(_HEADER, b"\0") + table + body
