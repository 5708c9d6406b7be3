"""The scorecard's cases: pictures, and what their thumbnails must be.

What is right follows from how a picture is constructed, never from what some program makes of it.
"""

from collections.abc import Callable
from functools import partial

from chalicelib.spec import Fit, ThumbnailSpec
from tests.samples import cases_heif, cases_layouts, cases_numbers, pictures, profiles
from tests.samples.case import FILLED, GREY, NEGATIVE, SRGB, Case
from tests.samples.colour import Triple

WHITE: Triple = (255, 255, 255)
ORANGE = (214, 126, 44)


def _orientation() -> list[Case]:
    cases = [
        Case(f"{kind}, EXIF {value}", "upright", partial(pictures.oriented, kind, value), colours=SRGB)
        for kind, values in {"JPEG": range(1, 9), "PNG": (6, 7), "WEBP": (6, 7), "TIFF": (6, 7)}.items()
        for value in values
    ]
    for kind in ("AVIF", "HEIC"):
        cases += [
            Case(
                f"{kind}, turned by its container as EXIF {value} would",
                "upright",
                partial(pictures.transformed, kind, value),
                colours=SRGB,
            )
            for value in range(1, 9)
        ]
        cases.append(
            Case(
                f"{kind}, turned by its container, and EXIF 6 says it again",
                "turned once",
                partial(pictures.transformed, kind, 6, with_exif=True),
                colours=SRGB,
            )
        )
    return cases


def _colour_spaces() -> list[Case]:
    p3 = profiles.DISPLAY_P3
    adobe = profiles.ADOBE_RGB
    printed = tuple(pictures.printed_colours())
    unprofiled = tuple(pictures.unprofiled_colours())
    through_profile = "the colours that the profile tells"
    any_press = "no negative; the colour of the inks is free, for want of a profile"
    unprofiled_files: dict[str, Callable[[], bytes]] = {
        "CMYK JPEG, no profile": partial(pictures.cmyk, "JPEG", profile=False),
        "CMYK JPEG, no profile, Adobe marker lost": pictures.cmyk_without_adobe,
        "YCCK JPEG, no profile": partial(pictures.ycck, profile=False),
    }
    return [
        *(
            Case(
                f"{kind}, Display P3",
                "the same colours in sRGB",
                partial(pictures.wide_gamut, kind, p3, None),
                colours=SRGB,
            )
            for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC")
        ),
        Case(
            "progressive JPEG, Display P3",
            "the same colours in sRGB",
            partial(pictures.wide_gamut, "JPEG", p3, None, progressive=True),
            colours=SRGB,
        ),
        *(
            Case(
                f"{kind}, Adobe RGB",
                "the same colours in sRGB",
                partial(pictures.wide_gamut, kind, adobe, profiles.ADOBE_GAMMA),
                colours=SRGB,
            )
            for kind in ("JPEG", "TIFF")
        ),
        *(
            Case(
                f"{kind}, grey with a profile of gamma 1.8",
                "the greys that the profile tells",
                partial(pictures.grey_with_profile, kind),
                colours=tuple(pictures.grey_with_profile_colours()),
            )
            for kind in ("JPEG", "PNG")
        ),
        *(
            Case(
                f"{kind}, broken profile",
                "the profile ignored",
                partial(pictures.broken_profile, kind),
                colours=SRGB,
            )
            for kind in ("JPEG", "PNG")
        ),
        Case(
            "RGB JPEG with a CMYK profile",
            "the profile ignored",
            partial(pictures.foreign_profile, "JPEG"),
            colours=SRGB,
        ),
        Case(
            "CMYK JPEG, profile",
            through_profile,
            partial(pictures.cmyk, "JPEG", profile=True),
            colours=printed,
        ),
        Case(
            "CMYK TIFF, profile",
            through_profile,
            partial(pictures.cmyk, "TIFF", profile=True),
            colours=printed,
        ),
        Case("YCCK JPEG, profile", through_profile, partial(pictures.ycck, profile=True), colours=printed),
        *(
            Case(name, any_press, make, colours=unprofiled, limit=NEGATIVE)
            for name, make in unprofiled_files.items()
        ),
    ]


