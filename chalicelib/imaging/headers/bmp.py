"""BMP (Windows and OS/2 bitmaps): its size, and the colour space of its versions 4 and 5."""

import struct
from dataclasses import dataclass

from chalicelib.imaging.headers.header import Header, too_complex, undecodable
from chalicelib.imaging.spaces import Space, of_gamma

MAX_RUN_PIXELS = 1_000_000
"""Pixels of run-length encoded bitmaps, which Pillow decodes in Python; they are rarely photos."""
MAX_RUN_OVERHEAD = 65_536
"""Bytes that such a bitmap may take beside two a pixel, the most that runs of one pixel need."""

_START = 14
"""Bytes before the header of the bitmap itself."""
_CORE_HEADER, _V4_HEADER, _V5_HEADER = 12, 108, 124
_CALIBRATED, _EMBEDDED = bytes(4), b"DEBM"
"""What BITMAPV4HEADER's colour space is: by chromaticities, or a profile in the file (PROFILE_EMBEDDED)."""
_RUN_LENGTHS = {1, 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class BmpHeader(Header):
    """A bitmap's size and colours; bitmaps carry no EXIF."""

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
    profile, space = _colours(content, size)
    return BmpHeader(width=width, height=height, profile=profile, space=space)


def _colours(content: bytes, size: int) -> tuple[bytes | None, Space | None]:
    """Read the profile that BITMAPV5HEADER embeds, or the chromaticities and gamma of BITMAPV4HEADER.

    White is not stated, and taken to be D65. Many writers declare calibrated colours and leave the numbers 0:
    those count as sRGB.
    """
    if size < _V4_HEADER:
        return None, None
    kind = content[_START + 56 : _START + 60]
    if kind == _EMBEDDED and size >= _V5_HEADER:
        offset, length = struct.unpack_from("<II", content, _START + 112)
        return content[_START + offset : _START + offset + length] or None, None
    if kind != _CALIBRATED:
        return None, None
    numbers = struct.unpack_from("<9i3I", content, _START + 60)
    ends = [numbers[at : at + 3] for at in (0, 3, 6)]
    if not all(sum(xyz) > 0 for xyz in ends):
        return None, None
    red, green, blue = ((xyz[0] / sum(xyz), xyz[1] / sum(xyz)) for xyz in ends)
    return None, of_gamma(sum(numbers[9:]) / 3 / 65536, (red, green, blue))
