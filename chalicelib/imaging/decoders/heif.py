"""AVIF by Pillow's libavif, HEIC by pi-heif's libheif: both decode at full size."""

from io import BytesIO

import _pi_heif  # type: ignore[import-not-found]  # it comes without types
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from chalicelib.errors import TooManyPixels
from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import Plan, plan
from chalicelib.imaging.headers import exif
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.imaging.shrink import raw_by_bands, shrink
from chalicelib.spec import ThumbnailSpec

_THREADS = 4
"""Of libheif, which decodes the tiles of a grid side by side; pi-heif's own default."""


def decode_avif(header: HeifHeader, content: bytes, spec: ThumbnailSpec) -> Decoded:
    """Decode the first picture of an AVIF and shrink it.

    libavif leaves the container's rotation and mirroring to its caller; Pillow reports them as an EXIF
    orientation, in place of what the file's EXIF says, which AVIF (as HEIF) tells readers to ignore.
    """
    with AvifImageFile(BytesIO(content)) as image:
        _fits(image.size, header)
        orientation = exif.orientation(image.info.get("exif", b""))
        wanted = plan(image.width, image.height, orientation, spec)
        return Decoded(_shrunk_avif(image, wanted), orientation, image.info.get("icc_profile"))


def decode_heic(header: HeifHeader, content: bytes, spec: ThumbnailSpec) -> Decoded:
    """Decode the primary picture of a HEIC and shrink it.

    libheif applies the container's rotation and mirroring itself, so nothing is left to turn.

    pi-heif's C module is called directly: its Python classes read all metadata, too, which crashes the
    process for a file whose Exif item is declared to be of another type (1.4.0; a test keeps such a file).
    """
    # Threads; 8 bits a sample; no BGR; rows without gaps; (16 bits otherwise); any decoder; limits on.
    images = _pi_heif.load_file(content, _THREADS, True, False, True, True, "", False)
    picture = next(image for image in images if image is not None and image.primary)
    (width, height), mode = picture.size_mode
    _fits((width, height), header)
    pixels = memoryview(picture.data)
    if picture.size_mode != ((width, height), mode):
        raise ValueError("The decoded picture is another than the one declared.")
    small = raw_by_bands(mode, (width, height), pixels, picture.stride, plan(width, height, 1, spec))
    profile = picture.color_profile or {}
    return Decoded(small, 1, profile.get("data") if profile.get("type") in {"rICC", "prof"} else None)


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
