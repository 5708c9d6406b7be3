"""The steps from a header to encoded thumbnails, in their order."""

from io import BytesIO
from typing import NamedTuple

from PIL import Image

from chalicelib.imaging import attention
from chalicelib.imaging.colour import to_srgb
from chalicelib.imaging.decoders import Decoded, decode
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers.header import SIDEWAYS, Header
from chalicelib.imaging.shrink import averaged_pixels
from chalicelib.spec import Crop, Fit, ImageFormat, Specs, ThumbnailSpec

# What turns a picture of each EXIF orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MOST_AVERAGED = 34_000_000
"""Pixels of 4 bytes that thumbnails of one decode may share: of pictures up to twice as wide as high all do,
at 1024 x 1024 from four times as much. One thumbnail alone needs 3 x 1024 squared, four times that where
attention decides on its crop; only crops beside whole panoramas need more."""


class Rendered(NamedTuple):
    """Pictures that are to be encoded, and width and height of their original, upright.

    Each is of mode RGB, or RGBA where its format keeps transparency and there is some.
    """

    images: list[Image.Image]
    width: int
    height: int


def render(source_format: str, header: Header, content: bytes, specs: Specs) -> Rendered:
    """Decode, shrink, convert and turn: colours and rotation last, where there are few pixels left.

    Returns a picture for each spec; raises whatever the decoders raise for damaged pictures.
    """
    images: dict[ThumbnailSpec, Image.Image] = {}
    size = (0, 0)
    for group in _groups(header, specs):
        decoded = decode(source_format, header, content, group)
        for index, spec in enumerate(group):
            images[spec] = _finished(decoded, index, spec)
        size = decoded.size[::-1] if decoded.orientation >= SIDEWAYS else decoded.size
    return Rendered([images[spec] for spec in specs], *size)


def _groups(header: Header, specs: Specs) -> list[list[ThumbnailSpec]]:
    """Divide specs into those that share a decode: all of them, unless that takes too much memory."""
    groups: list[list[ThumbnailSpec]] = []
    for spec in dict.fromkeys(specs):
        for group in groups:
            wanted = plans(header.width, header.height, header.orientation, [*group, spec])
            if averaged_pixels(wanted) <= _MOST_AVERAGED:
                group.append(spec)
                break
        else:
            groups.append([spec])
    return groups


def _finished(decoded: Decoded, index: int, spec: ThumbnailSpec) -> Image.Image:
    colours, alpha = to_srgb(decoded.images[index], decoded.profile, decoded.space)
    if decoded.alphas is not None:
        alpha = decoded.alphas[index]
    if spec.format is ImageFormat.JPEG:
        image = Image.new("RGB", colours.size, spec.background)
        image.paste(colours, mask=alpha)
    else:
        image = colours
        if alpha is not None and alpha.getextrema() != (255, 255):
            image.putalpha(alpha)
    if decoded.orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[decoded.orientation])
    if spec.fit is Fit.COVER and spec.crop is Crop.ATTENTION:
        size = (min(spec.width, image.width), min(spec.height, image.height))
        image = attention.crop(image, size, spec.background)
    image.info = {}  # Pillow's writers of PNG and AVIF would store what it holds, such as a profile
    return image


def encode(image: Image.Image, spec: ThumbnailSpec) -> bytes:
    """Write a picture without metadata; JPEGs are baseline.

    Full colour resolution (4:4:4), as small pictures lose visibly without it: at equal bytes it beats a
    higher quality with 4:2:0, as `benchmarks.imaging.quality` judges in colour. Lossy WebP has 4:2:0 alone.
    """
    out = BytesIO()
    match spec.format:
        case ImageFormat.JPEG:
            try:
                image.save(out, "JPEG", quality=spec.quality, optimize=True, subsampling="4:4:4")
            except OSError:
                # Noise at a high quality takes more bytes than Pillow expects, and holds for `optimize`.
                out = BytesIO()
                image.save(out, "JPEG", quality=spec.quality, subsampling="4:4:4")
        case ImageFormat.WEBP:
            from PIL import WebPImagePlugin  # noqa: PLC0415 - registers itself; others do not pay for it

            image.save(out, WebPImagePlugin.WebPImageFile.format, quality=spec.quality)
        case ImageFormat.AVIF:
            from PIL import AvifImagePlugin  # noqa: PLC0415 - likewise

            # libavif's default of 6 takes a second for 1024 x 1024 pixels of noise.
            options = {"quality": spec.quality, "subsampling": "4:4:4", "speed": 8}
            image.save(out, AvifImagePlugin.AvifImageFile.format, **options)
        case ImageFormat.PNG:
            image.save(out, "PNG", optimize=True)
    return out.getvalue()
