"""WebP: scaled down by libwebp while it decodes, which Pillow does not ask it to do."""

from io import BytesIO

from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from chalicelib.imaging.decoders import libwebp
from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import Plans, plans
from chalicelib.imaging.headers.webp import WebpHeader
from chalicelib.imaging.shrink import shrink
from chalicelib.spec import Specs

_REMAINING = 3
"""Pixels per pixel of the thumbnail that the decoder's scaling leaves for the better filter. One more than
with JPEG, as libwebp's own filter is a plain mean over boxes that do not fall on whole pixels."""


def decode(header: WebpHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode the first frame of a WebP and shrink it."""
    wanted = plans(header.width, header.height, header.orientation, specs)
    decoder = scaled if header.parts and libwebp.AVAILABLE else whole
    return Decoded(decoder(header, content, wanted), wanted.size, header.orientation, header.profile)


def scaled(header: WebpHeader, content: bytes, wanted: Plans) -> list[Image.Image]:
    """Let libwebp scale while it decodes; buys half the time and nearly all of the memory of `whole`."""
    factor = max(1, min(wanted.factors) / _REMAINING)
    width, height = -int(-header.width // factor), -int(-header.height // factor)
    still = header.still(content)
    image = libwebp.decode(still, (header.width, header.height), (width, height), alpha=header.alpha)
    return shrink(image, wanted.scaled(header.width / width, header.height / height, (width, height)))


def whole(header: WebpHeader, content: bytes, wanted: Plans) -> list[Image.Image]:
    """Decode at full size with Pillow, which passes every WebP through libwebp's animation decoder."""
    with WebPImageFile(BytesIO(header.still(content))) as image:
        if image.size != (header.width, header.height):
            raise ValueError(f"The header says {header.width} x {header.height}, the decoder {image.size}.")
        image.load()
        return shrink(image, wanted)
