"""The colours that headers of bitmaps tell: BITMAPV4HEADER and BITMAPV5HEADER of Windows."""

import struct

from chalicelib.imaging.spaces import Space, of_gamma

_START = 14
"""Bytes before the header of the bitmap itself."""
_V4_HEADER, _V5_HEADER = 108, 124
_CALIBRATED, _EMBEDDED = bytes(4), b"DEBM"
"""What the colour space is: by chromaticities, or a profile in the file (PROFILE_EMBEDDED)."""


def read(content: bytes, size: int) -> tuple[bytes | None, Space | None]:
    """Read the profile that a bitmap embeds, or the space of its chromaticities and gamma.

    White is not stated, and taken to be D65. Many writers declare calibrated colours and leave the numbers 0:
    those count as sRGB.

    Args:
        content: the whole file.
        size: of its header, in bytes.

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