def _depths() -> list[Case]:
    palette = tuple(pictures.palette_colours())
    bilevel = tuple(pictures.bilevel_colours())
    scaled = "scaled to 8 bits, not clipped"
    averaged = "pixels averaged as true colours"
    return [
        Case("PNG, 16-bit RGB", scaled, partial(pictures.deep, "PNG", 3), colours=SRGB),
        Case(
            "PNG, 16-bit RGBA",
            "scaled, on white",
            partial(pictures.deep, "PNG", 4),
            colours=tuple(pictures.on_white([*SRGB])),
        ),
        Case("PNG, 16-bit grey", scaled, partial(pictures.deep, "PNG", 1), colours=GREY),
        Case(
            "PNG, 16-bit grey with alpha",
            "scaled, on white",
            partial(pictures.deep, "PNG", 2),
            colours=tuple(pictures.on_white([*GREY])),
        ),
        Case("TIFF, 16-bit RGB", scaled, partial(pictures.deep, "TIFF", 3), colours=SRGB),
        Case("TIFF, 16-bit grey", scaled, partial(pictures.deep, "TIFF", 1), colours=GREY),
        Case("JPEG, grey", "the greys", partial(pictures.grey, "JPEG"), colours=GREY),
        Case(
            "TIFF, grey, 0 is white",
            "the greys",
            partial(pictures.grey, "TIFF", tiffinfo={262: 0}),
            colours=GREY,
        ),
        Case(
            "JPEG, stored as RGB",
            "no conversion",
            partial(pictures.plain, "JPEG", keep_rgb=True),
            colours=SRGB,
        ),
        Case(
            "TIFF, JPEG compression",
            "decompressed",
            partial(pictures.plain, "TIFF", compression="jpeg", quality=95),
            colours=SRGB,
        ),
        Case("PNG, 1 bit", averaged, partial(pictures.bilevel, "PNG"), colours=bilevel),
        Case("BMP, 1 bit", averaged, partial(pictures.bilevel, "BMP"), colours=bilevel),
        Case(
            "TIFF, 1 bit, fax compression",
            averaged,
            partial(pictures.bilevel, "TIFF", compression="group4"),
            colours=bilevel,
        ),
        Case("PNG, palette", averaged, partial(pictures.palette, "PNG", alphas=False), colours=palette),
        Case("GIF, palette", averaged, partial(pictures.palette, "GIF", alphas=False), colours=palette),
        Case("BMP, palette", averaged, partial(pictures.palette, "BMP", alphas=False), colours=palette),
    ]


def _transparency() -> list[Case]:
    on_white = tuple(pictures.on_white([*SRGB]))
    grey_on_white = tuple(pictures.on_white([*GREY]))
    unbled = "half red, half white: no green from under the transparency"
    return [
        *(
            Case(f"{kind}, RGBA", "on white", partial(pictures.transparent, kind, "RGBA"), colours=on_white)
            for kind in ("PNG", "WEBP", "TIFF", "AVIF", "HEIC")
        ),
        Case(
            "PNG, grey with alpha",
            "on white",
            partial(pictures.transparent, "PNG", "LA"),
            colours=grey_on_white,
        ),
        Case(
            "PNG, palette with alpha",
            "on white",
            partial(pictures.palette, "PNG", alphas=True),
            colours=on_white,
        ),
        Case(
            "PNG, one RGB colour transparent",
            "on white",
            partial(pictures.colour_key, "RGB"),
            colours=tuple(pictures.keyed([*SRGB])),
        ),
        Case(
            "PNG, one grey transparent",
            "on white",
            partial(pictures.colour_key, "L"),
            colours=tuple(pictures.keyed([*GREY])),
        ),
        Case(
            "GIF, one colour transparent",
            "on white",
            pictures.gif_with_transparency,
            colours=tuple(pictures.keyed([*SRGB])),
        ),
        *(
            Case(
                f"{kind}, red beside transparent green",
                unbled,
                partial(pictures.fringed, kind, **options),
                size=(100, 100),
                spec=FILLED,
                colours=((255, 127.5, 127.5),),
            )
            for kind, options in {"PNG": {}, "WEBP": {"exact": True}, "TIFF": {}}.items()
        ),
    ]


