"""What the container of a picture says about it, read without a decoder and in bounded time.

One module per format, each with one function `read`: bytes to a `Header`. They need neither Pillow nor
pi-heif, so that the API function can check an upload without importing them. Each reader refuses
structural floods: files made of so many parts that walking them would keep a decoder busy for seconds.
"""

import struct
from dataclasses import replace

from chalicelib.errors import UndecodablePicture
from chalicelib.imaging.headers import bmp, gif, heif, jpeg, png, tiff, webp
from chalicelib.imaging.headers.header import MAX_PROFILE, Header, undecodable
from chalicelib.imaging.sniffing import sniff

_READERS = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "GIF": gif.read,
    "WEBP": webp.read,
    "BMP": bmp.read,
    "TIFF": tiff.read,
    "AVIF": heif.read,
    "HEIF": heif.read,
}


def read(content: bytes) -> tuple[str, Header]:
    """Sniff the format and read its header.

    Returns:
        The format's name and the header; its class is the format's own.

    Raises:
        UnsupportedFormat: not an accepted format.
        TooManyPixels: a TIFF of more than `tiff.MAX_PIXELS`.
        TooComplex: a structural flood.
        UndecodablePicture: the header is truncated or damaged.

    """
    source_format = sniff(content)
    try:
        header: Header = _READERS[source_format](content)
    except (struct.error, IndexError, ValueError, OverflowError, MemoryError) as error:
        # No memory counts as damage, as it does where pictures are decoded: `check` lets such a picture pass,
        # and the function that has more memory decides.
        raise undecodable() from error
    if isinstance(header, heif.HeifHeader):
        source_format = header.coding  # the brands do not bind what the file holds
    if header.width < 1 or header.height < 1:
        raise UndecodablePicture("The picture has no pixels: its width or height is 0.")
    if header.profile is not None and len(header.profile) > MAX_PROFILE:
        # As without one: the colours of real pictures need less, and this one would be copied and parsed.
        header = replace(header, profile=None)
    return source_format, header
