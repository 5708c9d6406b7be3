"""GIF: a first frame that does not cover its canvas, and sizes that are stated twice."""

import struct
from io import BytesIO

import pytest
from PIL import Image

from chalicelib.errors import PictureError, TooManyPixels
from chalicelib.imaging import check, headers, make_thumbnail, render
from chalicelib.spec import ThumbnailSpec
from tests.pictures import encode
from tests.test_imaging_formats import assert_all, at, decoded, near

MAX_PIXELS = 1_000_000
CANVAS = (120, 80)
RED, BLUE, GREEN = (220, 30, 30), (40, 60, 200), (30, 160, 60)
BACKGROUND = (10, 200, 90)


def image_data(size: tuple[int, int], *, interlaced: bool) -> tuple[bytes, int]:
    """The compressed indices of a frame whose left half is 1 and right half 2, and the descriptor's flags."""
    frame = Image.new("P", size, 2)
    frame.paste(1, (0, 0, size[0] // 2, size[1]))
    frame.putpalette(bytes(12))
    content = encode(frame, "GIF", interlace=int(interlaced), optimize=False)
    at = content.index(b"\x2c", 13 + (3 << (content[10] & 7) + 1))
    flags = content[at + 9]
    return content[at + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) : -1], flags & 0x40


def gif(
    box: tuple[int, int, int, int],
    *,
    canvas: tuple[int, int] = CANVAS,
    background: int = 0,
    local: bool = False,
    transparent: int | None = None,
    disposal: int = 0,
    interlaced: bool = False,
    frames: int = 1,
) -> bytes:
    """A GIF of frames in a box (left, top, width and height); 1 is red, 2 blue, all else green."""
    table = bytes((*GREEN, *RED, *BLUE, *GREEN))
    data, flags = image_data(box[2:], interlaced=interlaced)
    screen = struct.pack("<HHBBB", *canvas, 0 if local else 0x81, background, 0)
    control = b"\x21\xf9\4" + bytes((disposal << 2 | (transparent is not None), 5, 0, transparent or 0, 0))
    frame = control + b"\x2c" + struct.pack("<HHHHB", *box, flags | (0x81 if local else 0))
    frame += (table if local else b"") + data
    return b"GIF89a" + screen + (b"" if local else table) + frame * frames + b";"


def assert_shown(content: bytes, box: tuple[int, int, int, int], *, transparent: bool = False) -> None:
    source_format, header = headers.read(content)
    size = header.width, header.height
    spec = ThumbnailSpec(*size, background=BACKGROUND)
    image = render.render(source_format, header, content, [spec]).images[0]
    assert image.size == size
    left, top, width, height = box
    for x in range(size[0]):
        for y in range(0, size[1], 7):
            inside = left <= x < left + width and top <= y < top + height
            expected = BACKGROUND
            if inside and x >= left + width // 2:
                expected = BLUE
            elif inside and not transparent:
                expected = RED
            assert image.getpixel((x, y)) == expected, (x, y)


BOXES = {
    "top left": (0, 0, 40, 40),
    "in the middle": (31, 17, 50, 41),
    "bottom right": (80, 40, 40, 40),
    "a row": (0, 35, 120, 2),
    "a column": (70, 0, 2, 80),
    "all but a row": (0, 0, 120, 79),
    "the whole": (0, 0, 120, 80),
}


@pytest.mark.parametrize("local", [False, True], ids=["global table", "local table"])
@pytest.mark.parametrize("background", [0, 1, 3, 255])
@pytest.mark.parametrize("kind", BOXES)
def test_the_canvas_around_the_first_frame_is_transparent(kind: str, background: int, local: bool) -> None:
    assert_shown(gif(BOXES[kind], background=background, local=local), BOXES[kind])


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", BOXES)
def test_frames_of_every_disposal(kind: str, interlaced: bool, disposal: int) -> None:
    content = gif(BOXES[kind], disposal=disposal, interlaced=interlaced, frames=3)
    assert_shown(content, BOXES[kind])


@pytest.mark.parametrize("kind", BOXES)
def test_transparent_pixels_within_the_frame(kind: str) -> None:
    assert_shown(gif(BOXES[kind], transparent=1), BOXES[kind], transparent=True)


def test_what_is_around_the_frame_does_not_mix_with_it() -> None:
    image = Image.open(
        BytesIO(make_thumbnail(gif((0, 0, 60, 80)), ThumbnailSpec(30, 20), max_pixels=MAX_PIXELS).content)
    )
    edge = image.getpixel((15, 10))
    assert isinstance(edge, tuple)
    assert all(abs(value - white) < 30 for value, white in zip(edge, (255, 255, 255), strict=True))


@pytest.mark.parametrize("box", [(60, 0, 120, 80), (0, 60, 10, 40), (200, 200, 4, 4)])
def test_frames_beyond_their_canvas_enlarge_it(box: tuple[int, int, int, int]) -> None:
    content = gif(box)
    header = headers.read(content)[1]
    assert (header.width, header.height) == (max(120, box[0] + box[2]), max(80, box[1] + box[3]))
    assert_shown(content, box)


def test_the_larger_of_two_sizes_is_the_one_that_is_limited() -> None:
    frame = gif((0, 0, 40, 40))
    at = frame.index(b"\x2c") + 5
    huge_frame = frame[:at] + struct.pack("<HH", 9000, 9000) + frame[at + 4 :]
    huge_canvas = frame[:6] + struct.pack("<HH", 9000, 9000) + frame[10:]
    for content in (huge_frame, huge_canvas):
        with pytest.raises(TooManyPixels, match="9000 x 9000"):
            check(content, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("size", [(0, 40), (40, 0), (0, 0)])
def test_a_frame_without_pixels_is_refused(size: tuple[int, int]) -> None:
    content = gif((0, 0, 40, 40))
    at = content.index(b"\x2c") + 5
    with pytest.raises(PictureError):
        make_thumbnail(
            content[:at] + struct.pack("<HH", *size) + content[at + 4 :],
            ThumbnailSpec(),
            max_pixels=MAX_PIXELS,
        )


def gif_frame(local_palette: bytes, offset: tuple[int, int], canvas: tuple[int, int]) -> bytes:
    whole = Image.new("P", (60, 40), 0)
    whole.putpalette([*RED])
    data = encode(whole, "GIF")
    image_data = data[data.index(b"\x2c", 13) + 10 :]
    size = {6: 0x80}[len(local_palette)]
    descriptor = b"\x2c" + struct.pack("<HHHHB", *offset, 60, 40, size)
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *canvas, 0x80, 0, 0)
        + bytes(GREEN) * 2
        + descriptor
        + local_palette
        + image_data
    )


def test_gif_with_a_local_palette() -> None:
    assert_all(decoded(gif_frame(bytes(BLUE) * 2, (0, 0), (60, 40))), BLUE)


def test_gif_frame_beyond_its_canvas_enlarges_it() -> None:
    found = decoded(gif_frame(bytes(BLUE) * 2, (60, 0), (60, 40)), ThumbnailSpec(120, 40))
    assert found.size == (120, 40)
    assert near(at(found, 0.75, 0.5), BLUE)
