"""HEIF (ISO/IEC 23008-12) and AVIF: the picture that is shown, and what it is made of.

Only what that picture needs is looked at, and only that is handed to the decoder, in a file written anew by
`heif_still`: reader and decoder cannot see different pictures where two places contradict each other.
The size that counts is the largest of those that the container declares and those that the coded data does.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from chalicelib.errors import UnsupportedFormat
from chalicelib.imaging.headers import heif_coded
from chalicelib.imaging.headers.header import Header
from chalicelib.imaging.headers.heif_coded import AV1, HEVC, Size
from chalicelib.imaging.headers.heif_parts import Part, Parts, of_items
from chalicelib.imaging.headers.heif_tracks import of_tracks
from chalicelib.imaging.headers.isobmff import Box, Items, Reader, read_items
from chalicelib.imaging.sniffing import ACCEPTED
from chalicelib.imaging.spaces import Space, of_cicp

Crop = tuple[int, int, int, int]
"""Left and top edge, width and height, in pixels."""

_PROFILES = {b"prof", b"rICC"}
_TURNED = (1, 8, 3, 6)
"""By quarter turns counter-clockwise: the EXIF orientation that does the same."""
_MIRRORED = {(0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7, (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5}
"""By quarter turns and the axis of the mirroring after them: likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeifHeader(Header):
    """The picture that is shown, and its parts.

    `width` and `height` are the largest area of any part: of the picture, a tile or its alpha, declared or
    coded; `work` are the pixels of all its tiles or layers together. `coding` is the format's name.
    `crop` is the part of the decoded picture that `clap` leaves, and `orientation` what `irot` and `imir` do
    after that; without `clap`, the decoder turns the picture itself, and `orientation` is 1. `truthful` says
    that declared and coded sizes agree.
    """

    coding: str
    crop: Crop | None
    deep: bool
    truthful: bool
    work: int
    parts: Parts

    def memory(self) -> int:
        """Count the decoded planes, their RGB copy and Python's: 12 bytes a pixel, 18 of more than 8 bits."""
        return max(self.pixels, self.work) * (18 if self.deep else 12)


def read(content: bytes) -> HeifHeader:
    """Find the picture that is shown and measure all of its parts.

    Raises:
        TooComplex: more boxes, items or coded units than a real picture has.
        UndecodablePicture: no picture, or one that is not described completely.
        UnsupportedFormat: coded as neither HEVC nor AV1.

    """
    reader = Reader(content)
    top: dict[bytes, Box] = {}
    for box in reader.boxes(0, len(content)):
        top.setdefault(box.kind, box)
    items = read_items(reader, top[b"meta"]) if b"meta" in top else Items()
    # The major brand `avis` means the track, even where there is a still beside it: libavif's rule.
    if b"moov" in top and (items.primary not in items.kinds or content[8:12] == b"avis"):
        parts = of_tracks(reader, top[b"moov"])
    else:
        parts = of_items(reader, items)
    measured = heif_coded.measure(content, parts)
    if measured.codings not in ({AV1}, {HEVC}):
        raise UnsupportedFormat(f"This is not an image that can be used; send {ACCEPTED}.")
    width, height = max(measured.sizes, key=lambda size: size[0] * size[1])
    primary = parts.every[parts.primary]
    crop = _crop(primary, heif_coded.declared_size(primary) or (width, height))
    profile, space = _colours(parts, measured.colour)
    return HeifHeader(
        width=width,
        height=height,
        orientation=_orientation(primary) if crop else 1,
        profile=profile,
        space=space,
        coding=measured.codings.pop(),
        crop=crop,
        deep=measured.deep,
        truthful=measured.truthful,
        work=measured.work,
        parts=parts,
    )


def _crop(part: Part, size: Size) -> Crop | None:
    """Return what `clap` leaves of a picture of this size (14496-12, 12.1.4.1), to the nearest pixels.

    A clean aperture that makes no sense or leaves nothing is ignored, as browsers do.
    """
    clap = part.property(b"clap")
    if clap is None:
        return None
    numbers = struct.unpack(">4IiIiI", clap.content[:32])
    if 0 in numbers[1::2]:
        return None
    width, height, across, down = (Fraction(*numbers[at : at + 2]) for at in (0, 2, 4, 6))
    left, right = _span(size[0], width, across)
    top, bottom = _span(size[1], height, down)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _span(whole: int, length: Fraction, offset: Fraction) -> tuple[int, int]:
    """Return the edges of what is left of a side; `offset` is from the picture's centre to the aperture's."""
    start = floor((whole - length) / 2 + offset + Fraction(1, 2))
    return max(0, start), min(whole, start + round(length))


def _orientation(part: Part) -> int:
    """Return the EXIF orientation of a picture's `irot` and `imir` (23008-12, 6.5.10 and 6.5.12)."""
    turns, axis = 0, None
    for found, _ in part.properties:
        if found.kind == b"irot":
            # A turn after a mirroring is the opposite turn before it.
            turns = (turns + (found.content[0] & 3) * (1 if axis is None else -1)) % 4
        elif found.kind == b"imir" and axis is None:
            axis = found.content[0] & 1
    return _TURNED[turns] if axis is None else _MIRRORED[turns, axis]


def _colours(parts: Parts, coded: tuple[int, int] | None) -> tuple[bytes | None, Space | None]:
    """Return the ICC profile, and the space by numbers: the container's, or else the coded data's.

    A derived picture without any has those of its first part (MIAF, ISO/IEC 23000-22, 7.3.6.4).
    """
    part = parts.every[parts.primary]
    while part.inputs and part.property(b"colr") is None:
        part = parts.every[part.inputs[0]]
    profile = None
    numbers = coded
    for found, _ in part.properties:
        kind = bytes(found.content[:4]) if found.kind == b"colr" else b""
        if kind in _PROFILES and profile is None:
            profile = bytes(found.content[4:])
        elif kind == b"nclx":
            numbers = struct.unpack_from(">2H", found.content, 4)
    return profile, of_cicp(*numbers) if numbers else None
