"""The deployment's watermark: a PNG that is drawn into the bottom right corner of thumbnails."""

from dataclasses import dataclass

from PIL import Image

from chalicelib.errors import PictureError
from chalicelib.imaging import headers, limits, render
from chalicelib.imaging.sniffing import format_of
from chalicelib.spec import LONGEST_SIDE, Fit, ImageFormat, ThumbnailSpec

MOST_BYTES = 1_000_000
"""Of a watermark's file."""
MOST_PIXELS = 16_000_000
"""Width x height of a watermark; it is kept at no more than a thumbnail's largest size."""
_MARGIN = 32
"""The shorter side of a thumbnail is so many times the margin."""
_KEPT = ThumbnailSpec(LONGEST_SIDE, LONGEST_SIDE, fit=Fit.CONTAIN, format=ImageFormat.PNG)


@dataclass(frozen=True, slots=True)
class Watermark:
    """An upright sRGB picture of mode RGBA, drawn at `share` percent (1 to 100) of a thumbnail's width.

    `version` stands for the picture and the share.
    """

    image: Image.Image
    share: int
    version: str


def read(content: bytes, share: int, version: str) -> Watermark:
    """Decode a watermark of at most `MOST_BYTES`, the way a picture is decoded.

    Raises:
        ValueError: it is no PNG, damaged, or has too many pixels; the message says which.

    """
    if format_of(content) != "PNG":
        raise ValueError("it is not PNG")
    try:
        source_format, header = headers.read(content)
        limits.enforce(source_format, header, max_pixels=MOST_PIXELS)
        [image] = render.render(source_format, header, content, [_KEPT]).images
    except PictureError as error:
        raise ValueError(str(error).removesuffix(".")) from error
    except Exception as error:
        # As for pictures: decoders raise about anything for a damaged file.
        raise ValueError("it is damaged") from error
    return Watermark(image.convert("RGBA"), share, version)


def draw(image: Image.Image, watermark: Watermark) -> Image.Image:
    """Draw the watermark on a copy of a finished thumbnail of mode RGB or RGBA.

    It has `share` percent of the thumbnail's width, unless it would be enlarged or higher than the thumbnail
    then. A 32nd of the shorter side is left to the right and the bottom, as far as there is room.
    """
    mark = watermark.image
    scale = min(image.width * watermark.share / 100 / mark.width, image.height / mark.height, 1.0)
    scaled = mark.resize(
        (max(1, round(mark.width * scale)), max(1, round(mark.height * scale))), Image.Resampling.LANCZOS
    )
    margin = min(image.size) // _MARGIN
    place = (
        max(0, image.width - scaled.width - margin),
        max(0, image.height - scaled.height - margin),
    )
    drawn = image.convert("RGBA")
    drawn.alpha_composite(scaled, place)
    return drawn.convert(image.mode)
