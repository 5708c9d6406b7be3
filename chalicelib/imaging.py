"""Picture in, JPEG thumbnail out: a pure function of bytes and a `ThumbnailSpec`.

No I/O, no settings, no clock, and nothing that changes Pillow for the rest of the process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms, ImageOps

from chalicelib.errors import PictureError, TooManyPixels, UndecodablePicture, UnsupportedFormat
from chalicelib.spec import Fit, ThumbnailSpec

ACCEPTED = "JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A finished thumbnail: `content` is a JPEG of `width` x `height` pixels, made from a `source_format`."""

    content: bytes
    width: int
    height: int
    source_format: str


def sniff(content: bytes) -> str:
    """Name the image format by its first bytes, as Pillow spells it.

    Raises:
        UnsupportedFormat: the bytes start like none of the accepted formats.

    """
    signatures: dict[str, Callable[[bytes], bool]] = {
        "JPEG": lambda head: head.startswith(b"\xff\xd8\xff"),
        "PNG": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
        "GIF": lambda head: head[:6] in {b"GIF87a", b"GIF89a"},
        "WEBP": lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        "BMP": lambda head: head.startswith(b"BM"),
        "TIFF": lambda head: head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"},
        "AVIF": lambda head: head[4:8] == b"ftyp" and head[8:12] in {b"avif", b"avis"},
    }
    for name, matches in signatures.items():
        if matches(content):
            return name
    raise UnsupportedFormat(f"This is not an image that can be used; send {ACCEPTED}.")


def check(content: bytes, *, max_pixels: int) -> None:
    """Refuse at the door what the header alone already forbids; what cannot be read here passes.

    Args:
        content: the picture's bytes.
        max_pixels: the most pixels (width x height) that are accepted.

    Raises:
        UnsupportedFormat: not an accepted image format.
        TooManyPixels: the header declares more than `max_pixels`.

    """
    source_format = sniff(content)
    try:
        with _open(content, source_format, max_pixels):
            pass
    except UndecodablePicture:
        return


def make_thumbnail(content: bytes, spec: ThumbnailSpec, *, max_pixels: int) -> Thumbnail:
    """Turn a picture into its JPEG thumbnail: upright, sRGB, on the background, never enlarged.

    Args:
        content: the picture's bytes, in any accepted format.
        spec: box, fit, quality and background.
        max_pixels: the most pixels (width x height) that are decoded.

    Raises:
        UnsupportedFormat: not an accepted image format.
        TooManyPixels: the header declares more than `max_pixels`.
        UndecodablePicture: truncated, damaged, or a header that lies.

    """
    source_format = sniff(content)
    with _open(content, source_format, max_pixels) as image:
        try:
            thumbnail = _render(image, spec)
        except PictureError:
            raise
        except Exception as error:
            raise _undecodable() from error
    out = BytesIO()
    thumbnail.save(out, "JPEG", quality=spec.quality, optimize=True, subsampling="4:4:4")
    return Thumbnail(out.getvalue(), thumbnail.width, thumbnail.height, source_format)


def _undecodable() -> UndecodablePicture:
    return UndecodablePicture("The picture cannot be decoded: it is truncated or damaged. Upload it again.")


def _open(content: bytes, source_format: str, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(BytesIO(content), formats=[source_format])
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"The picture has more than {max_pixels:,} pixels.") from error
    except Exception as error:
        raise _undecodable() from error
    if image.width * image.height > max_pixels:
        raise TooManyPixels(
            f"The picture has {image.width} x {image.height} pixels; at most {max_pixels:,} are accepted."
        )
    return image


def _render(image: Image.Image, spec: ThumbnailSpec) -> Image.Image:
    profile = image.info.get("icc_profile")
    image.draft(None, (spec.width * 2, spec.height * 2))
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = upright.point(lambda value: value / 257).convert("L")
    if upright.mode == "1":
        upright = upright.convert("L")
    if upright.mode in {"P", "PA", "LA", "La"} or "transparency" in upright.info:
        upright = upright.convert("RGBA")
    box = (min(spec.width, upright.width), min(spec.height, upright.height))
    if spec.fit is Fit.COVER:
        small = ImageOps.fit(upright, box, Image.Resampling.LANCZOS)
    else:
        small = ImageOps.contain(upright, box, Image.Resampling.LANCZOS)
    if small.mode == "RGBA":
        ground = Image.new("RGBA", small.size, (*spec.background, 255))
        small = Image.alpha_composite(ground, small).convert("RGB")
    small = _to_srgb(small, profile)
    plain = Image.new("RGB", small.size)
    plain.paste(small)
    return plain


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
