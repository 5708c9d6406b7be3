"""BMP (Windows and OS/2 bitmaps): its size, and how its pixels are stored."""

import struct
from dataclasses import dataclass

from chalicelib.errors import UnsupportedFormat
from chalicelib.imaging.headers import bmp_colours
from chalicelib.imaging.headers.header import Header, too_complex, undecodable

MAX_RUN_PIXELS = 1_000_000
"""Pixels of run-length encoded bitmaps, which Pillow decodes in Python; they are rarely photos."""
MAX_RUN_OVERHEAD = 65_536
"""Bytes that such a bitmap may take beside two a pixel, the most that runs of one pixel need."""

_CORE_HEADER, _INFO_HEADER = 12, 40
_LEAST_HEADER = 16
"""Of OS/2 2.x, whose header may be cut off after any field."""
_WITH_ALPHA = 56
"""From this size on, headers have four masks inside."""
_WITH_SPACE = {16, 32}
"""Bits of pixels that have some left for alpha."""
_PILLOWS_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_RUN_LENGTHS = {1: 8, 2: 4}
"""Compressions by run lengths, and the bits that they go with."""
_MASKED, _ALPHA_MASKED = 3, 6
_DEPTHS = {1, 2, 4, 8, 16, 24, 32}

Masks = tuple[int, int, int, int]
"""The bits of red, green, blue and alpha in a pixel; 0: there are none."""

_USUAL: dict[int, Masks] = {
    16: (0x7C00, 0x03E0, 0x001F, 0),
    24: (0xFF0000, 0x00FF00, 0x0000FF, 0),
    32: (0xFF0000, 0x00FF00, 0x0000FF, 0),
}
_PILLOWS_MASKS: dict[int, set[Masks]] = {
    16: {_USUAL[16], (0xF800, 0x07E0, 0x001F, 0)},
    24: {_USUAL[24]},
    32: {
        _USUAL[32],
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Pixels that Pillow does not read: `bits` each, rows of `stride` bytes from `offset` on.

    `masks` are those of pixels of 16 bits and more; `palette` has four bytes for each colour of the others:
    blue, green, red, and one that says nothing. `upside_down` says that the last row comes first, as is
    usual.
    """

    bits: int
    stride: int
    offset: int
    upside_down: bool
    masks: Masks
    palette: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BmpHeader(Header):
    """A bitmap's size, and its `pixels` where Pillow does not read them; bitmaps carry no EXIF."""

    pixels_apart: Pixels | None

    def memory(self) -> int:
        """Count 4 bytes a pixel at most, once; one more to look at alpha."""
        return self.pixels * 5


def read(content: bytes) -> BmpHeader:
    """Read a bitmap's header.

    Raises:
        TooComplex: run-length encoded, and larger than Python decodes in a moment.
        UnsupportedFormat: compressed in another way, or masks whose bits do not lie together.
        UndecodablePicture: not a bitmap's header.

    """
    (size,) = struct.unpack_from("<I", content, 14)
    if size == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
    elif size >= _LEAST_HEADER:
        width, height, _, bits = struct.unpack_from("<iiHH", content, 18)
    else:
        raise undecodable()
    # Fields that a short header does not have are 0.
    fields = content[14 : 14 + min(size, _INFO_HEADER)].ljust(_INFO_HEADER, b"\0")
    compression, used = (0, 0) if size == _CORE_HEADER else struct.unpack_from("<I12xI", fields, 16)
    if bits not in _DEPTHS:
        raise undecodable()
    area = width * abs(height)
    if compression in _RUN_LENGTHS:
        if area > MAX_RUN_PIXELS or len(content) > 2 * area + MAX_RUN_OVERHEAD:
            raise too_complex("run-length encoded pixels")
        if bits != _RUN_LENGTHS[compression] or size not in _PILLOWS_HEADERS:
            raise undecodable()
        pixels = None
    else:
        pixels = _pixels(content, size, (width, height, bits), compression, used)
    profile, space = bmp_colours.read(content, size)
    return BmpHeader(width=width, height=abs(height), profile=profile, space=space, pixels_apart=pixels)


def _pixels(
    content: bytes, size: int, shape: tuple[int, int, int], compression: int, used: int
) -> Pixels | None:
    """Find out how pixels that are not compressed are stored; None when Pillow reads them."""
    width, height, bits = shape
    masked = compression in {_MASKED, _ALPHA_MASKED} and bits in _USUAL
    if compression and not masked:
        raise UnsupportedFormat("This BMP is compressed in a way that is not accepted; save it as PNG.")
    masks, end = _masks(content, size, compression) if masked else (_USUAL.get(bits, (0,) * 4), 14 + size)
    if not masked and bits in _WITH_SPACE and size >= _WITH_ALPHA:
        # Chromium, too, believes the mask of alpha alone when colours are said to need none.
        masks = (*masks[:3], struct.unpack_from("<I", content, 14 + _WITH_ALPHA - 4)[0])
        masked = masks[3] != 0
    usual = masks in _PILLOWS_MASKS[bits] if masked else bits != 2  # noqa: PLR2004 - bits
    if usual and size in _PILLOWS_HEADERS and (compression == _MASKED or not masked):
        return None
    if not all(_fits(mask, bits) for mask in masks):
        raise UnsupportedFormat("This BMP mixes its colours in a way that is not accepted; save it as PNG.")
    entry = 3 if size == _CORE_HEADER else 4
    colours = 0 if bits in _USUAL else min(used or 1 << bits, 1 << bits)
    (offset,) = struct.unpack_from("<I", content, 10)
    if offset >= end:
        colours = min(colours, (offset - end) // entry)
    else:
        offset = end + colours * entry
    listed = content[end : end + colours * entry]
    return Pixels(
        bits=bits,
        stride=(width * bits + 31) // 32 * 4,
        offset=offset,
        upside_down=height > 0,  # negative: the rows go from top to bottom
        masks=masks,
        palette=b"".join(listed[at : at + 3] + b"\0" for at in range(0, len(listed), entry)),
    )


def _masks(content: bytes, size: int, compression: int) -> tuple[Masks, int]:
    """Return the masks, and where the palette or the pixels may start."""
    # Behind the shortest header, three or four masks follow; later ones have them inside.
    count = 4 if compression == _ALPHA_MASKED or size >= _WITH_ALPHA else 3
    found = struct.unpack_from(f"<{count}I", content, 14 + _INFO_HEADER)
    red, green, blue, alpha = (*found, 0)[:4]
    return (red, green, blue, alpha), max(14 + size, 14 + _INFO_HEADER + 4 * count)


def _fits(mask: int, bits: int) -> bool:
    """Whether a mask's bits lie together, within the pixel."""
    together = mask // (mask & -mask) if mask else 0
    return mask < 1 << bits and together & (together + 1) == 0
