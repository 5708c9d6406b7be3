"""Watermarks for tests, and where pictures show them."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy
from PIL import Image

from chalicelib.imaging.watermark import Watermark, read
from chalicelib.spec import ThumbnailSpec, parse_sizes
from tests.pictures import encode

if TYPE_CHECKING:
    pass

GREEN, BLUE = (0, 255, 0), (0, 0, 255)
SIZES = parse_sizes("plain=60x40 card=60x40:watermark", ThumbnailSpec())
CUT = encode(Image.effect_noise((90, 90), 99), "PNG")[:3000]
"""A PNG that ends too early."""


def logo(size: tuple[int, int] = (400, 200), colour: tuple[int, int, int] = GREEN) -> bytes:
    return encode(Image.new("RGB", size, colour), "PNG")


def mark(share: int = 50, size: tuple[int, int] = (400, 200)) -> Watermark:
    return read(logo(size), share, "version")


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def drawn_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where an image is green: left, top, right, bottom."""
    pixels = numpy.asarray(image.convert("RGB")).astype(int)
    green = (pixels[..., 1] > 200) & (pixels[..., 0] < 90) & (pixels[..., 2] < 90)
    return Image.fromarray(green).getbbox()
