"""Rare layouts within their bounds: memory, time, and sizes that lie."""

import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
from PIL import Image

from chalicelib.errors import PictureError, TooComplex, TooManyPixels, UndecodablePicture, UnsupportedFormat
from chalicelib.imaging import check, headers, limits, make_thumbnail
from chalicelib.imaging.decoders import libtiff
from chalicelib.imaging.headers import tiff_pieces
from chalicelib.spec import ThumbnailSpec
from tests import tiffs
from tests.cost import cpu_within
from tests.inside import without_library
from tests.pictures import chunk, encode, photo
from tests.test_imaging_bmp import MASKS, bmp
from tests.test_imaging_gif import gif
from tests.test_imaging_limits import MEASURE
from tests.tiff_pixels import SIZE
from tests.tiffs import Written, assemble, write

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()
SIDE = 3000
Tags = dict[int, tuple[str, tuple[int, ...]] | None]


def tags_of(how: Written, size: tuple[int, int], samples: int, rows: int) -> Tags:
    return {
        256: ("I", (size[0],)),
        257: ("I", (size[1],)),
        258: ("H", (how.bits,) * samples),
        259: ("H", (tiffs.COMPRESSIONS[how.compression],)),
        262: ("H", (how.photometric,)),
        277: ("H", (samples,)),
        284: ("H", (2 if how.separate else 1,)),
        338: ("H", how.extras) if how.extras else None,
        339: ("H", (how.sample_format,) * samples),
        **({322: ("I", (how.tile,)), 323: ("I", (how.tile,))} if how.tile else {278: ("I", (rows,))}),
        **how.tags,  # type: ignore[dict-item]
    }


