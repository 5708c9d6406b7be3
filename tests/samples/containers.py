"""Files that Pillow cannot write: HEIF with grids and transforms, 16-bit colour, JPEG with other markers.

Boxes after ISO/IEC 14496-12 and 23008-12 (HEIF), JPEG segments after ITU-T T.81 and T.872, PNG after
ISO/IEC 15948, TIFF after TIFF 6.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack, unpack_from
from zlib import compress, crc32

_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that hold boxes, and how many bytes stand before those."""


@dataclass(frozen=True, slots=True)
class Coded:
    """One coded picture: its item type, the box that configures the decoder, and the bitstream."""

    kind: bytes
    configuration: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Transform:
    """What a HEIF reader does after decoding: crop, turn by `quarter_turns` counter-clockwise, mirror.

    `mirror` is None, or imir's axis: 0 exchanges top and bottom, 1 left and right. `aperture` are clap's four
    fractions: width, height, and the offsets of the centre to the right and down.
    """

    quarter_turns: int = 0
    mirror: int | None = None
    aperture: tuple[int, ...] | None = None


def coded(file: bytes) -> Coded:
    """Take the one picture out of a HEIC or AVIF file that an encoder wrote."""
    found: dict[bytes, bytes] = {}
    _walk(file, 0, len(file), found)
    kind, box = (b"hvc1", b"hvcC") if b"hvcC" in found else (b"av01", b"av1C")
    return Coded(kind, _box(box, found[box]), found[b"mdat"])


def heif(
    tiles: list[Coded],
    tile_size: tuple[int, int],
    columns: int = 1,
    transform: Transform | None = None,
    exif: bytes = b"",
    colours: Sequence[bytes] = (),
    brand: bytes = b"",
) -> bytes:
    """Write a HEIF file of one picture, or of a grid of tiles.

    Args:
        tiles: row by row, all of one size and coding.
        tile_size: width and height of each, in pixels.
        columns: tiles to a row.
        transform: what readers shall do after decoding.
        exif: a TIFF structure, for an Exif item.
        colours: contents of `colr` boxes, as `nclx` makes one.
        brand: the only brand, in place of those that fit the coding.

    """
    width, height = tile_size
    properties = [tiles[0].configuration, _full(b"ispe", pack(">2I", width, height))]
    of_tile, of_whole = [1, 2], [1, 2]
    items = [(tiles[0].kind, tile.data) for tile in tiles]
    primary = 1
    references = b""
    if len(tiles) > 1:
        rows = len(tiles) // columns
        size = (width * columns, height * rows)
        properties.append(_full(b"ispe", pack(">2I", *size)))
        of_whole = [3]
        items.append((b"grid", pack(">4B2H", 0, 0, rows - 1, columns - 1, *size)))
        primary = len(items)
        references += _box(b"dimg", pack(f">2H{len(tiles)}H", primary, len(tiles), *range(1, len(tiles) + 1)))
    for colour in colours:
        properties.append(_box(b"colr", colour))
        of_whole = [*of_whole, len(properties)]
    if transform and transform.aperture:
        properties.append(_box(b"clap", pack(">4IiIiI", *transform.aperture)))
        of_whole = [*of_whole, len(properties)]
    if transform and transform.quarter_turns:
        properties.append(_box(b"irot", bytes((transform.quarter_turns,))))
        of_whole = [*of_whole, len(properties)]
    if transform and transform.mirror is not None:
        properties.append(_box(b"imir", bytes((transform.mirror,))))
        of_whole = [*of_whole, len(properties)]
    if exif:
        items.append((b"Exif", bytes(4) + exif))
        references += _box(b"cdsc", pack(">3H", len(items), 1, primary))
    associated = dict.fromkeys(range(1, len(tiles) + 1), of_tile) | {primary: of_whole}
    brand = brand or (b"heic" if tiles[0].kind == b"hvc1" else b"avif")
    brands = [brand] if brand == b"mif1" else [brand, b"mif1", b"miaf"]
    return _file(brands, items, primary, references, properties, associated)


def nclx(primaries: int, transfer: int, matrix: int = 6, *, full_range: bool = True) -> bytes:
    """Content of a `colr` box that tells colours by the numbers of ITU-T H.273."""
    return b"nclx" + pack(">3HB", primaries, transfer, matrix, full_range << 7)


@dataclass(frozen=True, slots=True)
class Track:
    """A track of one sample; `auxiliary` is the type of what it adds to the first track, such as alpha."""

    picture: Coded
    size: tuple[int, int]
    boxes: tuple[bytes, ...] = ()
    auxiliary: bytes = b""


def sequence(tracks: Sequence[Track], brand: bytes) -> bytes:
    """Write a HEIF file of tracks, without a still; `brand` is the major one, such as `hevc` or `avis`."""
    start = _box(b"ftyp", brand + bytes(4) + brand + b"msf1")

    def movie(offset: int) -> bytes:
        boxes = []
        for number, track in enumerate(tracks, 1):
            boxes.append(_track(number, track, offset))
            offset += len(track.picture.data)
        return _box(b"moov", b"".join(boxes))

    offset = len(start) + len(movie(0)) + 8
    return start + movie(offset) + _box(b"mdat", b"".join(track.picture.data for track in tracks))


