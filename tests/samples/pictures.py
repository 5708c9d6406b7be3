"""Makes the scorecard's pictures: each function writes one file, mostly the chart in some encoding."""

from io import BytesIO
from struct import pack
from typing import Any

import pillow_heif
from PIL import Image

from tests.samples import chart, containers, profiles
from tests.samples.colour import SRGB_TO_XYZ, Triple, from_linear, inverse, multiply, product, to_linear

LOSSLESS_ENOUGH: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4", "speed": 8},
}
"""Settings under which an input's own coding stays far below the limits."""

Op = Image.Transpose
STORED = {2: Op.FLIP_LEFT_RIGHT, 3: Op.ROTATE_180, 4: Op.FLIP_TOP_BOTTOM, 5: Op.TRANSPOSE}
STORED |= {6: Op.ROTATE_90, 7: Op.TRANSVERSE, 8: Op.ROTATE_270}
"""By EXIF orientation: what was done to the upright picture before it was stored."""

ORIENTATION = 0x0112


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Write a file with Pillow, or a HEIC with pillow-heif."""
    out = BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(out, quality=95, **options)
    else:
        image.save(out, kind, **{**LOSSLESS_ENOUGH.get(kind, {}), **options})
    return out.getvalue()


def plain_chart() -> Image.Image:
    """The chart in sRGB."""
    return chart.paint([chart.rounded(colour) for colour in chart.PATCHES], "RGB")


def grey_chart() -> Image.Image:
    """24 steps from black to white."""
    return chart.paint(chart.GREYS, "L")


def plain(kind: str, **options: Any) -> bytes:
    """The chart in sRGB, without a profile."""
    return encode(plain_chart(), kind, **options)


def grey(kind: str, **options: Any) -> bytes:
    """The grey steps, without a profile."""
    return encode(grey_chart(), kind, **options)


def exif(orientation: int) -> bytes:
    """EXIF data that hold nothing but an orientation, as Pillow's `save` takes them."""
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes()


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it is stored under an EXIF orientation."""
    return image.transpose(STORED[orientation]) if orientation in STORED else image


def oriented(kind: str, orientation: int) -> bytes:
    """The chart, stored turned, with an EXIF orientation that says so."""
    return encode(turned(plain_chart(), orientation), kind, exif=exif(orientation))


def transformed(kind: str, orientation: int, *, with_exif: bool = False) -> bytes:
    """The chart in a HEIF container that tells readers to turn it, by irot and imir.

    With `with_exif`, EXIF says the same once more, as in the files of phones; readers must not turn twice.
    """
    stored = turned(plain_chart(), orientation)
    tile = containers.coded(encode(stored, kind))
    tiff = exif(orientation).removeprefix(b"Exif\0\0") if with_exif else b""
    return containers.heif([tile], stored.size, transform=TRANSFORMS[orientation], exif=tiff)


TRANSFORMS = {
    1: containers.Transform(),
    2: containers.Transform(mirror=1),
    3: containers.Transform(2),
    4: containers.Transform(mirror=0),
    5: containers.Transform(1, 0),
    6: containers.Transform(3),
    7: containers.Transform(1, 1),
    8: containers.Transform(1),
}
"""By EXIF orientation: the container's transform that does the same."""


def grid(kind: str, quarter_turns: int = 0) -> bytes:
    """The chart as a grid of 3 x 2 tiles, as phones write their HEIC."""
    stored = plain_chart()
    for _ in range(quarter_turns):
        stored = stored.transpose(Op.ROTATE_270)
    columns, rows = (2, 3) if quarter_turns % 2 else (3, 2)
    width, height = stored.width // columns, stored.height // rows
    tiles = []
    for top in range(0, stored.height, height):
        for left in range(0, stored.width, width):
            tile = stored.crop((left, top, left + width, top + height))
            tiles.append(containers.coded(encode(tile, kind)))
    transform = containers.Transform(quarter_turns) if quarter_turns else None
    return containers.heif(tiles, (width, height), columns, transform)


