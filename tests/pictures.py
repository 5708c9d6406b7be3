"""Pictures of every accepted kind, made in code: what Pillow cannot write is put together here byte by
byte."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import product
from typing import Any

import pillow_heif
from PIL import Image, ImageDraw

Samples = Callable[[int, int], Sequence[int]]
"""The samples of the pixel at x, y."""

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 60), (40, 60, 200), (230, 210, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Of `chart`: top left, top right, bottom left, bottom right."""

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""PNG's passes (section 8.2): first column and row of each, and the steps to the next."""


def chart(width: int = 240, height: int = 160) -> Image.Image:
    """Four quarters of one colour each: whatever turns, mirrors, crops or recolours it shows."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for colour, (down, across) in zip(CORNERS, product((0, 1), repeat=2), strict=True):
        left, top = across * width // 2, down * height // 2
        draw.rectangle((left, top, left + width // 2, top + height // 2), colour)
    return image


def photo(width: int, height: int) -> Image.Image:
    """Smooth shapes under a little noise, the same on every call: compresses and shrinks like a photo."""
    seed = Image.linear_gradient("L").resize((16, 12))
    seed = Image.merge(
        "RGB", (seed, seed.rotate(180), seed.transpose(Image.Transpose.ROTATE_90).resize(seed.size))
    )
    draw = ImageDraw.Draw(seed)
    for index in range(40):
        x, y = index * 7 % 16, index * 5 % 12
        draw.point((x, y), (index * 67 % 256, index * 151 % 256, index * 29 % 256))
    large = seed.resize((width, height), Image.Resampling.BICUBIC)
    grain = Image.frombytes("L", (64, 64), bytes((index * index * 31 >> 3) % 256 for index in range(4096)))
    tiled = Image.new("L", (width, height))
    for x, y in product(range(0, width, 64), range(0, height, 64)):
        tiled.paste(grain, (x, y))
    return Image.blend(large, tiled.convert("RGB"), 0.06)


def encode(image: Image.Image, source_format: str, **options: Any) -> bytes:
    """Write a picture; "HEIF" is HEVC in HEIF."""
    out = BytesIO()
    if source_format == "HEIF":
        pillow_heif.from_pillow(image).save(out, quality=90, chroma=444, **options)
    else:
        image.save(out, source_format, **options)
    return out.getvalue()


def exif(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    """EXIF of one tag, as a TIFF structure."""
    code = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    head = struct.pack(order + "2sHIH", {"<": b"II", ">": b"MM"}[order], 42, 8, 1)
    return head + struct.pack(f"{order}HHI{code}I", 0x0112, kind, 1, orientation, 0)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Store a picture as a camera does that is held so that EXIF's orientation results."""
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(stored[orientation]) if orientation in stored else image


def jpeg_segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """List marker and content of each segment up to the first scan; the last one has all the rest."""
    segments: list[tuple[int, bytes]] = []
    position = 2
    while True:
        marker, length = jpeg[position + 1], int.from_bytes(jpeg[position + 2 : position + 4], "big")
        if marker == 0xDA:
            return [*segments, (marker, jpeg[position + 2 :])]
        segments.append((marker, jpeg[position + 4 : position + 2 + length]))
        position += 2 + length


def jpeg_of(segments: list[tuple[int, bytes]]) -> bytes:
    """Put together what `jpeg_segments` took apart."""
    parts = [
        bytes((0xFF, marker)) + (struct.pack(">H", len(content) + 2) if marker != 0xDA else b"") + content
        for marker, content in segments
    ]
    return b"\xff\xd8" + b"".join(parts)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Write a PNG chunk."""
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    size: tuple[int, int],
    bit_depth: int,
    colour_type: int,
    samples: Samples,
    *,
    interlaced: bool = False,
    before_data: bytes = b"",
) -> bytes:
    """Write a PNG of any kind, its rows filtered in turn by each of the five filters."""
    width, height = size
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = ADAM7
    pixel = max(1, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type] * bit_depth // 8)
    data = bytearray()
    for left, top, across, down in passes:
        above = b""
        for number, y in enumerate(range(top, height, down)):
            values = [value for x in range(left, width, across) for value in samples(x, y)]
            row = _packed(values, bit_depth)
            if row:
                data += _filtered(number % 5, row, above or bytes(len(row)), pixel)
                above = row
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, int(interlaced))
    body = (
        chunk(b"IHDR", header)
        + before_data
        + chunk(b"IDAT", zlib.compress(bytes(data)))
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _packed(values: list[int], bit_depth: int) -> bytes:
    if bit_depth == 16:
        return struct.pack(f">{len(values)}H", *values)
    bits = "".join(f"{value:0{bit_depth}b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[index : index + 8], 2) for index in range(0, len(bits), 8))


def _filtered(kind: int, row: bytes, above: bytes, pixel: int) -> bytes:
    out = bytearray((kind,))
    for index, value in enumerate(row):
        left = row[index - pixel] if index >= pixel else 0
        corner = above[index - pixel] if index >= pixel else 0
        up = above[index]
        estimate = left + up - corner
        paeth = min((left, up, corner), key=lambda near: abs(estimate - near))
        out.append((value - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
    return bytes(out)


def tiff(tags: Mapping[int, tuple[str, Sequence[int]]], data: bytes, *, order: str = "<") -> bytes:
    """Write a TIFF of one page; StripOffsets or TileOffsets are relative to the data."""
    kinds = {"H": 3, "I": 4, "B": 1}
    start = 10 + 12 * len(tags) + 4
    values_size = sum(
        (size + size % 2)
        for code, values in tags.values()
        if (size := struct.calcsize(code) * len(values)) > 4
    )
    entries, values = b"", b""
    for tag, (code, numbers) in sorted(tags.items()):
        shifted = [start + values_size + number for number in numbers] if tag in {273, 324} else numbers
        packed = struct.pack(f"{order}{len(shifted)}{code}", *shifted)
        entries += struct.pack(order + "HHI", tag, kinds[code], len(shifted))
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", start + len(values))
            values += packed + bytes(len(packed) % 2)
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, len(tags))
    return head + entries + bytes(4) + values + data


def gray_tiff(
    size: tuple[int, int], bits: int, data: bytes, *, photometric: int = 1, order: str = "<"
) -> bytes:
    """Write an uncompressed grey TIFF of one strip."""
    width, height = size
    tags = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,)),
        259: ("H", (1,)),
        262: ("H", (photometric,)),
        273: ("I", (0,)),
        277: ("H", (1,)),
        278: ("I", (height,)),
        279: ("I", (len(data),)),
    }
    return tiff(tags, data, order=order)


def bmp(size: tuple[int, int], bits: int, compression: int, palette: bytes, data: bytes) -> bytes:
    """Write a Windows bitmap; a negative height stores the rows from the top."""
    offset = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
    return head + info + palette + data
