"""HEIF (ISO 23008-12) and AVIF: the largest size that any part of the file declares."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.imaging.headers.header import Header, too_complex, undecodable

MAX_BOXES = 10_000
MAX_DEPTH = 8

_FULL_BOX = 4
_CONTAINERS = {b"meta": _FULL_BOX, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0}
"""Boxes that are looked into, and the bytes before the boxes in them."""
_TRACK_SIZE = {0: 76, 1: 88}  # where tkhd of version 0 and 1 keeps width and height (ISO 14496-12, 8.3.2)

_HIGH_BIT_DEPTH = 0x40  # a flag of av1C's third byte (AV1 in ISOBMFF, 2.3.3)
_LUMA_DEPTH = 17  # the byte of hvcC that keeps the luma's bits beyond 8 (ISO 14496-15, 8.3.3.1.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeifHeader(Header):
    """The largest area that the file declares: of the picture or of a tile, its alpha or its thumbnail.

    `deep` says that some part has more than 8 bits a sample. Orientation and profile are left to the decoder,
    which has to resolve them anyway.
    """

    deep: bool

    def memory(self) -> int:
        """Count the decoded planes, their RGB copy and Python's: 12 bytes a pixel, 18 of more than 8 bits."""
        return self.pixels * (18 if self.deep else 12)


def read(content: bytes) -> HeifHeader:
    """Find the largest declared size.

    Raises:
        TooComplex: more boxes than a real picture has.
        UndecodablePicture: no size is declared anywhere.

    """
    sizes = []
    deep = False
    for kind, start, end in _boxes(content, 0, len(content)):
        if kind == b"ispe":
            sizes.append(struct.unpack_from(">II", content, start + _FULL_BOX))
        elif kind == b"av1C":
            deep |= bool(content[start + 2] & _HIGH_BIT_DEPTH)
        elif kind == b"hvcC":
            deep |= bool(content[start + _LUMA_DEPTH] & 7)
        elif kind == b"tkhd":
            at = start + _TRACK_SIZE.get(content[start], _TRACK_SIZE[0])
            if at + 8 <= end:
                width, height = struct.unpack_from(">II", content, at)
                sizes.append((width >> 16, height >> 16))
    if not sizes:
        raise undecodable()
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return HeifHeader(width=width, height=height, deep=deep)


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each box, containers before what they contain."""
    pending = [(start, end, 0)]
    count = 0
    while pending:
        position, end, depth = pending.pop()
        while position + 8 <= end:
            count += 1
            if count > MAX_BOXES:
                raise too_complex("boxes")
            size, kind = struct.unpack_from(">I4s", content, position)
            header = 8
            if size == 1:
                (size,) = struct.unpack_from(">Q", content, position + 8)
                header = 16
            elif size == 0:
                size = end - position
            if size < header:
                raise undecodable()
            box_end = min(position + size, end)
            yield kind, position + header, box_end
            if kind in _CONTAINERS and depth < MAX_DEPTH:
                pending.append((position + header + _CONTAINERS[kind], box_end, depth + 1))
            position += size
