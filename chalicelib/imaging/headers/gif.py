"""GIF (GIF89a specification): what the first frame needs."""

import struct
from dataclasses import dataclass

from chalicelib.imaging.headers.header import Header, too_complex, undecodable

MAX_BLOCKS = 100_000
"""Blocks and sub-blocks before the first frame; 64 KB of XMP make some hundred."""

_EXTENSION, _IMAGE = 0x21, 0x2C
_CONTROL = 0xF9


@dataclass(frozen=True, slots=True, kw_only=True)
class GifHeader(Header):
    """A GIF up to its first frame: `stripped` and `content[frame:]` make a GIF without what lay between."""

    stripped: bytes
    frame: int

    def memory(self) -> int:
        """Count one byte a pixel for the frame, one for the canvas it is put on."""
        return self.pixels * 2


def read(content: bytes) -> GifHeader:
    """Read a GIF up to its first frame.

    Raises:
        TooComplex: too many blocks before the first frame.
        UndecodablePicture: there is no frame.

    """
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    stripped = content[:position]
    control = b""
    blocks = 0
    while True:
        kind = content[position]
        if kind == _IMAGE:
            break
        if kind != _EXTENSION:
            raise undecodable()
        start, label = position, content[position + 1]
        position += 2
        while length := content[position]:
            position += 1 + length
            blocks += 1
            if blocks > MAX_BLOCKS:
                raise too_complex("blocks")
        position += 1
        blocks += 1
        if label == _CONTROL:
            control = content[start:position]
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", content, position + 1)
    return GifHeader(
        width=max(width, left + frame_width),
        height=max(height, top + frame_height),
        stripped=stripped + control,
        frame=position,
    )