def wide_gamut(kind: str, primaries: profiles.Chromaticities, gamma: float | None, **options: Any) -> bytes:
    """The chart with its colours expressed in another RGB space, and the profile of that space."""
    from_srgb = product(inverse(profiles.rgb_to_xyz(primaries)), SRGB_TO_XYZ)
    curve = profiles.gamma_curve(gamma) if gamma else profiles.tone_curve(to_linear)

    def encoded(value: float) -> float:
        return 255 * (value ** (1 / gamma) if gamma else from_linear(value))

    colours = []
    for patch in chart.PATCHES:
        red, green, blue = (to_linear(value / 255) for value in patch)
        red, green, blue = (max(0.0, value) for value in multiply(from_srgb, (red, green, blue)))
        colours.append(chart.rounded((encoded(red), encoded(green), encoded(blue))))
    profile = profiles.rgb_profile("wide gamut", primaries, curve)
    return encode(chart.paint(list(colours), "RGB"), kind, icc_profile=profile, **options)


GREY_GAMMA = 1.8


def grey_with_profile(kind: str) -> bytes:
    """24 grey samples under a profile of another gamma than sRGB's."""
    return encode(grey_chart(), kind, icc_profile=profiles.grey_profile("grey", GREY_GAMMA))


def grey_with_profile_colours() -> list[Triple]:
    """What the samples of `grey_with_profile` are in sRGB."""
    greys = (255 * from_linear((grey / 255) ** GREY_GAMMA) for grey in chart.GREYS)
    return [(grey, grey, grey) for grey in greys]


