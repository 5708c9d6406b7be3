"""What a thumbnail shall look like: plain values that the imaging is handed. Imports nothing heavy."""

from dataclasses import dataclass
from enum import StrEnum


class Fit(StrEnum):
    """How a picture of another shape gets into the box."""

    COVER = "cover"
    """Fill the box and crop what sticks out, evenly on both sides."""
    CONTAIN = "contain"
    """Show the whole picture; one side may be shorter than the box."""


@dataclass(frozen=True, slots=True)
class ThumbnailSpec:
    """Size, shape and encoding of every thumbnail of a deployment.

    `width` and `height` are the box in pixels, `quality` is JPEG's 1 to 95, `background` is the
    sRGB colour (three values of 0 to 255) under transparent parts.
    """

    width: int = 100
    height: int = 100
    fit: Fit = Fit.COVER
    quality: int = 85
    background: tuple[int, int, int] = (255, 255, 255)
