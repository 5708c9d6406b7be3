"""Pictures of high dynamic range (PQ and HLG, ITU-R BT.2100) to sRGB.

What a graphic's white is in such a picture (203 cd/m2, ITU-R BT.2408) becomes sRGB's white as long as nothing
is much brighter. Where something is, all is darkened by the curve that Chromium uses, so that highlights keep
their detail. Chromium takes the brightest level from metadata, or as 1,000 cd/m2; here it is measured.

Computed in floating point at thumbnail size, by Pillow's ImageMath: a table of colours has visible steps.
"""

import struct
from collections.abc import Callable
from functools import partial
from math import e, log2
from typing import Any

from PIL import Image, ImageChops, ImageMath
from PIL.ImageMath import imagemath_max as most_of
from PIL.ImageMath import imagemath_min as least_of

from chalicelib.imaging.profiles import inverse, product, to_xyz
from chalicelib.imaging.spaces import BT709, BT2020, PQ, Space

Operand = Any
"""Of ImageMath: a picture of mode F, one of its channels."""

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
_DARKEST = 1e-6
"""Light below this is not divided by."""
_BEND = 0.65
"""How far the curve's control point lies from white to where the line to white reaches the peak."""


def to_srgb(image: Image.Image, space: Space, alpha: Image.Image | None) -> Image.Image:
    """Convert a picture of PQ or HLG to sRGB.

    Args:
        image: of mode RGB, full range.
        space: primaries and transfer.
        alpha: of mode L; what is transparent does not count for the peak.

    """
    bands = image.split()
    decode = pq_light if space.transfer == PQ else hlg_light
    level = _peak(ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2]).histogram(alpha))
    (peak,) = struct.unpack("f", _computed(decode, Image.new("F", (1, 1), level / 255)).tobytes())
    light = [_computed(lambda samples: decode(samples / 255.0), band.convert("F")) for band in bands]
    to_2020 = product(inverse(to_xyz(BT2020)), to_xyz(space.primaries, space.white))
    to_709 = product(inverse(to_xyz(BT709)), to_xyz(BT2020))
    wide = [_computed(partial(_mixed, row), *light) for row in to_2020]
    gain = _computed(lambda *colour: _gain(most_of(most_of(*colour[:2]), colour[2]), peak), *wide)
    narrow = [_computed(partial(_mixed, row), *wide) for row in to_709]
    encoded = [_computed(lambda one, by: 255.0 * _encoded(one * by) + 0.5, one, gain) for one in narrow]
    return Image.merge("RGB", [band.convert("L") for band in encoded])


def pq_light(signal: Operand) -> Operand:
    """Decode PQ, 0 to 1, to light of which 1 is a graphic's white (BT.2100-2, table 4)."""
    power = signal ** (1 / 78.84375)
    light = most_of(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)
    return light ** (1 / 0.1593017578125) * (_PQ_PEAK / _WHITE)


def hlg_light(signal: Operand) -> Operand:
    """Decode HLG, 0 to 1, to light of which 1 is a graphic's white (BT.2100-2, table 5).

    The system gamma, by which a display makes the picture its own, is 1 for one as bright as those for sRGB:
    by BT.2390-11, 6.2 it is 1.2 at 1,000 cd/m2 and 1.0 at 334.
    """
    # A square up to 1/2, an exponential above; both are 1/12 there.
    low, high = least_of(signal, 0.5), most_of(signal, 0.5)
    light = low * low / 3.0 + (e ** ((high - 0.55991073) / 0.17883277) + 0.28466892) / 12.0 - 1 / 12
    return light / ((e ** ((_HLG_WHITE - 0.55991073) / 0.17883277) + 0.28466892) / 12)


def _gain(light: Operand, peak: float) -> Operand:
    """Return what to multiply light by, in a picture whose brightest light is `peak`; 1 is white.

    The curve that SMPTE ST 2094-50 gives for pictures without one of their own, here for a display without
    headroom (Annex D of its draft; Skia has it as SkHdrAgtm, and Chromium uses it for PQ and HLG). Up to
    white it is a line, above that a quadratic Bezier curve to the peak, which becomes 1. All three colours
    are multiplied by what the largest of them is, in BT.2020's primaries: that keeps hues.
    """
    headroom = log2(max(peak, 1))
    white = 1 - 0.5 * min(headroom / _REFERENCE_HEADROOM, 1)  # what white becomes
    shown = least_of(light, 1.0) * white
    if headroom > 0:
        x, y = 1 - _BEND + _BEND / white, (1 - _BEND) * white + _BEND
        # above = (1 - t)^2 + 2 t (1 - t) x + t^2 peak, less 1
        above = least_of(most_of(light, 1.0), peak) - 1.0
        line, square = 2 * x - 2, 1 - 2 * x + peak
        t = 2.0 * above / ((line * line + 4 * square * above) ** 0.5 + line)
        shown += (1.0 - t) ** 2.0 * white + 2 * y * t * (1.0 - t) + t * t - white
    return shown / most_of(light, _DARKEST)


def _encoded(light: Operand) -> Operand:
    """Encode light for sRGB (IEC 61966-2-1); what is beyond 0 and 1 is clipped."""
    # A line up to 0.0031308, a power above; both are 0.04045 there.
    low, high = least_of(most_of(light, 0.0), 0.0031308), least_of(most_of(light, 0.0031308), 1.0)
    return 12.92 * low + 1.055 * high ** (1 / 2.4) - 0.055 - 0.04045


def _mixed(row: tuple[float, float, float], red: Operand, green: Operand, blue: Operand) -> Operand:
    return row[0] * red + row[1] * green + row[2] * blue


def _computed(function: Callable[..., Operand], *images: Image.Image) -> Image.Image:
    """Apply a function of operands to pictures of mode F."""
    named = {str(index): image for index, image in enumerate(images)}
    computed: Image.Image = ImageMath.lambda_eval(lambda of: function(*(of[name] for name in named)), **named)
    return computed


def _peak(levels: list[int]) -> int:
    """Return the level that all but the brightest pixels stay within."""
    left = sum(levels) * _BRIGHTEST
    for level in range(255, 0, -1):
        left -= levels[level]
        if left < 0:
            return level
    return 0
