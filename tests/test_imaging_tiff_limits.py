"""TIFFs whose numbers ask for more work than the file is worth: shared strips, large tiles, long tags."""

import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from struct import pack
from typing import Any

import pytest
from PIL import Image

from chalicelib.errors import (
    PictureError,
    TooComplex,
    TooManyPixels,
    UndecodablePicture,
    UnsupportedFormat,
)
from chalicelib.imaging import check, headers, make_thumbnail
from chalicelib.imaging.decoders import tiff as decoder
from chalicelib.imaging.headers import tiff, tiff_pieces
from chalicelib.imaging.headers.tiff import TiffHeader
from chalicelib.spec import ThumbnailSpec
from tests.pictures import encode, photo
from tests.test_imaging_rare_limits import overlapping, tags_of
from tests.tiffs import Written, assemble

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()
GREY = (90, 90, 90)


def header_of(content: bytes) -> TiffHeader:
    header = headers.read(content)[1]
    assert isinstance(header, TiffHeader)
    return header


def colours(content: bytes) -> set[Any]:
    thumbnail = Image.open(BytesIO(make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).content))
    return {colour for _, colour in thumbnail.getcolors() or []}


# Strips and tiles that share their bytes.


class Scanned(bytes):
    """A file that counts the bytes of it that are searched."""

    total = 0

    def count(self, *arguments: Any) -> int:
        _, start, end = arguments
        self.total += end - start
        return super().count(*arguments)


def jpeg(side: int) -> bytes:
    return encode(Image.new("RGB", (side, side), GREY), "JPEG", quality=95)


