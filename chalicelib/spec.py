"""What thumbnails shall look like: plain values that the imaging is handed. Imports nothing heavy."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

FOCUS_PATTERN = r"(0|1|0?\.[0-9]{1,20}|1\.0{1,20}),(0|1|0?\.[0-9]{1,20}|1\.0{1,20})"
"""How a focal point is written: two decimal fractions of 0 to 1 with a comma between them."""
_DECIMALS = 4
"""Of a fraction that are kept: a ten-thousandth is less than a pixel of any thumbnail."""


class Fit(StrEnum):
    """How a picture of another shape gets into the box."""

    COVER = "cover"
    """Fill the box and crop what sticks out; `Crop` says where."""
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


class Crop(StrEnum):
    """Which part stays of a picture that sticks out of the box (`Fit.COVER`)."""

    CENTER = "center"
    """The middle: as much is cropped on both sides."""
    ATTENTION = "attention"
    """The part to which people's eyes are drawn: edges, colours that stand out, skin."""


@dataclass(frozen=True, slots=True)
class Focus:
    """The point of a picture that a crop keeps, as near to its middle as the picture's edges allow.

    `x` and `y` are fractions, 0 to 1, of the upright picture's width from the left and height from the top.
    """

    x: float
    y: float

    @classmethod
    def parse(cls, text: str) -> "Focus":
        """Read a focal point such as `0.5,0.2`, rounded to four decimals.

        Raises:
            ValueError: the text does not match `FOCUS_PATTERN`.

        """
        found = re.fullmatch(FOCUS_PATTERN, text)
        if found is None:
            raise ValueError(f"{text!r} is no focal point")
        return cls(round(float(found[1]), _DECIMALS), round(float(found[2]), _DECIMALS))

    def __str__(self) -> str:
        """Write it as `parse` reads it; equal points give equal text."""
        return f"{self.x:g},{self.y:g}"


@dataclass(frozen=True, slots=True)
class ThumbnailSpec:
    """Size, shape and encoding of a thumbnail.

    `width` and `height` are the box in pixels, `quality` is 1 to 95 and counts for all formats but PNG,
    `background` is the sRGB colour (three values of 0 to 255) under transparent parts of a JPEG. `crop` is
    the part that stays, or a point in it; `Fit.CONTAIN` crops nothing.
    """

    width: int = 100
    height: int = 100
    fit: Fit = Fit.COVER
    quality: int = 85
    background: tuple[int, int, int] = (255, 255, 255)
    format: ImageFormat = ImageFormat.JPEG
    crop: Crop | Focus = Crop.CENTER

    def focused(self, focus: Focus | None) -> "ThumbnailSpec":
        """The same for a picture with this focal point, which goes before the deployment's crop."""
        return self if focus is None else replace(self, crop=focus)


Specs = Sequence[ThumbnailSpec]
"""What is made of one picture, one spec or more."""


@dataclass(frozen=True, slots=True)
class NamedSize:
    """A further thumbnail of every picture, which clients ask for by `name`: [a-z0-9][a-z0-9-]{0,15}."""

    name: str
    spec: ThumbnailSpec
