"""TIFF 6.0 and BigTIFF: the first page, rewritten without anything that decoding does not need."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalicelib.errors import TooManyPixels, UnsupportedFormat
from chalicelib.imaging.headers.header import Header, too_complex, undecodable

MAX_PIXELS = 89_000_000
"""From 89.5 million on, Pillow's TIFF plugin warns of a decompression bomb; only a global would silence
it."""
MAX_TAGS = 1_000
MAX_PIECES = 100_000
"""Strips or tiles; each costs Pillow some microseconds."""
MAX_SCANS = 10
"""Scans in a strip or tile that is compressed as JPEG; TIFF allows only sequential JPEG, of 3 or 4 scans."""

_LAYOUTS = {43: ("Q", 8, 8), 42: ("H", 4, 2)}
"""By the header's number: format of an IFD's count, size of an offset, size of the count."""
_KINDS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_BYTE_KINDS = {1, 7}
_LONG, _SHORT, _UNDEFINED = 4, 3, 7

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _STRIP_BYTES, _PLANES = 273, 274, 277, 279, 284
_TILES, _TILE_BYTES, _TABLES, _PROFILE = 324, 325, 347, 34675
_SINGLE = {_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, 266, _SAMPLES, 278, _PLANES, 292, 293, 317, 322, 323}
"""Tags of one value. Beside those named: FillOrder, RowsPerStrip, T4Options, T6Options, Predictor, TileWidth
and TileLength."""
_SEVERAL = {_BITS, _STRIPS, _STRIP_BYTES, 320, _TILES, _TILE_BYTES, 338, 339, 530}
"""Beside those named: ColorMap, ExtraSamples, SampleFormat and YCbCrSubSampling."""
_STORED = dict.fromkeys((_BITS, 320, 338, 339, 530), (_SHORT, "H")) | {_TABLES: (_UNDEFINED, "B")}
"""Kind and `struct` code of the tags that are not stored as LONG."""
_WANTED = _SINGLE | _SEVERAL | {_ORIENTATION, _TABLES, _PROFILE}
_JPEG = 7
_COMPRESSIONS = {1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000}
"""None, CCITT (3), LZW, JPEG, Deflate, PackBits, Deflate's old number, LZMA and Zstandard. Not: the JPEG of
TIFF 5, whose decoder is a collection of workarounds, nor JPEG 2000, WebP and LERC, which scanners do not
write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffHeader(Header):
    """The first page of a TIFF.

    `inverted` says that 0 is white, which Pillow sees to itself but for 16 bits; `order` is the bytes' order
    as `struct` spells it; `tags` are those that decoding needs and no other, not even the orientation: what
    decodes them turns nothing.
    """

    inverted: bool
    order: str
    tags: Mapping[int, Sequence[int]]

    def memory(self) -> int:
        """Count at most 4 bytes a pixel for Pillow's picture and as many, at most, for a strip or tile."""
        return self.pixels * 8

    def stripped(self, content: bytes) -> bytes:
        """Return a TIFF of the first page alone, so that no parser has to deal with anything else.

        A new IFD is appended to the file and its header points there: the data stays where the offsets say.
        """
        ifd = len(content) + len(content) % 2
        values_at = ifd + 2 + 12 * len(self.tags) + 4
        entries, values = b"", b""
        for tag, numbers in sorted(self.tags.items()):
            kind, code = _STORED.get(tag, (_LONG, "I"))
            packed = struct.pack(f"{self.order}{len(numbers)}{code}", *numbers)
            entries += struct.pack(self.order + "HHI", tag, kind, len(numbers))
            if len(packed) <= 4:  # noqa: PLR2004 - what fits an entry stands in it
                entries += packed.ljust(4, b"\0")
            else:
                entries += struct.pack(self.order + "I", values_at + len(values))
                values += packed + bytes(len(packed) % 2)
        header = content[:2] + struct.pack(self.order + "HI", 42, ifd)
        padding = bytes(ifd - len(content))
        directory = struct.pack(self.order + "H", len(self.tags)) + entries + bytes(4)
        return b"".join((header, memoryview(content)[8:], padding, directory, values))


