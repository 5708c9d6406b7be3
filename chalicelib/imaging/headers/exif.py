"""What a thumbnail needs from EXIF: which way is up, and whether a camera's colours are Adobe RGB.

Read here and not by Pillow, whose EXIF parser reads every tag, warns of odd ones and can be kept busy.
"""

import struct
from collections.abc import Mapping

_ORIENTATION = 0x0112
_EXIF, _COLOUR_SPACE, _INTEROPERABILITY = 0x8769, 0xA001, 0xA005
"""Where the directory of the exposure is, its ColorSpace, and where the one of interoperability is
(EXIF 2.32, 4.6.3 and 4.6.5)."""
_UNCALIBRATED = 0xFFFF
_INDEX, _R03 = 1, b"R03\0"
"""InteroperabilityIndex, and what it is of files in DCF's optional colour space (DCF 2.0, 3.4.2)."""
_CODES = {1: "B", 3: "H", 4: "I"}
_TEXT = {2: "4s"}


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
    tiff = _Tiff(exif)
    value = tiff.find(tiff.first, _ORIENTATION, _CODES)
    return value if isinstance(value, int) else None


def is_adobe_rgb(exif: bytes) -> bool:
    """Whether a camera says that its colours are Adobe RGB, in the way that needs no profile (DCF).

    Args:
        exif: as for `orientation`.

    """
    tiff = _Tiff(exif)
    details = tiff.number(tiff.first, _EXIF)
    if tiff.number(details, _COLOUR_SPACE) != _UNCALIBRATED:
        return False
    return tiff.find(tiff.number(details, _INTEROPERABILITY), _INDEX, _TEXT) == _R03


class _Tiff:
    """A TIFF structure; what is cut off or makes no sense is not there."""

    def __init__(self, exif: bytes) -> None:
        # The prefix ends with a zero; some writers put 0xFF there.
        self._bytes = exif[6:] if exif.startswith(b"Exif\0") else exif
        self._order = {b"II*\0": "<", b"MM\0*": ">"}.get(self._bytes[:4])
        self.first = int.from_bytes(self._bytes[4:8], "little" if self._order == "<" else "big")
        """Where the first directory is."""

    def number(self, directory: int, tag: int) -> int:
        """Return the number that a tag has in the directory at an offset; 0 if there is none."""
        value = self.find(directory, tag, _CODES)
        return value if isinstance(value, int) else 0

    def find(self, directory: int, tag: int, codes: Mapping[int, str]) -> int | bytes | None:
        """Return the value of the first tag that has one of the types in `codes`."""
        if self._order is None or directory == 0:
            return None
        try:
            (count,) = struct.unpack_from(self._order + "H", self._bytes, directory)
            for entry in range(directory + 2, directory + 2 + 12 * count, 12):
                found, kind = struct.unpack_from(self._order + "HH", self._bytes, entry)
                if found == tag and kind in codes:
                    (value,) = struct.unpack_from(self._order + codes[kind], self._bytes, entry + 8)
                    return value if isinstance(value, bytes) else int(value)
        except struct.error:
            pass
        return None
