"""Hostile pictures: refused by their headers, before anything is decoded, and quickly."""

import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from chalicelib.errors import PictureError, TooComplex, TooManyPixels, UndecodablePicture, UnsupportedFormat
from chalicelib.imaging import check, headers, limits, make_thumbnail
from chalicelib.imaging.headers import jpeg, tiff, tiff_pieces
from chalicelib.spec import ThumbnailSpec
from tests import pictures
from tests.cost import cpu_within
from tests.pictures import ADAM7, chunk, encode, photo

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()


def grey_jpeg(*, progressive: bool = False) -> bytes:
    return encode(photo(320, 240), "JPEG", progressive=progressive)


def before_first_scan(inserted: bytes) -> bytes:
    content = grey_jpeg()
    return content[:2] + inserted + content[2:]


def more_scans(count: int, size: tuple[int, int] = (320, 240)) -> bytes:
    content = encode(Image.new("RGB", size, (90, 120, 30)), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + b"\xff\xd9"


def png_with(inserted: bytes) -> bytes:
    content = encode(pictures.chart(), "PNG")
    return content[:33] + inserted + content[33:]


def gif_with(inserted: bytes) -> bytes:
    content = encode(pictures.chart().quantize(4), "GIF")
    at = 13 + (6 << (content[10] & 7))
    return content[:at] + inserted + content[at:]


def jpeg_tiff(strip: bytes) -> bytes:
    tags = {
        256: ("I", (320,)), 257: ("I", (240,)), 258: ("H", (8, 8, 8)), 259: ("H", (7,)), 262: ("H", (6,)),
        273: ("I", (0,)), 277: ("H", (3,)), 278: ("I", (240,)), 279: ("I", (len(strip),)),
    }  # fmt: skip
    return pictures.tiff(tags, strip)


def tiles(count: int) -> bytes:
    tags = {
        256: ("I", (16,)), 257: ("I", (16 * count,)), 258: ("H", (8,)), 259: ("H", (1,)), 262: ("H", (1,)),
        277: ("H", (1,)), 322: ("I", (16,)), 323: ("I", (16,)), 324: ("I", (0,) * count), 325: ("I", (256,) *
        count),
    }  # fmt: skip
    return pictures.tiff(tags, bytes(256))


def boxes(count: int) -> bytes:
    content = encode(pictures.chart(), "AVIF")
    start = int.from_bytes(content[:4], "big")
    return content[:start] + b"\0\0\0\x08free" * count + content[start:]


def runs(size: tuple[int, int], data: bytes) -> bytes:
    return pictures.bmp(size, 8, 1, bytes(1024), data)


FLOODS: dict[str, Callable[[], bytes]] = {
    "fill bytes": lambda: before_first_scan(b"\xff" * 20_000_000),
    "junk": lambda: before_first_scan(b"\xff\xfe\0\2" + bytes(20_000_000)),
    "comments": lambda: before_first_scan(b"\xff\xfe\0\2" * 3_000_000),
    "stuffed zeros": lambda: before_first_scan(b"\xff\0" * 5_000_000),
    "scans": lambda: more_scans(jpeg.MAX_SCANS),
    "scans for the size": lambda: more_scans(60, (6000, 6000)),
    "comments between scans": lambda: (
        grey_jpeg(progressive=True)[:-2] + b"\xff\xfe\0\2" * 2_000_000 + b"\xff\xd9"
    ),
    "scans in a TIFF": lambda: jpeg_tiff(more_scans(tiff.MAX_SCANS)),
    "chunks": lambda: png_with(chunk(b"tEXt", b"") * 1_000_000),
    "GIF comments": lambda: gif_with(b"\x21\xfe\1a\0" * 1_000_000),
    "GIF sub-blocks": lambda: gif_with(b"\x21\xfe" + b"\1a" * 1_000_000 + b"\0"),
    "run lengths, pixels": lambda: runs((2000, 2000), b"\xffa" * 10),
    "run lengths, bytes": lambda: runs((100, 100), b"\0\2\0\0" * 1_000_000),
    "TIFF tiles": lambda: tiles(tiff_pieces.MAX_PIECES + 1),
    "AVIF boxes": lambda: boxes(1_000_000),
    "WebP chunks": lambda: (
        b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(10) + b"abcd\0\0\0\0" * 1_000_000
    ),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_floods_are_refused_quickly(kind: str) -> None:
    content = FLOODS[kind]()
    with cpu_within(2):
        with pytest.raises(TooComplex, match="too many"):
            check(content, max_pixels=MAX_PIXELS)
        with pytest.raises(TooComplex):
            make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


# Just as large, but harmless for the decoder.
HARMLESS: dict[str, Callable[[], bytes]] = {
    "scans up to the limit": lambda: more_scans(80),
    "bytes behind the end": lambda: grey_jpeg() + b"\xff\xda" * 2_000_000,
    "restart markers": lambda: grey_jpeg()[:-2] + b"\xff\xd0" * 2_000_000 + b"\xff\xd9",
    "fill bytes between segments": lambda: before_first_scan(b"\xff" * 60_000),
    "a large comment": lambda: before_first_scan(b"\xff\xfe\xff\xff" + bytes(65533)),
    "empty image data": lambda: png_with(b""),
    "unpacked text": lambda: png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))),
    "an unpacked profile": lambda: png_with(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000)))),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_looks_like_a_flood_and_is_none(kind: str) -> None:
    content = HARMLESS[kind]()
    with cpu_within(2):
        check(content, max_pixels=MAX_PIXELS)
        assert make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).width == 100