def read(content: bytes) -> TiffHeader:
    """Read the first page's tags.

    Raises:
        TooManyPixels: more than Pillow takes without a warning.
        TooComplex: more tags, strips or tiles than a real picture has.
        UnsupportedFormat: a compression that is not accepted.
        UndecodablePicture: no page, or tags that do not fit together.

    """
    order = "<" if content[:2] == b"II" else ">"
    tags = _tags(content, order)

    def value(tag: int, default: int) -> int:
        return tags.get(tag, (default,))[0]

    if value(_COMPRESSION, 1) not in _COMPRESSIONS:
        raise UnsupportedFormat(
            "This TIFF is compressed in a way that is not accepted; save it with LZW or Deflate."
        )
    width, height = value(_WIDTH, 0), value(_HEIGHT, 0)
    if width * height > MAX_PIXELS:
        raise TooManyPixels(f"The TIFF has {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted.")
    pieces = _pieces(content, tags)
    if value(_COMPRESSION, 1) == _JPEG and any(
        content.count(b"\xff\xda", start, end) > MAX_SCANS for start, end in pieces
    ):
        raise too_complex("scans")
    profile = tags.get(_PROFILE)
    inverted = value(_PHOTOMETRIC, 1) == 0 and value(_BITS, 1) == 16  # noqa: PLR2004 - bits a sample
    kept = {
        tag: numbers[:1] if tag in _SINGLE else numbers
        for tag, numbers in tags.items()
        if tag not in {_ORIENTATION, _PROFILE}
    }
    return TiffHeader(
        width=width,
        height=height,
        orientation=value(_ORIENTATION, 1) if 1 <= value(_ORIENTATION, 1) <= 8 else 1,  # noqa: PLR2004 - EXIF's range
        profile=profile if isinstance(profile, bytes) else None,
        inverted=inverted,
        order=order,
        tags=kept | ({_PHOTOMETRIC: (1,)} if inverted else {}),
    )


def _tags(content: bytes, order: str) -> dict[int, Sequence[int]]:
    """Read the first IFD's integers and bytes; what lies beyond the file, or is no integer, is left out."""
    (number,) = struct.unpack_from(order + "H", content, 2)
    count_format, offset_size, count_size = _LAYOUTS[number] if number in _LAYOUTS else _LAYOUTS[42]
    offset_format = {4: "I", 8: "Q"}[offset_size]
    (ifd,) = struct.unpack_from(order + offset_format, content, 4 if offset_size == 4 else 8)  # noqa: PLR2004
    (count,) = struct.unpack_from(order + count_format, content, ifd)
    if count > MAX_TAGS:
        raise too_complex("tags")
    tags: dict[int, Sequence[int]] = {}
    for index in range(count):
        entry = ifd + count_size + index * (4 + 2 * offset_size)
        tag, kind, length = struct.unpack_from(order + "HH" + offset_format, content, entry)
        if (
            kind not in _KINDS
            or tag in tags
            or tag not in _SINGLE | _SEVERAL | {_ORIENTATION, _TABLES, _PROFILE}
        ):
            continue
        if length > max(MAX_PIECES, 4 << 20):
            raise too_complex("values in a tag")
        layout = f"{order}{length}{_KINDS[kind]}"
        at = entry + 4 + offset_size
        if struct.calcsize(layout) > offset_size:
            (at,) = struct.unpack_from(order + offset_format, content, at)
        if length and at + struct.calcsize(layout) <= len(content):
            plain = kind in _BYTE_KINDS
            tags[tag] = content[at : at + length] if plain else struct.unpack_from(layout, content, at)
    return tags


def _pieces(content: bytes, tags: Mapping[int, Sequence[int]]) -> list[tuple[int, int]]:
    """List start and end of each strip or tile; a missing length reaches to the end of the file."""
    starts = tags.get(_STRIPS) or tags.get(_TILES) or ()
    lengths = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    if len(starts) > MAX_PIECES:
        raise too_complex("strips or tiles")
    if not starts:
        raise undecodable()
    ends = [start + length for start, length in zip(starts, lengths, strict=False)]
    ends += [len(content)] * (len(starts) - len(ends))
    return list(zip(starts, ends, strict=False))
