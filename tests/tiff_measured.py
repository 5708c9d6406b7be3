"""Kinds of TIFF pictures whose samples are floats, signed, or of 32 bits."""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf, nan
from operator import mul

from tests.tiff_pixels import (
    GREYS,
    MOST_32,
    Kind,
    alpha,
    before,
    colour,
    each_colour,
    each_grey,
    grey,
    on_white,
    stretched,
    with_alpha,
)
from tests.tiffs import Number, Written


def kinds() -> list[Kind]:
    return [*_usual_ranges(), *_measured(), *_missing(), *_constant()]


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
