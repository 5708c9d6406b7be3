"""ThumbHash: a picture in 24 bytes or so, to be shown while the thumbnail loads.

The format is Evan Wallace's (https://evanw.github.io/thumbhash/): brightness, yellow against blue and red
against green as coefficients of a two-dimensional cosine transform, four bits each. The picture is averaged
to 16 pixels first: the mean stays, no coefficient of a photo moves by more than its last bit, and the
transform takes two fifths of the time that it takes of the 32 pixels which decoders draw.
"""

from base64 import b64encode
from functools import cache
from math import ceil, cos, pi
from operator import mul
from typing import NamedTuple

from PIL import Image

_SIDE = 16
"""Pixels of the longer side of what is transformed."""
_LEAST = 8
"""Pixels of each side."""
_BRIGHTNESS, _COLOUR = 7, 3
"""Waves across or down, of the longer side."""


class _Channel(NamedTuple):
    """Mean, then all other coefficients as 0 to 1 around 0.5, and the largest of them before that."""

    mean: float
    waves: list[float]
    scale: float


def thumbhash(image: Image.Image) -> str:
    """Hash an opaque picture of mode RGB; base64, at most 36 characters."""
    width, height = image.size
    longer = max(width, height)
    # Fewer pixels than waves would show waves that are not there: each is repeated, as often as the others.
    sides = [max(1, round(side * min(1, _SIDE / longer))) for side in (width, height)]
    image = image.resize((sides[0], sides[1]), Image.Resampling.BOX)
    repeated = [side * ceil(_LEAST / side) for side in sides]
    image = image.resize((repeated[0], repeated[1]), Image.Resampling.NEAREST)
    red, green, blue = ([value / 255 for value in band.tobytes()] for band in image.split())
    pixels = list(zip(red, green, blue, strict=True))
    across, down = (max(1, round(_BRIGHTNESS * side / longer)) for side in (width, height))
    light = _transform([(r + g + b) / 3 for r, g, b in pixels], image.size, max(3, across), max(3, down))
    yellow = _transform([(r + g) / 2 - b for r, g, b in pixels], image.size, _COLOUR, _COLOUR)
    magenta = _transform([r - g for r, g, _ in pixels], image.size, _COLOUR, _COLOUR)
    is_landscape = width > height
    head = _packed(
        (light.mean, 63, 6),
        ((1 + yellow.mean) / 2, 63, 6),
        ((1 + magenta.mean) / 2, 63, 6),
        (light.scale, 31, 5),
    )
    waves = [*light.waves, *yellow.waves, *magenta.waves]
    tail = (
        (down if is_landscape else across)
        | _packed((yellow.scale, 63, 6), (magenta.scale, 63, 6)) << 3
        | is_landscape << 15
    )
    rest = _packed(*((wave, 15, 4) for wave in waves))
    return b64encode(
        head.to_bytes(3, "little")
        + tail.to_bytes(2, "little")
        + rest.to_bytes((len(waves) + 1) // 2, "little")
    ).decode()


def _transform(values: list[float], size: tuple[int, int], across: int, down: int) -> _Channel:
    """Return the coefficients of the lower frequencies: `across` x `down`, above their diagonal."""
    width, height = size
    rows = [values[start : start + width] for start in range(0, width * height, width)]
    # By row first: each wave across is summed once for all waves down.
    summed = [[sum(map(mul, row, _wave(wave, width))) for row in rows] for wave in range(across)]
    coefficients = [
        sum(map(mul, _wave(wave, height), summed[x])) / (width * height)
        for wave in range(down)
        for x in range(across)
        if x * down < across * (down - wave)
    ]
    mean, *others = coefficients
    scale = max(map(abs, others))
    return _Channel(mean, [0.5 + 0.5 * one / scale if scale else 0.5 for one in others], scale)


@cache
def _wave(wave: int, length: int) -> list[float]:
    """So many half periods of a cosine, at so many pixels: of at most 7 and 16 of them."""
    return [cos(pi / length * wave * (at + 0.5)) for at in range(length)]


def _packed(*fields: tuple[float, int, int]) -> int:
    """Put numbers of 0 to 1 into bits, the first one lowest: each times its most, in so many bits."""
    packed = at = 0
    for value, most, bits in fields:
        packed |= min(most, max(0, round(value * most))) << at
        at += bits
    return packed
