"""Baseline JPEGs of any sampling factors, written here from ITU-T T.81; Pillow writes the usual ones only."""

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import cos, pi, sqrt

from PIL import Image

_ZIGZAG = sorted(
    product(range(8), repeat=2),
    key=lambda place: (sum(place), place[0] if sum(place) % 2 else place[1]),
)
"""Row and column of the coefficients in the order in which they are stored (T.81, figure 5)."""
_QUANTUM = 4
_WAVES = [
    [(sqrt(0.125) if order == 0 else 0.5) * cos((2 * at + 1) * order * pi / 16) for at in range(8)]
    for order in range(8)
]
_AC_SYMBOLS = [run << 4 | size for run in range(16) for size in range(11) if size or run in {0, 15}]


def write(
    image: Image.Image,
    factors: Sequence[tuple[int, int]] = ((1, 1), (1, 1), (1, 1)),
    *,
    restart: int = 0,
    before: bytes = b"",
) -> bytes:
    """Write a JPEG.

    Args:
        image: of mode RGB.
        factors: across and down, of luma and both chromas; of luma the largest.
        restart: units between restart markers; 0: none.
        before: segments that come first.

    """
    width, height = image.size
    across, down = factors[0]
    columns, rows = -(-width // (8 * across)), -(-height // (8 * down))
    padded = image.convert("YCbCr").crop((0, 0, columns * 8 * across, rows * 8 * down))
    planes = [
        plane.resize((columns * 8 * wide, rows * 8 * tall), Image.Resampling.BOX)
        for plane, (wide, tall) in zip(padded.split(), factors, strict=True)
    ]
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(
        bytes((index + 1, wide << 4 | tall, 0)) for index, (wide, tall) in enumerate(factors)
    )
    # Codes of 4 bits for the sizes of DC differences, of 8 bits for all that AC coefficients need.
    tables = b"\0" + bytes((0, 0, 0, 12, *[0] * 12)) + bytes(range(12))
    tables += b"\x10" + bytes((*[0] * 7, len(_AC_SYMBOLS), *[0] * 8)) + bytes(_AC_SYMBOLS)
    out = b"\xff\xd8" + before
    out += segment(0xDB, b"\0" + bytes((_QUANTUM,) * 64)) + segment(0xC0, frame) + segment(0xC4, tables)
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    out += segment(0xDA, b"\3" + b"".join(bytes((index + 1, 0)) for index in range(3)) + bytes((0, 63, 0)))
    parts: list[str] = []
    last = [0, 0, 0]
    for number, (row, column) in enumerate(product(range(rows), range(columns))):
        if restart and number and number % restart == 0:
            out += _stuffed("".join(parts)) + bytes((0xFF, 0xD0 + (number // restart - 1) % 8))
            parts, last = [], [0, 0, 0]
        for index, (wide, tall) in enumerate(factors):
            for y, x in product(range(tall), range(wide)):
                left, top = (column * wide + x) * 8, (row * tall + y) * 8
                dc, rest = _block(planes[index].crop((left, top, left + 8, top + 8)).tobytes())
                parts += (_bits(dc - last[index], f"{abs(dc - last[index]).bit_length():04b}"), rest)
                last[index] = dc
    return out + _stuffed("".join(parts)) + b"\xff\xd9"


def in_scans(image: Image.Image) -> bytes:
    """Write a JPEG of full colour resolution with a scan for each component."""
    content = write(image)
    width, height = -(-image.width // 8) * 8, -(-image.height // 8) * 8
    out = content[: content.index(b"\xff\xda")]
    for index, plane in enumerate(image.convert("YCbCr").crop((0, 0, width, height)).split()):
        out += segment(0xDA, bytes((1, index + 1, 0, 0, 63, 0)))
        bits, last = "", 0
        for top, left in product(range(0, height, 8), range(0, width, 8)):
            dc, rest = _block(plane.crop((left, top, left + 8, top + 8)).tobytes())
            bits += _bits(dc - last, f"{abs(dc - last).bit_length():04b}") + rest
            last = dc
        out += _stuffed(bits)
    return out + b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    """Write a segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


@lru_cache(maxsize=10_000)
def _block(values: bytes) -> tuple[int, str]:
    """Return a block's DC coefficient, and its AC coefficients as they are coded (T.81, F.1.2.2)."""
    across = [[sum(values[8 * y + x] * wave[x] for x in range(8)) for wave in _WAVES] for y in range(8)]
    numbers = [
        round((sum(across[y][u] * _WAVES[v][y] for y in range(8)) - (1024 if u == v == 0 else 0)) / _QUANTUM)
        for v, u in _ZIGZAG
    ]
    bits, run = "", 0
    for number in numbers[1:]:
        if not number:
            run += 1
            continue
        while run > 15:
            bits += f"{_AC_SYMBOLS.index(0xF0):08b}"
            run -= 16
        bits += _bits(number, f"{_AC_SYMBOLS.index(run << 4 | abs(number).bit_length()):08b}")
        run = 0
    return numbers[0], bits + (f"{_AC_SYMBOLS.index(0):08b}" if run else "")


def _bits(value: int, code: str) -> str:
    """Put a value's bits after the code of how many they are; of negative ones those of one less."""
    size = abs(value).bit_length()
    return code + (f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else "")


def _stuffed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
