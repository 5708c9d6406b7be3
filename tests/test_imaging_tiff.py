"""TIFF: every kind of samples in every way to store them, to the pixel."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from chalicelib.imaging import headers, render
from chalicelib.imaging.decoders import libtiff
from chalicelib.imaging.headers.tiff import TiffHeader
from chalicelib.spec import ThumbnailSpec
from tests.tiff_kinds import kinds
from tests.tiff_pixels import SIZE, Colours, Kind
from tests.tiffs import Written, write

STORED: list[dict[str, Any]] = [
    {"order": order, "separate": separate, **pieces, "compression": compression}
    for order in "<>"
    for separate in (False, True)
    for pieces in ({}, {"rows": 7}, {"tile": 16})
    for compression in ("none", "lzw", "packbits", "deflate")
]
"""Byte orders, planes, strips and tiles, and compressions.

The last strip is shorter than the others, and tiles reach beyond the edges.
"""
KINDS = kinds()
BY_NAME = {kind.name: kind for kind in KINDS}


def rendered(content: bytes, size: tuple[int, int] = SIZE) -> Image.Image:
    source_format, header = headers.read(content)
    return render.render(source_format, header, content, [ThumbnailSpec(*size)]).images[0]


def assert_pixels(image: Image.Image, expected: Colours, tolerance: float) -> None:
    for y in range(image.height):
        for x in range(image.width):
            found = image.getpixel((x, y))
            assert isinstance(found, tuple)
            wanted = expected(x, y)
            assert all(abs(one - other) <= tolerance for one, other in zip(found, wanted, strict=True)), (
                x,
                y,
            )


def assert_kind(kind: Kind, **stored: Any) -> None:
    content = write(SIZE, kind.pixel, replace(kind.how, **stored))
    assert_pixels(rendered(content), kind.expected, kind.tolerance)


def test_there_is_a_libtiff() -> None:
    assert libtiff.AVAILABLE, "Pillow's wheels bring libtiff; without it, rare layouts are refused"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.name for kind in KINDS])
def test_every_kind(number: int) -> None:
    # Two of the ways for each kind, so that all of them come up often.
    for step in range(2):
        assert_kind(KINDS[number], **STORED[(number * 5 + step * 29) % len(STORED)])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.name for kind in KINDS])
def test_every_kind_in_every_way(number: int) -> None:
    for stored in STORED[number % 2 :: 2]:
        assert_kind(KINDS[number], **stored)


SOME = [
    "grey of 1 bits, white is 0", "grey of 4 bits, black is 0", "grey of 8 bits, black is 0",
    "grey of 12 bits, black is 0", "grey of 16 bits, black is 0", "grey of 16 bits, white is 0",
    "grey of 16 bits, black is 0, alpha", "RGB of 8 bits", "RGB of 16 bits",
    "RGB of 8 bits, further samples (2,)",
    "RGB of 10 bits", "CMYK of 8 bits", "CMYK of 16 bits, alpha", "palette of 4 bits, 16 in the map",
    "palette of 8 bits, 8 in the map, alpha",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stored", STORED[::7] + STORED[3::7], ids=str)
@pytest.mark.parametrize("name", SOME)
def test_bits_in_reverse(name: str, stored: dict[str, Any]) -> None:
    assert_kind(BY_NAME[name], **stored, fill_order=2)


@pytest.mark.parametrize("compression", ["none", "lzma", "old deflate"])
@pytest.mark.parametrize("name", SOME)
def test_big_tiff(name: str, compression: str) -> None:
    for order, pieces in (("<", {"rows": 5}), (">", {"tile": 16})):
        assert_kind(BY_NAME[name], order=order, compression=compression, big=True, **pieces)


PREDICTED = [kind for kind in KINDS if kind.how.bits in {8, 16, 32} and kind.how.sample_format != 3] + [
    kind for kind in KINDS if kind.how.sample_format == 3
]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PREDICTED)), ids=[kind.name for kind in PREDICTED])
def test_predictors(number: int) -> None:
    kind = PREDICTED[number]
    predictor = 3 if kind.how.sample_format == 3 else 2
    for step in range(2):
        stored = STORED[(number * 4 + 1 + step * 26) % len(STORED)] | {
            "compression": ("lzw", "deflate")[step]
        }
        assert_kind(kind, **stored, predictor=predictor)


# YCbCr: colours that lie on the grid that chroma is stored on.

PATCHES = [(200, 40, 60), (30, 160, 70), (60, 80, 220), (240, 230, 20), (128, 128, 128), (10, 10, 10)]


def patch(x: int, y: int) -> tuple[int, int, int]:
    return PATCHES[(x // 8 + y // 8 * 3) % len(PATCHES)]


def ycbcr(x: int, y: int) -> tuple[int, int, int]:
    red, green, blue = patch(x, y)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return round(luma), round(128 + (blue - luma) / 1.772), round(128 + (red - luma) / 1.402)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
@pytest.mark.parametrize("pieces", [{}, {"rows": 8}, {"tile": 16}], ids=["one strip", "strips", "tiles"])
def test_ycbcr(pieces: dict[str, Any], compression: str, subsampling: tuple[int, int]) -> None:
    order = "<>"[sum(subsampling) % 2]
    how = Written(6, order=order, compression=compression, subsampling=subsampling, **pieces)
    # With an odd number of blocks of 4 x 4 across, libtiff loses the chroma of a strip's last one.
    size = (31, 23) if subsampling == (4, 4) else (27, 19)
    assert_pixels(rendered(write(size, ycbcr, how), size), patch, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_ycbcr_of_another_range(order: str) -> None:
    """ReferenceBlackWhite and YCbCrCoefficients: here those of BT.709 video."""
    reference = ("R", (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1))
    coefficients = ("R", (2126, 10000, 7152, 10000, 722, 10000))
    how = Written(6, order=order, subsampling=(2, 1), tags={532: reference, 529: coefficients})

    def video(x: int, y: int) -> tuple[int, int, int]:
        red, green, blue = patch(x, y)
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        chroma = (blue - luma) / 1.8556 * 224 / 255, (red - luma) / 1.5748 * 224 / 255
        return round(16 + luma * 219 / 255), round(128 + chroma[0]), round(128 + chroma[1])

    assert_pixels(rendered(write((27, 19), video, how), (27, 19)), patch, 4)


def test_ycbcr_in_planes() -> None:
    size = (27, 19)
    content = write(size, ycbcr, Written(6, separate=True, subsampling=(1, 1), rows=8))
    assert_pixels(rendered(content, size), patch, 3)


# What careless writers leave out, or write in their own way.


def tags_of(**tags: Any) -> dict[int, Any]:
    numbers = {
        "photometric": 262,
        "strip_bytes": 279,
        "rows": 278,
        "bits": 258,
        "samples": 277,
        "format": 339,
        "planes": 284,
    }
    return {numbers[name]: value for name, value in tags.items()}


CARELESS: dict[str, tuple[str, dict[int, Any]]] = {
    "sample format 4": ("RGB of 8 bits", tags_of(format=("H", (4, 4, 4)))),
    "sample format 4, once": ("RGB of 16 bits", tags_of(format=("H", (4,)))),
    "sample format 4, 12 bits": ("grey of 12 bits, black is 0", tags_of(format=("H", (4,)))),
    "planes of one sample": ("grey of 16 bits, black is 0", tags_of(planes=("H", (2,)))),
    "no photometric, grey": ("grey of 8 bits, black is 0", tags_of(photometric=None)),
    "no photometric, RGB": ("RGB of 8 bits", tags_of(photometric=None)),
    "no samples a pixel": ("RGB of 8 bits", tags_of(samples=None)),
    "bits once": ("RGB of 10 bits", tags_of(bits=("H", (10,)))),
    "no rows a strip": ("grey of 12 bits, black is 0", tags_of(rows=None)),
    "endless rows a strip": ("grey of 12 bits, black is 0", tags_of(rows=("I", (0xFFFFFFFF,)))),
    "no strip bytes": ("grey of 12 bits, black is 0", tags_of(strip_bytes=None)),
    "no bytes in a strip": ("grey of 12 bits, black is 0", tags_of(strip_bytes=("I", (0,)))),
}


@pytest.mark.parametrize("name", CARELESS)
def test_careless_writers(name: str) -> None:
    kind, tags = CARELESS[name]
    assert_kind(BY_NAME[kind], tags=tags)


def test_a_profile_and_an_orientation_go_with_any_layout() -> None:
    kind = BY_NAME["RGB of 12 bits"]
    content = write(SIZE, kind.pixel, replace(kind.how, tags={274: ("H", (3,)), 34675: ("s", b"a profile")}))
    header = headers.read(content)[1]
    assert isinstance(header, TiffHeader)
    assert (header.orientation, header.profile) == (3, b"a profile")
    turned = rendered(content).transpose(Image.Transpose.ROTATE_180)
    assert_pixels(turned, kind.expected, kind.tolerance)


def test_pillows_layouts_stay_pillows() -> None:
    """What was right before goes the way that it went."""
    for kind in KINDS:
        header = headers.read(write(SIZE, kind.pixel, kind.how))[1]
        assert isinstance(header, TiffHeader)
        usual = kind.how.bits in {1, 2, 4, 8, 16} and kind.how.sample_format == 1
        assert usual or header.layout is not None, kind.name
    for name in SOME[:3] + SOME[4:6] + SOME[7:10] + SOME[11:12] + SOME[13:14]:
        header = headers.read(write(SIZE, BY_NAME[name].pixel, BY_NAME[name].how))[1]
        assert isinstance(header, TiffHeader)
        assert header.layout is None, name


def test_colours_survive_being_shrunk() -> None:
    """What is transparent, or no measurement, does not mix with what is beside it."""

    def pixel(x: int, _: int) -> Sequence[int]:
        return (0, 0, 0, 0, 0) if x % 2 else (0, 255, 255, 0, 255)

    for how in (Written(5, extras=(2,)), Written(5, extras=(1,))):
        image = rendered(write((40, 40), pixel, how), (20, 20))
        assert_pixels(image.crop((3, 0, 17, 20)), lambda *_: (255, 127.5, 127.5), 3)
    measured = write(
        (40, 40), lambda x, _: (float("nan") if x % 2 else 7.0 if x < 20 else 9.0,), Written(1, 32, 3)
    )
    assert_pixels(rendered(measured, (20, 20)).crop((3, 0, 7, 20)), lambda *_: (127.5,) * 3, 3)
