"""Picture in, JPEG thumbnail out: a pure function of bytes and a `ThumbnailSpec`.

    sniffing    which format is it, of those that are accepted
    headers     what the container says, read without a decoder; refuses structural floods
    limits      pixels, and memory by format
    decoders    bytes to a small picture, the cheapest way each format has
    shrink      scaling: one resize, or band by band
    geometry    crop and size
    colour      to sRGB, on the background

No I/O, no settings, no clock, and nothing that changes Pillow for the rest of the process: safe in several
simultaneous threads. What decodes (Pillow, pi-heif) is imported by `make_thumbnail` only, so that `check`
costs an API function next to nothing at its cold start.
"""

from dataclasses import dataclass

from chalicelib.errors import PictureError, UndecodablePicture
from chalicelib.imaging import headers, limits
from chalicelib.imaging.headers.header import undecodable
from chalicelib.imaging.sniffing import ACCEPTED
from chalicelib.spec import ThumbnailSpec

__all__ = ["ACCEPTED", "Thumbnail", "check", "make_thumbnail"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A finished thumbnail: `content` is a JPEG of `width` x `height` pixels, made from a `source_format`."""

    content: bytes
    width: int
    height: int
    source_format: str


def check(content: bytes, *, max_pixels: int) -> None:
    """Refuse at the door what the header alone already forbids; what cannot be read here passes.

    Args:
        content: the picture's bytes.
        max_pixels: the most pixels (width x height) that are accepted.

    Raises:
        UnsupportedFormat: not an accepted image format.
        TooManyPixels: the header declares more than `max_pixels`, or than fits the memory in this format.
        TooComplex: made of more parts than any real picture.

    """
    try:
        source_format, header = headers.read(content)
    except UndecodablePicture:
        return
    limits.enforce(source_format, header, max_pixels=max_pixels)


def make_thumbnail(content: bytes, spec: ThumbnailSpec, *, max_pixels: int) -> Thumbnail:
    """Turn a picture into its JPEG thumbnail: upright, sRGB, on the background, never enlarged.

    Args:
        content: the picture's bytes, in any accepted format.
        spec: box, fit, quality and background.
        max_pixels: the most pixels (width x height) that are decoded.

    Raises:
        UnsupportedFormat: not an accepted image format.
        TooManyPixels: the header declares more than `max_pixels`, or than fits the memory in this format.
        TooComplex: made of more parts than any real picture.
        UndecodablePicture: truncated, damaged, or a header that lies.

    """
    from chalicelib.imaging import render  # noqa: PLC0415 - see the module's docstring

    source_format, header = headers.read(content)
    limits.enforce(source_format, header, max_pixels=max_pixels)
    try:
        image = render.render(source_format, header, content, spec)
    except PictureError:
        raise
    except Exception as error:
        # Decoders raise about anything for a damaged file: OSError, ValueError, SyntaxError, MemoryError, ...
        raise undecodable() from error
    return Thumbnail(render.encode(image, spec.quality), image.width, image.height, source_format)
