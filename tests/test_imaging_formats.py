"""Every accepted kind of picture comes out with the right colours, the right way up."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms

from chalicelib.imaging import make_thumbnail
from chalicelib.spec import ThumbnailSpec
from tests import pictures
from tests.pictures import BLUE, CORNERS, RED, chart, encode

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec(60, 40)
Colour = tuple[int, ...]


def decoded(content: bytes, spec: ThumbnailSpec = SPEC) -> Image.Image:
    thumbnail = make_thumbnail(content, spec, max_pixels=MAX_PIXELS)
    image = Image.open(BytesIO(thumbnail.content), formats=["JPEG"])
    assert image.size == (thumbnail.width, thumbnail.height)
    assert image.mode == "RGB"
    return image


def at(image: Image.Image, across: float, down: float) -> Colour:
    pixel = image.getpixel((int(image.width * across), int(image.height * down)))
    assert isinstance(pixel, tuple)
    return pixel


def corners(image: Image.Image) -> list[Colour]:
    return [at(image, across, down) for down in (0.25, 0.75) for across in (0.25, 0.75)]


def near(found: Colour, expected: Colour, tolerance: int = 8) -> bool:
    return all(abs(one - other) <= tolerance for one, other in zip(found, expected, strict=True))


def assert_chart(content: bytes, tolerance: int = 8) -> None:
    found = corners(decoded(content))
    assert all(near(*pair, tolerance) for pair in zip(found, CORNERS, strict=True)), found


def assert_all(image: Image.Image, expected: Colour, tolerance: int = 4) -> None:
    found = corners(image)
    assert all(near(colour, expected, tolerance) for colour in found), found


def animation() -> list[Image.Image]:
    return [chart(), Image.new("RGB", (240, 160), "black"), chart().rotate(180)]


def mpo() -> bytes:
    return encode(chart(), "MPO", save_all=True, append_images=[Image.new("RGB", (240, 160), "black")])


def several(source_format: str, **options: Any) -> bytes:
    first, *others = animation()
    return encode(first, source_format, save_all=True, append_images=others, **options)


CHARTS: dict[str, Callable[[], bytes]] = {
    "JPEG 4:2:0": lambda: encode(chart(), "JPEG", quality=95),
    "JPEG 4:4:4": lambda: encode(chart(), "JPEG", quality=95, subsampling="4:4:4"),
    "JPEG progressive": lambda: encode(chart(), "JPEG", quality=95, progressive=True),
    "JPEG progressive, large": lambda: encode(chart(2400, 1600), "JPEG", progressive=True),
    "JPEG with restart markers": lambda: encode(chart(), "JPEG", quality=95, restart_marker_blocks=2),
    "JPEG in RGB": lambda: encode(chart(), "JPEG", quality=95, keep_rgb=True),
    "MPO": mpo,
    "PNG": lambda: encode(chart(), "PNG"),
    "PNG with a palette": lambda: encode(chart().quantize(16), "PNG"),
    "APNG": lambda: several("PNG"),
    "GIF": lambda: encode(chart().quantize(16), "GIF"),
    "GIF animated": lambda: several("GIF"),
    "GIF interlaced": lambda: encode(chart().quantize(16), "GIF", interlace=1),
    "WebP lossy": lambda: encode(chart(), "WEBP", quality=95),
    "WebP lossless": lambda: encode(chart(), "WEBP", lossless=True),
    "WebP lossy with alpha": lambda: encode(chart().convert("RGBA"), "WEBP", quality=95, alpha_quality=50),
    "WebP animated": lambda: several("WEBP", quality=95),
    "WebP animated, lossless": lambda: several("WEBP", lossless=True),
    "BMP": lambda: encode(chart(), "BMP"),
    "BMP with a palette": lambda: encode(chart().quantize(16), "BMP"),
    "TIFF": lambda: encode(chart(), "TIFF"),
    "TIFF LZW": lambda: encode(chart(), "TIFF", compression="tiff_lzw"),
    "TIFF Deflate": lambda: encode(chart(), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF PackBits": lambda: encode(chart(), "TIFF", compression="packbits"),
    "TIFF LZMA": lambda: encode(chart(), "TIFF", compression="lzma"),
    "TIFF Zstandard": lambda: encode(chart(), "TIFF", compression="zstd"),
    "TIFF JPEG": lambda: encode(chart(), "TIFF", compression="jpeg", quality=95),
    "TIFF with a palette": lambda: encode(chart().quantize(16), "TIFF"),
    "TIFF with alpha": lambda: encode(chart().convert("RGBA"), "TIFF"),
    "TIFF in CMYK": lambda: encode(chart().convert("CMYK"), "TIFF"),
    "TIFF in LAB": lambda: encode(lab(chart()), "TIFF"),
    "TIFF of several pages": lambda: several("TIFF", compression="tiff_lzw"),
    "BigTIFF": lambda: encode(chart(), "TIFF", big_tiff=True, compression="tiff_lzw"),
    "TIFF tiled": lambda: tiled(chart()),
    "TIFF planar": lambda: planar(chart()),
    "AVIF": lambda: encode(chart(), "AVIF", quality=90),
    "AVIF with alpha": lambda: encode(chart().convert("RGBA"), "AVIF", quality=90),
    "AVIF animated": lambda: several("AVIF", quality=90),
    "HEIC": lambda: encode(chart(), "HEIF"),
    "HEIC with alpha": lambda: encode(chart().convert("RGBA"), "HEIF"),
}


def lab(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    converted = transform.apply(image)
    del converted.info["icc_profile"]
    return converted


def planar(image: Image.Image) -> bytes:
    width, height = image.size
    planes = [band.tobytes() for band in image.split()]
    plane = width * height
    return pictures.tiff(
        {
            256: ("I", (width,)),
            257: ("I", (height,)),
            258: ("H", (8, 8, 8)),
            259: ("H", (1,)),
            262: ("H", (2,)),
            273: ("I", (0, plane, 2 * plane)),
            277: ("H", (3,)),
            278: ("I", (height,)),
            279: ("I", (plane,) * 3),
            284: ("H", (2,)),
        },
        b"".join(planes),
    )


def tiled(image: Image.Image) -> bytes:
    side = 64
    tiles = [
        image.crop((x, y, x + side, y + side)).tobytes()
        for y in range(0, image.height, side)
        for x in range(0, image.width, side)
    ]
    size = side * side * 3
    return pictures.tiff(
        {
            256: ("I", (image.width,)),
            257: ("I", (image.height,)),
            258: ("H", (8, 8, 8)),
            259: ("H", (1,)),
            262: ("H", (2,)),
            277: ("H", (3,)),
            322: ("I", (side,)),
            323: ("I", (side,)),
            324: ("I", [index * size for index in range(len(tiles))]),
            325: ("I", (size,) * len(tiles)),
        },
        b"".join(tiles),
        order=">",
    )


@pytest.mark.parametrize("kind", CHARTS)
def test_colours_and_sides_are_kept(kind: str) -> None:
    assert_chart(CHARTS[kind]())


# Which formats carry an orientation, and how the file with it is made.
ORIENTED: dict[str, Callable[[Image.Image, int], bytes]] = {
    "JPEG": lambda image, value: encode(image, "JPEG", quality=95, exif=b"Exif\0\0" + pictures.exif(value)),
    "JPEG, little-endian, LONG": lambda image, value: encode(
        image, "JPEG", quality=95, exif=b"Exif\0\0" + pictures.exif(value, "<", 4)
    ),
    "JPEG progressive": lambda image, value: encode(
        image, "JPEG", quality=95, progressive=True, exif=b"Exif\0\0" + pictures.exif(value)
    ),
    "PNG": lambda image, value: encode(image, "PNG", exif=pictures.exif(value)),
    "WebP": lambda image, value: encode(image, "WEBP", quality=95, exif=pictures.exif(value)),
    "TIFF": lambda image, value: encode(image, "TIFF", tiffinfo={274: value}),
    "TIFF LZW": lambda image, value: encode(image, "TIFF", compression="tiff_lzw", tiffinfo={274: value}),
    "AVIF": lambda image, value: encode(image, "AVIF", quality=90, exif=pictures.exif(value)),
    "HEIC": lambda image, value: encode(image, "HEIF", exif=pictures.exif(value)),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    stored = pictures.turned(chart(), orientation)
    assert_chart(ORIENTED[kind](stored, orientation))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_makes_no_sense_is_none(orientation: int) -> None:
    assert_chart(encode(chart(), "JPEG", quality=95, exif=b"Exif\0\0" + pictures.exif(orientation)))


def cmyk_jpeg(*, adobe: bool, ycck: bool = False) -> bytes:
    # Pillow writes Adobe's marker and, as Adobe does, inverted inks.
    image = chart().convert("CMYK")
    if ycck:
        *inks, black = image.split()
        # libjpeg turns YCCK's YCC to RGB and inverts that (T.872, 6.5.3), which inverts Adobe's inks once
        # more.
        colours = Image.merge("RGB", inks).convert("YCbCr")
        as_stored = [band.point(lambda value: 255 - value) for band in colours.split()]
        image = Image.merge("CMYK", (*as_stored, black))
    content = encode(image, "JPEG", quality=95, subsampling="4:4:4")
    segments = pictures.jpeg_segments(content)
    if ycck:
        segments = [(m, c[:-1] + b"\2" if m == 0xEE else c) for m, c in segments]
    if not adobe:
        segments = [(m, c) for m, c in segments if m != 0xEE]
    return pictures.jpeg_of(segments)


@pytest.mark.parametrize(("adobe", "ycck"), [(True, False), (True, True), (False, False)])
def test_inks_are_not_inverted(adobe: bool, ycck: bool) -> None:
    assert_chart(cmyk_jpeg(adobe=adobe, ycck=ycck))


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged: a decoder that applies it sees red where green is stored."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"xxxx", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"xxxx", b"gXYZ", 1)


WITH_PROFILE = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]


@pytest.mark.parametrize("source_format", WITH_PROFILE)
def test_profile_is_applied(source_format: str) -> None:
    options = {"quality": 95} if source_format in {"JPEG", "WEBP", "AVIF"} else {}
    image = Image.new("RGB", (120, 80), (30, 180, 60))
    content = encode(image, source_format, icc_profile=swapped_profile(), **options)
    assert_all(decoded(content), (180, 30, 60), tolerance=8)


def test_profile_in_several_segments() -> None:
    profile = swapped_profile().ljust(150_000, b"\0")
    content = encode(Image.new("RGB", (120, 80), (30, 180, 60)), "JPEG", quality=95, icc_profile=profile)
    assert content.count(b"ICC_PROFILE\0") == 3
    assert_all(decoded(content), (180, 30, 60), tolerance=8)


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"nonsense",
        swapped_profile()[:200],
        bytes(3000),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ],
    ids=["empty", "nonsense", "truncated", "zeros", "of another colour space"],
)
def test_broken_profile_is_ignored(profile: bytes) -> None:
    assert_chart(encode(chart(), "JPEG", quality=95, icc_profile=profile))


def test_grey_picture_with_an_rgb_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encode(Image.new("L", (120, 80), 100), "JPEG", quality=95, icc_profile=profile)
    assert_all(decoded(content), (100, 100, 100))


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 90)])
@pytest.mark.parametrize("source_format", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_transparency_shows_the_background(source_format: str, background: tuple[int, int, int]) -> None:
    # Black is stored where it is transparent: it must not shine through at the edges either.
    image = Image.new("RGBA", (240, 160), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 120, 160))
    options = {"lossless": True} if source_format == "WEBP" else {}
    found = decoded(encode(image, source_format, **options), ThumbnailSpec(60, 40, background=background))
    assert near(at(found, 0.2, 0.5), RED)
    assert near(at(found, 0.8, 0.5), background)
    darkest = min(min(at(found, across, 0.5)) for across in (0.45, 0.48, 0.52, 0.55))
    assert darkest >= min(*RED, *background) - 12


@pytest.mark.parametrize("source_format", ["PNG", "WEBP", "AVIF"])
def test_half_transparency_mixes_with_the_background(source_format: str) -> None:
    options = {"lossless": True} if source_format == "WEBP" else {}
    content = encode(Image.new("RGBA", (120, 80), (200, 0, 0, 128)), source_format, **options)
    assert_all(decoded(content), (227, 127, 127), tolerance=5)


def test_gif_with_transparency() -> None:
    image = Image.new("P", (120, 80), 1)
    image.putpalette([*RED, *BLUE])
    image.paste(0, (0, 0, 60, 80))
    found = decoded(encode(image, "GIF", transparency=0))
    assert near(at(found, 0.25, 0.5), (255, 255, 255))
    assert near(at(found, 0.75, 0.5), BLUE)


def test_webp_whose_first_frame_covers_a_part() -> None:
    frame = encode(Image.new("RGB", (60, 80), BLUE), "WEBP", lossless=True)[12:]
    part = (
        (0).to_bytes(3, "little") * 2
        + (59).to_bytes(3, "little")
        + (79).to_bytes(3, "little")
        + bytes(4)
        + frame
    )
    size = (119).to_bytes(3, "little") + (79).to_bytes(3, "little")
    body = (
        b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    )
    body += b"ANMF" + struct.pack("<I", len(part)) + part
    found = decoded(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert near(at(found, 0.2, 0.5), BLUE)
    assert near(at(found, 0.8, 0.5), (255, 255, 255))


RAMP = [(value, value, value) for value in (0, 64, 128, 255)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_grey_tiff_is_scaled_and_not_inverted(bits: int, photometric: int, order: str) -> None:
    most = (1 << bits) - 1
    row = [
        value * most // 255 if photometric else most - value * most // 255
        for value in (0, 64, 128, 255)
        for _ in range(30)
    ]
    data = struct.pack(f"{order}120{'B' if bits == 8 else 'H'}", *row) * 80
    found = decoded(pictures.gray_tiff((120, 80), bits, data, photometric=photometric, order=order))
    assert [near(at(found, (index + 0.5) / 4, 0.5), RAMP[index], 3) for index in range(4)] == [True] * 4


def test_sixteen_bit_colour_tiff_is_scaled() -> None:
    tags = {
        256: ("I", (120,)), 257: ("I", (80,)), 258: ("H", (16, 16, 16)), 259: ("H", (1,)), 262: ("H", (2,)),
        273: ("I", (0,)), 277: ("H", (3,)), 278: ("I", (80,)), 279: ("I", (120 * 80 * 6,)),
    }  # fmt: skip
    data = struct.pack("<3H", *(value * 257 for value in RED)) * (120 * 80)
    assert_all(decoded(pictures.tiff(tags, data)), RED)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", None])
def test_bilevel_tiff(compression: str | None) -> None:
    image = Image.new("1", (240, 160), 1)
    image.paste(0, (0, 0, 120, 160))
    found = decoded(encode(image, "TIFF", compression=compression))
    assert near(at(found, 0.2, 0.5), (0, 0, 0))
    assert near(at(found, 0.8, 0.5), (255, 255, 255))


def test_floating_tiff_is_stretched_to_its_range() -> None:
    image = Image.new("F", (120, 80), -3.0)
    image.paste(5.0, (60, 0, 120, 80))
    found = decoded(encode(image, "TIFF"))
    assert near(at(found, 0.2, 0.5), (0, 0, 0))
    assert near(at(found, 0.8, 0.5), (255, 255, 255))


QUARTERS = bytes(channel for colour in CORNERS for channel in (*colour[::-1], 0))


@pytest.mark.parametrize(
    ("size", "bits", "compression", "palette", "data"),
    [
        ((120, 80), 8, 1, QUARTERS, (b"\x3c\2\x3c\3\0\0" * 40 + b"\x3c\0\x3c\1\0\0" * 40) + b"\0\1"),
        ((120, 80), 4, 2, QUARTERS, (b"\x3c\x22\x3c\x33\0\0" * 40 + b"\x3c\0\x3c\x11\0\0" * 40) + b"\0\1"),
        ((120, -80), 8, 0, QUARTERS, (bytes(60) + b"\1" * 60) * 40 + (b"\2" * 60 + b"\3" * 60) * 40),
    ],
    ids=["run lengths of 8 bits", "run lengths of 4 bits", "from the top"],
)
def test_bitmap(size: tuple[int, int], bits: int, compression: int, palette: bytes, data: bytes) -> None:
    assert_chart(pictures.bmp(size, bits, compression, palette, data))


def test_bitmap_of_15_bits() -> None:
    data = b"".join(
        struct.pack(
            "<H", sum((channel >> 3) << shift for channel, shift in zip(colour, (10, 5, 0), strict=True))
        )
        * 60
        for row in (CORNERS[2:], CORNERS[:2])
        for _ in range(40)
        for colour in row
    )
    assert_chart(pictures.bmp((120, 80), 16, 0, b"", data), tolerance=12)