def test_fill_bytes_in_a_scan_cost_no_time() -> None:
    content = grey_jpeg()
    middle = content.index(b"\xff\xda") + 200
    content = content[:middle] + b"\xff" * 20_000_000 + content[middle:]
    with cpu_within(2), pytest.raises(UndecodablePicture):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


def declares(width: int, height: int) -> dict[str, bytes]:
    """Files of a few bytes that declare a size."""
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = encode(pictures.chart(), "WEBP")[12:]
    small = encode(Image.new("RGB", (32, 32)), "AVIF")
    size = struct.pack("<HH", width, height)
    return {
        "WebP canvas": b"RIFF\x1e\0\0\0WEBPVP8X" + struct.pack("<I", 10) + canvas + frame,
        "PNG": encode(pictures.chart(), "PNG").replace(
            struct.pack(">II", 240, 160), struct.pack(">II", width, height)
        ),
        "GIF": b"GIF89a" + size + bytes(3) + b"\x2c" + bytes(8) + b"\0\2\1\0\0;",
        "GIF frame": b"GIF89a" + bytes(7) + b"\x2c" + bytes(4) + size + b"\0",
        "BMP": pictures.bmp((width, -height), 24, 0, b"", b""),
        "TIFF": pictures.gray_tiff((width, height), 8, b""),
        "AVIF": small.replace(struct.pack(">II", 32, 32), struct.pack(">II", width, height)),
    }


@pytest.mark.parametrize("kind", declares(20_000, 20_000))
def test_too_many_pixels(kind: str) -> None:
    content = declares(20_000, 20_000)[kind]
    for use in (check, lambda content, max_pixels: make_thumbnail(content, SPEC, max_pixels=max_pixels)):
        with pytest.raises(TooManyPixels, match=r"20000 x 20000 pixels; at most"):
            use(content, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("source_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF"])
def test_the_limit_itself_is_accepted(source_format: str) -> None:
    content = encode(Image.new("RGB", (640, 480)), source_format)
    check(content, max_pixels=640 * 480)
    with pytest.raises(TooManyPixels, match=re.escape("640 x 480 pixels; at most 307,199 are accepted")):
        check(content, max_pixels=640 * 480 - 1)


def test_memory_of_a_format_limits_its_pixels() -> None:
    content = declares(9_500, 9_500)["WebP canvas"]
    with pytest.raises(TooManyPixels, match=r"9500 x 9500 pixels; at most 58 million .* this kind of WEBP"):
        check(content, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("compression", [6, 34712, 50001, 9999])
def test_odd_compressions_of_tiff_are_refused(compression: int) -> None:
    content = pictures.gray_tiff((10, 10), 8, bytes(100)).replace(
        struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, compression)
    )
    with pytest.raises(UnsupportedFormat, match="LZW or Deflate"):
        check(content, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\0\x08\1\1\0\0\0\0",
        grey_jpeg().replace(b"\xff\xc0", b"\xff\xc3"),
        grey_jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        encode(pictures.chart(), "PNG")[:33],
        encode(pictures.chart(), "PNG").replace(b"IHDR", b"iHDR"),
        encode(pictures.chart(), "PNG")[:24] + b"\3" + encode(pictures.chart(), "PNG")[25:],
        b"GIF89a\1\0\1\0\0\0\0;",
        b"BM" + bytes(60),
        b"\0\0\0\x10ftypavif\0\0\0\0",
        b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\4mdat",
        pictures.gray_tiff((10, 10), 8, b"").replace(struct.pack("<H", 273), struct.pack("<H", 9)),
    ],
)
def test_headers_that_make_no_sense(content: bytes) -> None:
    with pytest.raises(UndecodablePicture):
        headers.read(content)