def large_tiff(how: Written, samples: int = 1, rows: int = SIDE, row: bytes = b"") -> bytes:
    """A TIFF of 9 megapixels whose rows are all the same, or repeat `row`."""
    together = 1 if how.separate else samples
    size = SIDE * together * how.bits // 8
    row = (row * (size // len(row) + 1))[:size] if row else bytes(index * 7 % 251 for index in range(size))
    pieces = []
    for _ in range(samples if how.separate else 1):
        for top in range(0, SIDE, rows):
            data = row * min(rows, SIDE - top)
            pieces.append(zlib.compress(data, 1) if how.compression == "deflate" else data)
    return assemble(tags_of(how, (SIDE, SIDE), samples, rows), pieces, how)


FLOATS = pack("<7f", 0.1, 5.5, float("nan"), -3, float("inf"), 9, 2)
LARGE: dict[str, Callable[[], bytes]] = {
    "TIFF of 12 bits, one strip": lambda: large_tiff(Written(1, 12)),
    "TIFF of 12 bits, one packed strip": lambda: large_tiff(Written(1, 12, compression="deflate")),
    "TIFF of 10 bits, RGB": lambda: large_tiff(Written(2, 10), 3),
    "TIFF of 16 bits in planes": lambda: large_tiff(Written(2, 16, separate=True, compression="deflate"), 3),
    "TIFF in CMYK with alpha": lambda: large_tiff(Written(5, extras=(2,)), 5),
    "TIFF of L*a*b*, 16 bits": lambda: large_tiff(Written(8, 16), 3, rows=16),
    "TIFF of a palette and alpha, in planes": lambda: large_tiff(
        Written(3, extras=(2,), separate=True, tags={320: ("H", tuple(range(768)))}), 2
    ),
    "TIFF of floats": lambda: large_tiff(Written(1, 32, 3), row=FLOATS),
    "TIFF of floats, one packed strip": lambda: large_tiff(
        Written(1, 32, 3, compression="deflate"), row=FLOATS
    ),
    "TIFF of floats, RGB": lambda: large_tiff(Written(2, 32, 3, compression="deflate"), 3, 16, FLOATS),
    "TIFF of doubles": lambda: large_tiff(Written(1, 64, 3), row=pack("<3d", 1, 2, 3)),
    "TIFF of halves": lambda: large_tiff(Written(2, 16, 3), 3, row=pack("<3e", 1, 2, 3)),
    "TIFF of 32 bits": lambda: large_tiff(Written(1, 32)),
    "TIFF in YCbCr, one strip": lambda: large_tiff(
        Written(6, 8, tags={530: ("H", (2, 1)), 258: ("H", (8, 8, 8)), 277: ("H", (3,))}), 2
    ),
    "TIFF of a tile larger than its picture": lambda: large_tile(8, 1, zlib.compress(bytes(SIDE * SIDE))),
    "TIFF of a tile in several scans": lambda: large_tile(
        7, 3, encode(photo(SIDE, SIDE), "JPEG", progressive=True, subsampling="4:4:4")
    ),
    "PNG with a transparent colour of 16 bits": lambda: keyed_png(SIDE),
    "GIF with a small frame": lambda: gif((5, 5, 2500, 2500), canvas=(SIDE, SIDE)),
    "BMP of odd masks": lambda: (
        bmp(lambda *_: 0, 32, compression=3, masks=MASKS["10 10 10"][1], size=(SIDE, 1))[: -SIDE * 4].replace(
            pack("<ii", SIDE, 1), pack("<ii", SIDE, SIDE)
        )
        + bytes(range(250)) * (SIDE * SIDE * 4 // 250)
    ),
    "JPEG without its end": lambda: encode(photo(SIDE, SIDE), "JPEG")[:-2],
    "progressive JPEG without its end": lambda: encode(
        photo(SIDE, SIDE), "JPEG", progressive=True, subsampling="4:4:4"
    )[:-2],
}


def large_tile(compression: int, samples: int, data: bytes) -> bytes:
    """A TIFF of 16 x 16 pixels in a tile of 9 megapixels."""
    how = Written({1: 1, 3: 6}[samples], tile=SIDE, tags={259: ("H", (compression,)), 530: ("H", (1, 1))})
    return assemble(tags_of(how, (16, 16), samples, 1), [data], how)


def keyed_png(side: int) -> bytes:
    row = b"\0" + bytes(index % 256 for index in range(side * 6))
    body = chunk(b"IHDR", pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)) + chunk(b"tRNS", b"\0\1\2\3\4\5")
    body += chunk(b"IDAT", zlib.compress(row * side, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_memory_stays_below_its_estimate(kind: str, tmp_path: Path) -> None:
    content = LARGE[kind]()
    source_format, header = headers.read(content)
    warm = tmp_path / "warm"
    small = write(SIZE, lambda x, y: (x, y, 7), Written(2, 12))
    warm.write_bytes(small if source_format == "TIFF" else encode(Image.new("RGB", (64, 64)), source_format))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, warm], input=content, capture_output=True, check=True
    )
    peak, estimate = map(int, done.stdout.split())
    assert estimate == header.memory() <= limits.MAX_MEMORY
    # What Python, a copy of the file and the buffers of the decoder take comes on top.
    assert peak <= estimate + len(content) * 2 + 16_000_000


def overlapping(
    how: Written, size: tuple[int, int], samples: int, count: int, data: bytes, rows: int = 1
) -> bytes:
    """A TIFF all of whose strips or tiles are the same bytes."""
    content = assemble(tags_of(how, size, samples, rows), [data] + [b""] * (count - 1), how)
    offset, places = 8, ("I", count)
    first = pack(f"<{count}I", offset, *[offset + len(data)] * (count - 1))
    lengths = pack(f"<{count}I", len(data), *[0] * (count - 1))
    assert content.count(first) == content.count(lengths) == 1, places
    return content.replace(first, pack("<I", offset) * count).replace(lengths, pack("<I", len(data)) * count)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "tiles of 16, floats": lambda: overlapping(
        Written(1, 32, 3, tile=16), (3200, 3200), 1, 40_000, bytes(1024)
    ),
    "tiles of 16, 12 bits": lambda: overlapping(Written(1, 12, tile=16), (3200, 3200), 1, 40_000, bytes(384)),
    "strips of a row": lambda: overlapping(Written(1, 12), (90, 40_000), 1, 40_000, bytes(135)),
    "strips of a row, in planes": lambda: overlapping(
        Written(2, 12, separate=True), (90, 13_000), 3, 39_000, bytes(135)
    ),
    "a column": lambda: overlapping(Written(1, 12), (1, 9_000_000), 1, 1, bytes(18_000_000), 9_000_000),
    "a row": lambda: overlapping(Written(1, 12), (9_000_000, 1), 1, 1, bytes(13_500_000)),
    "YCbCr tiles of 16": lambda: overlapping(
        Written(6, 8, tile=16, tags={530: ("H", (2, 2))}), (3200, 3200), 3, 40_000, bytes(384)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_many_pieces_take_a_bounded_time(kind: str) -> None:
    content = HOSTILE[kind]()
    with cpu_within(8):
        assert make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).content


def lying(**changed: tuple[str, tuple[int, ...]] | None) -> bytes:
    """A TIFF of 21 x 18 pixels of 12 bits, some of whose tags say something else."""
    numbers = {
        "width": 256,
        "height": 257,
        "bits": 258,
        "samples": 277,
        "rows": 278,
        "strips": 273,
        "lengths": 279,
    }
    numbers |= {"tile_width": 322, "tile_height": 323, "format": 339, "subsampling": 530, "photometric": 262}
    tags = {numbers[name]: value for name, value in changed.items()}
    return write(SIZE, lambda x, y: (x * y % 4096,), Written(1, 12, tags=tags))


REFUSED: dict[str, tuple[Callable[[], bytes], type[PictureError], str]] = {
    "no rows in a strip": (lambda: lying(rows=("I", (0,))), UndecodablePicture, "decoded"),
    "rows beyond the file": (
        lambda: lying(height=("I", (4000,)), rows=("I", (4000,))), UndecodablePicture, "decoded"
    ),
    "columns beyond the file": (lambda: lying(width=("I", (4000,))), UndecodablePicture, "decoded"),
    "fewer strips than rows": (
        lambda: lying(height=("I", (90,)), rows=("I", (18,))), UndecodablePicture, "decoded"
    ),
    "samples beyond reason": (
        lambda: lying(samples=("H", (60_000,)), bits=("H", (12,))), UndecodablePicture, "decoded"
    ),
    "bits that differ": (
        lambda: lying(samples=("H", (3,)), bits=("H", (5, 6, 5))), UnsupportedFormat, "8 or 16"
    ),
    "no bits": (lambda: lying(bits=("H", (0,))), UnsupportedFormat, "8 or 16"),
    "bits beyond reason": (lambda: lying(bits=("H", (60_000,))), UnsupportedFormat, "8 or 16"),
    "integers of 64 bits": (lambda: lying(bits=("H", (64,))), UnsupportedFormat, "8 or 16"),
    "floats of 24 bits": (lambda: lying(bits=("H", (24,)), format=("H", (3,))), UnsupportedFormat, "8 or 16"),
    "complex numbers": (lambda: lying(bits=("H", (64,)), format=("H", (6,))), UnsupportedFormat, "8 or 16"),
    "LogLuv": (lambda: lying(photometric=("H", (32845,))), UnsupportedFormat, "8 or 16"),
    "a camera's raw": (lambda: lying(photometric=("H", (32803,))), UnsupportedFormat, "8 or 16"),
    "tiles without a height": (
        lambda: lying(tile_width=("I", (16,)), tile_height=("I", (0,))), UndecodablePicture, "decoded"
    ),
    "a tile beyond reason": (
        lambda: lying(tile_width=("I", (65536,)), tile_height=("I", (65536,))),
        TooManyPixels, "bytes of samples",
    ),
    "a tile beyond the memory": (
        lambda: lying(tile_width=("I", (26_000,)), tile_height=("I", (26_000,))), TooManyPixels, "21 x 18"
    ),
    "more tiles than there may be": (
        lambda: lying(
            width=("I", (9000,)), height=("I", (9000,)), tile_width=("I", (1,)), tile_height=("I", (1,))
        ),
        TooComplex, "too many strips or tiles",
    ),
    "subsampling by 0": (
        lambda: lying(
            photometric=("H", (6,)), samples=("H", (3,)), bits=("H", (8, 8, 8)), subsampling=("H", (0, 0))
        ),
        UndecodablePicture, "decoded",
    ),
    "fewer samples than colours": (lambda: lying(photometric=("H", (2,))), UndecodablePicture, "decoded"),
    "a palette without colours": (
        lambda: lying(photometric=("H", (3,)), bits=("H", (3,))), UndecodablePicture, "decoded"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_lies_is_refused(kind: str) -> None:
    make, error, sentence = REFUSED[kind]
    content = make()
    with pytest.raises(error, match=sentence):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


def test_a_directory_that_refers_to_itself_is_read_once() -> None:
    content = lying()
    directory = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[directory : directory + 2], "little")
    following = directory + 2 + 12 * count
    loop = content[:following] + content[4:8] + content[following + 4 :]
    assert make_thumbnail(loop, SPEC, max_pixels=MAX_PIXELS) == make_thumbnail(
        content, SPEC, max_pixels=MAX_PIXELS
    )


def test_samples_beyond_what_is_unpacked_are_refused_at_the_door() -> None:
    content = large_tiff(Written(1, 32, 3, tags={256: ("I", (9000,)), 257: ("I", (9000,)), 277: ("H", (4,))}))
    content = content.replace(pack("<HHII", 258, 3, 1, 32), pack("<HHII", 258, 3, 1, 32))
    with pytest.raises(TooManyPixels, match="bytes of samples; at most 1,100,000,000 are"):
        check(content, max_pixels=MAX_PIXELS)
    assert tiff_pieces.MAX_UNPACKED == 1_100_000_000


@pytest.mark.parametrize("size", [(64, 64), (640, 480)])
def test_a_jpeg_in_a_tiff_is_no_larger_than_the_tiff_says(size: tuple[int, int]) -> None:
    strip = encode(photo(3200, 2400), "JPEG")
    content = assemble(tags_of(Written(6), size, 3, size[1]) | {259: ("H", (7,))}, [strip], Written())
    with pytest.raises(UndecodablePicture):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


def webp(canvas: tuple[int, int], frame: bytes) -> bytes:
    size = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    body = b"WEBPVP8X" + pack("<IB3x", 10, 0) + size + frame[12:]
    return b"RIFF" + pack("<I", len(body)) + body


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("size", [(2000, 2000), (65, 64), (64, 65), (20, 20)])
def test_a_webp_that_has_another_size_than_its_canvas_is_refused(
    size: tuple[int, int], lossless: bool
) -> None:
    content = webp((64, 64), encode(Image.new("RGB", size), "WEBP", lossless=lossless))
    with pytest.raises(PictureError):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


def test_without_a_libtiff_rare_layouts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without_library(monkeypatch, libtiff)
    with pytest.raises(UndecodablePicture):
        make_thumbnail(lying(), SPEC, max_pixels=MAX_PIXELS)
    with pytest.raises(RuntimeError, match="no libtiff"):
        libtiff.File(lying(), most=1 << 20)
    assert make_thumbnail(encode(photo(50, 50), "TIFF"), SPEC, max_pixels=MAX_PIXELS).width == 50


def test_libtiff_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    content = write(SIZE, lambda x, y: (x * y % 4096,), Written(1, 12, compression="lzw"))
    for cut in range(20, len(content), 7):
        with pytest.raises(PictureError):
            make_thumbnail(content[:8] + bytes(cut - 8) + content[cut:], SPEC, max_pixels=MAX_PIXELS)
    assert capfd.readouterr() == ("", "")
