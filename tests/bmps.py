"""Bitmaps of every header, depth and mask, written here: Pillow writes the usual ones only."""

import struct
from collections.abc import Callable, Sequence

Masks = tuple[int, ...]


def write(
    pixel: Callable[[int, int], int],
    bits: int,
    *,
    header: int = 40,
    compression: int = 0,
    masks: Masks = (),
    palette: Sequence[tuple[int, int, int]] = (),
    from_top: bool = False,
    used: int = 0,
    gap: int = 0,
    size: tuple[int, int],
) -> bytes:
    """Write a bitmap.

    Args:
        pixel: the bits of the pixel at x, y.
        bits: of a pixel.
        header: bytes of the header.
        compression: the header's number.
        masks: of red, green, blue and alpha; behind a header of 40 bytes, or in a larger one.
        palette: red, green and blue of each colour.
        from_top: whether the first row comes first.
        used: the number of colours that the header states.
        gap: bytes before the pixels.
        size: width and height.

    """
    width, height = size
    rows = []
    for y in range(height) if from_top else reversed(range(height)):
        number = "".join(f"{pixel(x, y):0{bits}b}" for x in range(width))
        number += "0" * (-len(number) % 32)
        row = bytes(int(number[at : at + 8], 2) for at in range(0, len(number), 8))
        if bits > 8:  # the least byte of a pixel comes first
            step = bits // 8
            row = b"".join(row[at : at + step][::-1] for at in range(0, width * step, step)).ljust(
                len(row), b"\0"
            )
        rows.append(row)
    height = -height if from_top else height
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
        table = b"".join(bytes((blue, green, red)) for red, green, blue in palette)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, 0, 0, 0, used, 0)
        inside = struct.pack(f"<{len(masks)}I", *masks)
        info = (info + (inside if header > 40 else b"")).ljust(header, b"\0")[:header]
        table = (inside if header == 40 else b"") + b"".join(
            bytes((blue, green, red, 0)) for red, green, blue in palette
        )
    data = b"".join(rows)
    offset = 14 + len(info) + len(table) + gap
    head = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    return head + info + table + bytes(gap) + data


def cut_off(channels: Callable[[int, int], Sequence[int]], masks: Masks) -> Callable[[int, int], int]:
    """Return pixels whose channels have the upper bits of 8, as converters leave them, or of 8 and zeros."""

    def pixel(x: int, y: int) -> int:
        value = 0
        for mask, channel in zip(masks, channels(x, y), strict=False):
            bits = mask.bit_count()
            number = channel >> 8 - bits if bits <= 8 else channel << bits - 8 | channel >> 16 - bits
            value |= number * (mask & -mask)
        return value

    return pixel
