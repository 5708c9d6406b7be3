"""From packed samples of any depth to bytes that Pillow takes, without a loop over pixels."""

import sys
from functools import lru_cache

from PIL import Image

_LITTLE = sys.byteorder == "little"
_UPPERMOST = bytes((value & 0x7F) >> 3 | value & 0x80 for value in range(256))
"""From the upper byte of a float of 16 bits to the uppermost of one of 32."""
_EVEN = bytes(0 if value & 0x80 else 255 for value in range(256))
_BELOW = {least: bytes(0 if value & 0x7F >= least else 255 for value in range(256)) for least in (0x47, 0x7F)}
"""Whether a float's exponent, but for its lowest bit, says less; and whether that bit is not set."""
_OTHER = [bytes(0 if value == one else 255 for value in range(256)) for one in range(256)]
"""Whether a byte is another than this one."""


def top_bytes(rows: bytes, row_bytes: int, bits: int, count: int) -> bytes:
    """Reduce samples to 8 bits: their upper ones, or, of samples of fewer bits, all, as a number.

    Args:
        rows: packed samples, the first in the uppermost bits; each row starts at a whole byte. Samples of
        16 bits
            are in this machine's order.
        row_bytes: bytes of a row.
        bits: of a sample, 1 to 16.
        count: samples of a row.

    Returns:
        A byte for each sample.

    """
    if bits == 8:  # noqa: PLR2004 - a byte
        return rows
    if bits == 16:  # noqa: PLR2004 - two bytes
        return rows[1 if _LITTLE else 0 :: 2]
    # Eight samples take `bits` bytes: rows are filled up to such units, and each unit's first sample is
    # taken out of all of them, then each second, and so on.
    units, height = -(-row_bytes // bits), len(rows) // row_bytes
    if row_bytes % bits:
        rows = Image.frombytes("L", (row_bytes, height), rows).crop((0, 0, units * bits, height)).tobytes()
    columns = [rows[index::bits] for index in range(bits)]
    reduced = bytearray(len(columns[0]) * 8)
    for index in range(8):
        reduced[index::8] = field(columns, index * bits, bits)
    if count == units * 8:
        return bytes(reduced)
    return Image.frombytes("L", (units * 8, height), bytes(reduced)).crop((0, 0, count, height)).tobytes()


def field(columns: list[bytes], position: int, bits: int) -> bytes:
    """Take one field out of units of bytes: its upper 8 bits, or all if it has fewer.

    Args:
        columns: the first byte of each unit, the second of each, and so on.
        position: the field's first bit, counted from the uppermost of the unit.
        bits: of the field.

    """
    column, start = divmod(position, 8)
    bits = min(bits, 8)
    below = 8 - start - bits
    if below >= 0:
        return columns[column].translate(_shifted(-below, bits))
    return _or(
        columns[column].translate(_shifted(-below, bits)),
        columns[column + 1].translate(_shifted(-below - 8, 8)),
    )


@lru_cache(maxsize=128)
def _shifted(up: int, bits: int) -> bytes:
    """Return the table that shifts a byte up, or down by a negative number, and keeps its lower bits."""
    mask = (1 << bits) - 1
    return bytes((value << up if up > 0 else value >> -up) & mask for value in range(256))


def scale(bits: int) -> bytes:
    """Return the table from the numbers that `top_bytes` and `field` return to 0 to 255."""
    most = (1 << min(bits, 8)) - 1
    return bytes(min(value, most) * 255 // most for value in range(256))


def middle(bits: int) -> bytes:
    """Return a table like `scale`'s for colours of 1 to 7 bits whose lower ones were cut off.

    Each number becomes the middle of what it stands for, which is nearest to the colour before; the least
    stays black, and the greatest white. Of 4 bits, that halves the error of converted photos.
    """
    most = (1 << bits) - 1
    half = (1 << 7 - bits) - 1
    return bytes(
        0 if value == 0 else 255 if value >= most else (value << 8 - bits) + half for value in range(256)
    )


def channel(rows: bytes, index: int, count: int, size: int) -> bytes:
    """Take one of `count` channels out of samples of `size` bytes that lie side by side."""
    if count == 1:
        return rows
    if size == 1:
        return rows[index::count]
    taken = bytearray(len(rows) // count)
    for byte in range(size):
        taken[byte::size] = rows[index * size + byte :: count * size]
    return bytes(taken)


def half_to_float(halves: bytes) -> bytes:
    """Convert floats of 16 bits to floats of 32 bits that are 2**112 times smaller (IEEE 754).

    Both in this machine's order. The exponents keep their bits, which stand for other powers of two; so a
    value of 2**16 or more, after multiplying, was an infinity or not a number.
    """
    low, high = halves[0 if _LITTLE else 1 :: 2], halves[1 if _LITTLE else 0 :: 2]
    # A sign, 5 bits of exponent and 10 of fraction become a sign, 8 and 23: the lower 15 bits move up by 13.
    columns = (
        bytes(len(low)),
        low.translate(_shifted(5, 8)),
        _or(low.translate(_shifted(-3, 8)), high.translate(_shifted(5, 8))),
        high.translate(_UPPERMOST),
    )
    floats = bytearray(4 * len(low))
    for byte, column in enumerate(columns if _LITTLE else columns[::-1]):
        floats[byte::4] = column
    return bytes(floats)


def finite(floats: bytes, *, half: bool) -> bytes:
    """Return 255 for each float of 32 bits that is a number, 0 for infinities and what is not a number.

    `half` says that the floats were of 16 bits, whose infinities are numbers from 2**16 on by now.
    """
    # All bits of the exponent are set; or, of those that were halves, it says 2**16 or more.
    upper, lower = floats[3 if _LITTLE else 0 :: 4], floats[2 if _LITTLE else 1 :: 4]
    return _or(upper.translate(_BELOW[0x47 if half else 0x7F]), lower.translate(_EVEN))


def other_than(floats: bytes, one: bytes) -> bytes:
    """Return 255 for each float of 32 bits that is stored otherwise than `one`, 0 for the others."""
    differing = bytes(len(floats) // 4)
    for byte in range(4):
        differing = _or(differing, floats[byte::4].translate(_OTHER[one[byte]]))
    return differing


def _or(one: bytes, other: bytes) -> bytes:
    """Return the bitwise or of two strings of the same length."""
    both = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")
