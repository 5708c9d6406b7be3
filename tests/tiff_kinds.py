"""Kinds of TIFF pictures of 1 to 16 bits a sample, in every colour space, with and without alpha."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from operator import mul

from PIL import Image, ImageCms

from tests import tiff_measured
from tests.tiff_pixels import SIZE, Kind, alpha, colour, grey, joined, on_white, with_alpha
from tests.tiffs import Written


def kinds() -> list[Kind]:
    found: list[Kind] = []
    for bits in range(1, 17):
        found += [*_greys(bits), *_colours(bits), *_inks(bits)]
    for bits in range(1, 9):
        found += _palettes(bits)
    return [*found, *_lab(), *tiff_measured.kinds()]


def _most(bits: int) -> int:
    return (1 << bits) - 1


def _cut(bits: int) -> tuple[Callable[[int], int], Callable[[int], float]]:
    """From 0 to 255 to a sample of these bits, and to what that stands for."""
    most = _most(bits)
    return lambda value: value * most // 255, lambda value: (value * most // 255) * 255 / most


def _greys(bits: int) -> Iterator[Kind]:
    sample, seen = _cut(bits)
    most = _most(bits)
    for white in (0, 1):

        def stored(x: int, y: int, *, white: int = white) -> Sequence[int]:
            return [sample(grey(x, y)) if white else most - sample(grey(x, y))]

        def multiplied(x: int, y: int, *, white: int = white) -> tuple[int, int]:
            product = sample(grey(x, y) * alpha(x, y) // 255)
            return (product if white else sample(alpha(x, y)) - product), sample(alpha(x, y))

        def opaque(x: int, y: int) -> list[float]:
            return [seen(grey(x, y))] * 3

        name = f"grey of {bits} bits, {'black' if white else 'white'} is 0"
        how = Written(white, bits)
        yield Kind(name, how, stored, opaque)
        yield Kind(
            f"{name}, alpha",
            Written(white, bits, extras=(2,)),
            with_alpha(stored, sample),
            lambda x, y: on_white([seen(grey(x, y))] * 3, seen(alpha(x, y))),
            2.5,
        )
        yield Kind(
            f"{name}, multiplied by alpha",
            Written(white, bits, extras=(1,)),
            multiplied,
            lambda x, y: [min(255, seen(grey(x, y) * alpha(x, y) // 255) + 255 - seen(alpha(x, y)))] * 3,
            4,
        )
        yield Kind(
            f"{name}, another sample",
            Written(white, bits, extras=(0,)),
            with_alpha(stored, sample),
            opaque,
        )


def _colours(bits: int) -> Iterator[Kind]:
    sample, seen = _cut(bits)

    def stored(x: int, y: int) -> tuple[int, ...]:
        return tuple(map(sample, colour(x, y)))

    def opaque(x: int, y: int) -> list[float]:
        return list(map(seen, colour(x, y)))

    def transparent(x: int, y: int) -> list[float]:
        return on_white(opaque(x, y), seen(alpha(x, y)))

    yield Kind(f"RGB of {bits} bits", Written(2, bits), stored, opaque)
    for extras, samples, expected in (
        ((2,), lambda x, y: (alpha(x, y),), transparent),
        ((999,), lambda x, y: (alpha(x, y),), transparent),
        ((), lambda x, y: (alpha(x, y),), transparent),
        ((0,), lambda x, y: (alpha(x, y),), opaque),
        ((2, 0), lambda x, y: (alpha(x, y), 9), transparent),
        ((0, 2), lambda x, y: (9, alpha(x, y)), transparent),
        ((0, 0, 0, 0, 0), lambda *_: (1, 2, 3, 4, 5), opaque),
    ):
        yield Kind(
            f"RGB of {bits} bits, further samples {extras}",
            Written(2, bits, extras=extras),
            joined(stored, samples, sample),
            expected,
            2.5,
        )
    yield Kind(
        f"RGB of {bits} bits, multiplied by alpha",
        Written(2, bits, extras=(1,)),
        lambda x, y: (*(sample(value * alpha(x, y) // 255) for value in colour(x, y)), sample(alpha(x, y))),
        lambda x, y: [
            min(255, seen(value * alpha(x, y) // 255) + 255 - seen(alpha(x, y))) for value in colour(x, y)
        ],
        4,
    )


def _inks(bits: int) -> Iterator[Kind]:
    sample, seen = _cut(bits)

    def stored(x: int, y: int) -> tuple[int, ...]:
        return (*(sample(255 - value) for value in colour(x, y)), 0)

    def opaque(x: int, y: int) -> list[float]:
        return [255 - seen(255 - value) for value in colour(x, y)]

    yield Kind(f"CMYK of {bits} bits", Written(5, bits), stored, opaque)
    yield Kind(
        f"CMYK of {bits} bits, alpha",
        Written(5, bits, extras=(2,)),
        lambda x, y: (*stored(x, y), sample(alpha(x, y))),
        lambda x, y: on_white(opaque(x, y), seen(alpha(x, y))),
        4,
    )
    yield Kind(
        f"CMYK of {bits} bits, multiplied by alpha",
        Written(5, bits, extras=(1,)),
        lambda x, y: (
            *(sample((255 - value) * alpha(x, y) // 255) for value in colour(x, y)),
            0,
            sample(alpha(x, y)),
        ),
        lambda x, y: [255 - seen((255 - value) * alpha(x, y) // 255) for value in colour(x, y)],
        4 + 255 / _most(bits) * (bits < 8),
    )
    yield Kind(
        f"CMYK of {bits} bits, another sample",
        Written(5, bits, extras=(0,)),
        lambda x, y: (*stored(x, y), sample(alpha(x, y))),
        opaque,
    )


def _palettes(bits: int) -> Iterator[Kind]:
    count = 1 << bits
    sample, seen = _cut(bits)
    palette = [index * factor % 256 for factor in (7, 31, 101) for index in range(count)]

    def index(x: int, y: int) -> int:
        return (x * 5 + y * 3) % count

    def listed(x: int, y: int) -> list[int]:
        return [palette[start + index(x, y)] for start in (0, count, 2 * count)]

    for depth, factor in ((16, 257), (8, 1)):
        tags = {320: ("H", [value * factor for value in palette])}
        name = f"palette of {bits} bits, {depth} in the map"
        yield Kind(name, Written(3, bits, tags=tags), lambda x, y: (index(x, y),), listed)
        yield Kind(
            f"{name}, alpha",
            Written(3, bits, extras=(2,), tags=tags),
            lambda x, y: (index(x, y), sample(alpha(x, y))),
            lambda x, y: on_white(listed(x, y), seen(alpha(x, y))),
            2.5,
        )


@cache
def _in_lab() -> tuple[Image.Image, Image.Image]:
    """The colours as L*a*b* of 8 bits, 128 for 0, and as sRGB again."""
    image = Image.new("RGB", SIZE)
    for x in range(SIZE[0]):
        for y in range(SIZE[1]):
            # Within the gamut: beyond it, a rounded L*a*b* is far off.
            image.putpixel((x, y), tuple(64 + value // 2 for value in colour(x, y)))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    stored = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(image)
    return stored, ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(stored)


def _lab() -> Iterator[Kind]:
    stored, seen = _in_lab()

    def value(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
        pixel = image.getpixel((x, y))
        assert isinstance(pixel, tuple)
        return tuple(int(sample) for sample in pixel)

    for photometric, bits in ((8, 8), (8, 16), (9, 8), (9, 16)):
        zero = 128 if photometric == 8 else 0

        def samples(x: int, y: int, *, zero: int = zero, bits: int = bits) -> tuple[int, ...]:
            lightness, *others = value(stored, x, y)
            scale = 256 if bits == 16 else 1
            most = 257 if bits == 16 else 1
            return (lightness * most, *((other - zero) * scale for other in others))

        name = f"{'CIE' if zero else 'ICC'} L*a*b* of {bits} bits"
        opacity = 257 if bits == 16 else 1
        yield Kind(name, Written(photometric, bits), samples, lambda x, y: value(seen, x, y), 2.5)
        yield Kind(
            f"{name}, another sample",
            Written(photometric, bits, extras=(0,)),
            joined(samples, lambda *_: (77,), int),
            lambda x, y: value(seen, x, y),
            2.5,
        )
        yield Kind(
            f"{name}, alpha",
            Written(photometric, bits, extras=(2,)),
            with_alpha(samples, partial(mul, opacity)),
            lambda x, y: on_white(value(seen, x, y), alpha(x, y)),
            9,  # one step of a* or b* shows more than one of sRGB
        )
