"""BMP: every header, depth and mask, to the pixel, from files that are put together here."""

import struct
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from chalicelib.errors import TooManyPixels, UndecodablePicture, UnsupportedFormat
from chalicelib.imaging import check, headers, make_thumbnail, render
from chalicelib.spec import ThumbnailSpec
from tests import bmps
from tests.bmps import Masks

SIZE = (21, 11)
MAX_PIXELS = 1_000_000


def colour(x: int, y: int) -> tuple[int, int, int]:
    return (x * 37 + y * 11) % 256, (x * 5 + y * 71 + 90) % 256, (x * 91 + y * 23 + 40) % 256


def alpha(x: int, y: int) -> int:
    return (x * 29 + y * 53 + 7) % 256


def assert_pixels(
    content: bytes, expected: Callable[[int, int], Sequence[float]], tolerance: float = 1.01
) -> None:
    source_format, header = headers.read(content)
    image = render.render(source_format, header, content, [ThumbnailSpec(*SIZE)]).images[0]
    assert image.size == SIZE
    for y in range(SIZE[1]):
        for x in range(SIZE[0]):
            found = image.getpixel((x, y))
            assert isinstance(found, tuple)
            wanted = expected(x, y)
            assert all(abs(one - other) <= tolerance for one, other in zip(found, wanted, strict=True)), (
                x,
                y,
            )


def masked(masks: Masks) -> Callable[[int, int], int]:
    return bmps.cut_off(lambda x, y: (*colour(x, y), alpha(x, y)), masks)


bmp = partial(bmps.write, size=SIZE)


def on_white(channel: int, opacity: float) -> float:
    return channel * opacity / 255 + 255 - opacity


MASKS: dict[str, tuple[int, Masks]] = {
    "555": (16, (0x7C00, 0x3E0, 0x1F)),
    "565": (16, (0xF800, 0x7E0, 0x1F)),
    "444": (16, (0xF00, 0xF0, 0xF)),
    "664, from blue": (16, (0x3F, 0xFC0, 0xF000)),
    "332 of 16 bits": (16, (0xE0, 0x1C, 0x3)),
    "888": (32, (0xFF0000, 0xFF00, 0xFF)),
    "888 of 24 bits, from blue": (24, (0xFF, 0xFF00, 0xFF0000)),
    "888 from blue": (32, (0xFF, 0xFF00, 0xFF0000)),
    "888 in the middle": (32, (0xFF00000, 0xFF000, 0xFF0)),
    "10 10 10": (32, (0x3FF00000, 0xFFC00, 0x3FF)),
    "11 11 10": (32, (0xFFE00000, 0x1FFC00, 0x3FF)),
    "7 1 8 7": (32, (0xFE000000, 0xFF0000, 0x7F)),
    "16 8 8": (32, (0xFFFF0000, 0xFF00, 0xFF)),
}
ALPHA_MASKS: dict[str, tuple[int, Masks]] = {
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "8888 from blue": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "10 10 10 2": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "8 8 8 1": (32, (0xFF0000, 0xFF00, 0xFF, 0x80000000)),
}


