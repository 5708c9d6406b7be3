"""BMP (Windows and OS/2 bitmaps): its size."""

import struct
from dataclasses import dataclass

from chalicelib.imaging.headers.header import Header, too_complex, undecodable

MAX_RUN_PIXELS = 1_000_000
"""Pixels of run-length encoded bitmaps, which Pillow decodes in Python; they are rarely photos."""
MAX_RUN_OVERHEAD = 65_536
"""Bytes that such a bitmap may take beside two a pixel, the most that runs of one pixel need."""

_CORE_HEADER = 12
_RUN_LENGTHS = {1, 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class BmpHeader(Header):
    """A bitmap's size; bitmaps carry no EXIF, and their profiles are hardly ever used."""

    def memory(self) -> int:
        """Count 4 bytes a pixel at most, once."""
        return self.pixels * 4


def read(content: bytes) -> BmpHeader:
    """Read a bitmap's header.

    Raises:
        TooComplex: run-length encoded, and larger than Python decodes in a moment.
        UndecodablePicture: not a bitmap's header.

    """
    (size,) = struct.unpack_from("<I", content, 14)
    compression = 0
    if size == _CORE_HEADER:
        width, height = struct.unpack_from("<HH", content, 18)
    elif size > _CORE_HEADER:
        width, height = struct.unpack_from("<ii", content, 18)
        (compression,) = struct.unpack_from("<I", content, 30)
        height = abs(height)  # negative: the rows go from top to bottom
    else:
        raise undecodable()
    pixels = width * height
    if compression in _RUN_LENGTHS and (
        pixels > MAX_RUN_PIXELS or len(content) > 2 * pixels + MAX_RUN_OVERHEAD
    ):
        raise too_complex("run-length encoded pixels")
    return BmpHeader(width=width, height=height)
