"""A test chart whose right colours are known by construction, and how far a thumbnail of it is off."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms, ImageStat

from tests.samples.colour import Triple, difference

COLUMNS, ROWS, SIDE = 6, 4, 80
"""Patches across and down, and the side of one in pixels."""
SIZE = (COLUMNS * SIDE, ROWS * SIDE)

PATCHES: list[Triple] = [
    *((115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170)),
    *((214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46)),
    *((56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161)),
    *((243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52)),
]
"""The 24 patches of a photographer's colour checker, row by row, in sRGB."""

GREYS: list[int] = [round(index * 255 / 23) for index in range(24)]
"""24 even steps from black to white. Neighbours differ, so that a turned chart does not pass."""


def paint(colours: Sequence[tuple[int, ...] | int], mode: str) -> Image.Image:
    """Paint 24 samples, in whatever a mode's samples are, as the chart of 480 x 320 pixels."""
    image = Image.new(mode, SIZE)
    for index, colour in enumerate(colours):
        left, top = index % COLUMNS * SIDE, index // COLUMNS * SIDE
        image.paste(colour, (left, top, left + SIDE, top + SIDE))
    return image


def checker(image: Image.Image, index: int, one: tuple[int, ...] | int, other: tuple[int, ...] | int) -> None:
    """Fill one patch with a checkerboard of single pixels, which a thumbnail has to average."""
    left, top = index % COLUMNS * SIDE, index // COLUMNS * SIDE
    for y in range(top, top + SIDE):
        for x in range(left, left + SIDE):
            image.putpixel((x, y), one if (x + y) % 2 else other)


def rounded(colour: Triple) -> tuple[int, int, int]:
    """The nearest whole numbers of 0 to 255."""
    red, green, blue = (min(255, max(0, round(value))) for value in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class ColourError:
    """CIEDE2000 over the patches: their mean and the worst of them."""

    mean: float
    worst: float


def displayed(content: bytes) -> Image.Image:
    """Decode a picture to what a colour-managed viewer shows: by its embedded profile, if that fits."""
    with Image.open(BytesIO(content)) as image:
        image.load()
        profile = image.info.get("icc_profile")
        if profile:
            try:
                shown = ImageCms.profileToProfile(
                    image,
                    ImageCms.ImageCmsProfile(BytesIO(profile)),
                    ImageCms.createProfile("sRGB"),
                    outputMode="RGB",
                )
            except (ImageCms.PyCMSError, OSError):
                shown = None
            if shown is not None:
                return shown
        return image.convert("RGB")


def colour_error(image: Image.Image, expected: list[Triple]) -> ColourError:
    """Compare the inner half of every patch with its right colour, whatever the size of the thumbnail."""
    across, down = image.width / COLUMNS, image.height / ROWS
    errors = []
    for index, right in enumerate(expected):
        left, top = index % COLUMNS * across, index // COLUMNS * down
        box = (
            round(left + across / 4),
            round(top + down / 4),
            round(left + across * 3 / 4),
            round(top + down * 3 / 4),
        )
        red, green, blue = ImageStat.Stat(image.crop(box)).mean
        errors.append(difference((red, green, blue), right))
    return ColourError(sum(errors) / len(errors), max(errors))


def flat_error(image: Image.Image, expected: Triple) -> ColourError:
    """Compare a picture of one colour with its right colour."""
    red, green, blue = ImageStat.Stat(image).mean
    error = difference((red, green, blue), expected)
    return ColourError(error, error)


def off_centre(image: Image.Image) -> tuple[float, float]:
    """How far the dark mark of a light picture lies off the picture's centre, in pixels right and down."""
    weights = image.convert("L").point(lambda value: max(0, 224 - value))
    total = x = y = 0.0
    for index, weight in enumerate(weights.tobytes()):
        total += weight
        x += weight * (index % image.width + 0.5)
        y += weight * (index // image.width + 0.5)
    if not total:
        return float(image.width), float(image.height)
    return x / total - image.width / 2, y / total - image.height / 2
