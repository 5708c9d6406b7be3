"""Pictures of high dynamic range (PQ and HLG, ITU-R BT.2100) to sRGB.

What a graphic's white is in such a picture (203 cd/m2, ITU-R BT.2408) becomes sRGB's white as long as nothing
is much brighter. Where something is, all is darkened by the curve that Chromium uses, so that highlights keep
their detail. Chromium takes the brightest level from metadata, or as 1,000 cd/m2; here it is measured.
"""

from functools import lru_cache
from math import exp, log2, sqrt

from PIL import Image, ImageChops, ImageFilter

from chalicelib.imaging.profiles import inverse, multiply, product, to_xyz
from chalicelib.imaging.spaces import BT709, BT2020, PQ, Space, encoded

_WHITE = 203
"""cd/m2 of a graphic's white (ITU-R BT.2408-7, table 1)."""
_PQ_PEAK = 10_000
"""cd/m2 at PQ's largest signal."""
_HLG_WHITE = 0.75
"""HLG's signal of a graphic's white (BT.2408-7, table 1)."""
_BRIGHTEST = 0.01
"""The share of the pixels that may be brighter than what counts as the peak: rims that the resizing has
sharpened, and sparks."""
_REFERENCE_HEADROOM = log2(1000 / _WHITE)
_BEND = 0.65
"""How far the curve's control point lies from white to where the line to white reaches the peak."""
_NODES = 33
"""Of the table, to a side: its error is below half a step of 255 in the mean."""


def to_srgb(image: Image.Image, space: Space, alpha: Image.Image | None) -> Image.Image:
    """Convert a picture of PQ or HLG to sRGB.

    Args:
        image: of mode RGB, full range.
        space: primaries and transfer.
        alpha: of mode L; what is transparent does not count for the peak.

    """
    red, green, blue = image.split()
    levels = ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram(alpha)
    return image.filter(_table(space, _peak(levels)))


def _peak(levels: list[int]) -> int:
    """Return the level that all but the brightest pixels stay within."""
    left = sum(levels) * _BRIGHTEST
    for level in range(255, 0, -1):
        left -= levels[level]
        if left < 0:
            return level
    return 0


@lru_cache(maxsize=32)
def _table(space: Space, peak: int) -> ImageFilter.Color3DLUT:
    """Tabulate the conversion of a picture whose brightest level is `peak`, of 255; takes some 100 ms."""
    decode = _pq if space.transfer == PQ else _hlg
    tone = ReferenceWhiteToneMapping(decode(peak / 255))
    to_2020 = product(inverse(to_xyz(BT2020)), to_xyz(space.primaries, space.white))
    to_709 = product(inverse(to_xyz(BT709)), to_xyz(BT2020))
    light = [decode(node / (_NODES - 1)) for node in range(_NODES)]
    table: list[float] = []
    for blue in light:
        for green in light:
            for red in light:
                colour = multiply(to_2020, (red, green, blue))
                gain = tone.gain(max(colour))
                table += [encoded(gain * value) for value in multiply(to_709, colour)]
    return ImageFilter.Color3DLUT(_NODES, table, channels=3, target_mode="RGB")


class ReferenceWhiteToneMapping:
    """The curve that SMPTE ST 2094-50 gives for pictures without one of their own, for an SDR display.

    Annex D of its draft, as Skia has it (SkHdrAgtm.cpp, BSD): up to white it is a line, above a quadratic
    Bezier curve from there to the peak. All three colours are multiplied by what the largest of them is, in
    BT.2020's primaries, which keeps hues.
    """

    def __init__(self, peak: float) -> None:
        """Prepare for a picture whose brightest light is `peak` times white."""
        headroom = log2(max(peak, 1))
        self._white = 1 - 0.5 * min(headroom / _REFERENCE_HEADROOM, 1)
        """What white becomes; 1 without any headroom, 0.5 from 1,000 cd/m2 on."""
        self._peak = max(peak, 1)
        self._middle = (1 - _BEND + _BEND / self._white, (1 - _BEND) * self._white + _BEND)

    def gain(self, light: float) -> float:
        """Return what to multiply light by; 1 is white."""
        if light <= 1:
            return self._white
        if light >= self._peak:
            return 1 / light
        x, y = self._middle
        # light = (1 - t)^2 + 2 t (1 - t) x + t^2 peak
        square, linear = 1 - 2 * x + self._peak, 2 * x - 2
        t = 2 * (light - 1) / (linear + sqrt(linear * linear + 4 * square * (light - 1)))
        return ((1 - t) ** 2 * self._white + 2 * t * (1 - t) * y + t * t) / light


def _pq(signal: float) -> float:
    """Decode PQ (BT.2100-2, table 4) to light; 1 is white."""
    power = signal ** (1 / 78.84375)
    light = max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return float(light ** (1 / 0.1593017578125) * _PQ_PEAK / _WHITE)


def _hlg(signal: float) -> float:
    """Decode HLG (BT.2100-2, table 5) to light; 1 is white.

    The system gamma, by which a display makes the picture its own, is 1 for one as bright as those for sRGB:
    by BT.2390-11, 6.2 it is 1.2 at 1,000 cd/m2 and 1.0 at 334.
    """
    return _hlg_scene(signal) / _hlg_scene(_HLG_WHITE)


def _hlg_scene(signal: float) -> float:
    if signal <= 0.5:  # noqa: PLR2004 - where the logarithm begins
        return signal * signal / 3
    return (exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
