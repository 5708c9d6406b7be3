"""AVIF by Pillow's libavif, HEIC by pi-heif's libheif: both decode at full size."""

from io import BytesIO

import pi_heif  # type: ignore[import-untyped]  # it comes without types
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from chalicelib.errors import TooManyPixels
from chalicelib.imaging.decoders.shrunk import Shrunk
from chalicelib.imaging.geometry import Plan, plan
from chalicelib.imaging.headers import exif
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.imaging.shrink import raw_by_bands, shrink
from chalicelib.spec import ThumbnailSpec


def decode_avif(header: HeifHeader, content: bytes, spec: ThumbnailSpec) -> Shrunk:
    """Decode the first picture of an AVIF and shrink it.

    libavif leaves the container's rotation and mirroring to its caller; Pillow reports them as an EXIF
    orientation, in place of what the file's EXIF says, which AVIF (as HEIF) tells readers to ignore.
    """
    with AvifImageFile(BytesIO(content)) as image:
        _fits(image.size, header)
        orientation = exif.orientation(image.info.get("exif", b""))
        wanted = plan(image.width, image.height, orientation, spec)
        return Shrunk(_shrunk_avif(image, wanted), orientation, image.info.get("icc_profile"))


def decode_heic(header: HeifHeader, content: bytes, spec: ThumbnailSpec) -> Shrunk:
    """Decode the primary picture of a HEIC and shrink it.

    libheif applies the container's rotation and mirroring itself, so nothing is left to turn.
    """
    file = pi_heif.open_heif(content, convert_hdr_to_8bit=True)
    _fits(file.size, header)
    mode = "RGBa" if file.premultiplied_alpha else file.mode
    width, height = file.size
    wanted = plan(width, height, 1, spec)
    small = raw_by_bands(mode, file.size, memoryview(file.data), file.stride, wanted)
    return Shrunk(small, 1, file.info.get("icc_profile"))


def _shrunk_avif(image: AvifImageFile, wanted: Plan) -> Image.Image:
    """Shrink from the decoder's own buffer; where Pillow keeps that elsewhere, from Pillow's copy."""
    decoder = getattr(image, "_decoder", None)
    if decoder is None:
        image.load()
        return shrink(image, wanted)
    pixels = memoryview(decoder.get_frame(0)[0])
    return raw_by_bands(image.mode, image.size, pixels, len(pixels) // image.height, wanted)


def _fits(size: tuple[int, int], header: HeifHeader) -> None:
    """Refuse a picture that turns out larger than the sizes its container declares."""
    if size[0] * size[1] > header.pixels:
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} pixels, more than its container declares."
        )
