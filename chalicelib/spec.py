"""What thumbnails shall look like: plain values that the imaging is handed. Imports nothing heavy."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

FOCUS_PATTERN = r"(0|1|0?\.[0-9]{1,20}|1\.0{1,20}),(0|1|0?\.[0-9]{1,20}|1\.0{1,20})"
"""How a focal point is written: two decimal fractions of 0 to 1 with a comma between them."""
_DECIMALS = 4
"""Of a fraction that are kept: a ten-thousandth is less than a pixel of any thumbnail."""
LONGEST_SIDE = 1024
"""Pixels: at this size even noise at the best quality stays below what a Lambda response can carry."""
MOST_SIZES = 8
"""Most named sizes of a deployment."""
SIZE_NAME = "[a-z0-9][a-z0-9-]{0,15}"
"""The pattern of a size's name."""


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

    @classmethod
    def of(cls, extension: str) -> "ImageFormat":
        """The format of files whose names end in this; raises ValueError for another."""
        return cls.JPEG if extension == cls.JPEG.extension else cls(extension)

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
    the part that stays, or a point in it; `Fit.CONTAIN` crops nothing. `watermark` puts the deployment's
    watermark on it.
    """

    width: int = 100
    height: int = 100
    fit: Fit = Fit.COVER
    quality: int = 85
    background: tuple[int, int, int] = (255, 255, 255)
    format: ImageFormat = ImageFormat.JPEG
    crop: Crop | Focus = Crop.CENTER
    watermark: bool = False

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


def parse_sizes(text: str, default: ThumbnailSpec) -> tuple[NamedSize, ...]:
    """Read named sizes: `<name>=<width>x<height>[:<option>...]` with spaces between them.

    Options, in any order: `cover` or `contain`; `q1` to `q95`, the quality; `jpeg`, `webp`, `avif` or `png`;
    `watermark`.

    Args:
        text: such as `2x=200x200 card=400x300:contain:q80:webp`; of an empty one there are none.
        default: the default thumbnail, which says what a size does not but its format, and whether it has the
            watermark.

    Raises:
        ValueError: the message says which size is wrong, and how.

    """
    sizes = tuple(_parse_size(entry, default) for entry in text.split())
    if len(sizes) > MOST_SIZES:
        raise ValueError(f"there are {len(sizes)} sizes, and at most {MOST_SIZES} can be")
    names = [size.name for size in sizes]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the name {doubled!r} is there twice")
    return sizes


def _parse_size(entry: str, default: ThumbnailSpec) -> NamedSize:
    box = r"(?P<width>[0-9]{1,4})x(?P<height>[0-9]{1,4})"
    found = re.fullmatch(rf"(?P<name>{SIZE_NAME})={box}(?P<options>:.*)?", entry)
    if found is None:
        raise ValueError(
            f"{entry!r} is not NAME=WIDTHxHEIGHT, as card=400x300 is; a name has up to 16 of a-z, 0-9 and -"
        )
    width, height = int(found["width"]), int(found["height"])
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        raise ValueError(f"{entry!r} is not from 1x1 to {LONGEST_SIDE}x{LONGEST_SIDE} pixels")
    spec = replace(default, width=width, height=height, format=ImageFormat.JPEG, watermark=False)
    given: set[str] = set()
    for option in (found["options"] or "").split(":")[1:]:
        kind, spec = _with_option(spec, option, entry)
        if kind in given:
            raise ValueError(f"{entry!r} says its {kind} twice")
        given.add(kind)
    if spec.format is ImageFormat.PNG and "quality" in given:
        raise ValueError(f"{entry!r} has a quality, which PNG has not")
    return NamedSize(found["name"], spec)


def _with_option(spec: ThumbnailSpec, option: str, entry: str) -> tuple[str, ThumbnailSpec]:
    """What an option is about, and the spec with it."""
    if option in set(Fit):
        return "fit", replace(spec, fit=Fit(option))
    if option in set(ImageFormat):
        return "format", replace(spec, format=ImageFormat(option))
    if re.fullmatch("q([1-9]|[1-8][0-9]|9[0-5])", option):
        return "quality", replace(spec, quality=int(option[1:]))
    if option == "watermark":
        return option, replace(spec, watermark=True)
    known = ", ".join([*Fit, "q1 to q95", *ImageFormat, "watermark"])
    raise ValueError(f"{entry!r} has {option!r}, which is none of {known}")


def digest(spec: ThumbnailSpec, sizes: Sequence[NamedSize], watermark: str = "") -> str:
    """Stand for all that decides how thumbnails look: 12 characters, equal for equal settings.

    What is as it is by default does not count, so that a release with a new setting makes nothing again.
    `watermark` stands for the watermark that is drawn, empty for none.
    """
    usual = asdict(ThumbnailSpec())

    def unusual(one: ThumbnailSpec) -> dict[str, object]:
        return {name: value for name, value in asdict(one).items() if value != usual[name]}

    told = [unusual(spec), {size.name: unusual(size.spec) for size in sizes}, *filter(None, [watermark])]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