def cut(mask: int) -> float:
    """How far a channel may be off that had the bits of this mask."""
    return 1.01 if mask.bit_count() >= 8 else (1 << 8 - mask.bit_count()) + 1


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("from_top", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_masks(kind: str, from_top: bool, header: int) -> None:
    bits, masks = MASKS[kind]
    content = bmp(masked(masks), bits, header=header, compression=3, masks=masks, from_top=from_top)
    assert_pixels(content, colour, max(map(cut, masks)))


@pytest.mark.parametrize(("header", "compression"), [(40, 6), (56, 3), (56, 6), (108, 3), (124, 3)])
@pytest.mark.parametrize("from_top", [False, True])
@pytest.mark.parametrize("kind", ALPHA_MASKS)
def test_masks_with_alpha(kind: str, from_top: bool, header: int, compression: int) -> None:
    bits, masks = ALPHA_MASKS[kind]
    opacity = masks[3].bit_count()
    most = (1 << opacity) - 1
    content = bmp(masked(masks), bits, header=header, compression=compression, masks=masks, from_top=from_top)
    assert_pixels(
        content,
        lambda x, y: [
            on_white(channel, (alpha(x, y) >> 8 - opacity) * 255 / most) for channel in colour(x, y)
        ],
        max(map(cut, masks[:3])) + 1,
    )


@pytest.mark.parametrize("kind", ALPHA_MASKS)
def test_alpha_that_is_0_everywhere_was_never_written(kind: str) -> None:
    bits, masks = ALPHA_MASKS[kind]
    content = bmp(masked((*masks[:3], 0)), bits, header=124, compression=3, masks=masks)
    assert_pixels(content, colour, max(map(cut, masks[:3])))


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("header", [16, 40, 48, 64, 124])
def test_colours_without_masks(bits: int, header: int) -> None:
    masks = MASKS["555" if bits == 16 else "888"][1]
    assert_pixels(bmp(masked(masks), bits, header=header), colour, max(map(cut, masks)))


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("kind", ["1555", "8888"])
def test_alpha_alone_has_a_mask(kind: str, header: int) -> None:
    bits, masks = ALPHA_MASKS[kind]
    opacity = masks[3].bit_count()
    content = bmp(masked(masks), bits, header=header, compression=0, masks=(0, 0, 0, masks[3]))
    assert_pixels(
        content,
        lambda x, y: [
            on_white(channel, (alpha(x, y) >> 8 - opacity) * 255 / ((1 << opacity) - 1))
            for channel in colour(x, y)
        ],
        max(map(cut, masks[:3])) + 1,
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("header", [12, 16, 40, 48, 64, 108, 124])
@pytest.mark.parametrize("from_top", [False, True])
@pytest.mark.parametrize("gap", [0, 6])
def test_palettes(bits: int, header: int, from_top: bool, gap: int) -> None:
    if from_top and header == 12:
        from_top = False  # its height has no sign
    palette = [(index * 7 % 256, index * 31 % 256, (index * 101 + 90) % 256) for index in range(1 << bits)]
    content = bmp(
        lambda x, y: (x * 5 + y * 3) % len(palette),
        bits,
        header=header,
        palette=palette,
        from_top=from_top,
        gap=gap,
    )
    assert_pixels(content, lambda x, y: palette[(x * 5 + y * 3) % len(palette)])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_palettes_of_fewer_colours(bits: int) -> None:
    palette = [(200, 30, 40), (20, 120, 220), (9, 250, 7)]
    content = bmp(lambda x, y: (x + y) % 3, bits, palette=palette, used=3)
    assert_pixels(content, lambda x, y: palette[(x + y) % 3])


def test_a_flat_bitmap_of_masks_keeps_black_and_white() -> None:
    masks = MASKS["444"][1]
    content = bmp(lambda x, _: 0xFFF if x % 2 else 0, 16, compression=3, masks=masks)
    assert_pixels(content, lambda x, _: [255 * (x % 2)] * 3, 0)


@pytest.mark.parametrize("bits", [2, 16, 24, 32])
def test_missing_rows_are_refused(bits: int) -> None:
    masks = () if bits == 2 else (0xF0, 0xF, 0xF00)
    content = bmp(
        lambda *_: 0,
        bits,
        compression=3 if masks else 0,
        masks=masks,
        palette=[(0, 0, 0)] * (4 if bits == 2 else 0),
    )
    with pytest.raises(UndecodablePicture):
        make_thumbnail(content[:-1], ThumbnailSpec(), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    ("bits", "compression", "masks"),
    [
        (32, 3, (0xF0F0, 0xF0F, 0xF0000)),
        (16, 3, (0xF0000, 0xF0, 0xF)),
        (24, 4, ()),
        (0, 4, ()),
        (32, 5, ()),
        (1, 3, ()),
        (8, 11, ()),
    ],
    ids=["torn masks", "masks beyond the pixel", "JPEG or RLE24", "JPEG", "PNG", "Huffman", "CMYK"],
)
def test_what_is_not_read_is_refused(bits: int, compression: int, masks: Masks) -> None:
    content = bmp(lambda *_: 0, bits or 8, compression=compression, masks=masks)
    if not bits:
        content = content[:28] + bytes(2) + content[30:]
    with pytest.raises(UnsupportedFormat if bits else UndecodablePicture):
        headers.read(content)


def test_the_size_of_the_header_is_the_one_that_counts() -> None:
    """Neither the size of the file nor that of the pixels, which a bitmap states too, is believed."""
    content = bmp(masked(MASKS["444"][1]), 16, compression=3, masks=MASKS["444"][1])
    lying = content[:2] + struct.pack("<I", 0xFFFFFFFF) + content[6:34] + struct.pack("<I", 1) + content[38:]
    assert_pixels(lying, colour, 17)
    with pytest.raises(TooManyPixels):
        check(content[:18] + struct.pack("<ii", 30000, 30000) + content[26:], max_pixels=MAX_PIXELS)
