"""TIFFs of every layout, written here from the specification: what decodes them has had no part in them."""

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Number = int | float
Pixel = Callable[[int, int], Sequence[Number]]
"""The samples of the pixel at x, y."""

COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "old deflate": 32946, "packbits": 32773, "lzma": 34925}
_TYPES = {"B": 1, "H": 3, "I": 4, "Q": 16, "s": 2, "R": 5}
_FLOATS = {16: "e", 32: "f", 64: "d"}
_INTEGERS = {8: "B", 16: "H", 32: "I", 64: "Q"}


@dataclass(frozen=True)
class Written:
    """How a TIFF is written.

    `tile` is the side of square tiles; without it, `rows` are those of a strip (0: all). `tags` are further
    ones, each with the `struct` code of its values ("s" is text, "R" numerators and denominators), or None
    for a tag that shall be missing.
    """

    photometric: int = 1
    bits: int = 8
    sample_format: int = 1
    extras: tuple[int, ...] = ()
    order: str = "<"
    separate: bool = False
    rows: int = 0
    tile: int = 0
    compression: str = "none"
    predictor: int = 1
    fill_order: int = 1
    big: bool = False
    subsampling: tuple[int, int] = (0, 0)
    tags: Mapping[int, tuple[str, Sequence[int]] | None] = field(default_factory=dict)


def write(size: tuple[int, int], pixel: Pixel, how: Written) -> bytes:
    """Write a TIFF of one page."""
    width, height = size
    count = len(pixel(0, 0))
    across, down = (how.tile, how.tile) if how.tile else (width, how.rows or height)
    pieces = []
    for plane in range(count) if how.separate else [slice(None)]:
        for top in range(0, height, down):
            for left in range(0, width, across):
                bottom = top + down if how.tile else min(top + down, height)

                def clamped(x: int, y: int) -> Sequence[Number]:
                    return pixel(min(x, width - 1), min(y, height - 1))

                if how.subsampling[0] and not how.separate:
                    rows = _shared_chroma(clamped, (left, top, left + across, bottom), how.subsampling)
                else:
                    rows = [
                        [
                            value
                            for x in range(left, left + across)
                            for value in _samples(clamped(x, y), plane)
                        ]
                        for y in range(top, bottom)
                    ]
                pieces.append(_piece(rows, 1 if how.separate else count, how))
    tags: dict[int, tuple[str, Sequence[int]] | None] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (how.bits,) * count),
        530: ("H", how.subsampling) if how.subsampling[0] else None,
        259: ("H", (COMPRESSIONS[how.compression],)),
        262: ("H", (how.photometric,)),
        266: ("H", (how.fill_order,)) if how.fill_order != 1 else None,
        277: ("H", (count,)),
        284: ("H", (2 if how.separate else 1,)),
        317: ("H", (how.predictor,)) if how.predictor != 1 else None,
        338: ("H", how.extras) if how.extras else None,
        339: ("H", (how.sample_format,) * count) if how.sample_format != 1 else None,
    }
    if how.tile:
        tags |= {322: ("I", (how.tile,)), 323: ("I", (how.tile,))}
    else:
        tags[278] = ("I", (down,))
    return assemble(tags | dict(how.tags), pieces, how)


def _shared_chroma(
    pixel: Pixel, box: tuple[int, int, int, int], subsampling: tuple[int, int]
) -> list[list[Number]]:
    """TIFF 6.0, section 21: blocks of luma, each followed by its two chroma samples."""
    left, top, right, bottom = box
    wide, tall = subsampling
    rows = []
    for block_top in range(top, bottom, tall):
        row: list[Number] = []
        for block_left in range(left, right, wide):
            row += [pixel(block_left + x, block_top + y)[0] for y in range(tall) for x in range(wide)]
            row += pixel(block_left, block_top)[1:]
        rows.append(row)
    return rows


def _samples(values: Sequence[Number], plane: "int | slice") -> Sequence[Number]:
    return values[plane] if isinstance(plane, slice) else (values[plane],)


def _piece(rows: list[list[Number]], count: int, how: Written) -> bytes:
    """Pack, predict and compress the rows of a strip or tile, each of pixels of `count` samples."""
    packed = []
    for row in rows:
        if how.predictor == 3:
            packed.append(_floating_differences(row, count, how.bits))
            continue
        if how.predictor == 2:
            row = [  # noqa: PLW2901
                int(value - (row[index - count] if index >= count else 0)) % (1 << how.bits)
                for index, value in enumerate(row)
            ]
        packed.append(_pack(row, how))
    compressed = _COMPRESS[how.compression](packed)
    return compressed if how.fill_order == 1 else bytes(int(f"{byte:08b}"[::-1], 2) for byte in compressed)


