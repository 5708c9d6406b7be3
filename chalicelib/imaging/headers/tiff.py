"""TIFF 6.0 and BigTIFF: the first page, rewritten without anything that decoding does not need."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalicelib.errors import TooManyPixels, UnsupportedFormat
from chalicelib.imaging.headers import tiff_layout, tiff_pieces
from chalicelib.imaging.headers import tiff_tags as tag
from chalicelib.imaging.headers.header import Header, too_complex

MAX_PIXELS = 89_000_000
"""From 89.5 million on, Pillow's TIFF plugin warns of a decompression bomb; only a global would silence
it."""
MAX_TAGS = 1_000
MAX_SCANS = 10
"""Scans in a strip or tile that is compressed as JPEG; TIFF allows only sequential JPEG, of 3 or 4 scans."""

_LAYOUTS = {43: ("Q", 8, 8), 42: ("H", 4, 2)}
"""By the header's number: format of an IFD's count, size of an offset, size of the count."""
_KINDS = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    5: "I",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_BYTE_KINDS = {1, 2, 7}

_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 2, 3, 4, 5, 7
"""Types of tags; a RATIONAL is kept as two integers."""
_SINGLE = {
    *(tag.WIDTH, tag.HEIGHT, tag.COMPRESSION, tag.PHOTOMETRIC, tag.FILL_ORDER, tag.SAMPLES, tag.STRIP_ROWS),
    *(tag.PLANES, tag.FAX3_OPTIONS, tag.FAX4_OPTIONS, tag.PREDICTOR, tag.TILE_WIDTH, tag.TILE_HEIGHT),
    tag.ORIENTATION,
}
"""Tags of one value."""
_RATIONALS = {tag.YCBCR_COEFFICIENTS, tag.REFERENCE_BLACK_WHITE}
_TEXTS = {tag.PROFILE, tag.NO_DATA, tag.JPEG_TABLES}
"""Tags of bytes, which stay bytes: as numbers in a list, each would take eight times as much."""
_READ = {
    **dict.fromkeys(_SINGLE, 1),
    # One more than there may be, which shows that there are too many.
    **dict.fromkeys((tag.BITS, tag.EXTRAS, tag.FORMAT), tiff_layout.MAX_SAMPLES + 1),
    tag.YCBCR_SUBSAMPLING: 2,
    tag.YCBCR_COEFFICIENTS: 3,
    tag.REFERENCE_BLACK_WHITE: 6,
    tag.NO_DATA: 64,
}
"""Values of a tag that are read: all of the tags' values may be the same megabytes of the file."""
_PIECES = {*tiff_pieces.OFFSETS, *tiff_pieces.BYTE_COUNTS}
_MOST = {
    **dict.fromkeys(_PIECES, tiff_pieces.MAX_PIECES),
    tag.COLOUR_MAP: 3 << 16,
}
"""Values that a tag may have all of which are needed; more are refused."""
_MOST_VALUES = 4 << 20
"""Likewise, of any other tag but the profile, which is left out when it is too large."""
_OTHER = {tag.ORIENTATION, tag.PROFILE, tag.NO_DATA}
"""Tags that no decoder is handed."""
_STORED = {
    **dict.fromkeys((tag.BITS, tag.COLOUR_MAP, tag.EXTRAS, tag.FORMAT, tag.YCBCR_SUBSAMPLING), (_SHORT, "H")),
    **dict.fromkeys(_RATIONALS, (_RATIONAL, "I")),
    tag.JPEG_TABLES: (_UNDEFINED, "B"),
}
"""Type and `struct` code of the tags that are not stored as LONG."""
_WANTED = _READ.keys() | _MOST.keys() | _TEXTS
_NOT_COMPRESSED, _JPEG = 1, 7
_SCAN = b"\xff\xda"
_COMPRESSIONS = {_NOT_COMPRESSED, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000}
"""None, CCITT (3), LZW, JPEG, Deflate, PackBits, Deflate's old number, LZMA and Zstandard. Not: the JPEG of
TIFF 5, whose decoder is a collection of workarounds, nor JPEG 2000, WebP and LERC, which scanners do not
write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffHeader(Header):
    """The first page of a TIFF.

    `inverted` says that 0 is white, which Pillow sees to itself but for 16 bits; `order` is the bytes' order
    as `struct` spells it; `tags` are those that decoding needs and no other, not even the orientation: what
    decodes them turns nothing. `layout` is that of the samples when Pillow does not read them; when it does,
    `row_bytes` and `piece_bytes` are those of a row and of the whole of a strip or tile, unpacked.
    `coefficients` are the bytes that libjpeg keeps of a strip or tile of several scans, until its last one.
    """

    inverted: bool
    order: str
    tags: Mapping[int, Sequence[int]]
    layout: tiff_layout.Layout | None
    row_bytes: int = 0
    piece_bytes: int = 0
    coefficients: int = 0

    def memory(self) -> int:
        """Count at most 4 bytes a pixel for Pillow's picture, and as many or more for a strip or tile."""
        if self.layout:
            return self.layout.memory(self.pixels) + self.coefficients
        return self.pixels * 4 + max(self.pixels * 4, self.piece_bytes) + self.coefficients

    def stripped(self, content: bytes) -> bytes:
        """Return a TIFF of the first page alone, so that no parser has to deal with anything else.

        A new IFD is appended to the file and its header points there: the data stays where the offsets say.
        """
        ifd = len(content) + len(content) % 2
        values_at = ifd + 2 + 12 * len(self.tags) + 4
        entries, values = b"", b""
        for number, values_of in sorted(self.tags.items()):
            kind, code = _STORED.get(number, (_LONG, "I"))
            if isinstance(values_of, bytes) and code == "B":
                packed = values_of
            else:
                packed = struct.pack(f"{self.order}{len(values_of)}{code}", *values_of)
            count = len(values_of) // 2 if kind == _RATIONAL else len(values_of)
            entries += struct.pack(self.order + "HHI", number, kind, count)
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
        TooManyPixels: more than Pillow takes without a warning, or than are unpacked in a reasonable time.
        TooComplex: more tags, strips or tiles than a real picture has, or such that overlap too much.
        UnsupportedFormat: a compression that is not accepted.
        UndecodablePicture: no page, or tags that do not fit together.

    """
    order = "<" if content[:2] == b"II" else ">"
    found = _tags(content, order)

    def value(number: int, default: int) -> int:
        return found.get(number, (default,))[0]

    if value(tag.COMPRESSION, 1) not in _COMPRESSIONS:
        raise UnsupportedFormat(
            "This TIFF is compressed in a way that is not accepted; save it with LZW or Deflate."
        )
    size = width, height = value(tag.WIDTH, 0), value(tag.HEIGHT, 0)
    if width * height > MAX_PIXELS:
        raise TooManyPixels(f"The TIFF has {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted.")
    profile = found.get(tag.PROFILE)
    kept = {number: values for number, values in found.items() if number not in _OTHER}
    layout, tags = tiff_layout.read(kept, size, _no_data(found.get(tag.NO_DATA, b"")), len(content))
    row_bytes = piece_bytes = 0
    if layout is None:
        tags, row_bytes, piece_bytes = tiff_pieces.for_pillow(tags, size)
    coefficients = 0
    if value(tag.COMPRESSION, 1) != _NOT_COMPRESSED:
        spans = tiff_pieces.spans(tags, len(content))
        if value(tag.COMPRESSION, 1) == _JPEG:
            scans = max(content.count(_SCAN, start, end) for start, end in spans)
            if scans > MAX_SCANS:
                raise too_complex("scans")
            coefficients = 2 * (layout.piece_bytes if layout else piece_bytes) if scans > 1 else 0
    inverted = layout is None and value(tag.PHOTOMETRIC, 1) == 0 and value(tag.BITS, 1) == 16  # noqa: PLR2004 - bits
    if layout is None:
        # Pillow converts by the coefficients and ranges that JPEG has.
        tags = {number: values for number, values in tags.items() if number not in _RATIONALS}
    return TiffHeader(
        width=width,
        height=height,
        orientation=value(tag.ORIENTATION, 1) if 1 <= value(tag.ORIENTATION, 1) <= 8 else 1,  # noqa: PLR2004 - EXIF's range
        profile=profile if isinstance(profile, bytes) else None,
        inverted=inverted,
        order=order,
        tags={**tags, tag.PHOTOMETRIC: (1,)} if inverted else tags,
        layout=layout,
        row_bytes=row_bytes,
        piece_bytes=piece_bytes,
        coefficients=coefficients,
    )


def _no_data(text: Sequence[int]) -> float | None:
    """Return the number that GDAL has written as text; None when it is none."""
    try:
        return float(bytes(text).split(b"\0")[0])
    except ValueError:
        return None


def _tags(content: bytes, order: str) -> dict[int, Sequence[int]]:
    """Read the first IFD's integers and bytes; what lies beyond the file, or is no integer, is left out."""
    (version,) = struct.unpack_from(order + "H", content, 2)
    count_format, offset_size, count_size = _LAYOUTS[version] if version in _LAYOUTS else _LAYOUTS[42]
    offset_format = {4: "I", 8: "Q"}[offset_size]
    (ifd,) = struct.unpack_from(order + offset_format, content, 4 if offset_size == 4 else 8)  # noqa: PLR2004
    (count,) = struct.unpack_from(order + count_format, content, ifd)
    if count > MAX_TAGS:
        raise too_complex("tags")
    tags: dict[int, Sequence[int]] = {}
    for index in range(count):
        entry = ifd + count_size + index * (4 + 2 * offset_size)
        number, kind, length = struct.unpack_from(order + "HH" + offset_format, content, entry)
        if number not in _WANTED or number in tags or not _fits(number, kind):
            continue
        if length > _MOST.get(number, _MOST_VALUES) and number != tag.PROFILE:
            raise too_complex("strips or tiles" if number in _PIECES else "values in a tag")
        each = 2 if kind == _RATIONAL else 1
        size = length * each * struct.calcsize(order + _KINDS[kind])
        at = entry + 4 + offset_size
        if size > offset_size:
            (at,) = struct.unpack_from(order + offset_format, content, at)
        if length and at + size <= len(content):
            length = min(length, _READ.get(number, length))
            if kind in _BYTE_KINDS:
                tags[number] = content[at : at + length]
            else:
                tags[number] = struct.unpack_from(f"{order}{length * each}{_KINDS[kind]}", content, at)
    return tags


def _fits(number: int, kind: int) -> bool:
    """Whether a tag may have values of a kind."""
    if number in _TEXTS:
        return kind in _BYTE_KINDS
    return kind in _KINDS and (kind == _RATIONAL) == (number in _RATIONALS)
