"""AVIF by Pillow's libavif, HEIC by pi-heif's libheif: both decode at full size."""

from dataclasses import dataclass
from io import BytesIO

import _pi_heif  # type: ignore[import-not-found]  # it comes without types
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from chalicelib.errors import TooManyPixels
from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.decoders.heif_still import still
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers.header import undecodable
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.imaging.headers.heif_transforms import Crop
from chalicelib.imaging.shrink import PIXEL_BYTES, raw_by_bands
from chalicelib.spec import Specs

_THREADS = 4
"""Of libheif, which decodes the tiles of a grid side by side; pi-heif's own default."""


def decode(header: HeifHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode the picture that a HEIF or AVIF file shows and shrink it.

    Raises:
        TooManyPixels: the decoder finds more than the file declares.
        UndecodablePicture: the container declares another size than the coded data.

    """
    if not header.truthful:
        raise undecodable()
    decoder = _avif if header.coding == "AVIF" else _heic
    return decoder(header, still(header, content), specs)


def _avif(header: HeifHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode a still AVIF and shrink it."""
    with AvifImageFile(BytesIO(content)) as image:
        _fits(image.size, header)
        decoder = getattr(image, "_decoder", None)
        if decoder is None:  # Pillow keeps its decoder elsewhere
            image.load()
            pixels = memoryview(image.tobytes())
        else:
            pixels = memoryview(decoder.get_frame(0)[0])
        area = _Area(image.mode, pixels, len(pixels) // image.height, header.crop or (0, 0, *image.size))
        small = area.shrunk(header.orientation, specs)
    return Decoded(small, area.crop[2:], header.orientation, header.profile, space=header.space)


def _heic(header: HeifHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode a still HEIC and shrink it.

    pi-heif's C module is called directly: its Python classes read all metadata, too, which crashes the
    process for a file whose Exif item is declared to be of another type (1.4.0; a test keeps such a file).
    """
    # Threads; 8 bits a sample (16 for grey of more); no BGR; rows without gaps; any decoder; limits on.
    images = _pi_heif.load_file(content, _THREADS, True, False, True, True, "", False)
    picture = next(image for image in images if image is not None and image.primary)
    size, mode = picture.size_mode
    _fits(size, header)
    pixels = memoryview(picture.data)
    if picture.size_mode != (size, mode):
        raise ValueError("The decoded picture is another than the one declared.")
    area = _Area(mode, pixels, picture.stride, header.crop or (0, 0, *size))
    small = area.shrunk(header.orientation, specs)
    return Decoded(small, area.crop[2:], header.orientation, header.profile, space=header.space)


@dataclass(frozen=True, slots=True)
class _Area:
    """What is shown of a decoder's buffer, whose rows are `stride` bytes apart."""

    mode: str
    pixels: memoryview
    stride: int
    crop: Crop

    def shrunk(self, orientation: int, specs: Specs) -> list[Image.Image]:
        """Shrink it, straight from the buffer; what is cropped away is not passed over."""
        left, top, width, height = self.crop
        if (top + height) * self.stride > len(self.pixels):
            raise ValueError("The picture is cropped to more than there is of it.")
        start = top * self.stride + left * PIXEL_BYTES[self.mode]
        wanted = plans(width, height, orientation, specs)
        return raw_by_bands(self.mode, self.pixels[start:], self.stride, wanted)


def _fits(size: tuple[int, int], header: HeifHeader) -> None:
    """Refuse a picture that turns out larger than all the sizes that its file states."""
    if size[0] * size[1] > header.pixels:
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} pixels, more than its container declares."
        )
