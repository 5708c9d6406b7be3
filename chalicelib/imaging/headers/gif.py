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
    """A GIF up to its first frame: `stripped` and `content[frame:]` make a GIF without what lay between.

    `box` is where that frame lies on the canvas: left, top, right and bottom edge in pixels.
    """

    stripped: bytes
    frame: int
    box: tuple[int, int, int, int]

    @property
    def covered(self) -> bool:
        """Whether the first frame covers the canvas."""
        return self.box == (0, 0, self.width, self.height)

    def cut_out(self, content: bytes) -> bytes:
        """Return a GIF whose canvas is the first frame."""
        left, top, right, bottom = self.box
        size = struct.pack("<HH", right - left, bottom - top)
        descriptor = content[self.frame : self.frame + 1] + bytes(4)
        return b"".join(
            (self.stripped[:6], size, self.stripped[10:], descriptor, memoryview(content)[self.frame + 5 :])
        )

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
    right, bottom = left + frame_width, top + frame_height
    return GifHeader(
        width=max(width, right),
        height=max(height, bottom),
        stripped=stripped + control,
        frame=position,
        box=(left, top, right, bottom),
    )
