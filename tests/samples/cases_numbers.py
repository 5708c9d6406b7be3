"""Cases of colours that a file tells by numbers: CICP, PNG's gAMA and cHRM, EXIF, headers of bitmaps."""

from collections.abc import Callable, Sequence
from functools import partial
from math import log, sqrt
from struct import pack
from zlib import crc32

from PIL import Image

from tests.samples import chart, containers, pictures, profiles
from tests.samples.case import COARSE, SRGB, Case
from tests.samples.colour import SRGB_TO_XYZ, Triple, from_linear, inverse, multiply, product, to_linear

Curve = Callable[[float], float]

BT709: profiles.Chromaticities = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
BT2020: profiles.Chromaticities = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
WHITE = 203
"""cd/m2 of a graphic's white, ITU-R BT.2408."""

SAME = "the same colours in sRGB"
KINDS = ("PNG", "AVIF", "HEIC")


def pq(light: float) -> float:
    """PQ's signal (ITU-R BT.2100, table 4) of light of which 1 is a graphic's white."""
    power = (light * WHITE / 10_000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def hlg(light: float) -> float:
    """HLG's signal (ITU-R BT.2100, table 5) of light of which 1 is a graphic's white: 0.75 for that."""
    scene = light * 0.26496
    return sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * log(12 * scene - 0.28466892) + 0.55991073


def samples(primaries: profiles.Chromaticities, encode: Curve) -> list[Triple]:
    """The chart's colours in another space, from 0 to 1."""
    matrix = product(inverse(profiles.rgb_to_xyz(primaries)), SRGB_TO_XYZ)
    colours = []
    for patch in chart.PATCHES:
        red, green, blue = multiply(
            matrix, (to_linear(patch[0] / 255), to_linear(patch[1] / 255), to_linear(patch[2] / 255))
        )
        colours.append((encode(max(0, red)), encode(max(0, green)), encode(max(0, blue))))
    return colours


def meant(primaries: profiles.Chromaticities, encode: Curve) -> tuple[Triple, ...]:
    """What the chart's colours are in sRGB once their samples in another space are rounded to 8 bits."""
    matrix = product(inverse(SRGB_TO_XYZ), profiles.rgb_to_xyz(primaries))
    colours = []
    for colour in samples(primaries, encode):
        red, green, blue = (decoded(round(255 * value) / 255, encode) for value in colour)
        shown = (255 * from_linear(min(1, max(0, light))) for light in multiply(matrix, (red, green, blue)))
        colours.append(tuple(shown))
    return tuple((red, green, blue) for red, green, blue in colours)


def decoded(signal: float, encode: Curve) -> float:
    """The light, up to twice white, that a rising curve encodes as a signal; by bisection."""
    low, high = 0.0, 2.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if encode(middle) < signal else (low, middle)
    return low


def painted(colours: Sequence[Triple]) -> Image.Image:
    """The chart in these samples, of 8 bits."""
    return chart.paint(
        [chart.rounded((255 * red, 255 * green, 255 * blue)) for red, green, blue in colours], "RGB"
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return pack(">I4s", len(content), kind) + content + pack(">I", crc32(kind + content))


def gama(exponent: float) -> bytes:
    """PNG's gAMA: the exponent from light to samples."""
    return chunk(b"gAMA", pack(">I", round(exponent * 100_000)))


def chrm(primaries: profiles.Chromaticities) -> bytes:
    """PNG's cHRM: white and primaries."""
    return chunk(
        b"cHRM",
        pack(">8I", *(round(value * 100_000) for xy in (profiles.WHITE_D65, *primaries) for value in xy)),
    )


def png(colours: Sequence[Triple], *chunks: bytes) -> bytes:
    """The chart in samples of 16 bits, with further chunks behind the first."""
    rows = b"".join(
        b"".join(
            pack(
                ">3H", *(round(65535 * value) for value in colours[y // chart.SIDE * chart.COLUMNS + column])
            )
            * chart.SIDE
            for column in range(chart.COLUMNS)
        )
        for y in range(chart.SIZE[1])
    )
    plain = containers.png_16_bit(chart.SIZE, 3, rows)
    return plain[:33] + b"".join(chunks) + plain[33:]


def by_cicp(kind: str, primaries: profiles.Chromaticities, encode: Curve, numbers: tuple[int, int]) -> bytes:
    """The chart in a space that CICP tells: in 16 bits as PNG, in 8 as AVIF and HEIC."""
    colours = samples(primaries, encode)
    if kind == "PNG":
        return png(colours, chunk(b"cICP", bytes((*numbers, 0, 1))))
    options = {"chroma": 444} if kind == "HEIC" else {}
    tile = containers.coded(pictures.encode(painted(colours), kind, **options))
    return containers.heif([tile], chart.SIZE, colours=[containers.nclx(*numbers)])


def narrow() -> bytes:
    """The chart in sRGB, black at 16 and white at 235 of 255."""
    colours = [
        tuple((16 + 219 * value) * 256 / 65535 for value in colour) for colour in samples(BT709, from_linear)
    ]
    return png([(red, green, blue) for red, green, blue in colours], chunk(b"cICP", bytes((1, 13, 0, 0))))


def foreign_profile_beside(kind: str) -> bytes:
    """PNG, whose numbers count, with another profile; AVIF, whose profile counts, with other numbers."""
    other = profiles.rgb_profile("other", profiles.ADOBE_RGB, profiles.gamma_curve(profiles.ADOBE_GAMMA))
    if kind == "PNG":
        content = pictures.encode(
            painted(samples(profiles.DISPLAY_P3, from_linear)), "PNG", icc_profile=other
        )
        return content[:33] + chunk(b"cICP", bytes((12, 13, 0, 1))) + content[33:]
    colours = samples(profiles.ADOBE_RGB, lambda light: light ** (1 / profiles.ADOBE_GAMMA))
    tile = containers.coded(pictures.encode(painted(colours), kind))
    return containers.heif([tile], chart.SIZE, colours=[b"prof" + other, containers.nclx(9, 16)])


def adobe_rgb_by_exif() -> bytes:
    """A JPEG as cameras write it: ColorSpace 65535, InteroperabilityIndex R03, no profile."""
    exif = b"Exif\0\0MM\0*" + pack(">IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
    exif += pack(">HHHIHxxHHIII", 2, 0xA001, 3, 1, 0xFFFF, 0xA005, 4, 1, 56, 0)
    exif += pack(">HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    colours = samples(profiles.ADOBE_RGB, lambda light: light ** (1 / profiles.ADOBE_GAMMA))
    return pictures.encode(painted(colours), "JPEG", exif=exif)


def bitmap(*, embedded: bool) -> bytes:
    """A bitmap of version 5: with Adobe RGB's profile, or with sRGB's primaries and a gamma of 1.8."""
    gamma = profiles.ADOBE_GAMMA if embedded else 1.8
    image = painted(samples(profiles.ADOBE_RGB if embedded else BT709, lambda light: light ** (1 / gamma)))
    data = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGR")
    profile = (
        profiles.rgb_profile("embedded", profiles.ADOBE_RGB, profiles.gamma_curve(gamma)) if embedded else b""
    )
    head = pack("<IiiHHIIiiII16x", 124, *image.size, 1, 24, 0, len(data), 0, 0, 0, 0)
    if embedded:
        head += b"DEBM" + bytes(48 + 4) + pack("<III", 124 + len(data), len(profile), 0)
    else:
        ends = [round(value * (1 << 30)) for x, y in BT709 for value in (x, y, 1 - x - y)]
        head += bytes(4) + pack("<9i3I16x", *ends, *[round(gamma * 65536)] * 3)
    return b"BM" + pack("<IHHI", 138 + len(data) + len(profile), 0, 0, 138) + head + data + profile


def colours() -> list[Case]:
    """Display P3, BT.2020 and others, without a profile."""
    p3, adobe = profiles.DISPLAY_P3, profiles.ADOBE_RGB
    files: dict[str, Callable[[], bytes]] = {
        **{
            f"{kind}, Display P3 by CICP": partial(by_cicp, kind, p3, from_linear, (12, 13)) for kind in KINDS
        },
        **{
            f"{kind}, BT.2020 by CICP": partial(by_cicp, kind, BT2020, from_linear, (9, 13)) for kind in KINDS
        },
        "PNG, light as it is, by CICP": partial(by_cicp, "PNG", BT709, float, (1, 8)),
        "PNG, narrow range by CICP": narrow,
        "PNG, CICP beside another profile": partial(foreign_profile_beside, "PNG"),
        "AVIF, a profile beside other CICP": partial(foreign_profile_beside, "AVIF"),
        "PNG, gAMA 1.0": lambda: png(samples(BT709, float), gama(1)),
        "PNG, gAMA 1/1.8": lambda: png(samples(BT709, lambda light: light ** (1 / 1.8)), gama(1 / 1.8)),
        "PNG, gAMA 1/2.2 of sRGB": lambda: png(samples(BT709, from_linear), gama(1 / 2.2), chrm(BT709)),
        "PNG, Adobe RGB by gAMA and cHRM": lambda: png(
            samples(adobe, lambda light: light ** (1 / 1.8)), gama(1 / 1.8), chrm(adobe)
        ),
        "JPEG, Adobe RGB by EXIF": adobe_rgb_by_exif,
        "BMP, Adobe RGB by a profile": partial(bitmap, embedded=True),
        "BMP, chromaticities and gamma": partial(bitmap, embedded=False),
    }
    return [Case(name, SAME, make, colours=SRGB) for name, make in files.items()]


def high_dynamic_range() -> list[Case]:
    """PQ and HLG with nothing brighter than a graphic's white, which is to be white."""
    return [
        Case(
            f"{kind}, BT.2020 {name}",
            "white is white, all below as it is",
            partial(by_cicp, kind, BT2020, *encoding),
            colours=SRGB if kind == "PNG" else meant(BT2020, encoding[0]),
            limit=COARSE,
        )
        for name, encoding in {"PQ": (pq, (9, 16)), "HLG": (hlg, (9, 18))}.items()
        for kind in KINDS
    ]
