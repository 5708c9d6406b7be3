"""The strips or tiles of a TIFF's page: how many it needs, where they are, and what unpacking them costs.

Offsets and byte counts are numbers in a file from strangers: all of them may name the same large part of the
file, and a tile may be larger than the picture. Each strip or tile is read and unpacked by itself, so what
they take together is bounded here, for every decoder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalicelib.errors import TooManyPixels
from chalicelib.imaging.headers import tiff_tags as tag
from chalicelib.imaging.headers.header import too_complex, undecodable

Tags = Mapping[int, Sequence[int]]

MAX_PIECES = 100_000
"""Strips or tiles; each costs some microseconds."""
MAX_UNPACKED = 1_100_000_000
"""Bytes of all strips or tiles together, unpacked; libtiff unpacks some 300 MB a second."""
SPARE = 64 << 20
"""Bytes that strips or tiles may take together beyond the file's own, as stored: writers of maps store blank
tiles once, for all places that are blank. 100,000 tiles of 640 bytes may be the same one."""

OFFSETS, BYTE_COUNTS = (tag.STRIPS, tag.TILES), (tag.STRIP_BYTES, tag.TILE_BYTES)
_HEADER = 8
"""Bytes of a file's header, in which no strip or tile can begin."""
_SEPARATE = 2
"""PlanarConfiguration of samples that have strips or tiles of their own."""
_YCBCR, _YCBCR_BITS = 6, 32
"""PhotometricInterpretation, and the bits of a pixel that decoders make of it at most."""

Span = tuple[int, int]
"""Start and end of some bytes of the file."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """How a page is divided: `size` is the width and height of a strip or tile in pixels."""

    tiled: bool
    size: tuple[int, int]


def divided(tags: Tags, size: tuple[int, int]) -> Pieces:
    """Find out how a page of a size is divided.

    Raises:
        UndecodablePicture: into strips or tiles without pixels.

    """
    tiled = tag.TILE_WIDTH in tags and tag.TILE_HEIGHT in tags
    rows = min(tags.get(tag.STRIP_ROWS, size[1:])[0], size[1])
    piece = (tags[tag.TILE_WIDTH][0], tags[tag.TILE_HEIGHT][0]) if tiled else (size[0], rows)
    if min(piece) < 1:
        raise undecodable()
    return Pieces(tiled, piece)


def counted(pieces: Pieces, size: tuple[int, int], planes: int, piece_bytes: int) -> int:
    """Return how many strips or tiles a page needs.

    Args:
        pieces: how the page is divided.
        size: its width and height.
        planes: 1, or its samples when each has strips or tiles of its own.
        piece_bytes: what a strip or tile takes when it is unpacked.

    Raises:
        TooComplex: more than a real picture has.
        TooManyPixels: they take more bytes than are unpacked in a reasonable time.

    """
    count = math.ceil(size[0] / pieces.size[0]) * math.ceil(size[1] / pieces.size[1]) * planes
    if count > MAX_PIECES:
        raise too_complex("strips or tiles")
    if count * piece_bytes > MAX_UNPACKED:
        raise TooManyPixels(
            f"The TIFF has {count * piece_bytes:,} bytes of samples; at most {MAX_UNPACKED:,} are accepted."
        )
    return count


def for_pillow(tags: Tags, size: tuple[int, int]) -> tuple[Tags, int, int]:
    """Leave only the strips or tiles that a page needs, for Pillow and the libtiff that it calls.

    Pillow decodes all that are listed: when there are more than the page has, again from the first row on.
    Of a file that lists strips and tiles, it takes the former and libtiff the latter.

    Returns:
        the tags, and the bytes of a row and of the whole of a strip or tile when it is unpacked.

    Raises:
        TooComplex, TooManyPixels: as `counted`.
        UndecodablePicture: no strips or tiles, or without pixels.

    """
    pieces = divided(tags, size)
    bits, separate = tags[tag.BITS], tags.get(tag.PLANES, (1,))[0] == _SEPARATE
    depth = max(bits) if separate else sum(bits)
    if tags.get(tag.PHOTOMETRIC, (0,))[0] == _YCBCR:
        depth = max(depth, _YCBCR_BITS)
    row_bytes = (pieces.size[0] * depth + 7) // 8
    count = counted(pieces, size, len(bits) if separate else 1, row_bytes * pieces.size[1])
    kept = {number: values for number, values in tags.items() if number not in {*OFFSETS, *BYTE_COUNTS}}
    for numbers in (OFFSETS, BYTE_COUNTS):
        found = [number for number in numbers if tags.get(number)]
        if found:
            number = found[-1 if pieces.tiled else 0]
            kept[number] = tags[number][:count]
            if numbers == OFFSETS:
                refuse_sparse(kept[number])
        elif numbers == OFFSETS:
            raise undecodable()
    return kept, row_bytes, row_bytes * pieces.size[1]


def refuse_sparse(starts: Sequence[int]) -> None:
    """Refuse a page of which a strip or tile was never stored: GDAL writes 0 as where that one begins.

    It would be read from the file's header on.

    Raises:
        UndecodablePicture: one begins within the header.

    """
    if any(start < _HEADER for start in starts):
        raise undecodable()


def spans(tags: Tags, length: int) -> set[Span]:
    """List where the strips or tiles are that are compressed, each place once.

    A missing byte count reaches to the end of the file, whose `length` bytes end all of them.

    Raises:
        TooComplex: they overlap so much that they take far more bytes than the file has.

    """
    starts = [min(start, length) for start in _either(tags, OFFSETS)]
    counts = list(_either(tags, BYTE_COUNTS)[: len(starts)])
    counts += [length] * (len(starts) - len(counts))
    found = [(start, min(start + count, length)) for start, count in zip(starts, counts, strict=True)]
    if sum(end - start for start, end in found) > length + SPARE:
        raise too_complex("overlapping strips or tiles")
    return set(found)


def _either(tags: Tags, numbers: tuple[int, ...]) -> Sequence[int]:
    return next((tags[number] for number in numbers if number in tags), ())
