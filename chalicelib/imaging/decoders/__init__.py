"""Bytes to a small picture: one decoder per format, each handed exactly the format that was sniffed.

Pillow's plugins are called directly and not through `Image.open`: nothing is probed, no plugin is registered,
and Pillow's own limit, a warning that depends on a global, does not come into play. A decoder is imported
with the first picture of its format, so that a new environment pays for the one that it needs.
"""

from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.headers.bmp import BmpHeader
from chalicelib.imaging.headers.gif import GifHeader
from chalicelib.imaging.headers.header import Header
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.imaging.headers.jpeg import JpegHeader
from chalicelib.imaging.headers.png import PngHeader
from chalicelib.imaging.headers.tiff import TiffHeader
from chalicelib.imaging.headers.webp import WebpHeader
from chalicelib.spec import Specs

__all__ = ["Decoded", "decode"]


def decode(  # noqa: PLR0911 - a table
    source_format: str, header: Header, content: bytes, specs: Specs
) -> Decoded:
    """Decode a picture once and shrink it to each spec; raises what the decoder raises for a damaged one."""
    match header:
        case JpegHeader():
            from chalicelib.imaging.decoders import jpeg

            return jpeg.decode(header, content, specs)
        case PngHeader():
            from chalicelib.imaging.decoders import png

            return png.decode(header, content, specs)
        case WebpHeader():
            from chalicelib.imaging.decoders import webp

            return webp.decode(header, content, specs)
        case HeifHeader():
            from chalicelib.imaging.decoders import heif

            return heif.decode(header, content, specs)
        case GifHeader():
            from chalicelib.imaging.decoders import gif

            return gif.decode(header, content, specs)
        case TiffHeader():
            from chalicelib.imaging.decoders import tiff

            return tiff.decode(header, content, specs)
        case BmpHeader():
            from chalicelib.imaging.decoders import bmp

            return bmp.decode(header, content, specs)
    raise TypeError(f"There is no decoder for a {type(header).__name__}.")
