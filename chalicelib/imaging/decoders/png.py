"""PNG: unpacked, unfiltered and averaged a band of rows at a time.

Pillow decodes a PNG whole, with the system's zlib. Here a picture is never in memory as a whole, its rows
stay in the processor's cache from inflating to averaging, and ISA-L inflates them. Each band is handed to
Pillow's own PNG decoder as an uncompressed stream, so that filters and pixel layouts stay its business.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial, reduce
from io import BytesIO

from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

from chalicelib.imaging.decoders import unfilter
from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import Plans, plans
from chalicelib.imaging.headers.png import PngHeader
from chalicelib.imaging.shrink import Reducer, to_resizable
from chalicelib.imaging.spaces import SRGB, table
from chalicelib.spec import Specs

try:
    from isal.isal_zlib import decompressobj
except ImportError:
    from zlib import decompressobj  # type: ignore[assignment]  # the same interface

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_16_BITS, _BITS_OF_A_BYTE = 16, 8
_BAND_MODES = {
    (1, _GREY): ("P", "P;1"),
    (2, _GREY): ("P", "P;2"),
    (4, _GREY): ("P", "P;4"),
    (8, _GREY): ("L", "L"),
    (16, _GREY): ("LA", "LA"),  # the high and the low byte
    (8, _RGB): ("RGB", "RGB"),
    (1, _PALETTE): ("P", "P;1"),
    (2, _PALETTE): ("P", "P;2"),
    (4, _PALETTE): ("P", "P;4"),
    (8, _PALETTE): ("P", "P"),
    (8, _GREY_ALPHA): ("LA", "LA"),
    (16, _GREY_ALPHA): ("RGBA", "RGBA"),  # high and low byte of grey and alpha
    (8, 6): ("RGBA", "RGBA"),
}
"""By bit depth and colour type: Pillow's mode and layout in which a row goes in and, as the row before the
next band, comes out again unchanged."""
_MOST_STORED = 0xFFFF
"""Bytes of a block that is not compressed."""
_RAW = -15
"""zlib's number for deflate without a header and a checksum, of the largest window."""
_ZLIB_HEADER, _DEFLATE = 2, 8
_FINE_BANDS = 8
"""Times as many rows are in a band when each is looked up in a table of 65,536 numbers, which takes 5 ms to
hand over."""
_SLICE = 1 << 16
_MOST = 1 << 20
"""Bytes that are inflated in one step."""


