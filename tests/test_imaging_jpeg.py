"""JPEG as cameras and tools really write it: odd segments, lost ends, coarse colours."""

import struct
from collections.abc import Callable, Sequence
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageStat

from chalicelib.errors import PictureError, UndecodablePicture
from chalicelib.imaging import headers, make_thumbnail, render
from chalicelib.imaging.decoders import jpeg as decoder
from chalicelib.imaging.geometry import plan
from chalicelib.imaging.headers.jpeg import JpegHeader
from chalicelib.spec import ThumbnailSpec
from tests import jpegs, pictures
from tests.jpegs import segment
from tests.pictures import chart, encode, photo

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()
END = b"\xff\xd9"


def thumbnail(content: bytes) -> bytes:
    return make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).content


def header_of(content: bytes) -> JpegHeader:
    header = headers.read(content)[1]
    assert isinstance(header, JpegHeader)
    return header


def after_start(content: bytes, inserted: bytes) -> bytes:
    return content[:2] + inserted + content[2:]


ODD: dict[str, bytes] = {
    "JFIF without content": segment(0xE0, b"JFIF\0"),
    "JFIF that breaks off": segment(0xE0, b"JFIF\0\1\1\0\0"),
    "Adobe without content": segment(0xEE, b"Adobe"),
    "Adobe that breaks off": segment(0xEE, b"Adobe\0\x64\0\0\0\0"),
    "comment of length 0": b"\xff\xfe\0\0",
    "comment of length 1": b"\xff\xfe\0\1",
    "comment of length 2": b"\xff\xfe\0\2",
    "APP0 of length 0": b"\xff\xe0\0\0",
    "APP1 of length 1": b"\xff\xe1\0\1",
    "APP14 of length 0": b"\xff\xee\0\0",
    "APP15 of length 0, several": b"\xff\xef\0\0" * 3,
    "ICC without content": segment(0xE2, b"ICC_PROFILE\0\1\1"),
    "ICC without a number": segment(0xE2, b"ICC_PROFILE\0"),
    "ICC without a count": segment(0xE2, b"ICC_PROFILE\0\1"),
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_segments_that_say_nothing(kind: str, progressive: bool) -> None:
    content = encode(chart(), "JPEG", quality=90, progressive=progressive)
    assert thumbnail(after_start(content, ODD[kind])) == thumbnail(content)
    last = content.index(b"\xff\xda")
    assert thumbnail(content[:last] + ODD[kind] + content[last:]) == thumbnail(content)


def test_a_part_of_a_profile_that_breaks_off_hides_none() -> None:
    content = encode(chart(), "JPEG", icc_profile=b"a profile")
    assert header_of(after_start(content, ODD["ICC without a count"])).profile == b"a profile"


@pytest.mark.parametrize("marker", [0xDB, 0xC4, 0xC0, 0xDD])
@pytest.mark.parametrize("length", [0, 1])
def test_tables_and_frames_without_length_are_refused(marker: int, length: int) -> None:
    with pytest.raises(UndecodablePicture):
        headers.read(after_start(grey(), struct.pack(">BBH", 0xFF, marker, length)))


def grey() -> bytes:
    return encode(photo(320, 240).convert("L"), "JPEG")


def exif_segment(tiff: bytes, prefix: bytes = b"Exif\0\0") -> bytes:
    return segment(0xE1, prefix + tiff)


EMPTY_IFD = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
EXIF: dict[str, tuple[bytes, int]] = {
    "one": (exif_segment(pictures.exif(6)), 6),
    "prefix that ends with 0xFF": (exif_segment(pictures.exif(6), b"Exif\0\xff"), 6),
    "prefix alone before it": (exif_segment(b"") + exif_segment(pictures.exif(6)), 6),
    "half a prefix before it": (segment(0xE1, b"Exif\0") + exif_segment(pictures.exif(6)), 6),
    "zeros before it": (exif_segment(bytes(40)) + exif_segment(pictures.exif(6)), 6),
    "no tags before it": (exif_segment(EMPTY_IFD) + exif_segment(pictures.exif(6)), 6),
    "XMP before it": (
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + exif_segment(pictures.exif(6)),
        6,
    ),
    "another behind it": (exif_segment(pictures.exif(6)) + exif_segment(pictures.exif(3)), 6),
    "an upright one before it": (exif_segment(pictures.exif(1)) + exif_segment(pictures.exif(6)), 1),
    "no sense before it": (exif_segment(pictures.exif(0)) + exif_segment(pictures.exif(6)), 1),
    "nothing but the prefix": (exif_segment(b""), 1),
}


@pytest.mark.parametrize("kind", EXIF)
def test_the_first_exif_that_states_an_orientation_counts(kind: str) -> None:
    inserted, orientation = EXIF[kind]
    assert header_of(after_start(grey(), inserted)).orientation == orientation


# The end of the file.

ENDS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: encode(photo(320, 240), "JPEG"),
    "baseline, 4:4:4, odd size": lambda: encode(photo(333, 251), "JPEG", subsampling="4:4:4", quality=95),
    "baseline, flat": lambda: encode(Image.new("RGB", (300, 200), (200, 30, 30)), "JPEG"),
    "baseline, grey": grey,
    "baseline, CMYK": lambda: encode(photo(320, 240).convert("CMYK"), "JPEG"),
    "baseline, restart markers": lambda: encode(photo(320, 240), "JPEG", restart_marker_blocks=4),
    "baseline, large": lambda: encode(photo(1700, 1650), "JPEG"),
    "baseline, a scan for each component": lambda: jpegs.in_scans(photo(160, 120)),
    "progressive": lambda: encode(photo(320, 240), "JPEG", progressive=True),
    "progressive, 4:4:4": lambda: encode(photo(320, 240), "JPEG", progressive=True, subsampling="4:4:4"),
    "progressive, restart markers": lambda: encode(
        photo(320, 240), "JPEG", progressive=True, restart_marker_blocks=4
    ),
    "progressive, large": lambda: encode(photo(2400, 1650), "JPEG", progressive=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(2), b"\xff\0", bytes(100)], ids=repr)
