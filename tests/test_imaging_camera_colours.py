"""Colours that are told elsewhere: Adobe RGB in a camera's EXIF, profiles and gammas in bitmaps' headers."""

import struct
from collections.abc import Callable, Sequence

import pytest
from PIL import Image

from chalicelib.imaging import spaces
from chalicelib.imaging.headers import exif
from chalicelib.spec import ThumbnailSpec
from tests.pictures import encode, jpeg_of, jpeg_segments
from tests.samples import profiles
from tests.samples.colour import SRGB_TO_XYZ, from_linear, inverse, multiply, product, to_linear
from tests.test_imaging_formats import assert_all, decoded, swapped_profile
from tests.test_imaging_spaces import SAMPLE, SWAPPED, chrm, cicp, gama, png_of

SPEC = ThumbnailSpec(60, 40)


def camera_exif(
    order: str, colour_space: int = 0xFFFF, index: bytes = b"R03\0", orientation: int = 1
) -> bytes:
    """EXIF with the directories that DCF names: 0 of the picture, of the exposure, of interoperability."""
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    first = struct.pack(order + "HHHIHxxHHIII", 2, 0x0112, 3, 1, orientation, 0x8769, 4, 1, 38, 0)
    details = struct.pack(order + "HHHIHxxHHIII", 2, 0xA001, 3, 1, colour_space, 0xA005, 4, 1, 68, 0)
    interoperability = struct.pack(order + "HHHI4sI", 1, 1, 2, 4, index, 0)
    return head + first + details + interoperability


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("colour_space", "index", "expected"),
    [(0xFFFF, b"R03\0", True), (1, b"R03\0", False), (0xFFFF, b"R98\0", False), (2, b"R98\0", False)],
)
def test_adobe_rgb_in_exif(order: str, colour_space: int, index: bytes, expected: bool) -> None:
    data = camera_exif(order, colour_space, index, 6)
    assert exif.orientation(data) == 6
    assert exif.is_adobe_rgb(data) is expected
    assert exif.is_adobe_rgb(b"Exif\0\0" + data) is expected
    for length in range(len(data)):
        exif.is_adobe_rgb(data[:length])


def test_exif_whose_directories_point_at_themselves() -> None:
    data = bytearray(camera_exif("<"))
    data[data.index(struct.pack("<I", 38))] = 8
    data[data.index(struct.pack("<I", 68))] = 8
    assert not exif.is_adobe_rgb(bytes(data))


ADOBE_SAMPLE = tuple(
    round(255 * max(0, value) ** (256 / 563))
    for value in multiply(
        product(inverse(profiles.rgb_to_xyz(profiles.ADOBE_RGB)), SRGB_TO_XYZ),
        (to_linear(SAMPLE[0] / 255), to_linear(SAMPLE[1] / 255), to_linear(SAMPLE[2] / 255)),
    )
)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_in_adobe_rgb_by_exif(progressive: bool) -> None:
    image = Image.new("RGB", (120, 80), ADOBE_SAMPLE)
    options = {"quality": 95, "subsampling": "4:4:4", "progressive": progressive}
    data = b"Exif\0\0" + camera_exif(">")
    assert_all(decoded(encode(image, "JPEG", exif=data, **options)), SAMPLE, 4)
    # A profile goes before what EXIF says; grey and inks are not Adobe RGB.
    profiled = encode(image, "JPEG", exif=data, icc_profile=swapped_profile(), **options)
    swapped = (ADOBE_SAMPLE[1], ADOBE_SAMPLE[0], ADOBE_SAMPLE[2])
    assert_all(decoded(profiled), swapped, 4)
    grey = encode(Image.new("L", (120, 80), 100), "JPEG", exif=data, quality=95)
    assert_all(decoded(grey), (100, 100, 100), 2)


