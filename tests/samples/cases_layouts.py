"""Cases of TIFF's, BMP's and GIF's rare layouts, and of what careless writers leave in files."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf, nan
from struct import pack

from PIL import Image, ImageCms

from tests import bmps, jpegs, tiffs
from tests.samples import chart, pictures
from tests.samples.case import COARSE, GREY, NEGATIVE, SRGB, Case
from tests.samples.cases_numbers import chunk
from tests.samples.colour import Triple
from tests.tiffs import Number, Written

SIDE = 32
SIZE = (chart.COLUMNS * SIDE, chart.ROWS * SIDE)
"""Of the chart in these pictures, which are written a pixel at a time."""
WHITE: Triple = (255, 255, 255)

Sample = Callable[[int], Number]


def _patch(x: int, y: int) -> int:
    return y // SIDE * chart.COLUMNS + x // SIDE


def _colour(x: int, y: int) -> tuple[int, int, int]:
    return chart.rounded(chart.PATCHES[_patch(x, y)])


def _alpha(x: int, y: int) -> int:
    return pictures.ALPHAS[_patch(x, y)]


def _image() -> Image.Image:
    image = Image.new("RGB", SIZE)
    for index, colour in enumerate(chart.PATCHES):
        left, top = index % chart.COLUMNS * SIDE, index // chart.COLUMNS * SIDE
        image.paste(chart.rounded(colour), (left, top, left + SIDE, top + SIDE))
    return image


def _greys(how: Written, sample: Sample, missing: Number | None = None, alpha: Sample | None = None) -> bytes:
    """The grey steps; the first patch has `missing` samples along its edge."""

    def pixel(x: int, y: int) -> Sequence[Number]:
        lost = missing is not None and y < 2 and x < SIDE
        value = missing if lost and missing is not None else sample(chart.GREYS[_patch(x, y)])
        return [value, *([alpha(_alpha(x, y))] if alpha else [])]

    return tiffs.write(SIZE, pixel, how)


def _colours(how: Written, sample: Sample, alpha: Sample | None = None) -> bytes:
    def pixel(x: int, y: int) -> Sequence[Number]:
        return [*map(sample, _colour(x, y)), *([alpha(_alpha(x, y))] if alpha else [])]

    return tiffs.write(SIZE, pixel, how)


def _inks(how: Written, sample: Sample, alpha: Sample) -> bytes:
    def pixel(x: int, y: int) -> Sequence[Number]:
        return [*(sample(255 - value) for value in _colour(x, y)), 0, alpha(_alpha(x, y))]

    return tiffs.write(SIZE, pixel, how)


def _values(image: Image.Image) -> Callable[[int, int], tuple[int, ...]]:
    """The samples of a picture, 128 for the 0 of L*a*b*."""
    planes = [plane.tobytes() for plane in image.split()]
    return lambda x, y: tuple(plane[y * image.width + x] for plane in planes)


def _lab(how: Written, *, alpha: bool) -> bytes:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    values = _values(transform.apply(_image()))
    scale = 256 if how.bits == 16 else 1

    def pixel(x: int, y: int) -> Sequence[Number]:
        lightness, *others = values(x, y)
        stored = [lightness * (257 if how.bits == 16 else 1), *((value - 128) * scale for value in others)]
        return [*stored, *([_alpha(x, y) * (257 if how.bits == 16 else 1)] if alpha else [])]

    return tiffs.write(SIZE, pixel, how)


def _palette_of_8_bits() -> bytes:
    channels = zip(*(chart.rounded(colour) for colour in chart.PATCHES), strict=True)
    tags = {320: ("H", [value for channel in channels for value in [*channel, *[0] * 232]])}
    return tiffs.write(SIZE, lambda x, y: (_patch(x, y),), Written(3, tags=tags))


def _ycbcr() -> bytes:
    return tiffs.write(SIZE, _values(_image().convert("YCbCr")), Written(6, subsampling=(2, 1), rows=16))


def tiff() -> list[Case]:
    """TIFF: samples of any depth and kind, in planes, with alpha."""
    on_white, grey_on_white = tuple(pictures.on_white([*SRGB])), tuple(pictures.on_white([*GREY]))
    same, the_greys = "the same colours", "the greys"
    planes = Written(2, 16, separate=True)
    pages: list[tuple[str, str, Callable[[], bytes], tuple[Triple, ...]]] = [
        ("16-bit RGB in planes", same, partial(_colours, planes, _of_16), SRGB),
        (
            "16-bit RGB in planes of packed tiles, big-endian",
            same,
            partial(
                _colours, Written(2, 16, separate=True, tile=16, compression="deflate", order=">"), _of_16
            ),
            SRGB,
        ),
        (
            "grey with alpha in planes",
            "on white",
            partial(
                _greys, Written(1, separate=True, extras=(2,), compression="packbits"), _of_8, None, _of_8
            ),
            grey_on_white,
        ),
        (
            "16-bit grey with alpha",
            "on white",
            partial(_greys, Written(1, 16, extras=(2,)), _of_16, None, _of_16),
            grey_on_white,
        ),
        (
            "grey with alpha, 0 is white",
            "on white",
            partial(_greys, Written(0, extras=(2,)), lambda value: 255 - value, None, _of_8),
            grey_on_white,
        ),
        ("12-bit grey", "scaled to 8 bits", partial(_greys, Written(1, 12), partial(_of, 12)), GREY),
        ("9-bit grey", "scaled to 8 bits", partial(_greys, Written(1, 9), partial(_of, 9)), GREY),
        ("10-bit RGB", "scaled to 8 bits", partial(_colours, Written(2, 10), partial(_of, 10)), SRGB),
        (
            "14-bit RGB with alpha",
            "scaled, on white",
            partial(_colours, Written(2, 14, extras=(2,)), partial(_of, 14), partial(_of, 14)),
            on_white,
        ),
        ("L*a*b* of 16 bits", "in sRGB", partial(_lab, Written(8, 16), alpha=False), SRGB),
        (
            "L*a*b* with alpha",
            "in sRGB, on white",
            partial(_lab, Written(8, extras=(2,)), alpha=True),
            on_white,
        ),
        ("a palette whose map has 8-bit values", same, _palette_of_8_bits, SRGB),
        (
            "RGB of undefined sample format",
            same,
            partial(_colours, Written(2, tags={339: ("H", (4, 4, 4))}), _of_8),
            SRGB,
        ),
        ("YCbCr 4:2:2, not compressed", same, _ycbcr, SRGB),
        ("floats", the_greys, partial(_greys, Written(1, 32, 3), _share), GREY),
        ("floats, some not a number", the_greys, partial(_greys, Written(1, 32, 3), _share, nan), GREY),
        ("floats, some infinite", the_greys, partial(_greys, Written(1, 32, 3), _share, inf), GREY),
        ("doubles of heights", "stretched", partial(_greys, Written(1, 64, 3), _height), GREY),
        (
            "floats of heights, some without data",
            "stretched over the others",
            partial(_greys, Written(1, 32, 3, tags={42113: ("s", b"-9999\0")}), _height, -9999.0),
            GREY,
        ),
        (
            "one float",
            "mid-grey",
            partial(_greys, Written(1, 32, 3), lambda _: 7.5),
            ((127.5, 127.5, 127.5),),
        ),
        ("half floats, RGB", same, partial(_colours, Written(2, 16, 3), _share), SRGB),
        ("floats, RGB, predicted", same, partial(_colours, _PREDICTED, _share), SRGB),
        (
            "32-bit integers",
            the_greys,
            partial(_greys, Written(1, 32), lambda value: value * 0x01010101),
            GREY,
        ),
        (
            "signed 16-bit integers",
            "stretched",
            partial(_greys, Written(1, 16, 2), lambda value: value * 3 - 200),
            GREY,
        ),
    ]
    cases = [
        Case(f"TIFF, {name}", expected, make, colours=colours) for name, expected, make, colours in pages
    ]
    inks = Written(5, extras=(2,))
    return [
        *cases,
        Case(
            "TIFF, CMYK with alpha",
            "no negative, on white",
            partial(_inks, inks, _of_8, _of_8),
            colours=on_white,
            limit=NEGATIVE,
        ),
    ]


_PREDICTED = Written(2, 32, 3, compression="lzw", predictor=3)


def _of_8(value: int) -> Number:
    return value


def _of_16(value: int) -> Number:
    return value * 257


def _of(bits: int, value: int) -> Number:
    return value * ((1 << bits) - 1) // 255


def _share(value: int) -> Number:
    return value / 255


def _height(value: int) -> Number:
    return value * 3.1 - 400


def _masked(masks: tuple[int, ...], bits: int, header: int) -> bytes:
    pixel = bmps.cut_off(lambda x, y: (*_colour(x, y), _alpha(x, y)), masks)
    return bmps.write(pixel, bits, header=header, compression=3, masks=masks, size=SIZE)


def _four_colours() -> bytes:
    palette = [chart.rounded(colour) for colour in chart.PATCHES[:4]]
    return bmps.write(lambda x, y: _patch(x, y) % 4, 2, palette=palette, size=SIZE)


def _small_frame() -> bytes:
    image = Image.new("P", (SIZE[0], SIZE[1] - SIDE))
    image.putpalette([40, 60, 200, *(value for colour in chart.PATCHES for value in chart.rounded(colour))])
    for index in range(18):
        left, top = index % chart.COLUMNS * SIDE, index // chart.COLUMNS * SIDE
        image.paste(index + 1, (left, top, left + SIDE, top + SIDE))
    content = pictures.encode(image, "GIF", optimize=False)
    return content[:6] + pack("<HH", *SIZE) + content[10:]


def bitmaps() -> list[Case]:
    """BMP of odd masks and depths, and GIF whose first frame is smaller than its canvas."""
    cut = "the colours, without the bits that are not stored"
    on_white = tuple(pictures.on_white([*SRGB]))
    opaque = tuple(
        colour if alpha > 127 else WHITE for colour, alpha in zip(SRGB, pictures.ALPHAS, strict=True)
    )
    return [
        Case(
            "BMP, 4 bits a colour",
            cut,
            partial(_masked, (0xF00, 0xF0, 0xF), 16, 40),
            colours=SRGB,
            limit=COARSE,
        ),
        Case(
            "BMP, 4 bits a colour, and alpha",
            f"{cut}, on white",
            partial(_masked, (0xF00, 0xF0, 0xF, 0xF000), 16, 124),
            colours=on_white,
            limit=COARSE,
        ),
        Case(
            "BMP, 5 bits a colour, 1 bit of alpha",
            f"{cut}, or white",
            partial(_masked, (0x7C00, 0x3E0, 0x1F, 0x8000), 16, 124),
            colours=opaque,
        ),
        Case(
            "BMP, 10 bits a colour",
            "scaled to 8 bits",
            partial(_masked, (0x3FF00000, 0xFFC00, 0x3FF), 32, 40),
            colours=SRGB,
        ),
        Case("BMP, 2 bits", "the colours of the palette", _four_colours, colours=SRGB[:4] * 6),
        Case(
            "GIF, first frame smaller than the canvas",
            "on white",
            _small_frame,
            colours=(*SRGB[:18], *[WHITE] * 6),
        ),
    ]


def _with(inserted: bytes) -> bytes:
    content = pictures.plain("JPEG")
    return content[:2] + inserted + content[2:]


def _turned_behind_an_empty_exif() -> bytes:
    content = pictures.oriented("JPEG", 6)
    return content[:2] + jpegs.segment(0xE1, b"Exif\0\0") + content[2:]


def _png_with_wrong_checksum() -> bytes:
    content = pictures.plain("PNG")
    end = content.rindex(b"IEND") - 8  # the last chunk's own checksum, and IEND's length
    return content[: end - 4] + b"\1\2\3\4" + content[end:]


def _keyed_by_low_bytes() -> bytes:
    """The chart in 16 bits; the transparent colour has another low byte than its seventh patch."""
    content = pictures.deep("PNG", 3)
    key = [value * 257 for value in chart.rounded(chart.PATCHES[6])]
    body = pack(">3H", key[0], key[1], key[2] ^ 1)
    return content[:33] + chunk(b"tRNS", body) + content[33:]


def careless() -> list[Case]:
    """What cameras, scanners and tools leave in files, and what is lost on the way."""
    same = "the same colours"
    files: dict[str, Callable[[], bytes]] = {
        "JPEG without its end marker": lambda: pictures.plain("JPEG")[:-2],
        "progressive JPEG without its end marker": lambda: pictures.plain("JPEG", progressive=True)[:-2],
        "JPEG, JFIF segment without content": partial(_with, jpegs.segment(0xE0, b"JFIF\0")),
        "JPEG, Adobe segment without content": partial(_with, jpegs.segment(0xEE, b"Adobe")),
        "JPEG, comment of length 0": partial(_with, b"\xff\xfe\0\0"),
        "JPEG 4:1:1": partial(_coarse, (4, 1)),
        "JPEG, chroma of 4 x 2 pixels": partial(_coarse, (4, 2)),
        "PNG whose checksum alone is wrong": _png_with_wrong_checksum,
        "PNG, 16-bit RGB, a transparent colour that differs in the low byte": _keyed_by_low_bytes,
    }
    return [
        Case(
            "JPEG, EXIF 6 behind an empty EXIF segment", "upright", _turned_behind_an_empty_exif, colours=SRGB
        ),
        *(Case(name, same, make, colours=SRGB) for name, make in files.items()),
    ]


def _coarse(factors: tuple[int, int]) -> bytes:
    image = _image().resize((SIZE[0] * 5, SIZE[1] * 5), Image.Resampling.NEAREST)
    return jpegs.write(image, (factors, (1, 1), (1, 1)))
