"""The picture that the tests' TIFFs show, and what it looks like on white, by construction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.tiffs import Number, Pixel, Written

SIZE = (21, 18)
"""Not a multiple of a tile, of eight samples, or of the rows of a strip."""
MOST_32 = (1 << 32) - 1

Colours = Callable[[int, int], Sequence[float]]


@dataclass(frozen=True)
class Kind:
    """A picture of `SIZE`, how it is written, and how far each channel may be off."""

    name: str
    how: Written
    pixel: Pixel
    expected: Colours
    tolerance: float = 1.5


def colour(x: int, y: int) -> tuple[int, int, int]:
    return (x * 37 + y * 11) % 256, (x * 5 + y * 71 + 90) % 256, (x * 91 + y * 23 + 40) % 256


def alpha(x: int, y: int) -> int:
    return (x * 29 + y * 53 + 7) % 256


def grey(x: int, y: int) -> int:
    return colour(x, y)[0]


def on_white(colours: Sequence[float], opacity: float) -> list[float]:
    return [value * opacity / 255 + 255 - opacity for value in colours]


def each_grey(sample: Callable[[int], Number]) -> Pixel:
    return lambda x, y: [sample(grey(x, y))]


def each_colour(sample: Callable[[int], Number]) -> Pixel:
    return lambda x, y: [sample(value) for value in colour(x, y)]


def joined(pixel: Pixel, further: Pixel, sample: Callable[[int], Number]) -> Pixel:
    return lambda x, y: [*pixel(x, y), *(sample(int(value)) for value in further(x, y))]


def before(sample: Callable[[int], Number], turned: Callable[[int], int]) -> Callable[[int], Number]:
    return lambda value: sample(turned(value))


def with_alpha(pixel: Pixel, sample: Callable[[int], Number]) -> Pixel:
    return lambda x, y: [*pixel(x, y), sample(alpha(x, y))]


GREYS = [grey(x, y) for x in range(SIZE[0]) for y in range(SIZE[1])]


def stretched(x: int, y: int) -> list[float]:
    return [(grey(x, y) - min(GREYS)) * 255 / (max(GREYS) - min(GREYS))] * 3
