"""The one thing that a thumbnail needs from EXIF: which way is up.

Read here and not by Pillow, whose EXIF parser reads every tag, warns of odd ones and can be kept busy.
"""

import struct

_ORIENTATION = 0x0112
_CODES = {1: "B", 3: "H", 4: "I"}


def orientation(exif: bytes) -> int:
    """Return EXIF's orientation, 1 to 8; 1 (upright) when it is missing or makes no sense.

    Args:
        exif: a TIFF structure (EXIF 2.32, 4.5.2), with or without the prefix of JPEG's APP1 segment.

    """
    value = stated_orientation(exif)
    return value if value and 1 <= value <= 8 else 1  # noqa: PLR2004 - EXIF's range


def stated_orientation(exif: bytes) -> int | None:
    """Return the orientation as it is stated; None when it is missing.

    Args:
        exif: as above.

    """
    if exif.startswith(b"Exif\0"):
        exif = exif[6:]  # the prefix ends with a zero; some writers put 0xFF there
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for index in range(count):
            entry = offset + 2 + 12 * index
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == _ORIENTATION and kind in _CODES:
                (value,) = struct.unpack_from(order + _CODES[kind], exif, entry + 8)
                return int(value)
    except struct.error:
        pass
    return None