def jpeg_tiles(count: int, data: bytes) -> bytes:
    """A TIFF of tiles of 16 x 16, in rows of 10, that are all the same JPEG."""
    how = Written(6, tile=16, tags={259: ("H", (7,))})
    return overlapping(how, (160, count * 16 // 10), 3, count, data)


def test_strips_that_are_all_the_whole_file_are_not_searched() -> None:
    content = Scanned(jpeg_tiles(5000, jpeg(16) + bytes(1_000_000)))
    with pytest.raises(TooComplex, match="too many overlapping strips or tiles"):
        tiff.read(content)
    assert content.total == 0


def test_tiles_that_share_a_jpeg_are_searched_once() -> None:
    data = jpeg(16)
    content = Scanned(jpeg_tiles(5000, data))
    assert tiff.read(content).height == 8000
    assert content.total == len(data)
    found = colours(bytes(content))
    assert all(abs(one - other) <= 2 for colour in found for one, other in zip(colour, GREY, strict=True))


def padded(compression: str, data: bytes, size: int) -> bytes:
    """Compress data, behind `size` bytes that the decoder has to pass over and that mean nothing."""
    if compression == "packbits":
        assert len(data) <= 128
        return b"\x80" * size + bytes((len(data) - 1,)) + data
    return b"\x78\1" + b"\0\0\0\xff\xff" * (size // 5) + zlib.compress(data)[2:]


@pytest.mark.parametrize("bits", [8, 12], ids=["by Pillow", "by samples"])
@pytest.mark.parametrize("compression", ["deflate", "packbits"])
def test_strips_of_padding_that_all_share_are_refused(compression: str, bits: int) -> None:
    how = Written(1, bits, compression=compression)
    strip = padded(compression, bytes([0x5A] * (64 * bits // 8)), 1_000_000)
    make_thumbnail(overlapping(how, (64, 50), 1, 50, strip), SPEC, max_pixels=MAX_PIXELS)
    content = overlapping(how, (64, 200), 1, 200, strip)
    with pytest.raises(TooComplex, match="too many overlapping strips or tiles"):
        check(content, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("bits", [8, 16, 12], ids=str)
@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_blank_tiles_that_are_stored_once(compression: str, bits: int) -> None:
    """As writers of maps do it, here for all of 6400 tiles."""
    tile = bytes([0x77]) * (64 * 64 * bits // 8)
    how = Written(1, bits, tile=64, compression=compression)
    data = zlib.compress(tile) if compression == "deflate" else tile
    content = overlapping(how, (64 * 80, 64 * 80), 1, 6400, data)
    check(content, max_pixels=MAX_PIXELS)
    assert colours(content) == {(0x77,) * 3}


def test_a_hundred_thousand_tiles_may_be_the_same() -> None:
    assert tiff_pieces.MAX_PIECES * len(zlib.compress(bytes(256 * 256 * 3))) <= tiff_pieces.SPARE
    how = Written(1, 8, tile=16, compression="deflate")
    content = overlapping(how, (16 * 1000, 16 * 100), 1, 100_000, zlib.compress(bytes(256)))
    assert check(content, max_pixels=MAX_PIXELS) is not None


@pytest.mark.parametrize("stored", [{"tile": 16}, {}], ids=["tiles", "strips"])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_piece_that_was_never_stored_is_not_read_from_the_header(
    stored: dict[str, Any], samples: int, bits: int
) -> None:
    """As GDAL writes a blank one with SPARSE_OK."""
    how = Written(2 if samples == 3 else 1, bits, **stored)
    piece = bytes([0x77]) * (16 * 16 * samples * bits // 8)
    content = assemble(tags_of(how, (16, 64), samples, 16), [piece] * 4, how)
    starts = [8 + number * len(piece) for number in range(4)]
    sparse = content.replace(pack("<4I", *starts), pack("<4I", starts[0], 0, *starts[2:]))
    assert sparse != content
    assert colours(content) == {(0x77,) * 3}
    with pytest.raises(UndecodablePicture):
        make_thumbnail(sparse, SPEC, max_pixels=MAX_PIXELS)


# More, or larger, strips and tiles than the page needs.


def test_strips_beyond_the_page_are_not_decoded() -> None:
    """Pillow would start again from the first row on."""
    content = overlapping(Written(1), (64, 100), 1, 500, bytes(64 * 60), rows=60)
    assert len(header_of(content).tags[273]) == len(header_of(content).tags[279]) == 2


def test_of_strips_and_tiles_only_those_that_are_meant_are_left() -> None:
    """libtiff takes the last ones, whatever the others say: they have to be those that were looked at."""
    how = Written(1, tile=16, compression="deflate")
    tags = tags_of(how, (16, 16), 1, 16) | {273: ("I", (8,)), 279: ("I", (4,))}
    assert set(header_of(assemble(tags, [zlib.compress(bytes(256))], how)).tags) & {273, 279, 324, 325} == {
        324,
        325,
    }
    how = Written(1, compression="deflate")
    tags = tags_of(how, (16, 16), 1, 16) | {324: ("I", (8,)), 325: ("I", (4,))}
    assert set(header_of(assemble(tags, [zlib.compress(bytes(256))], how)).tags) & {273, 279, 324, 325} == {
        273,
        279,
    }


def tiles_of(side: int, size: tuple[int, int], count: int) -> bytes:
    how = Written(1, tile=side, compression="deflate")
    return assemble(tags_of(how, size, 1, 1), [zlib.compress(bytes(9))] * count, how)


def test_tiles_that_unpack_to_more_than_is_read_are_refused() -> None:
    with pytest.raises(TooManyPixels, match="1,342,177,280 bytes of samples; at most 1,100,000,000 are"):
        check(tiles_of(16384, (10, 16384 * 4 + 1), 5), max_pixels=MAX_PIXELS)


def test_a_tile_larger_than_its_picture_counts_for_memory() -> None:
    assert header_of(tiles_of(16384, (10, 10), 1)).memory() == 10 * 10 * 4 + 16384 * 16384
    with pytest.raises(TooManyPixels, match="10 x 10"):
        check(tiles_of(32_000, (10, 10), 1), max_pixels=MAX_PIXELS)
    assert header_of(encode(photo(50, 40), "TIFF")).memory() == 50 * 40 * 8


@pytest.mark.parametrize(
    ("compression", "bits", "side"), [(8, 8, 34_000), (7, 8, 34_000), (4, 1, 94_000), (3, 1, 94_000)]
)
def test_a_tile_of_any_compression_has_a_bounded_size(compression: int, bits: int, side: int) -> None:
    how = Written(1, bits, tile=side, tags={259: ("H", (compression,))})
    with pytest.raises(TooManyPixels, match="bytes of samples; at most 1,100,000,000 are"):
        check(assemble(tags_of(how, (16, 16), 1, 1), [bytes(9)], how), max_pixels=MAX_PIXELS)
    how = Written(1, bits, tile=1, tags={259: ("H", (compression,))})
    with pytest.raises(TooComplex, match="too many strips or tiles"):
        check(assemble(tags_of(how, (1000, 101), 1, 1), [bytes(9)], how), max_pixels=MAX_PIXELS)


def jpeg_tile(*, progressive: bool, planes: int = 1) -> TiffHeader:
    data = encode(Image.new("RGB" if planes == 1 else "L", (320, 320)), "JPEG", progressive=progressive)
    how = Written(6, tile=320, tags={259: ("H", (7,))})
    if planes > 1:
        how = Written(1, extras=(2,), separate=True, tile=320, tags={259: ("H", (7,))})
    samples = 3 if planes == 1 else planes
    return header_of(assemble(tags_of(how, (16, 16), samples, 1), [data] * planes, how))


def test_the_coefficients_of_several_scans_count_for_memory() -> None:
    """A tile of 13,000 x 13,000 in a file of 2 MB took 1.5 GB."""
    assert jpeg_tile(progressive=False).memory() == 16 * 16 * 4 + 320 * 320 * 4
    assert jpeg_tile(progressive=True).memory() == 16 * 16 * 4 + 320 * 320 * 4 * 3
    once, several = (jpeg_tile(progressive=progressive, planes=2) for progressive in (False, True))
    assert several.memory() - once.memory() == 320 * 320 * 2


def test_wide_rows_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps, Pillow would copy all of the row that it has at each step."""
    reads = []

    class Counting(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(size)
            return super().read(size)

    monkeypatch.setattr(decoder, "BytesIO", Counting)
    how = Written(1, tags={322: ("I", (4_000_000,)), 323: ("I", (2,))}, tile=2)
    make_thumbnail(overlapping(how, (2, 20), 1, 10, bytes(8_000_000)), SPEC, max_pixels=MAX_PIXELS)
    assert 0 < len(reads) < 100


# Tags of more values than they need, which may all be the same bytes.

KINDS = {3: 2, 4: 4, 6: 1, 7: 1, 16: 8}
"""Bytes of a value by its kind: SHORT, LONG, SBYTE, UNDEFINED, and BigTIFF's LONG8."""


def repeated(tags: dict[int, tuple[int, int]], size: int = 5_000_000, **changed: int) -> bytes:
    """A TIFF of 1000 x 1000 grey pixels with further tags, by number: their kind and how many values.

    Those that do not fit into the directory are all at the same place, whose bytes are 0x90.
    """
    one = {256: 1000, 257: 1000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1000, 279: 1000}
    one |= {int(name[1:]): value for name, value in changed.items()}
    entries = {number: (4, 1, value) for number, value in one.items()}
    entries |= {number: (kind, count, 1000) for number, (kind, count) in tags.items()}
    directory = b"".join(pack("<2H2I", number, *entries[number]) for number in sorted(entries))
    return (
        (b"II*\0" + pack("<IH", 8, len(entries)) + directory + bytes(4))
        .ljust(1000, b"\0")
        .ljust(size, b"\x90")
    )


def peak_of(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_anyhow(content: bytes) -> None:
    with suppress(PictureError):
        headers.read(content)


MOST = 4 << 20
SHORT = [258, 266, 274, 284, 317, 322, 323, 338, 339, 530, 42113]
"""Tags of few values."""


@pytest.mark.parametrize("number", SHORT)
@pytest.mark.parametrize("kind", [6, 7])
def test_no_more_values_are_read_than_a_tag_needs(number: int, kind: int) -> None:
    content = repeated({number: (kind, MOST)})
    assert peak_of(lambda: read_anyhow(content)) < 100_000


@pytest.mark.parametrize("kind", KINDS)
def test_many_tags_of_many_values_take_little_memory(kind: int) -> None:
    count = min(4_999_000 // KINDS[kind], MOST)
    content = repeated(dict.fromkeys([*SHORT, 280, 292, 293, 347, 34675], (kind, count)))
    # A profile and the tables of JPEG may take what they take in the file.
    assert peak_of(lambda: read_anyhow(content)) < 2 * len(content) + 1_000_000


def test_strips_tiles_and_a_palette_at_their_most_take_little_memory() -> None:
    pieces = dict.fromkeys((273, 279, 324, 325), (16, tiff_pieces.MAX_PIECES))
    content = repeated({**pieces, 320: (3, 3 << 16)})
    assert peak_of(lambda: headers.read(content)) < 40_000_000


@pytest.mark.parametrize(
    ("number", "kind", "most", "what"),
    [
        *((number, 3, tiff_pieces.MAX_PIECES, "strips or tiles") for number in (273, 279, 324, 325)),
        (320, 3, 3 << 16, "values in a tag"),
        *((number, 7, MOST, "values in a tag") for number in (258, 338, 347)),
    ],
)
def test_tags_of_too_many_values_are_refused(number: int, kind: int, most: int, what: str) -> None:
    with pytest.raises(TooComplex, match=f"too many {what}"):
        check(repeated({number: (kind, most + 1)}), max_pixels=MAX_PIXELS)
    with suppress(TooManyPixels, UnsupportedFormat):
        check(repeated({number: (kind, most)}), max_pixels=MAX_PIXELS)


def test_tables_of_jpeg_are_copied_as_they_are() -> None:
    content = repeated({347: (7, MOST)}, t259=7)
    header = header_of(content)
    assert header.tags[347] == b"\x90" * MOST
    assert peak_of(lambda: header.stripped(content)) < 2 * len(content) + 3 * MOST


def test_bytes_that_are_stored_as_numbers_are_left_out() -> None:
    as_bytes, as_numbers = (header_of(repeated({347: (kind, 40), 34675: (kind, 40)})) for kind in (7, 3))
    assert (as_bytes.profile, as_bytes.tags[347]) == (b"\x90" * 40,) * 2
    assert as_numbers.profile is None
    assert 347 not in as_numbers.tags