def _track(number: int, track: Track, offset: int) -> bytes:
    width, height = track.size
    entry = bytes(6) + pack(">H", 1) + bytes(16) + pack(">2H2I", width, height, 72 << 16, 72 << 16)
    entry += bytes(4) + pack(">H", 1) + bytes(32) + pack(">Hh", 24, -1)
    entry += track.picture.configuration + b"".join(track.boxes)
    entry += _full(b"auxi", track.auxiliary + b"\0") if track.auxiliary else b""
    tables = _full(b"stsd", pack(">I", 1) + _box(track.picture.kind, entry))
    tables += _full(b"stts", pack(">3I", 1, 1, 1)) + _full(b"stsc", pack(">4I", 1, 1, 1, 1))
    tables += _full(b"stsz", pack(">3I", 0, 1, len(track.picture.data)))
    tables += _full(b"stco", pack(">2I", 1, offset))
    header = pack(">5I", 0, 0, number, 0, 1) + bytes(52) + pack(">2I", width << 16, height << 16)
    media = _full(b"mdhd", pack(">4I", 0, 0, 1, 1) + bytes(4))
    media += _full(b"hdlr", bytes(4) + (b"auxv" if track.auxiliary else b"pict") + bytes(13))
    boxes = _full(b"tkhd", header)
    boxes += _box(b"tref", _box(b"auxl", pack(">I", 1))) if track.auxiliary else b""
    return _box(b"trak", boxes + _box(b"mdia", media + _box(b"minf", _box(b"stbl", tables))))


def _file(
    brands: list[bytes],
    items: list[tuple[bytes, bytes]],
    primary: int,
    references: bytes,
    properties: list[bytes],
    associated: dict[int, list[int]],
) -> bytes:
    start = _box(b"ftyp", brands[0] + bytes(4) + b"".join(brands))
    infos = b"".join(
        _full(b"infe", pack(">2H4sB", number, 0, item, 0), version=2)
        for number, (item, _) in enumerate(items, 1)
    )
    associations = b"".join(
        pack(">HB", number, len(indices)) + bytes(0x80 | index for index in indices)
        for number, indices in associated.items()
    )

    def meta(offset: int) -> bytes:
        locations = b""
        for number, (_, data) in enumerate(items, 1):
            locations += pack(">3H2I", number, 0, 1, offset, len(data))
            offset += len(data)
        content = _full(b"hdlr", bytes(4) + b"pict" + bytes(13))
        content += _full(b"pitm", pack(">H", primary))
        content += _full(b"iloc", pack(">2BH", 0x44, 0, len(items)) + locations)
        content += _full(b"iinf", pack(">H", len(items)) + infos)
        content += _full(b"iref", references) if references else b""
        listed = _box(b"ipco", b"".join(properties))
        listed += _full(b"ipma", pack(">I", len(associated)) + associations)
        return _full(b"meta", content + _box(b"iprp", listed))

    offset = len(start) + len(meta(0)) + 8
    return start + meta(offset) + _box(b"mdat", b"".join(data for _, data in items))


def with_adobe_transform(jpeg: bytes, transform: int) -> bytes:
    """Set the colour transform in a JPEG's Adobe segment: 0 is CMYK or RGB, 1 YCbCr, 2 YCCK."""
    _, end = _adobe_segment(jpeg)
    return jpeg[: end - 1] + bytes((transform,)) + jpeg[end:]


def without_adobe_segment(jpeg: bytes) -> bytes:
    """Drop a JPEG's Adobe segment."""
    start, end = _adobe_segment(jpeg)
    return jpeg[:start] + jpeg[end:]


def png_16_bit(size: tuple[int, int], channels: int, samples: bytes) -> bytes:
    """Write a PNG of 16-bit samples, big-endian, interleaved.

    One channel is grey, two are grey and alpha, three RGB, four RGBA.
    """
    width, height = size
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    row = width * channels * 2
    filtered = b"".join(b"\0" + samples[start : start + row] for start in range(0, len(samples), row))
    chunks = [
        (b"IHDR", pack(">2I5B", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", compress(filtered)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(content)) + kind + content + pack(">I", crc32(kind + content))
        for kind, content in chunks
    )


def tiff_16_bit_rgb(size: tuple[int, int], samples: bytes) -> bytes:
    """Write an uncompressed TIFF of one strip of big-endian 16-bit RGB samples."""
    width, height = size
    short, long = 3, 4
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, 3, 8),  # bits per sample, kept right after the header
        (259, short, 1, 1 << 16),  # not compressed
        (262, short, 1, 2 << 16),  # RGB
        (273, long, 1, 14),  # where the strip starts
        (277, short, 1, 3 << 16),  # samples per pixel
        (278, long, 1, height),
        (279, long, 1, len(samples)),
    ]
    directory = pack(">H", len(entries)) + b"".join(pack(">2H2I", *entry) for entry in entries) + bytes(4)
    return b"MM\0*" + pack(">I", 14 + len(samples)) + pack(">3H", 16, 16, 16) + samples + directory


def _adobe_segment(jpeg: bytes) -> tuple[int, int]:
    start = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    return start, start + 16


def _walk(file: bytes, start: int, end: int, found: dict[bytes, bytes]) -> None:
    while start < end:
        size, kind = unpack_from(">I4s", file, start)
        size = size or end - start
        if kind in _CONTAINERS:
            _walk(file, start + 8 + _CONTAINERS[kind], start + size, found)
        else:
            found.setdefault(kind, file[start + 8 : start + size])
        start += size


def _box(kind: bytes, content: bytes) -> bytes:
    return pack(">I4s", 8 + len(content), kind) + content


def _full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return _box(kind, pack(">I", version << 24) + content)