INK_STEPS: list[tuple[int, int, int, int]] = [
    *((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (255, 255, 0, 0)),
    *((0, 255, 255, 0), (255, 0, 255, 0), (51, 0, 0, 0), (0, 102, 0, 0), (0, 0, 153, 0), (0, 0, 0, 102)),
    *(
        (102, 51, 0, 0),
        (204, 0, 51, 0),
        (51, 204, 0, 51),
        (0, 51, 204, 102),
        (51, 51, 51, 0),
        (153, 153, 0, 51),
    ),
    *(
        (0, 153, 153, 51),
        (153, 0, 153, 51),
        (0, 0, 0, 51),
        (0, 0, 0, 153),
        (0, 0, 0, 204),
        (102, 102, 102, 51),
    ),
]
"""Cyan, magenta, yellow and black of 0 to 255, on the nodes of the profile's grid."""
INKS: list[Triple] = [(0, 158, 224), (229, 0, 125), (255, 237, 0), (29, 29, 27)]
"""What the profile says of each ink at full strength, in sRGB."""


def printed(cyan: float, magenta: float, yellow: float, black: float) -> Triple:
    """The profile's model: each ink takes its share of the light that the others leave."""
    colour = [255.0, 255.0, 255.0]
    for amount, ink in zip((cyan, magenta, yellow, black), INKS, strict=True):
        colour = [light * (1 - amount * (1 - left / 255)) for light, left in zip(colour, ink, strict=True)]
    return colour[0], colour[1], colour[2]


def printed_colours() -> list[Triple]:
    """What the inks are in sRGB by the profile."""
    return [printed(*(ink / 255 for ink in inks)) for inks in INK_STEPS]


def unprofiled_colours() -> list[Triple]:
    """What the inks are without a profile, by the complement formula of PostScript and PDF."""
    return [
        ((255 - c) * (255 - k) / 255, (255 - m) * (255 - k) / 255, (255 - y) * (255 - k) / 255)
        for c, m, y, k in INK_STEPS
    ]


def cmyk(kind: str, *, profile: bool, **options: Any) -> bytes:
    """The inks; in JPEG with the Adobe segment and, as that implies, inverted."""
    if profile:
        options["icc_profile"] = profiles.cmyk_profile("inks", printed)
    image = chart.paint([*INK_STEPS], "CMYK")
    if kind == "JPEG":
        options["subsampling"] = 0
    return encode(image, kind, **options)


def cmyk_without_adobe() -> bytes:
    """The inks in a JPEG that lost its Adobe segment to a tool that strips metadata: still inverted."""
    return containers.without_adobe_segment(cmyk("JPEG", profile=False))


def ycck(*, profile: bool) -> bytes:
    """The inks in a JPEG of luma, two chromas and black, as the Adobe segment tells; inverted."""
    samples = []
    for cyan, magenta, yellow, black in INK_STEPS:
        # A reader takes the complement of the RGB that luma and chroma give: inverted, the ink itself.
        luma, blue, red = Image.new("RGB", (1, 1), (cyan, magenta, yellow)).convert("YCbCr").tobytes()
        samples.append((255 - luma, 255 - blue, 255 - red, black))
    options: dict[str, Any] = {"subsampling": 0}
    if profile:
        options["icc_profile"] = profiles.cmyk_profile("inks", printed)
    jpeg = encode(chart.paint(samples, "CMYK"), "JPEG", **options)
    return containers.with_adobe_transform(jpeg, 2)


def deep(kind: str, channels: int) -> bytes:
    """The chart in 16-bit samples; channels as in `containers.png_16_bit`, alpha as in `ALPHAS`."""
    samples = bytearray()
    for y in range(chart.SIZE[1]):
        row = b"".join(
            _deep_sample(y // chart.SIDE * chart.COLUMNS + column, channels) * chart.SIDE
            for column in range(chart.COLUMNS)
        )
        samples += row
    if kind == "PNG":
        return containers.png_16_bit(chart.SIZE, channels, bytes(samples))
    if channels == 3:
        return containers.tiff_16_bit_rgb(chart.SIZE, bytes(samples))
    return encode(Image.frombytes("I;16B", chart.SIZE, bytes(samples)), "TIFF")


def _deep_sample(patch: int, channels: int) -> bytes:
    colour = chart.rounded(chart.PATCHES[patch]) if channels > 2 else (chart.GREYS[patch],)
    alpha = () if channels % 2 else (ALPHAS[patch],)
    return pack(f">{channels}H", *(value * 257 for value in (*colour, *alpha)))


ALPHAS = [255, 204, 153, 102, 51, 0] * 4
"""The alpha of each patch of a transparent chart."""


def on_white(colours: list[Triple]) -> list[Triple]:
    """The colours, seen through `ALPHAS` on white."""
    return [
        (
            red * alpha / 255 + 255 - alpha,
            green * alpha / 255 + 255 - alpha,
            blue * alpha / 255 + 255 - alpha,
        )
        for (red, green, blue), alpha in zip(colours, ALPHAS, strict=True)
    ]


def transparent(kind: str, mode: str, **options: Any) -> bytes:
    """The chart under `ALPHAS`, in mode RGBA or LA."""
    colours: list[tuple[int, ...]] = [
        (*(chart.rounded(patch) if mode == "RGBA" else (grey,)), alpha)
        for patch, grey, alpha in zip(chart.PATCHES, chart.GREYS, ALPHAS, strict=True)
    ]
    return encode(chart.paint(colours, mode), kind, **options)


CHECKED = 20
"""The patch that is a checkerboard, in the charts that have one."""


def palette(kind: str, *, alphas: bool) -> bytes:
    """The chart in palette colours: with an alpha for each, or with a checkerboard of the first two."""
    image = chart.paint([*range(24)], "P")
    image.putpalette([value for patch in chart.PATCHES for value in chart.rounded(patch)])
    if alphas:
        return encode(image, kind, transparency=bytes(ALPHAS))
    chart.checker(image, CHECKED, 0, 1)
    return encode(image, kind)


def palette_colours() -> list[Triple]:
    """What the patches of an opaque `palette` are: the checkerboard is the mean of its two colours."""
    colours = list(chart.PATCHES)
    red, green, blue = ((one + other) / 2 for one, other in zip(*chart.PATCHES[:2], strict=True))
    colours[CHECKED] = (red, green, blue)
    return colours


def bilevel(kind: str, **options: Any) -> bytes:
    """Black and white patches in turn, one bit a pixel, and one patch a checkerboard."""
    image = chart.paint([255 * (index % 2) for index in range(24)], "1")
    chart.checker(image, CHECKED, 0, 255)
    return encode(image, kind, **options)


def bilevel_colours() -> list[Triple]:
    """What the patches of `bilevel` are."""
    greys = [255.0 * (index % 2) for index in range(24)]
    greys[CHECKED] = 127.5
    return [(grey, grey, grey) for grey in greys]


def colour_key(mode: str) -> bytes:
    """A PNG whose seventh patch is transparent because it has the key's colour."""
    if mode == "L":
        return encode(grey_chart(), "PNG", transparency=chart.GREYS[6])
    return encode(plain_chart(), "PNG", transparency=chart.rounded(chart.PATCHES[6]))


def keyed(colours: list[Triple]) -> list[Triple]:
    """The colours of `colour_key` on white."""
    return [*colours[:6], (255, 255, 255), *colours[7:]]


def fringed(kind: str, **options: Any) -> bytes:
    """Opaque red pixels and transparent green ones in turn: the green must not bleed into the mean."""
    image = Image.new("RGBA", (2, 2), (255, 0, 0, 255))
    for corner in ((0, 1), (1, 0)):
        image.putpixel(corner, (0, 255, 0, 0))
    whole = Image.new("RGBA", (400, 400))
    for x in range(0, 400, 2):
        whole.paste(image, (x, 0))
    strip = whole.crop((0, 0, 400, 2))
    for y in range(0, 400, 2):
        whole.paste(strip, (0, y))
    return encode(whole, kind, **options)


def animated(kind: str, **options: Any) -> bytes:
    """The chart, and as a second frame its negative."""
    first = plain_chart()
    second = first.point(lambda value: 255 - value)
    if kind == "GIF":
        return encode(_exact_palette(first), kind, save_all=True, append_images=[_exact_palette(second)])
    return encode(first, kind, save_all=True, append_images=[second], **options)


def _exact_palette(image: Image.Image) -> Image.Image:
    return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=32)


def gif_with_transparency() -> bytes:
    """A GIF whose seventh palette colour is transparent."""
    image = chart.paint([*range(24)], "P")
    image.putpalette([value for patch in chart.PATCHES for value in chart.rounded(patch)])
    return encode(image, "GIF", transparency=6)


def flat(size: tuple[int, int], colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    """One colour."""
    return encode(Image.new("RGB", size, colour), kind)


def marked(size: tuple[int, int], kind: str, orientation: int = 1, **options: Any) -> bytes:
    """A dark rectangle in the exact centre of a white picture, stored under an EXIF orientation."""
    width, height = size
    mark_width, mark_height = (side // 3 + (side - side // 3) % 2 for side in size)
    left, top = (width - mark_width) // 2, (height - mark_height) // 2
    image = Image.new("RGB", size, (255, 255, 255))
    image.paste((20, 20, 20), (left, top, left + mark_width, top + mark_height))
    if orientation != 1:
        options["exif"] = exif(orientation)
    return encode(turned(image, orientation), kind, **options)


def broken_profile(kind: str) -> bytes:
    """The chart with an ICC profile of noise."""
    return encode(plain_chart(), kind, icc_profile=bytes(range(256)) * 4)


def foreign_profile(kind: str) -> bytes:
    """The chart in RGB with a CMYK profile, as careless conversions leave it."""
    return encode(plain_chart(), kind, icc_profile=profiles.cmyk_profile("inks", printed))