def _several() -> list[Case]:
    return [
        Case("GIF, animated", "the first frame", partial(pictures.animated, "GIF"), colours=SRGB),
        Case("WEBP, animated", "the first frame", partial(pictures.animated, "WEBP"), colours=SRGB),
        Case("PNG, animated", "the first frame", partial(pictures.animated, "PNG"), colours=SRGB),
        Case("TIFF, two pages", "the first page", partial(pictures.animated, "TIFF"), colours=SRGB),
        Case(
            "MPO, two pictures",
            "the first picture",
            partial(pictures.animated, "MPO", quality=95, subsampling=0),
            colours=SRGB,
        ),
        Case("AVIF, animated", "the first frame", partial(pictures.animated, "AVIF"), colours=SRGB),
        Case("HEIC, a grid of 3 x 2 tiles", "one picture", partial(pictures.grid, "HEIC"), colours=SRGB),
        Case(
            "HEIC, a grid, turned by its container",
            "one picture, upright",
            partial(pictures.grid, "HEIC", 1),
            colours=SRGB,
        ),
        Case("AVIF, a grid of 3 x 2 tiles", "one picture", partial(pictures.grid, "AVIF"), colours=SRGB),
    ]


def _geometry() -> list[Case]:
    sizes = {
        (1, 20000): ((1, 100), (1, 100)),
        (20000, 1): ((100, 1), (100, 1)),
        (1, 1): ((1, 1), (1, 1)),
        (40, 30): ((40, 30), (40, 30)),
        (50, 200): ((50, 100), (25, 100)),
        (300, 20): ((100, 20), (100, 7)),
        (101, 101): ((100, 100), (100, 100)),
        (1999, 1333): ((100, 100), (100, 67)),
    }
    cases = [
        Case(
            f"{width} x {height}, {spec.fit.value}",
            f"{size[0]} x {size[1]} pixels",
            partial(pictures.flat, (width, height), ORANGE),
            size=size,
            spec=spec,
            colours=(ORANGE,),
        )
        for (width, height), (filled, whole) in sizes.items()
        for spec, size in ((FILLED, filled), (ThumbnailSpec(fit=Fit.CONTAIN), whole))
    ]
    centred = [
        ("PNG", (301, 201), 1),
        ("PNG", (1999, 1333), 1),
        ("JPEG", (301, 201), 1),
        ("JPEG", (1003, 2007), 1),
        ("JPEG", (1999, 1333), 1),
        ("JPEG", (1999, 1333), 6),
        ("JPEG", (2403, 1607), 3),
        ("WEBP", (2403, 1607), 1),
        ("AVIF", (1003, 701), 1),
        ("HEIC", (1002, 702), 1),
    ]
    return cases + [
        Case(
            f"{kind}, {width} x {height}" + (f", EXIF {orientation}" if orientation != 1 else ""),
            "a mark in the centre stays there",
            partial(pictures.marked, (width, height), kind, orientation),
            size=(100, 100),
            spec=FILLED,
            centred=True,
        )
        for kind, (width, height), orientation in centred
    ]


GROUPS: dict[str, list[Case]] = {
    "Orientation": _orientation(),
    "Colour spaces": _colour_spaces(),
    "Colour spaces told by numbers": cases_numbers.colours(),
    "High dynamic range": cases_numbers.high_dynamic_range(),
    "Bit depths and palettes": _depths(),
    "Rare layouts of TIFF": cases_layouts.tiff(),
    "Rare layouts of BMP and GIF": cases_layouts.bitmaps(),
    "Careless writers and losses": cases_layouts.careless(),
    "Transparency": _transparency(),
    "Files of several pictures": _several(),
    "Crops, hidden pictures and sequences of HEIC and AVIF": cases_heif.containers_of_all_kinds(),
    "Geometry": _geometry(),
}
"""All cases, by what they are about."""
