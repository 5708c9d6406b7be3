"""Samples without a black and white of their own: floats, signed integers, and integers of 32 bits.

Measurements are stretched from the least sample to the greatest. Those that are none (infinities, not a
number, GDAL's value for no data) are transparent. Pictures whose samples fill the usual range for their
type keep it.
"""

import struct
from collections.abc import Iterator

from PIL import Image, ImageChops

from chalicelib.imaging.decoders import samples
from chalicelib.imaging.decoders.tiff_page import Assembly, Box, Page, Planes
from chalicelib.imaging.headers import tiff_layout as meaning
from chalicelib.imaging.headers.tiff_layout import Layout

_RAW = {
    (meaning.SIGNED, 8): "F;8S",
    (meaning.SIGNED, 16): "F;16NS",
    (meaning.SIGNED, 32): "F;32NS",
    (meaning.UNSIGNED, 32): "F;32N",
    (meaning.FLOATING, 16): "F;32NF",
    (meaning.FLOATING, 32): "F;32NF",
    (meaning.FLOATING, 64): "F;64NF",
}
"""Pillow's names of the layouts that it converts to floats of 32 bits."""
_HALF_SCALE = 2.0**112
_GREATEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
"""The greatest float of 32 bits."""
_USUAL_FLOATS = (1.0, 255.0, 65535.0)
"""Whites of pictures that are stored as floats; 0 is black."""
_FILLED = 0.75
"""The share of a usual range that samples have to fill to be shown in it: what contrast may be lost to it."""
_COLOURS = 3
_MID_GREY = 128


def planes(page: Page) -> Planes:
    """Read a page twice: for the least and the greatest of its samples, then for the samples.

    Raises:
        ValueError: a strip or tile is damaged or truncated.

    """
    layout = page.layout
    black, white = _range(layout, _extrema(page))
    assembly = Assembly(page)
    known: Image.Image | None = None
    for index, box, values in _floats(page):
        if index == layout.alpha:
            assembly.add(index, box, _scaled(values, 0, _usual(layout)[0]))
            continue
        measured = _measured(layout, values)
        if measured is not None:
            values.paste(black, mask=ImageChops.invert(measured))
            known = known or Image.new("L", page.size, 255)
            known.paste(ImageChops.darker(known.crop(box), measured), box)
        piece = _scaled(values, black, white) if black < white else Image.new("L", values.size, _MID_GREY)
        if layout.photometric == meaning.WHITE_IS_0 and not layout.premultiplied:
            piece = ImageChops.invert(piece)
        assembly.add(index, box, piece)
    colours, alpha = assembly.planes()
    if known is None:
        return colours, alpha
    return colours, known if alpha is None else ImageChops.darker(alpha, known)


def _floats(page: Page) -> "Iterator[tuple[int, Box, Image.Image]]":
    """Yield index, box and values of each sample that is used, some rows of a strip or tile at a time."""
    layout = page.layout
    half = _is_half(layout)
    for plane, box, rows in page.blocks():
        for index, place in page.used(plane):
            stored = samples.channel(rows, place, layout.together, layout.bits // 8)
            if half:
                stored = samples.half_to_float(stored)
            size = layout.piece[0], box[3] - box[1]
            raw = _RAW[layout.sample_format, layout.bits]
            values = Image.frombytes("F", size, stored, "raw", raw).crop((0, 0, box[2] - box[0], size[1]))
            if half:
                values = values.point(lambda value: value * _HALF_SCALE + 0)
            yield index, box, values


def _measured(layout: Layout, values: Image.Image) -> Image.Image | None:
    """Return 255 where a value is a measurement, 0 where it is none; None when all are."""
    stored = values.tobytes()
    mask = Image.frombytes("L", values.size, samples.finite(stored, half=_is_half(layout)))
    if layout.no_data is not None:
        try:
            missing = struct.pack("f", layout.no_data)
        except OverflowError:  # of doubles: it became an infinity
            missing = b""
        if missing:
            mask = ImageChops.darker(
                mask, Image.frombytes("L", values.size, samples.other_than(stored, missing))
            )
    return None if mask.getextrema() == (255, 255) else mask


def _is_half(layout: Layout) -> bool:
    return (layout.sample_format, layout.bits) == (meaning.FLOATING, 16)


def _extrema(page: Page) -> tuple[float, float]:
    """Return the least and the greatest colour that is a measurement; without any, the least is greater."""
    least, greatest = _GREATEST, -_GREATEST
    for index, _, values in _floats(page):
        if index == page.layout.alpha:
            continue
        measured = _measured(page.layout, values)
        low, high = _bounds(values)
        if measured is not None:
            missing = ImageChops.invert(measured)
            values.paste(_GREATEST, mask=missing)
            low, _ = _bounds(values)
            values.paste(-_GREATEST, mask=missing)
            _, high = _bounds(values)
        least, greatest = min(least, low), max(greatest, high)
    return least, greatest


def _bounds(values: Image.Image) -> tuple[float, float]:
    low, high = values.getextrema()
    if not isinstance(low, float) or not isinstance(high, float):
        raise TypeError("These values are no floats.")
    return low, high


def _usual(layout: Layout) -> tuple[float, ...]:
    """Return the whites that pictures of this type have when 0 is their black."""
    if layout.sample_format == meaning.FLOATING:
        return _USUAL_FLOATS
    return (float((1 << layout.bits - (layout.sample_format == meaning.SIGNED)) - 1),)


def _range(layout: Layout, extrema: tuple[float, float]) -> tuple[float, float]:
    """Return the values that become black and white; black is not less when all samples are the same."""
    low, high = extrema
    if low >= high:
        return low, low
    whites = _usual(layout)
    colourful = layout.colours == _COLOURS
    if colourful and layout.sample_format == meaning.FLOATING and low >= 0 and high <= whites[0]:
        return 0, whites[0]
    for white in whites:
        if low >= 0 and high <= white and high - low >= _FILLED * white:
            return 0, white
    # Colours and alpha keep their hue only when black stays 0.
    if (colourful or layout.premultiplied) and (low >= 0 or layout.sample_format == meaning.FLOATING):
        return 0, max(high, 0)
    if layout.sample_format == meaning.SIGNED:
        black, white = -(whites[0] + 1), whites[0]
        if high - low >= _FILLED * (white - black):
            return black, white
    return low, high


def _scaled(values: Image.Image, black: float, white: float) -> Image.Image:
    scale = 255 / (white - black)
    return values.point(lambda value: value * scale + (0.5 - black * scale)).convert("L")
