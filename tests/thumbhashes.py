"""A decoder of ThumbHash, apart from the service, which only makes them."""

from base64 import b64decode
from functools import partial
from math import cos, pi

from PIL import Image


def wave(x: float, y: float, across: int, down: int) -> float:
    """The value of a wave at a place of 0 to 1 in the picture."""
    return 2 * cos(pi * x * across) * cos(pi * y * down)


def decoded(placeholder: str) -> Image.Image:
    """Draw an opaque ThumbHash, as its author describes it: from the bits to the waves that are summed."""
    data = b64decode(placeholder, validate=True)
    head, tail = int.from_bytes(data[:3], "little"), int.from_bytes(data[3:5], "little")
    assert head >> 23 == 0, "it says that there is alpha"
    landscape = tail >> 15
    across, down = (7, tail & 7) if landscape else (tail & 7, 7)
    nibbles = iter([half for byte in data[5:] for half in (byte & 15, byte >> 4)])

    def waves(across: int, down: int, scale: float) -> dict[tuple[int, int], float]:
        return {
            (x, y): (next(nibbles) / 7.5 - 1) * scale
            for y in range(down)
            for x in range(across)
            if (x or y) and x * down < across * (down - y)
        }

    light = waves(max(3, across), max(3, down), (head >> 18 & 31) / 31)
    yellow = waves(3, 3, (tail >> 3 & 63) / 63 * 1.25)
    magenta = waves(3, 3, (tail >> 9 & 63) / 63 * 1.25)
    ratio = across / down
    width, height = (32, round(32 / ratio)) if ratio > 1 else (round(32 * ratio), 32)
    pixels = bytearray()
    for row in range(height):
        for column in range(width):
            basis = partial(wave, (column + 0.5) / width, (row + 0.5) / height)
            light_at, yellow_at, magenta_at = (
                mean + sum(value * basis(*at) for at, value in parts.items())
                for mean, parts in (
                    ((head & 63) / 63, light),
                    ((head >> 6 & 63) / 31.5 - 1, yellow),
                    ((head >> 12 & 63) / 31.5 - 1, magenta),
                )
            )
            blue = light_at - 2 / 3 * yellow_at
            red = (3 * light_at - blue + magenta_at) / 2
            pixels += bytes(max(0, min(255, round(255 * one))) for one in (red, red - magenta_at, blue))
    return Image.frombytes("RGB", (width, height), bytes(pixels))
