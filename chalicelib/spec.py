"""What thumbnails shall look like: plain values that the imaging is handed. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fit(StrEnum):
    """How a picture of another shape gets into the box."""

    COVER = "cover"
    """Fill the box and crop what sticks out, evenly on both sides."""
    CONTAIN = "contain"
    """Show the whole picture; one side may be shorter than the box."""


class ImageFormat(StrEnum):
    """How a thumbnail is encoded. Its media type is `image/` and the value."""

    JPEG = "jpeg"
    """Without transparency: what is transparent shows the background."""
    WEBP = "webp"
    AVIF = "avif"
    PNG = "png"

    @property
    def extension(self) -> str:
        """What names of files in this format end in."""
        return "jpg" if self is ImageFormat.JPEG else self.value

    @property
    def media_type(self) -> str:
        """The Content-Type."""
        return f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class ThumbnailSpec:
    """Size, shape and encoding of a thumbnail.

    `width` and `height` are the box in pixels, `quality` is 1 to 95 and counts for all formats but PNG,
    `background` is the sRGB colour (three values of 0 to 255) under transparent parts of a JPEG.
    """

    width: int = 100
    height: int = 100
    fit: Fit = Fit.COVER
    quality: int = 85
    background: tuple[int, int, int] = (255, 255, 255)
    format: ImageFormat = ImageFormat.JPEG


Specs = Sequence[ThumbnailSpec]
"""What is made of one picture, one spec or more."""


@dataclass(frozen=True, slots=True)
class NamedSize:
    """A further thumbnail of every picture, which clients ask for by `name`: [a-z0-9][a-z0-9-]{0,15}."""

    name: str
    spec: ThumbnailSpec