def test_a_picture_that_lacks_only_its_end_is_whole(kind: str, end: bytes) -> None:
    content = ENDS[kind]()
    assert content.endswith(END)
    made, whole = (Image.open(BytesIO(thumbnail(one))) for one in (content[:-2] + end, content))
    # A progressive file is decoded with all its detail then, which the shortcut leaves out.
    difference = ImageStat.Stat(ImageChops.difference(made.convert("RGB"), whole.convert("RGB"))).mean
    assert max(difference) < (2.5 if "large" in kind else 0.01)


@pytest.mark.parametrize("kind", ENDS)
def test_a_truncated_picture_is_refused(kind: str) -> None:
    content = ENDS[kind]()
    first_scan = content.index(b"\xff\xda") + 20
    cuts = {first_scan + (len(content) - first_scan) * part // 12 for part in range(1, 12)}
    cuts |= {len(content) - 100, len(content) - 60}
    accepted = []
    for cut in sorted(cuts):
        try:
            thumbnail(content[:cut])
        except UndecodablePicture:
            continue
        accepted.append(len(content) - cut)
    assert not accepted


@pytest.mark.parametrize("kind", ["progressive", "baseline, a scan for each component"])
def test_a_picture_without_its_last_scans_is_refused(kind: str) -> None:
    content = ENDS[kind]()
    starts = [scan.start for scan in header_of(content).scans]
    assert len(starts) > (6 if kind == "progressive" else 2)
    for start in starts[1:]:
        with pytest.raises(UndecodablePicture):
            thumbnail(content[:start])


def test_a_picture_without_its_last_intervals_is_refused() -> None:
    content = encode(photo(320, 240), "JPEG", restart_marker_blocks=4)
    markers = [at for at in range(len(content) - 1) if content[at] == 0xFF and 0xD0 <= content[at + 1] < 0xD8]
    assert len(markers) > 20
    for at in (markers[-1], markers[-2], markers[len(markers) // 2]):
        for end in (at, at + 2):
            with pytest.raises(UndecodablePicture):
                thumbnail(content[:end])


# Colours.


def patches(size: tuple[int, int], cell: int) -> Image.Image:
    image = Image.new("RGB", size)
    for y in range(0, size[1], cell):
        for x in range(0, size[0], cell):
            number = x // cell * 7 + y // cell * 3
            colour = [(220, 30, 30), (30, 160, 60), (40, 60, 200), (230, 210, 40), (20, 20, 20)][number % 5]
            image.paste(colour, (x, y, x + cell, y + cell))
    return image


@pytest.mark.slow
@pytest.mark.parametrize("factors", [(2, 2), (4, 1), (1, 4), (4, 2), (2, 4)])
def test_coarse_colours_do_not_smear(factors: tuple[int, int]) -> None:
    image = patches((1600, 1600), 100)
    content = jpegs.write(image, (factors, (1, 1), (1, 1)))
    wanted = plan(1600, 1600, 1, SPEC)
    right = image.resize(wanted.size, Image.Resampling.LANCZOS, wanted.box)
    source_format, header = headers.read(content)
    made = render.render(source_format, header, content, [SPEC]).images[0]
    # 4:2:0 is off by 2.1; at an eighth, 4:1:1 would be by 10.4, 4 x 2 by 3.5.
    assert max(ImageStat.Stat(ImageChops.difference(made, right)).mean) < 3


@pytest.mark.parametrize(
    ("factors", "coarsest", "uneven"),
    [
        (((1, 1), (1, 1), (1, 1)), 1, 1),
        (((2, 2), (1, 1), (1, 1)), 2, 1),
        (((2, 1), (1, 1), (1, 1)), 2, 2),
        (((4, 1), (1, 1), (1, 1)), 4, 4),
        (((4, 2), (1, 1), (1, 1)), 4, 2),
        (((4, 2), (2, 2), (2, 2)), 2, 2),
        (((2, 2), (2, 1), (1, 2)), 2, 2),
    ],
)
def test_how_coarse_colours_are(factors: Sequence[tuple[int, int]], coarsest: float, uneven: float) -> None:
    header = header_of(jpegs.write(Image.new("RGB", (40, 40)), factors))
    assert (header.coarsest, header.uneven) == (coarsest, uneven)


def test_the_dc_scans_are_too_coarse_for_coarse_colours() -> None:
    content = encode(photo(800, 600), "JPEG", progressive=True)
    header = header_of(content)
    assert decoder.without_detail(header, content, 21) is not None
    coarse = header_of(content.replace(b"\3\1\x22\0\2\x11", b"\3\1\x42\0\2\x11"))
    assert coarse.coarsest == 4
    assert decoder.without_detail(coarse, content, 41.9) is None
    assert decoder.without_detail(coarse, content, 42) is not None


# Sizes that are stated twice.


def frame(content: bytes, size: tuple[int, int]) -> bytes:
    """The file's frame header, with another size."""
    start = next(at for at in range(2, len(content)) if content[at : at + 2] in {b"\xff\xc0", b"\xff\xc2"})
    length = int.from_bytes(content[start + 2 : start + 4], "big")
    stored = content[start : start + 2 + length]
    return stored[:5] + struct.pack(">HH", *size[::-1]) + stored[9:]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (6000, 6000)])
def test_a_second_frame_is_not_believed(progressive: bool, size: tuple[int, int]) -> None:
    content = encode(photo(320, 240), "JPEG", progressive=progressive)
    second = frame(content, size)
    with pytest.raises(UndecodablePicture):
        thumbnail(after_start(content, second))
    if progressive:
        scan = header_of(content).scans[1].start
        with pytest.raises(PictureError):
            thumbnail(content[:scan] + second + content[scan:])


def test_the_sizes_that_metadata_state_are_not_believed() -> None:
    content = encode(photo(320, 240), "JPEG")
    # EXIF's PixelXDimension and ImageWidth, and the sizes of JFIF's own thumbnail.
    tiff = b"MM\0*\0\0\0\x08\0\2" + struct.pack(">HHII", 0x0100, 4, 1, 9000)
    tiff += struct.pack(">HHII", 0xA002, 4, 1, 9000) + bytes(4)
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\xff\xff")
    header = header_of(after_start(content, jfif + exif_segment(tiff)))
    assert (header.width, header.height) == (320, 240)
    assert Image.open(BytesIO(thumbnail(after_start(content, jfif + exif_segment(tiff))))).size == (100, 100)


def test_a_height_that_a_later_segment_states_is_refused() -> None:
    """DNL (T.81, B.2.5): no decoder that browsers use reads it."""
    content = encode(photo(320, 240), "JPEG")
    without = content.replace(frame(content, (320, 240)), frame(content, (320, 0)))
    assert without != content
    with pytest.raises(UndecodablePicture, match="no pixels"):
        headers.read(without[:-2] + segment(0xDC, struct.pack(">H", 240)) + END)
