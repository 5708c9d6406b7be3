"""Sequences of pictures (ISO/IEC 23008-12, 7; AV1 Image Sequences): the first picture of a track."""

import struct
from dataclasses import dataclass

from chalicelib.imaging.headers.header import undecodable
from chalicelib.imaging.headers.heif_parts import CODED, Part, Parts, is_alpha
from chalicelib.imaging.headers.isobmff import Box, Property, Reader, Span

_CONFIGURATIONS = {b"av1C", b"hvcC"}
_KEPT = _CONFIGURATIONS | {b"colr", b"clap", b"pasp"}
"""Boxes of a sample entry that are properties of an item, too."""
_SAMPLE_ENTRY = 78
"""Bytes of a visual sample entry before the boxes in it (14496-12, 12.1.3)."""
_ENTRY_SIZE = 24
"""Where width and height are in it."""
_NUMBER = {0: 12, 1: 20}
"""By the version of `tkhd`: where the track's number is (14496-12, 8.3.2)."""


@dataclass(frozen=True, slots=True)
class _Track:
    """`auxiliary_to` is the track that this one belongs to, if it is not one to be shown itself."""

    number: int
    auxiliary_to: int | None
    alpha: bool
    sample: Part


def of_tracks(reader: Reader, movie: Box) -> Parts:
    """Take the first picture of the first track that can be decoded, and of the track that is its alpha.

    Raises:
        UndecodablePicture: there is no such track.
        struct.error: a box that is cut off.

    """
    tracks = [
        track
        for box in reader.boxes(movie.start, movie.end)
        if box.kind == b"trak" and (track := _track(reader, box)) is not None
    ]
    shown = next((track for track in tracks if track.auxiliary_to is None), None)
    if shown is None:
        raise undecodable()
    alpha = next((track for track in tracks if track.alpha and track.auxiliary_to == shown.number), None)
    if alpha is None:
        return Parts({1: shown.sample}, 1, None)
    return Parts({1: shown.sample, 2: alpha.sample}, 1, 2)


def _track(reader: Reader, trak: Box) -> _Track | None:
    """Read a track of coded pictures; None for any other."""
    found = {box.kind: box for box in reader.boxes(trak.start, trak.end)}
    media: Box | None = found.get(b"mdia")
    for kind in (b"minf", b"stbl"):
        media = reader.first(kind, media) if media else None
    if media is None or b"tkhd" not in found:
        return None
    tables = {box.kind: box for box in reader.boxes(media.start, media.end)}
    if b"stsd" not in tables:
        return None
    entry = next(reader.boxes(tables[b"stsd"].start + 8, tables[b"stsd"].end), None)
    if entry is None or entry.kind not in CODED:
        return None
    size = struct.unpack_from(">2H", reader.content, entry.start + _ENTRY_SIZE)
    found_in = [reader.property(box) for box in reader.boxes(entry.start + _SAMPLE_ENTRY, entry.end)]
    properties = [Property(b"ispe", memoryview(bytes(4) + struct.pack(">2I", *size)))]
    properties += [each for each in found_in if each.kind in _KEPT]
    header = found[b"tkhd"]
    number = reader.number(header.start + _NUMBER.get(reader.content[header.start], _NUMBER[0]), 4)
    auxiliary_to = None
    if b"tref" in found and (auxiliary := reader.first(b"auxl", found[b"tref"])):
        auxiliary_to = reader.number(auxiliary.start, 4)
    described = tuple((each, each.kind in _CONFIGURATIONS) for each in properties)
    return _Track(
        number,
        auxiliary_to,
        any(map(is_alpha, found_in)),
        Part(entry.kind, (_first_sample(reader, tables),), described),
    )


def _first_sample(reader: Reader, tables: dict[bytes, Box]) -> Span:
    """Return where a track's first sample is (14496-12, 8.7): the size in `stsz`, the place of its chunk."""
    chunks, wide = (tables.get(b"co64"), 8) if b"co64" in tables else (tables.get(b"stco"), 4)
    sizes = tables.get(b"stsz")
    if chunks is None or sizes is None:
        raise undecodable()
    start = reader.number(chunks.start + 8, wide)
    length = reader.number(sizes.start + 4, 4) or reader.number(sizes.start + 12, 4)
    end = min(start + length, len(reader.content))
    return min(start, end), end
