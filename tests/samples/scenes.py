"""Drawn pictures with one subject in a marked box: what a crop by attention must keep.

Six kinds of surroundings, some as detailed or as colourful as the subject, and six kinds of subjects, most
of them people. Where the subject stands, how large it is, and its colours follow from the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels."""
Colour = tuple[int, int, int]
Random = np.random.Generator

SIZES = ((900, 600), (800, 600), (960, 540), (1000, 500), (600, 900), (600, 800), (540, 960), (500, 1000))
"""Of the pictures: the shapes of photos, lying and upright, up to twice as long as a square crop."""
COUNT = 60
_SKINS: tuple[Colour, ...] = (
    (241, 205, 180),
    (226, 178, 146),
    (198, 146, 112),
    (160, 112, 82),
    (122, 84, 62),
    (92, 64, 50),
)
"""From fair to dark, as people's are under daylight."""
_HAIRS: tuple[Colour, ...] = ((28, 24, 22), (70, 48, 34), (120, 84, 50), (196, 164, 104), (150, 146, 142))
_CLOTHES: tuple[Colour, ...] = ((36, 52, 96), (130, 38, 44), (60, 74, 60), (44, 44, 48), (210, 206, 198))


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, and the box of what it shows."""

    name: str
    image: Image.Image
    box: Box

    def is_within(self, part: tuple[float, float, float, float], tolerance: float = 0) -> bool:
        """Tell whether the whole box is in a part of the picture, give or take as many pixels."""
        left, top, right, bottom = part
        return (
            left - tolerance <= self.box[0]
            and top - tolerance <= self.box[1]
            and right + tolerance >= self.box[2]
            and bottom + tolerance >= self.box[3]
        )


def scene(seed: int) -> Scene:
    """Draw a picture; the same seed gives the same one."""
    random = np.random.default_rng(seed)
    surroundings = _SURROUNDINGS[seed % len(_SURROUNDINGS)]
    subject = _SUBJECTS[seed // len(_SURROUNDINGS) % len(_SUBJECTS)]
    width, height = SIZES[random.integers(len(SIZES))]
    image = surroundings((width, height), random)
    draw = ImageDraw.Draw(image)
    # The subject's box is at most three quarters of what a square crop shows.
    side = int(min(width, height) * random.uniform(0.22, 0.5))
    left = int(random.uniform(0.02, 0.98) * (width - side))
    top = int(random.uniform(0.02, 0.98) * (height - side))
    box = subject(draw, (left, top, left + side, top + side), random)
    name = f"{subject.__name__} by {surroundings.__name__}".replace("_", "")
    return Scene(name, _sensed(image, random), box)


def _sensed(image: Image.Image, random: Random) -> Image.Image:
    """Add the unevenness of surfaces and the noise of a sensor."""
    width, height = image.size
    light = np.ones((height, width), dtype=np.float32)
    for step in (32, 8, 2):
        field = random.standard_normal((height // step, width // step), dtype=np.float32)
        light += 0.03 * np.asarray(Image.fromarray(field).resize(image.size, Image.Resampling.BICUBIC))
    values = np.asarray(image, dtype=np.float32) * light[..., None]
    values += random.standard_normal((height, width, 3), dtype=np.float32) * 3
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


# --- surroundings ---


def _hills(size: tuple[int, int], random: Random) -> Image.Image:
    """A sky that darkens upwards, and three rows of hills."""
    width, height = size
    image = _gradient(size, (96, 140, 206), (206, 198, 192))
    draw = ImageDraw.Draw(image)
    for index, colour in enumerate(((120, 128, 150), (86, 110, 104), (58, 92, 60))):
        base, phase = height * (0.5 + 0.14 * index), random.uniform(0, 6)
        ridge = [
            (x, base + height * 0.05 * float(np.sin(x / width * (7 + 4 * index) + phase)))
            for x in range(0, width + 10, 10)
        ]
        draw.polygon([(0, height), *ridge, (width, height)], fill=colour)
    return image


def _foliage(size: tuple[int, int], random: Random) -> Image.Image:
    """Leaves in many greens: detail everywhere."""
    image = Image.new("RGB", size, (46, 66, 40))
    draw = ImageDraw.Draw(image)
    for _ in range(1400):
        x, y = random.uniform(0, size[0]), random.uniform(0, size[1])
        reach, light = random.uniform(5, 16), random.uniform(0.55, 1.25)
        draw.ellipse(
            (x - reach, y - reach / 2, x + reach, y + reach / 2),
            fill=(int(70 * light), int(98 * light), int(52 * light)),
        )
    return image


def _wall(size: tuple[int, int], random: Random) -> Image.Image:
    """Bricks, in the colours of clay."""
    image = Image.new("RGB", size, (176, 168, 160))
    draw = ImageDraw.Draw(image)
    width, height = 60, 24
    for row in range(ceil(size[1] / height)):
        for column in range(-1, ceil(size[0] / width)):
            left = column * width + row % 2 * width // 2
            light = random.uniform(0.85, 1.12)
            colour = (int(142 * light), int(110 * light), int(98 * light))
            draw.rectangle(
                (left + 2, row * height + 2, left + width - 2, (row + 1) * height - 2), fill=colour
            )
    return image


def _room(size: tuple[int, int], random: Random) -> Image.Image:
    """A pale wall with frames and shelves, above a floor."""
    width, height = size
    image = _gradient(size, (226, 222, 212), (198, 192, 180))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(height * 0.82), width, height), fill=(148, 122, 96))
    for _ in range(7):
        across, down = random.uniform(0.08, 0.2) * width, random.uniform(0.08, 0.2) * height
        left, top = random.uniform(0, width - across), random.uniform(0, height * 0.75 - down)
        grey = int(random.uniform(110, 200))
        draw.rectangle(
            (left, top, left + across, top + down),
            fill=(grey, grey - 6, grey - 14),
            outline=(90, 84, 78),
            width=3,
        )
    return image


def _street(size: tuple[int, int], random: Random) -> Image.Image:
    """Houses with windows under a grey sky."""
    width, height = size
    image = _gradient(size, (176, 186, 198), (214, 214, 212))
    draw = ImageDraw.Draw(image)
    left = 0
    while left < width:
        across, top = int(random.uniform(90, 200)), int(height * random.uniform(0.1, 0.45))
        grey = int(random.uniform(120, 185))
        draw.rectangle((left, top, left + across, height), fill=(grey, grey - 8, grey - 18))
        for x in range(left + 14, left + across - 22, 34):
            for y in range(top + 16, int(height * 0.8), 44):
                draw.rectangle((x, y, x + 16, y + 26), fill=(70, 80, 92))
        left += across
    draw.rectangle((0, int(height * 0.85), width, height), fill=(104, 104, 106))
    return image


def _night(size: tuple[int, int], random: Random) -> Image.Image:
    """The dark, with small lamps."""
    image = _gradient(size, (10, 12, 26), (34, 32, 40))
    draw = ImageDraw.Draw(image)
    for _ in range(25):
        x, y, reach = random.uniform(0, size[0]), random.uniform(0, size[1]), random.uniform(1.5, 4)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(214, 190, 140))
    return image


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)


# --- subjects ---


def _head(draw: ImageDraw.ImageDraw, box: Box, random: Random) -> Box:
    """A head with hair above shoulders; the box is that of the head."""
    left, top, right, bottom = box
    side = right - left
    skin, hair, cloth = (kind[random.integers(len(kind))] for kind in (_SKINS, _HAIRS, _CLOTHES))

    def part(x: float, y: float, across: float, down: float, colour: Colour) -> None:
        middle_x, middle_y = left + side * x, top + side * y
        reach = side * across / 2, side * down / 2
        draw.ellipse(
            (middle_x - reach[0], middle_y - reach[1], middle_x + reach[0], middle_y + reach[1]), fill=colour
        )

    draw.rounded_rectangle(
        (left - side * 0.35, bottom - side * 0.02, right + side * 0.35, bottom + side * 1.6),
        side * 0.4,
        fill=cloth,
    )
    part(0.5, 0.46, 0.82, 0.92, hair)
    part(0.5, 0.92, 0.34, 0.36, _shaded(skin, 0.85))
    part(0.5, 0.56, 0.66, 0.82, skin)
    part(0.5, 0.17, 0.62, 0.3, hair)
    for x in (0.36, 0.64):
        part(x, 0.5, 0.15, 0.08, (240, 238, 232))
        part(x, 0.5, 0.07, 0.08, (46, 34, 28))
        part(x, 0.43, 0.17, 0.03, hair)
    part(0.5, 0.63, 0.1, 0.12, _shaded(skin, 0.9))
    part(0.5, 0.79, 0.26, 0.07, (158, 74, 72))
    return left + int(side * 0.09), top, right - int(side * 0.09), bottom


def _couple(draw: ImageDraw.ImageDraw, box: Box, random: Random) -> Box:
    """Two heads side by side; the box holds both."""
    left, top, right, _ = box
    half = (right - left) // 2
    one = _head(draw, (left, top, left + half, top + half), random)
    other = _head(draw, (left + half, top + half // 4, right, top + half + half // 4), random)
    return one[0], one[1], other[2], other[3]


def _ball(draw: ImageDraw.ImageDraw, box: Box, random: Random) -> Box:
    """A ball in strong colours."""
    colours = ((214, 58, 44), (240, 196, 40), (34, 92, 196), (226, 120, 30))
    first = random.integers(len(colours))
    draw.ellipse(box, fill=colours[first])
    for start in (20, 140, 260):
        draw.pieslice(box, start, start + 55, fill=colours[(first + 1) % len(colours)])
    return box


def _fruit(draw: ImageDraw.ImageDraw, box: Box, random: Random) -> Box:
    """An apple with a leaf."""
    left, top, right, bottom = box
    side = right - left
    colour = ((190, 36, 40), (206, 98, 28), (222, 176, 44))[random.integers(3)]
    draw.ellipse((left, top + side * 0.12, right, bottom), fill=colour)
    draw.ellipse(
        (left + side * 0.18, top + side * 0.24, left + side * 0.4, top + side * 0.46),
        fill=_shaded(colour, 1.3),
    )
    draw.line((left + side * 0.5, top, left + side * 0.5, top + side * 0.2), fill=(84, 58, 36), width=6)
    draw.ellipse((left + side * 0.5, top, left + side * 0.8, top + side * 0.16), fill=(70, 130, 48))
    return box


def _sign(draw: ImageDraw.ImageDraw, box: Box, random: Random) -> Box:
    """A board with writing: edges, no colour."""
    left, top, right, _ = box
    side = right - left
    dark = int(random.uniform(16, 60))
    draw.rectangle(box, fill=(248, 248, 244), outline=(dark, dark, dark), width=max(3, side // 30))
    for row in range(5):
        y, x = top + side * (0.14 + 0.16 * row), left + side * 0.1
        while x < right - side * 0.2:
            across = side * random.uniform(0.04, 0.14)
            draw.rectangle((x, y, x + across, y + side * 0.09), fill=(dark, dark, dark))
            x += across + side * 0.04
    return box


def _shaded(colour: Colour, light: float) -> Colour:
    red, green, blue = (min(255, int(value * light)) for value in colour)
    return red, green, blue


_SURROUNDINGS: tuple[Callable[[tuple[int, int], Random], Image.Image], ...] = (
    _hills,
    _foliage,
    _wall,
    _room,
    _street,
    _night,
)
_SUBJECTS: tuple[Callable[[ImageDraw.ImageDraw, Box, Random], Box], ...] = (
    _head,
    _ball,
    _head,
    _couple,
    _fruit,
    _head,
    _sign,
)