def _pack(row: list[Number], how: Written) -> bytes:
    if how.sample_format == 3:
        return struct.pack(f"{how.order}{len(row)}{_FLOATS[how.bits]}", *row)
    numbers = [int(value) % (1 << how.bits) for value in row]
    if how.bits in _INTEGERS:
        return struct.pack(f"{how.order}{len(row)}{_INTEGERS[how.bits]}", *numbers)
    bits = "".join(f"{number:0{how.bits}b}" for number in numbers)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def _floating_differences(row: list[Number], count: int, bits: int) -> bytes:
    """Adobe's floating point predictor (Photoshop TIFF technical note 3): all uppermost bytes first."""
    stored = struct.pack(f">{len(row)}{_FLOATS[bits]}", *row)
    size = bits // 8
    planes = b"".join(stored[byte::size] for byte in range(size))
    return bytes(
        (value - (planes[at - count] if at >= count else 0)) % 256 for at, value in enumerate(planes)
    )


def _packbits(rows: list[bytes]) -> bytes:
    out = bytearray()
    for row in rows:
        at = 0
        while at < len(row):
            run = 1
            while run < 128 and at + run < len(row) and row[at + run] == row[at]:
                run += 1
            if run > 1:
                out += bytes((257 - run, row[at]))
            else:
                out += bytes((0, row[at]))
            at += run
    return bytes(out)


def _lzw(rows: list[bytes]) -> bytes:
    """TIFF 6.0, section 13: codes of 9 to 12 bits, each width one code early."""
    clear, end = 256, 257
    bits = ""
    table: dict[bytes, int] = {}
    width = 9

    def start() -> None:
        nonlocal table, width
        table = {bytes((value,)): value for value in range(256)}
        width = 9

    start()
    bits += f"{clear:09b}"
    prefix = b""
    following = 258
    for value in b"".join(rows):
        longer = prefix + bytes((value,))
        if longer in table:
            prefix = longer
            continue
        bits += f"{table[prefix]:0{width}b}"
        table[longer] = following
        following += 1
        if following == 4095:
            bits += f"{clear:0{width}b}"
            start()
            following = 258
        elif following == 1 << width:
            width += 1
        prefix = bytes((value,))
    bits += f"{table[prefix]:0{width}b}"
    following += 1
    if following == 1 << width:
        width += 1
    bits += f"{end:0{width}b}"
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


_COMPRESS: dict[str, Callable[[list[bytes]], bytes]] = {
    "none": b"".join,
    "lzw": _lzw,
    "deflate": lambda rows: zlib.compress(b"".join(rows)),
    "old deflate": lambda rows: zlib.compress(b"".join(rows)),
    "packbits": _packbits,
    "lzma": lambda rows: lzma.compress(b"".join(rows)),
}


def assemble(
    tags: Mapping[int, tuple[str, Sequence[int]] | None], pieces: list[bytes], how: Written
) -> bytes:
    """Write the header, the strips or tiles, the directory and the values that do not fit into it."""
    order, offset = how.order, "Q" if how.big else "I"
    start = 16 if how.big else 8
    starts = list(_running(start, pieces))
    places = (324, 325) if how.tile else (273, 279)
    present = {tag: value for tag, value in tags.items() if value is not None}
    present |= {places[0]: (offset, starts), places[1]: ("I", [len(piece) for piece in pieces])}
    present = {tag: value for tag, value in present.items() if tag not in tags or tags[tag] is not None}
    data = b"".join(pieces)
    data += bytes(len(data) % 2)
    directory = start + len(data)
    entry = 20 if how.big else 12
    values_at = directory + (16 if how.big else 6) + entry * len(present)
    entries = values = b""
    for tag, (code, numbers) in sorted(present.items()):
        stored = code.replace("R", "I").replace("s", "B")
        packed = struct.pack(f"{order}{len(numbers)}{stored}", *numbers)
        count = len(numbers) // 2 if code == "R" else len(numbers)
        entries += struct.pack(f"{order}HH{offset}", tag, _TYPES[code], count)
        if len(packed) <= struct.calcsize(offset):
            entries += packed.ljust(struct.calcsize(offset), b"\0")
        else:
            entries += struct.pack(order + offset, values_at + len(values))
            values += packed + bytes(len(packed) % 2)
    mark = {"<": b"II", ">": b"MM"}[order]
    if how.big:
        head = mark + struct.pack(order + "HHHQ", 43, 8, 0, directory)
        return head + data + struct.pack(order + "Q", len(present)) + entries + bytes(8) + values
    head = mark + struct.pack(order + "HI", 42, directory)
    return head + data + struct.pack(order + "H", len(present)) + entries + bytes(4) + values


def _running(start: int, pieces: list[bytes]) -> Iterator[int]:
    for piece in pieces:
        yield start
        start += len(piece)
