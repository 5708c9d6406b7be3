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
from chalicelib.imaging.shrink import Reducer, shrink
from chalicelib.spec import ThumbnailSpec


def decode_gif(header: GifHeader, content: bytes, spec: ThumbnailSpec) -> Decoded:
    """Decode the first frame of a GIF and shrink it; the canvas around it is transparent."""
    if header.covered:
        with GifImageFile(BytesIO(header.stripped + content[header.frame :])) as image:
            return _shrunk(image, header, spec)
    left, top, right, bottom = header.box
    if left == right or top == bottom:
        raise ValueError("The first frame has no pixels.")
    with GifImageFile(BytesIO(header.cut_out(content))) as frame:
        if frame.size != (right - left, bottom - top):
            raise ValueError(f"The header says {header.box}, the decoder {frame.size}.")
        frame.load()
        wanted = plan(header.width, header.height, header.orientation, spec)
        reducer = Reducer((header.width, header.height), wanted)
        for first in range(0, header.height, reducer.band_rows):
            last = min(first + reducer.band_rows, header.height)
            band = Image.new("RGBA", (header.width, last - first))
            if first < bottom and last > top:
                rows = frame.crop((0, max(first - top, 0), frame.width, min(last, bottom) - top))
                band.paste(rows.convert("RGBA"), (left, max(top - first, 0)))
            reducer.add(band)
    return Decoded(reducer.finish(), header.orientation, header.profile)


def decode_bmp(header: BmpHeader, content: bytes, spec: ThumbnailSpec) -> Decoded:
    """Decode a bitmap and shrink it."""
    with BmpImageFile(BytesIO(content)) as image:
        return _shrunk(image, header, spec)


def _shrunk(image: Image.Image, header: Header, spec: ThumbnailSpec) -> Decoded:
    if image.size != (header.width, header.height):
        raise ValueError(f"The header says {header.width} x {header.height}, the decoder {image.size}.")
    image.load()
    wanted = plan(image.width, image.height, header.orientation, spec)
    return Decoded(shrink(image, wanted), header.orientation, header.profile, space=header.space)
