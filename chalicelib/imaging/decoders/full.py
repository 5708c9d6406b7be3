"""The formats that Pillow decodes at full size, and well: GIF and BMP."""

from io import BytesIO

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile

from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import plan
from chalicelib.imaging.headers.bmp import BmpHeader
from chalicelib.imaging.headers.gif import GifHeader
from chalicelib.imaging.headers.header import Header
from chalicelib.imaging.shrink import shrink
from chalicelib.spec import ThumbnailSpec


def decode_gif(header: GifHeader, content: bytes, spec: ThumbnailSpec) -> Decoded:
    """Decode the first frame of a GIF and shrink it."""
    with GifImageFile(BytesIO(header.stripped + content[header.frame :])) as image:
        return _shrunk(image, header, spec)


def decode_bmp(header: BmpHeader, content: bytes, spec: ThumbnailSpec) -> Decoded:
    """Decode a bitmap and shrink it."""
    with BmpImageFile(BytesIO(content)) as image:
        return _shrunk(image, header, spec)


def _shrunk(image: Image.Image, header: Header, spec: ThumbnailSpec) -> Decoded:
    if image.size != (header.width, header.height):
        raise ValueError(f"The header says {header.width} x {header.height}, the decoder {image.size}.")
    image.load()
    wanted = plan(image.width, image.height, header.orientation, spec)
    return Decoded(shrink(image, wanted), header.orientation, header.profile)
