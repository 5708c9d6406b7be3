"""RGB colour spaces that are told by numbers and not by a profile: CICP, gAMA and cHRM of PNG, BMP, EXIF.

Plain values; what converts from them is in `colour`. Needs no Pillow, as header readers use it.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

Chromaticity = tuple[float, float]
"""CIE 1931 x and y."""
Primaries = tuple[Chromaticity, Chromaticity, Chromaticity]
"""Of red, green and blue."""

D65: Chromaticity = (0.3127, 0.3290)
_ILLUMINANT_C: Chromaticity = (0.310, 0.316)
_DCI_WHITE: Chromaticity = (0.314, 0.351)

BT709: Primaries = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
BT2020: Primaries = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_BT601_525: Primaries = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))

SRGB, PQ, HLG = "sRGB", "PQ", "HLG"
Transfer = float | str
"""From samples to light: the exponent of a power law, or `SRGB`, `PQ`, `HLG`."""


class Levels(Enum):
    """Where black and white are in the range of the samples (ITU-T H.273, 8.3)."""

    FULL = "full"
    """At 0 and 255 of 255."""
    NARROW = "narrow"
    """At 16 and 235."""
    NARROW_BT2020 = "narrow, BT.2020"
    """Of luma and chroma in narrow range that BT.2020's matrix has turned to RGB as if of full range."""


@dataclass(frozen=True, slots=True)
class Space:
    """What the RGB samples of a picture mean: light of these primaries and this white, through `transfer`.

    `levels` says where black and white are in the samples' range.
    """

    primaries: Primaries
    white: Chromaticity
    transfer: Transfer
    levels: Levels = Levels.FULL


ADOBE_RGB = Space(((0.640, 0.330), (0.210, 0.710), (0.150, 0.060)), D65, 563 / 256)
"""Adobe RGB (1998), 4.3.1."""

_UNSPECIFIED = 2
_PRIMARIES: dict[int, tuple[Primaries, Chromaticity]] = {
    1: (BT709, D65),
    _UNSPECIFIED: (BT709, D65),
    4: (((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)), _ILLUMINANT_C),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: (_BT601_525, D65),
    7: (_BT601_525, D65),
    8: (((0.681, 0.319), (0.243, 0.692), (0.145, 0.049)), _ILLUMINANT_C),
    9: (BT2020, D65),
    11: (_P3, _DCI_WHITE),
    12: (_P3, D65),
    22: (((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)), D65),
}
"""ITU-T H.273, table 2."""
_TRANSFERS: dict[int, Transfer] = {4: 2.2, 5: 2.8, 8: 1.0, 13: SRGB, 16: PQ, 18: HLG}
_TRANSFERS |= dict.fromkeys((1, _UNSPECIFIED, 6, 7, 11, 12, 14, 15), SRGB)
"""ITU-T H.273, table 3. The curves of cameras for television (BT.709 and its kin) count as sRGB's:
docs/decisions/0012 says why."""
_NEAR_SRGB = 0.05
"""libpng's threshold: a power law this near to 1/2.2 is not corrected (png.h, PNG_GAMMA_THRESHOLD_FIXED)."""
_ROUNDING = 0.002
"""Of chromaticities: more than that of any file's numbers."""
_GAMMAS = (0.1, 10.0)
"""Exponents beyond these turn every picture black or white: they are nonsense."""


def of_cicp(primaries: int, transfer: int, levels: Levels = Levels.FULL) -> Space | None:
    """Return the space of code points of ITU-T H.273; None when both are unspecified or one is unknown.

    An unspecified one beside one that is given counts as sRGB's.
    """
    if primaries == transfer == _UNSPECIFIED or primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    return Space(*_PRIMARIES[primaries], _TRANSFERS[transfer], levels)


def of_gamma(exponent: float, primaries: Primaries = BT709, white: Chromaticity = D65) -> Space | None:
    """Return the space of a power law from samples to light, and of chromaticities.

    An exponent near 2.2 means sRGB's curve, as it does in browsers (Chromium, where no chromaticities are
    given): nearly all files with 1/2.2 in `gAMA` come from writers that mean sRGB.

    Returns:
        None when the numbers make no sense.

    """
    if not _GAMMAS[0] <= exponent <= _GAMMAS[1] or not _is_gamut(primaries, white):
        return None
    near = all(
        abs(one - other) < _ROUNDING
        for found, meant in zip((*primaries, white), (*BT709, D65), strict=True)
        for one, other in zip(found, meant, strict=True)
    )
    transfer = SRGB if abs(2.2 / exponent - 1) < _NEAR_SRGB else exponent
    return Space(*((BT709, D65) if near else (primaries, white)), transfer)


def encoded(light: float) -> float:
    """Encode light of 0 to 1 for sRGB (IEC 61966-2-1); what is beyond is clipped."""
    if light <= 0.0031308:  # noqa: PLR2004 - where the line ends
        return max(0.0, light) * 12.92
    return float(1.055 * min(light, 1.0) ** (1 / 2.4) - 0.055)


@lru_cache(maxsize=4)
def table(exponent: float, levels: int) -> tuple[int, ...]:
    """Return sRGB's level of 0 to 255 for each of `levels` levels of a power law."""
    return tuple(round(255 * encoded((level / (levels - 1)) ** exponent)) for level in range(levels))


def _is_gamut(primaries: Primaries, white: Chromaticity) -> bool:
    """Whether the primaries span a triangle, counter-clockwise, with the white in it."""
    if not all(0 <= x <= 1 and 0 < y <= 1 for x, y in (*primaries, white)):
        return False
    return all(
        (bx - ax) * (white[1] - ay) - (by - ay) * (white[0] - ax) > 0.001  # noqa: PLR2004 - a sliver is none
        for (ax, ay), (bx, by) in zip(primaries, (*primaries[1:], primaries[0]), strict=True)
    )
