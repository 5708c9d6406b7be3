"""Cases of what containers of HEIC and AVIF tell readers to do: crop, show one of many, or the first."""

from collections.abc import Callable
from functools import partial
from io import BytesIO

import pillow_heif
from PIL import Image

from tests.samples import chart, containers, pictures
from tests.samples.case import GREY, SRGB, Case
from tests.samples.containers import Coded, Track, Transform

KINDS = ("HEIC", "AVIF")


def coded(kind: str, image: Image.Image) -> Coded:
    """Encode a picture, colours at full resolution."""
    return containers.coded(pictures.encode(image, kind, **({"chroma": 444} if kind == "HEIC" else {})))


def cropped(kind: str, orientation: int = 1) -> bytes:
    """The chart, off the centre of a magenta picture that the container crops away before it turns."""
    stored = pictures.turned(pictures.plain_chart(), orientation)
    whole = Image.new("RGB", (640, 600), (255, 0, 255))
    whole.paste(stored, (40, 20))
    turn = pictures.TRANSFORMS[orientation]
    offsets = (2 * 40 + stored.width - whole.width, 2, 2 * 20 + stored.height - whole.height, 2)
    aperture = (stored.width, 1, stored.height, 1, *offsets)
    transform = Transform(turn.quarter_turns, turn.mirror, aperture)
    return containers.heif([coded(kind, whole)], whole.size, transform=transform)


def small_crop(kind: str) -> bytes:
    """The chart at an eighth, in the centre of a large picture."""
    small = pictures.plain_chart().resize((60, 40), Image.Resampling.BOX)
    whole = Image.new("RGB", (240, 160), (255, 0, 255))
    whole.paste(small, (90, 60))
    transform = Transform(aperture=(60, 1, 40, 1, 0, 1, 0, 1))
    return containers.heif([coded(kind, whole)], whole.size, transform=transform)


def cropped_grid(kind: str) -> bytes:
    """The chart in the middle of 2 x 2 tiles."""
    whole = Image.new("RGB", (640, 480), (255, 0, 255))
    whole.paste(pictures.plain_chart(), (80, 80))
    tiles = [coded(kind, whole.crop((x, y, x + 320, y + 240))) for y in (0, 240) for x in (0, 320)]
    return containers.heif(tiles, (320, 240), 2, Transform(aperture=(480, 1, 320, 1, 0, 1, 0, 1)))


def only_brand(kind: str) -> bytes:
    """The chart in a file whose only brand says nothing of the coding."""
    return containers.heif([coded(kind, pictures.plain_chart())], chart.SIZE, brand=b"mif1")


def sequence(kind: str) -> bytes:
    """The chart as the first picture of a track, no still beside it."""
    brand = {"HEIC": b"hevc", "AVIF": b"avis"}[kind]
    return containers.sequence([Track(coded(kind, pictures.plain_chart()), chart.SIZE)], brand)


def deep_grey(bits: int) -> bytes:
    """The grey steps in samples of 10 or 12 bits."""
    row_of_patches = [
        chart.GREYS[at : at + chart.COLUMNS] for at in range(0, len(chart.GREYS), chart.COLUMNS)
    ]
    rows = b"".join(
        b"".join((grey * 257).to_bytes(2, "little") * chart.SIDE for grey in greys) * chart.SIDE
        for greys in row_of_patches
    )
    out = BytesIO()
    usual = pillow_heif.options.SAVE_HDR_TO_12_BIT
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        pillow_heif.from_bytes(mode="I;16", size=chart.SIZE, data=rows).save(out, quality=95)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = usual
    return out.getvalue()


def containers_of_all_kinds() -> list[Case]:
    """All of them, for HEIC and AVIF."""
    kept = "nothing of what was cropped away"
    cases = []
    for kind in KINDS:
        cases += [
            Case(f"{kind}, cropped off the centre", kept, partial(cropped, kind), colours=SRGB),
            Case(f"{kind}, cropped and turned", kept, partial(cropped, kind, 7), colours=SRGB),
            Case(
                f"{kind}, cropped to a sixteenth",
                kept,
                partial(small_crop, kind),
                size=(60, 40),
                colours=SRGB,
            ),
            Case(f"{kind}, a grid, cropped", kept, partial(cropped_grid, kind), colours=SRGB),
        ]
        files: dict[str, Callable[[], bytes]] = {
            "of the brand mif1 alone": partial(only_brand, kind),
            "a sequence without a still": partial(sequence, kind),
        }
        cases += [Case(f"{kind}, {name}", "the picture", make, colours=SRGB) for name, make in files.items()]
    return cases + [
        Case(f"HEIC, grey of {bits} bits", "the greys", partial(deep_grey, bits), colours=GREY)
        for bits in (10, 12)
    ]