def decode(header: PngHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode the default image of a PNG and shrink it."""
    wanted = plans(header.width, header.height, header.orientation, specs)
    small = whole(header, content, wanted) if header.whole else by_bands(header, content, wanted)
    space = header.space
    if space and header.exponent:
        space = replace(space, transfer=SRGB)  # `_meaning` has brought the samples to it
    return Decoded(small, wanted.size, header.orientation, header.profile, space=space)


def by_bands(header: PngHeader, content: bytes, wanted: Plans) -> list[Image.Image]:
    """Decode a band of rows at a time; buys about 45 % of the time of `whole`, and its memory.

    Raises:
        ValueError: there are not enough rows.
        zlib.error: the compressed data is damaged; ISA-L's error is a subclass.

    """
    reducer = _reducer(header, wanted, banded=True)
    # The filters of a row refer to the row above: each band starts with the last row of the one before,
    # unfiltered.
    above = b""
    for rows in _rows(header, content, reducer.band_rows):
        band, last = _band(header, above + rows)
        reducer.add(band, skip=1 if above else 0)
        above = b"\0" + last
    return reducer.finish()


def _band(header: PngHeader, filtered: bytes) -> tuple[Image.Image, bytes | memoryview]:
    """Return rows, each of which begins with its filter's byte, as a picture, and the last one's bytes."""
    mode, layout = _BAND_MODES[header.bit_depth, header.colour_type]
    size = (header.width, len(filtered) // (header.row_bytes + 1))
    stream = _stored(filtered)
    pixel_bytes = max(1, header.row_bytes // header.width)
    samples = unfilter.undone(stream, header.row_bytes, size[1], pixel_bytes)
    if samples is None and header.bit_depth < _BITS_OF_A_BYTE:
        # The bits that fill up a row's last byte count for the row below; Pillow's pixels lack them.
        packed = Image.frombytes("L", (header.row_bytes, size[1]), stream, "zip", "L", 0)
        samples = memoryview(packed.tobytes())
    if samples is not None:
        return Image.frombytes(mode, size, samples, "raw", layout), samples[-header.row_bytes :]
    band = Image.frombytes(mode, size, stream, "zip", layout, 0)
    return band, band.crop((0, size[1] - 1, *size)).tobytes("raw", layout)


def _reducer(header: PngHeader, wanted: Plans, *, banded: bool) -> Reducer:
    reducer = Reducer(wanted, partial(_meaning, header, banded=banded))
    if header.fine:
        reducer.band_rows *= _FINE_BANDS
    return reducer


def whole(header: PngHeader, content: bytes, wanted: Plans) -> list[Image.Image]:
    """Decode the picture in one piece: interlaced ones, and the rare 16-bit RGB."""
    stripped = [content[:33]]
    if header.palette:
        stripped.append(_chunk(b"PLTE", header.palette))
    stripped += [content[start - 8 : end + 4] for start, end in header.data]
    stripped.append(_chunk(b"IEND", b""))
    try:
        image = _decoded(stripped)
    except OSError:
        end = _end_of_deflate(header, content)
        compressed = b"".join(content[start:end] for start, end in header.data)[:end]
        stripped = [*stripped[: -len(header.data) - 1], _chunk(b"IDAT", compressed), stripped[-1]]
        image = _decoded(stripped)
    coloured = header.colour_type in {_RGB, _RGB_ALPHA}
    low = _decoded(stripped, low_bytes=True) if header.keyed or (header.fine and coloured) else None
    reducer = _reducer(header, wanted, banded=False)
    for top in range(0, image.height, reducer.band_rows):
        box = (0, top, image.width, min(top + reducer.band_rows, image.height))
        band = image.crop(box)
        if low is not None:
            band = _with_low_bytes(header, band, low.crop(box))
        reducer.add(band)
    return reducer.finish()


def _decoded(chunks: list[bytes], *, low_bytes: bool = False) -> Image.Image:
    """Decode in one piece; of samples of 16 bits the high bytes, or the low ones."""
    with PngImageFile(BytesIO(b"".join(chunks))) as image:
        if low_bytes:
            image.tile = [tile._replace(args=f"{image.mode};16L") for tile in image.tile]
        image.load()
        return image


def _with_low_bytes(header: PngHeader, high: Image.Image, low: Image.Image) -> Image.Image:
    """Return colours of 16 bits, of which these are the bytes, with all of those taken into account."""
    visible = _visible(header, high, low) if header.keyed else None
    if header.fine:
        samples = [_of_16_bits(header, *pair) for pair in zip(high.split(), low.split(), strict=True)]
        if high.mode == "RGBA":
            samples[-1] = high.getchannel("A")
        high = Image.merge(high.mode, samples)
    if visible is not None:
        high.putalpha(visible)
    return high


def _of_16_bits(header: PngHeader, high: Image.Image, low: Image.Image) -> Image.Image:
    """Return samples of 16 bits, of which these are the bytes, in sRGB."""
    both = Image.frombytes("I;16B", high.size, Image.merge("LA", (high, low)).tobytes())
    return both.convert("I").point(table(header.exponent or 1, 1 << _16_BITS), "L")


def _visible(header: PngHeader, high: Image.Image, low: Image.Image) -> Image.Image:
    """Return 0 where a colour of 16 bits a sample, of which these are the bytes, is the transparent one."""
    # High and low byte of red, of green and of blue, as the key has them.
    samples = [sample for pair in zip(high.split(), low.split(), strict=True) for sample in pair]
    return reduce(ImageChops.lighter, map(_differs, samples, header.transparency[:6]))


def _rows(header: PngHeader, content: bytes, band_rows: int) -> Iterator[bytes]:
    """Yield the filtered rows in bands of `band_rows`, each row with its filter's byte before it."""
    row = header.row_bytes + 1
    missing = header.height * row
    rows = bytearray()
    for piece in _inflated(header, content):
        rows += piece
        while missing and len(rows) >= (wanted := min(band_rows * row, missing)):
            yield bytes(memoryview(rows)[:wanted])
            del rows[:wanted]
            missing -= wanted
        if not missing:
            return
    raise ValueError("There are not enough rows.")


def _inflated(header: PngHeader, content: bytes) -> Iterator[bytes]:
    """Yield the image data, at most `_MOST` bytes in one part."""
    inflater = decompressobj(wbits=_RAW)
    for part in _deflated(header, content):
        compressed: bytes | memoryview = part
        while compressed:
            yield inflater.decompress(compressed, _MOST)
            compressed = inflater.unconsumed_tail
    yield inflater.flush()


def _deflated(header: PngHeader, content: bytes) -> Iterator[memoryview]:
    """Yield the image data as they are compressed, without the two bytes of zlib's header (RFC 1950, 2.2).

    The checksum at the end is not compared: without a header, what inflates does not expect one. Pictures are
    known whose checksum alone is wrong.

    Raises:
        ValueError: zlib's header is damaged, or asks for a dictionary.

    """
    view = memoryview(content)
    head = b""
    for start, end in header.data:
        missing = min(_ZLIB_HEADER - len(head), end - start)
        if missing:
            head += view[start : start + missing]
            if len(head) == _ZLIB_HEADER and (
                head[0] & 0xF != _DEFLATE or head[1] & 0x20 or int.from_bytes(head) % 31
            ):
                raise ValueError("This is not zlib's header.")
        for at in range(start + missing, end, _SLICE):
            yield view[at : min(at + _SLICE, end)]


def _end_of_deflate(header: PngHeader, content: bytes) -> int:
    """Return how many bytes of image data there are before zlib's checksum.

    Raises:
        ValueError: the data go on beyond the rows of the picture, or end before.
        zlib.error: the compressed data are damaged.

    """
    inflater = decompressobj(wbits=_RAW)
    # Of an interlaced picture, each of seven parts has its own rows, each with a byte for the filter.
    most = header.height * (header.row_bytes + 16) + 7 * header.height
    taken, end = 0, _ZLIB_HEADER
    for part in _deflated(header, content):
        end += len(part)
        compressed: bytes | memoryview = part
        while compressed and not inflater.eof:
            taken += len(inflater.decompress(compressed, _MOST))
            compressed = inflater.unconsumed_tail
        if inflater.eof:
            return end - len(inflater.unused_data)
        if taken > most:
            break
    raise ValueError("The image data do not end where the rows do.")


def _stored(data: bytes) -> bytes:
    """Write a zlib stream of blocks that are not compressed (RFC 1950, RFC 1951 3.2.4).

    `zlib.compress(data, 0)` would do, but for the checksum at the end, which it computes and Pillow never
    reads: it has all its rows by then.
    """
    view = memoryview(data)
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(data), _MOST_STORED):
        block = view[start : start + _MOST_STORED]
        parts += (struct.pack("<BHH", 0, len(block), len(block) ^ _MOST_STORED), block)
    return b"".join(parts)


