"""Picture in, thumbnails out: a pure function of bytes and specs.

    sniffing    which format is it, of those that are accepted
    headers     what the container says, read without a decoder; refuses structural floods
    limits      pixels, and memory by format
    decoders    bytes to a small picture, the cheapest way each format has
    shrink      scaling: one resize, or band by band; several thumbnails of one decode
    geometry    crop and size
    colour      to sRGB
    attention   the crop that shows what people look at
    render      all of these in their order, and encoding
    watermark   the deployment's watermark, drawn on what asks for it
    thumbhash   the placeholder

No I/O, no settings, no clock, and nothing that changes Pillow for the rest of the process: safe in several
simultaneous threads. What decodes (Pillow, pi-heif) is imported by `make_thumbnail` only, so that `check`
costs an API function next to nothing at its cold start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.errors import PictureError, UndecodablePicture
from chalicelib.imaging import headers, limits
from chalicelib.imaging.headers.header import undecodable
from chalicelib.imaging.sniffing import ACCEPTED, format_of
from chalicelib.spec import Focus, NamedSize, ThumbnailSpec

if TYPE_CHECKING:
    from PIL import Image

    from chalicelib.imaging.watermark import Watermark

__all__ = ["ACCEPTED", "Described", "Thumbnail", "check", "make_thumbnail"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished picture: `content` is a file of `width` x `height` pixels."""

    content: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Thumbnail(Encoded):
    """The default thumbnail, a JPEG, and the `sizes` by their names, all made of one picture.

    The picture was `source_format`, of `source_width` x `source_height` pixels, counted upright.
    `placeholder` is the default thumbnail's ThumbHash in base64, at most 36 characters; `settings` is for the
    digest of what they were made by, where they are to be stored.
    """

    source_format: str
    source_width: int
    source_height: int
    placeholder: str
    sizes: Mapping[str, Encoded] = field(default_factory=dict)
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """What a header says of a picture: the format's name, and width and height in pixels, upright."""

    format: str
    width: int
    height: int


def check(content: bytes, *, max_pixels: int) -> Described | None:
    """Refuse at the door what the header alone already forbids; what cannot be read here passes.

    Args:
        content: the picture's bytes.
        max_pixels: the most pixels (width x height) that are accepted.

    Returns:
        what the header says; None where it does not.

    Raises:
        UnsupportedFormat: not an accepted image format.
        TooManyPixels: the header declares more than `max_pixels`, or than fits the memory in this format.
        TooComplex: made of more parts than any real picture.

    """
    try:
        source_format, header = headers.read(content)
    except UndecodablePicture:
        return None
    limits.enforce(source_format, header, max_pixels=max_pixels)
    return None if header.upright is None else Described(source_format, *header.upright)


def make_thumbnail(  # noqa: PLR0913 - what is made of what
    content: bytes,
    spec: ThumbnailSpec,
    *,
    max_pixels: int,
    sizes: Sequence[NamedSize] = (),
    focus: Focus | None = None,
    watermark: "Watermark | None" = None,
) -> Thumbnail:
    """Turn a picture into its thumbnails: upright, sRGB, never enlarged.

    Args:
        content: the picture's bytes, in any accepted format.
        spec: box, fit, quality and background of the default thumbnail.
        max_pixels: the most pixels (width x height) that are decoded.
        sizes: what else is made; the picture is decoded once for all.
        focus: the point that all crops keep; None leaves it to the specs.
        watermark: what is drawn on those whose spec asks for it.

    Raises:
        UnsupportedFormat: not an accepted image format.
        TooManyPixels: the header declares more than `max_pixels`, or than fits the memory in this format.
        TooComplex: made of more parts than any real picture.
        UndecodablePicture: truncated, damaged, or a header that lies.

    Each of them carries the format, by the first bytes.

    """
    specs, names = [spec, *(size.spec for size in sizes)], [size.name for size in sizes]
    try:
        focused = [one.focused(focus) for one in specs]
        return _make_thumbnail(content, focused, max_pixels, names, watermark)
    except PictureError as error:
        error.image_format = format_of(content)
        raise


def _make_thumbnail(
    content: bytes,
    specs: Sequence[ThumbnailSpec],
    max_pixels: int,
    names: Sequence[str],
    mark: "Watermark | None",
) -> Thumbnail:
    from chalicelib.imaging import render  # noqa: PLC0415 - see the module's docstring
    from chalicelib.imaging.thumbhash import thumbhash  # noqa: PLC0415 - likewise

    source_format, header = headers.read(content)
    limits.enforce(source_format, header, max_pixels=max_pixels)
    try:
        rendered = render.render(source_format, header, content, specs)
        images = rendered.images if mark is None else _marked(rendered.images, specs, mark)
    except PictureError:
        raise
    except Exception as error:
        # Decoders raise about anything for a damaged file: OSError, ValueError, SyntaxError, MemoryError, ...
        raise undecodable() from error
    default, *others = [
        Encoded(render.encode(image, one), image.width, image.height)
        for image, one in zip(images, specs, strict=True)
    ]
    return Thumbnail(
        default.content,
        default.width,
        default.height,
        source_format,
        rendered.width,
        rendered.height,
        thumbhash(images[0]),
        dict(zip(names, others, strict=True)),
    )


def _marked(
    images: "Sequence[Image.Image]", specs: Sequence[ThumbnailSpec], mark: "Watermark"
) -> "list[Image.Image]":
    from chalicelib.imaging.watermark import draw  # noqa: PLC0415 - likewise

    return [draw(image, mark) if spec.watermark else image for image, spec in zip(images, specs, strict=True)]
