"""JPEG: decoded at an eighth, a quarter or half of its size when that is enough."""

from io import BytesIO
from math import ceil, log2
from zlib import crc32

from PIL.JpegImagePlugin import JpegImageFile

from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers.jpeg import END, JpegHeader
from chalicelib.imaging.shrink import shrink
from chalicelib.spec import Specs

_SCALES = (8, 4, 2, 1)
_REMAINING = 1.9
"""The decoder's scaling leaves at least this many pixels per pixel of the thumbnail for the better filter:
SSIM to resampling all pixels .9974 on average, against .9976 for 2 and .9955 for 1.5. Photos of 12 MP, of
4000 or 4032 pixels, have 1.95 or 1.97 at half their size for a thumbnail of 1024."""
_COARSE_COLOURS = 21
"""From this factor on, colours at half the resolution of the brightness do not show after an eighth."""
_USUAL_COLOURS = 2
"""Pixels per colour sample, across or down, of 4:2:0 and 4:2:2."""
_ROWS_OF = 1 << 16
"""Pixels that are copied in one step."""
_NOISE = bytes((0x5A + number * number * 31) % 255 for number in range(4096))
"""Bytes that would go on with a scan, without a marker; libjpeg goes on with zeros where a file ends."""
_MORE = (_NOISE, b"".join(bytes((0xFF, 0xD0 + number % 8)) + _NOISE[number::9] for number in range(16)))
"""What is appended to a file without an end marker: more data, or more intervals between restart markers."""


def decode(header: JpegHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode a JPEG and shrink it."""
    wanted = plans(header.width, header.height, header.orientation, specs)
    scale = next((scale for scale in _SCALES if scale * _REMAINING <= min(wanted.factors)), 1)
    stripped = without_detail(header, content, min(wanted.factors))
    if stripped is None:
        ends = content.endswith(END) or header.ends(content)
        stripped = whole(header, content) if ends else with_end(header, content)
        if header.coarsest > _USUAL_COLOURS:
            # An eighth or a quarter makes up only for what colours are coarser in both directions.
            scale = max(1, scale >> ceil(log2(header.uneven)))
    with JpegImageFile(BytesIO(stripped)) as image:
        # In one piece: Pillow feeds 64 KB at a time otherwise, and copies what libjpeg has not consumed each
        # time.
        image.decodermaxblock = len(stripped)
        image.draft(None, (max(1, header.width // scale), max(1, header.height // scale)))
        image.load()
        small = shrink(image, wanted.scaled(scale, scale, image.size))
    # CMYK is right already: Pillow takes it to be stored inverted, as Adobe's writers do. So do browsers,
    # whether Adobe's marker is there or was lost; without it, T.872 would have it the other way round.
    return Decoded(small, wanted.size, header.orientation, header.profile, space=header.space)


def whole(header: JpegHeader, content: bytes) -> bytes:
    """Return the JPEG without metadata, comments and fill bytes, so that no parser has to deal with them."""
    return b"".join((header.stripped, memoryview(content)[header.first_scan :]))


def with_end(header: JpegHeader, content: bytes) -> bytes:
    """Return a JPEG that lacks nothing but its end marker, or a part of it, with that marker.

    That nothing else is missing shows when more data behind it change no pixel: the decoder has then read
    all that it needs. It is decoded at full size for that, two or three times.

    Raises:
        ValueError: the picture is truncated.

    """
    if header.scans and not header.refined(content):
        raise ValueError("The picture lacks scans.")
    data = whole(header, content).removesuffix(END[:1])
    finished = data + END
    pixels = _checksum(finished)
    if any(_checksum(data + more + END) != pixels for more in _MORE):
        raise ValueError("The picture is truncated.")
    return finished


def _checksum(stripped: bytes) -> int:
    with JpegImageFile(BytesIO(stripped)) as image:
        image.decodermaxblock = len(stripped)
        image.load()
        rows = max(1, _ROWS_OF // image.width)
        checksum = 0
        for top in range(0, image.height, rows):
            band = image.crop((0, top, image.width, min(top + rows, image.height)))
            checksum = crc32(band.tobytes(), checksum)
    return checksum


def without_detail(header: JpegHeader, content: bytes, factor: float) -> bytes | None:
    """Return a progressive JPEG with only the scans that an eighth of its size is made of.

    At that scale a block of 8x8 pixels becomes one, its mean: the DC coefficient, which progressive files
    store in scans of their own (T.81 G.1.1.1.1). Saves 70 % of the decoder's time, as all other scans are
    skipped.

    With 4:2:0 the colours stay means of 16x16 pixels where the whole file would give those of 8x8, which
    shows unless the picture is shrunk enough after that: SSIM .9969 at a factor of 24, .9956 at 21, .993 at
    18.

    Args:
        header: of the picture.
        content: all of it.
        factor: how many times the picture is shrunk in all.

    Returns:
        None when the picture is too small, when the scans are not stored like this, or when the file ends
        early: then the whole file is needed.

    """
    whole_colours = header.samples == header.components
    coarse = _COARSE_COLOURS * max(1, header.coarsest / _USUAL_COLOURS)
    if factor < (_SCALES[0] * _REMAINING if whole_colours else coarse):
        return None
    if not header.complete or not any(scan.only_dc for scan in header.scans):
        return None
    view = memoryview(content)
    parts: list[bytes | memoryview] = [header.stripped]
    for scan in header.scans:
        parts.append(view[scan.tables : scan.end if scan.only_dc else scan.start])
    return b"".join((*parts, b"\xff\xd9"))