def test_pictures_without_pixels() -> None:
    content = pictures.bmp((0, 10), 24, 0, b"", b"")
    with pytest.raises(UndecodablePicture, match="no pixels"):
        headers.read(content)


def test_a_heif_that_is_larger_than_it_declares_is_refused() -> None:
    """libheif refuses a coded picture beyond the declared size; whatever came through would be measured
    again."""
    content = encode(photo(640, 480), "HEIF")
    lying = content.replace(struct.pack(">II", 640, 480), struct.pack(">II", 64, 64))
    assert lying != content
    with pytest.raises(PictureError):
        make_thumbnail(lying, SPEC, max_pixels=MAX_PIXELS)


MEASURE = """
import re, resource, sys
from chalicelib.imaging import headers, make_thumbnail
from chalicelib.imaging import render
from chalicelib.spec import ThumbnailSpec
content = sys.stdin.buffer.read()
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux's ru_maxrss begins with what the process took that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
make_thumbnail(open(sys.argv[1], "rb").read(), ThumbnailSpec(), max_pixels=10**8)
before = peak()
make_thumbnail(content, ThumbnailSpec(), max_pixels=10**8)
print(peak() - before, headers.read(content)[1].memory())
"""
LARGE: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encode(large("RGB"), "JPEG"),
    "JPEG progressive, 4:4:4": lambda: encode(large("RGB"), "JPEG", progressive=True, subsampling="4:4:4"),
    "JPEG progressive, CMYK": lambda: encode(large("CMYK"), "JPEG", progressive=True),
    "PNG RGBA": lambda: encode(large("RGBA"), "PNG", compress_level=1),
    "PNG RGB interlaced": lambda: adam7(3000),
    "GIF": lambda: encode(large("L"), "GIF"),
    "WebP lossy": lambda: encode(large("RGB"), "WEBP", method=0),
    "WebP lossy with alpha": lambda: encode(large("RGBA"), "WEBP", method=0),
    "WebP lossless": lambda: encode(large("RGBA"), "WEBP", lossless=True, method=0, quality=0),
    "BMP": lambda: encode(large("RGB"), "BMP"),
    "TIFF of one strip": lambda: encode(
        large("RGBA"), "TIFF", compression="tiff_adobe_deflate", strip_size=1 << 30
    ),
    "AVIF": lambda: encode(large("RGB"), "AVIF", speed=10),
    "AVIF with alpha": lambda: encode(large("RGBA"), "AVIF", speed=10, subsampling="4:4:4"),
    "HEIC": lambda: encode(large("RGB"), "HEIF", enc_params={"preset": "ultrafast"}),
    "HEIC with alpha": lambda: encode(large("RGBA"), "HEIF", enc_params={"preset": "ultrafast"}),
    "HEIC of 10 bits with alpha": lambda: deep_heic(2000),
    "PNG of light": lambda: png_of_light(2000),
}


def large(mode: str, side: int = 3000) -> Image.Image:
    image = photo(side, side)
    if mode == "RGBA":
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image.convert(mode)


def deep_heic(side: int) -> bytes:
    image = large("RGBA", side)
    samples = Image.merge("LA", (image.getchannel("R"), image.getchannel("G"))).tobytes() * 4
    heif = pillow_heif.from_bytes(mode="RGBA;16", size=image.size, data=samples)
    out = BytesIO()
    heif.save(out, quality=50, chroma=444, enc_params={"preset": "ultrafast"})
    return out.getvalue()


def png_of_light(side: int) -> bytes:
    row = b"\0" + struct.pack(">4H", 20_000, 300, 50_000, 40_000) * side
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"gAMA", struct.pack(">I", 100_000))
    body += chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def adam7(side: int) -> bytes:
    rows = sum(
        len(range(top, side, down)) * (1 + 3 * len(range(left, side, across)))
        for left, top, across, down in ADAM7
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_memory_stays_below_its_estimate(kind: str, tmp_path: Path) -> None:
    content = LARGE[kind]()
    warm = tmp_path / "warm"
    warm.write_bytes(encode(Image.new("RGB", (64, 64)), headers.read(content)[0]))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, warm], input=content, capture_output=True, check=True
    )
    peak, estimate = map(int, done.stdout.split())
    assert estimate <= limits.MAX_MEMORY
    # What Python, a copy of the file and the buffers of the decoder take comes on top.
    assert peak <= estimate + len(content) * 2 + 16_000_000