def test_adobe_rgb_in_a_later_exif_segment() -> None:
    image = Image.new("RGB", (120, 80), ADOBE_SAMPLE)
    segments = jpeg_segments(encode(image, "JPEG", quality=95, subsampling="4:4:4"))
    extra = [(0xE1, b"Exif\0\0"), (0xE1, b"Exif\0\0" + camera_exif("<"))]
    assert_all(decoded(jpeg_of([*segments[:1], *extra, *segments[1:]])), SAMPLE, 4)


def bmp(colour: Sequence[int], version: int, fields: bytes, profile: bytes = b"") -> bytes:
    """A bitmap of 24 x 16 pixels with a header of version 4 or 5; `fields` start with the kind of colours."""
    size = {4: 108, 5: 124}[version]
    data = bytes(reversed(colour)) * 24 * 16
    info = struct.pack("<IiiHHIIiiII", size, 24, 16, 1, 24, 0, len(data), 0, 0, 0, 0) + bytes(16)
    head = b"BM" + struct.pack("<IHHI", 14 + size + len(data) + len(profile), 0, 0, 14 + size)
    return head + (info + fields).ljust(size, b"\0") + data + profile


def calibrated(primaries: spaces.Primaries, gamma: float) -> bytes:
    ends = [round(value * (1 << 30)) for x, y in primaries for value in (x, y, 1 - x - y)]
    return bytes(4) + struct.pack("<9i3I", *ends, *[round(gamma * 65536)] * 3)


def embedded(offset: int, size: int) -> bytes:
    return b"DEBM" + bytes(52) + struct.pack("<II", offset, size)


def test_a_bitmap_with_a_profile() -> None:
    profile = swapped_profile()
    place = 124 + 24 * 16 * 3
    assert_all(decoded(bmp(SAMPLE, 5, embedded(place, len(profile)), profile), SPEC), SWAPPED, 4)


@pytest.mark.parametrize(
    "fields",
    [
        embedded(0, 0),
        embedded(2**32 - 1, 2**32 - 1),
        embedded(124, 100),
        b"KNIL" + bytes(52) + struct.pack("<II", 124, 20),
        b"BGRs",
        b" niW",
        calibrated(((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), 0),
        bytes(4),
        calibrated(spaces.BT709, 2.2),
        calibrated(spaces.BT709, 0.00002),
    ],
)
def test_a_bitmap_whose_header_says_nothing_of_use_is_srgb(fields: bytes) -> None:
    assert_all(decoded(bmp(SAMPLE, 5, fields), SPEC), SAMPLE, 4)


def told_colours() -> dict[str, Callable[[], bytes]]:
    """A picture of every way to tell colours without a profile: where fuzzing starts."""
    image = Image.new("RGB", (24, 16), ADOBE_SAMPLE)
    colour = (SAMPLE[0] / 255, SAMPLE[1] / 255, SAMPLE[2] / 255)
    return {
        "JPEG in Adobe RGB": lambda: encode(image, "JPEG", exif=b"Exif\0\0" + camera_exif(">")),
        "PNG in PQ": lambda: png_of(colour, 16, cicp(9, 16)),
        "PNG in HLG": lambda: png_of(colour, 8, cicp(9, 18, 0, 0)),
        "PNG of light": lambda: png_of(colour, 16, gama(100_000) + chrm(spaces.BT2020), interlaced=True),
        "BMP with a profile": lambda: bmp(
            SAMPLE, 5, embedded(1276, len(swapped_profile())), swapped_profile()
        ),
        "BMP with a gamma": lambda: bmp(SAMPLE, 4, calibrated(spaces.BT709, 1.8)),
    }


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_bitmap_with_calibrated_colours(version: int, gamma: float) -> None:
    light = [max(0.0, (value / 255) ** 2.2) for value in (60, 120, 200)]
    samples = [round(255 * value ** (1 / gamma)) for value in light]
    expected = tuple(round(255 * from_linear(value)) for value in light)
    assert_all(decoded(bmp(samples, version, calibrated(spaces.BT709, gamma)), SPEC), expected, 6)
