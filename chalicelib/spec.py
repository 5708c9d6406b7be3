"""What a thumbnail shall look like: plain values that the imaging is handed. Imports nothing heavy."""

import re
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
    """Size, shape and encoding of every thumbnail of a deployment.

    `width` and `height` are the box in pixels, `quality` is JPEG's 1 to 95, `background` is the
    sRGB colour (three values of 0 to 255) under transparent parts. `crop` is
    the part that stays, or a point in it; `Fit.CONTAIN` crops nothing.
    """

    width: int = 100
    height: int = 100
    fit: Fit = Fit.COVER
    quality: int = 85
    background: tuple[int, int, int] = (255, 255, 255)
    crop: Crop | Focus = Crop.CENTER

    def focused(self, focus: Focus | None) -> "ThumbnailSpec":
        """The same for a picture with this focal point, which goes before the deployment's crop."""
        return self if focus is None else replace(self, crop=focus)