def _meaning(header: PngHeader, band: Image.Image, *, banded: bool) -> Image.Image:
    """Turn stored samples into colours and alpha, in a mode whose pixels can be averaged."""
    if header.colour_type == _PALETTE:
        band.putpalette(header.palette[: len(header.palette) // 3 * 3])
        if header.transparency:
            band.info["transparency"] = header.transparency
    elif header.colour_type == _GREY:
        band = _grey(header, band)
    elif header.colour_type == _GREY_ALPHA and band.mode == "RGBA":
        # By bands, these are the high and the low byte of each; Pillow has grey three times before alpha.
        grey, low, alpha, _ = band.split()
        grey = _of_16_bits(header, grey, low) if header.fine and banded else grey
        band = Image.merge("LA", (grey, alpha if banded else band.getchannel(3)))
    elif header.colour_type == _RGB and header.transparency and not header.keyed:
        differing = [
            _differs(band.getchannel(index), key) for index, key in enumerate(header.transparency[1:6:2])
        ]
        band = Image.merge("RGBA", (*band.split(), reduce(ImageChops.lighter, differing)))
    return to_resizable(_without_gamma(header, band, banded=banded))


def _without_gamma(header: PngHeader, band: Image.Image, *, banded: bool) -> Image.Image:
    """Bring samples of a power law to sRGB, alpha as it is: before they are averaged, so that darks last."""
    done = header.fine and (header.colour_type != _GREY_ALPHA or banded)
    if header.exponent is None or done:
        return band
    if band.mode == "P":
        band = band.convert("RGBA" if "transparency" in band.info else "RGB")
    colours = len(band.getbands()) - ("A" in band.getbands())
    curve = table(header.exponent, 256) * colours
    return band.point([*curve, *range(256)] if "A" in band.getbands() else list(curve))


def _grey(header: PngHeader, band: Image.Image) -> Image.Image:
    """Scale grey samples to 8 bits; where one of them is the colour that is transparent, add alpha."""
    most = (1 << min(header.bit_depth, 8)) - 1
    low = None
    if header.bit_depth == _16_BITS:
        if band.mode != "LA":
            band = Image.frombytes("LA", band.size, band.tobytes("raw", "I;16B"))
        band, low = band.split()
    elif band.mode == "P":
        band = band.point([min(index, most) * 255 // most for index in range(256)], "L")
    band = band.convert("L")
    grey = _of_16_bits(header, band, low) if header.fine and low is not None else band
    if not header.transparency:
        return grey
    key = int.from_bytes(header.transparency[:2], "big")
    if low is None:
        visible = _differs(band, key * 255 // most)
    else:
        visible = ImageChops.lighter(_differs(band, key >> 8), _differs(low, key & 0xFF))
    return Image.merge("LA", (grey, visible))


def _differs(samples: Image.Image, key: int) -> Image.Image:
    """Return 0 where a sample is the key, 255 elsewhere."""
    return samples.point([0 if value == key else 255 for value in range(256)])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))
