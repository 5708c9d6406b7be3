"""Kinds of TIFF pictures: their samples, and the colours that these are on white, by construction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import inf, nan
from operator import mul

from PIL import Image, ImageCms

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


def kinds() -> list[Kind]:
    found: list[Kind] = []
    for bits in range(1, 17):
        found += [*_greys(bits), *_colours(bits), *_inks(bits)]
    for bits in range(1, 9):
        found += _palettes(bits)
    return [*found, *_lab(), *_usual_ranges(), *_measured(), *_missing(), *_constant()]


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


def _share(value: int) -> Number:
    return value / 255


def _usual_ranges() -> Iterator[Kind]:
    """Pictures whose samples fill the range of their type, which they keep."""
    types: list[tuple[str, int, int, Callable[[int], Number], Callable[[int], Number]]] = [
        (
            "unsigned of 32",
            32,
            1,
            lambda value: value * (MOST_32 // 255),
            lambda value: value * (MOST_32 // 255),
        ),
        (
            "signed of 32",
            32,
            2,
            lambda value: value * (MOST_32 // 255) - (1 << 31),
            lambda value: value * (MOST_32 // 510),
        ),
        ("signed of 32, none below 0", 32, 2, partial(mul, MOST_32 // 510), partial(mul, MOST_32 // 510)),
        ("signed of 16", 16, 2, lambda value: value * 257 - (1 << 15), lambda value: value * 32767 // 255),
        ("signed of 8", 8, 2, lambda value: value - 128, lambda value: value // 2),
        *((f"float of {bits}", bits, 3, _share, _share) for bits in (16, 32, 64)),
    ]
    for name, bits, kind, sample, opacity in types:
        yield Kind(
            name,
            Written(1, bits, kind),
            each_grey(sample),
            lambda x, y: [grey(x, y)] * 3,
        )
        yield Kind(
            f"{name}, white is 0",
            Written(0, bits, kind),
            each_grey(before(sample, lambda value: 255 - value)),
            lambda x, y: [grey(x, y)] * 3,
        )
        yield Kind(f"{name}, RGB", Written(2, bits, kind), each_colour(sample), colour)
        yield Kind(
            f"{name}, RGB, alpha",
            Written(2, bits, kind, extras=(2,)),
            with_alpha(each_colour(sample), opacity),
            lambda x, y: on_white(colour(x, y), alpha(x, y)),
            4,
        )
    for most in (255, 65535):
        yield Kind(
            f"float of 32, to {most}",
            Written(1, 32, 3),
            each_grey(partial(mul, most / 255)),
            lambda x, y: [grey(x, y)] * 3,
        )
    yield Kind(
        "dark float of 32, RGB",
        Written(2, 32, 3),
        lambda x, y: [value / 1000 for value in colour(x, y)],
        lambda x, y: [value * 0.255 for value in colour(x, y)],
    )


def _measured() -> Iterator[Kind]:
    """Pictures that are stretched."""
    samples: list[tuple[str, int, int, Callable[[int], Number]]] = [
        ("float of 32", 32, 3, lambda value: value * 0.31 - 900),
        ("float of 32, from 0 to 1", 32, 3, lambda value: 0.2 + value / 2000),
        ("float of 64", 64, 3, lambda value: value * 0.31 + 90),
        ("float of 16", 16, 3, lambda value: value * 4 - 900),
        ("unsigned of 32", 32, 1, lambda value: value + 70_000),
        ("signed of 8", 8, 2, lambda value: value // 2 - 90),
        ("signed of 16", 16, 2, lambda value: value * 3 - 200),
        ("signed of 32", 32, 2, lambda value: value * 3000 - 200),
    ]
    for name, bits, kind, sample in samples:
        tolerance = 2.5 if bits > 8 else 4
        yield Kind(
            f"measured, {name}",
            Written(1, bits, kind),
            each_grey(sample),
            stretched,
            tolerance,
        )
        yield Kind(
            f"measured, {name}, white is 0",
            Written(0, bits, kind),
            each_grey(before(sample, lambda value: min(GREYS) + max(GREYS) - value)),
            stretched,
            tolerance,
        )


def _is_missing(x: int, y: int) -> bool:
    return (x + y) % 7 == 0 or x == 0


def _missing() -> Iterator[Kind]:
    """Pictures of which some samples are no measurements: those are transparent."""
    no_data = "no data: {}"
    for name, bits, kind, value, text in (
        ("not a number", 32, 3, nan, ""),
        ("not a number, of 64", 64, 3, nan, ""),
        ("not a number, of 16", 16, 3, nan, ""),
        ("infinity", 32, 3, inf, ""),
        ("less infinity", 64, 3, -inf, ""),
        ("infinity, of 16", 16, 3, inf, ""),
        (no_data, 32, 3, -9999.0, "-9999"),
        (no_data, 32, 3, -3.4028234663852886e38, "-3.40282346638528898e+38"),
        (no_data, 64, 3, -1.7976931348623157e308, "-1.79769313486231570e+308"),
        (no_data, 32, 3, nan, "nan"),
        (no_data, 16, 2, -32768, "-32768"),
        (no_data, 8, 2, -128, " -128 "),
        (no_data, 32, 2, -(1 << 31), "-2147483648"),
        (no_data, 32, 1, MOST_32, "4294967295"),
    ):
        tags = {42113: ("s", text.encode() + b"\0")} if text else {}

        def sample(
            x: int, y: int, *, value: Number = value, kind: int = kind, bits: int = bits
        ) -> list[Number]:
            measured = grey(x, y) // 2 - (100 if bits == 8 else 0) if kind != 1 else grey(x, y) + 1000
            return [value if _is_missing(x, y) else measured]

        yield Kind(
            f"{name.format(text)}, {kind} of {bits}",
            Written(1, bits, kind, tags=tags),
            sample,
            lambda x, y: [255] * 3 if _is_missing(x, y) else stretched(x, y),
            8,
        )
    yield Kind(
        "not a number in one colour",
        Written(2, 32, 3),
        lambda x, y: [
            nan if _is_missing(x, y) and index == 1 else value / 255
            for index, value in enumerate(colour(x, y))
        ],
        lambda x, y: [255] * 3 if _is_missing(x, y) else colour(x, y),
    )
    yield Kind("nothing but not a number", Written(1, 32, 3), lambda *_: (nan,), lambda *_: [255] * 3)


def _constant() -> Iterator[Kind]:
    for bits, kind, value in (
        (32, 3, 0.0),
        (32, 3, 0.7),
        (64, 3, 5.0),
        (16, 3, -3.0),
        (32, 1, 77),
        (16, 2, -9),
    ):
        yield Kind(
            f"constant, {kind} of {bits}: {value}",
            Written(1, bits, kind),
            lambda *_, value=value: (value,),
            lambda *_: [128] * 3,
            1,
        )
