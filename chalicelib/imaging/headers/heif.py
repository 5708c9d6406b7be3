"""HEIF (ISO/IEC 23008-12) and AVIF: the picture that is shown, and what it is made of.

Only what that picture needs is looked at, and only that is handed to the decoder, in a file written anew by
`heif_still`: reader and decoder cannot see different pictures where two places contradict each other.
The size that counts is the largest of those that the container declares and those that the coded data does.
"""

import struct
from dataclasses import dataclass

from chalicelib.errors import UnsupportedFormat
from chalicelib.imaging.headers import heif_coded
from chalicelib.imaging.headers.header import SIDEWAYS, Header
from chalicelib.imaging.headers.heif_coded import AV1, HEVC, Size
from chalicelib.imaging.headers.heif_parts import Parts, of_items
from chalicelib.imaging.headers.heif_tracks import of_tracks
from chalicelib.imaging.headers.heif_transforms import CLAP, TRANSFORMS, Crop, Transformed
from chalicelib.imaging.headers.isobmff import Box, Items, Property, Reader, read_items
from chalicelib.imaging.sniffing import ACCEPTED
from chalicelib.imaging.spaces import Levels, Space, of_cicp

_BT2020 = 9
"""MatrixCoefficients of H.273, table 4: BT.2020's, not of constant luminance."""
_RANGE = 10
"""Where the flag of full range is in nclx (14496-12, 12.1.5)."""
_PROFILES = {b"prof", b"rICC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeifHeader(Header):
    """The picture that is shown, and its parts.

    `width` and `height` are the largest area of any part: of the picture, a tile or its alpha, declared or
    coded; `work` are the pixels of all its tiles or layers together. `coding` is the format's name.
    `crop` is the part of the decoded picture that `clap` leaves, None where there is none, and `orientation`
    what `irot` and `imir` do after that: both are left to us. `shown` is the size after all of that.
    `truthful` says that declared and coded sizes agree.
    """

    coding: str
    crop: Crop | None
    shown: Size
    deep: bool
    truthful: bool
    work: int
    parts: Parts

    @property
    def upright(self) -> Size:
        """Width and height of the picture as it is shown."""
        return self.shown

    def memory(self) -> int:
        """Count the decoded planes, their RGB copy and Python's: 12 bytes a pixel, 18 of more than 8 bits.

        Alpha takes 2 more, or 4.
        """
        alpha = self.parts.alpha is not None
        return max(self.pixels, self.work) * ((22 if alpha else 18) if self.deep else (14 if alpha else 12))


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
    steps = _transforms(parts)
    transformed = _transformed(parts, steps, (width, height))
    coding = measured.codings.pop()
    profile, space = _colours(parts, measured.colour, coding)
    return HeifHeader(
        width=width,
        height=height,
        orientation=transformed.orientation,
        profile=profile,
        space=space,
        coding=coding,
        crop=transformed.crop if any(step.kind == CLAP for step in steps) else None,
        shown=_shown(transformed),
        deep=measured.deep,
        truthful=measured.truthful,
        work=measured.work,
        parts=parts,
    )


def _transforms(parts: Parts) -> list[Property]:
    """Return what is done to the picture, and then to each view of it in turn."""
    every = (parts.every[parts.primary], *reversed(parts.views))
    return [found for each in every for kind in TRANSFORMS if (found := each.property(kind))]


def _transformed(parts: Parts, steps: list[Property], size: Size) -> Transformed:
    """Return what is left of the picture and how it is turned."""
    transformed = Transformed((0, 0, *(heif_coded.declared_size(parts.every[parts.primary]) or size)))
    for step in steps:
        transformed = transformed.after(step)
    return transformed


def _shown(transformed: Transformed) -> Size:
    width, height = transformed.crop[2:]
    return (height, width) if transformed.orientation >= SIDEWAYS else (width, height)


def _colours(parts: Parts, coded: tuple[int, int] | None, coding: str) -> tuple[bytes | None, Space | None]:
    """Return the ICC profile, and the space by numbers: the container's, or else the coded data's.

    A derived picture without any has those of its first part (MIAF, ISO/IEC 23000-22, 7.3.6.4).

    Of BT.2020 in narrow range, libavif's conversion to 8 bits is off by up to 7 of 255 in blue (libyuv's
    coefficients end at 2): it is asked for full range instead, and `Levels` tells what that leaves to do.
    Not where there is a profile, wherever among the properties it is: profiles are for levels of full range.
    """
    part = next((view for view in parts.views if view.property(b"colr")), parts.every[parts.primary])
    for _ in range(heif_coded.MAX_DEPTH):
        if part.inputs and part.property(b"colr") is None:
            part = parts.every[part.inputs[0]]
    profile = None
    numbers = coded
    narrow = False
    for found, _ in part.properties:
        kind = bytes(found.content[:4]) if found.kind == b"colr" else b""
        if kind in _PROFILES and profile is None:
            profile = bytes(found.content[4:])
        elif kind == b"nclx":
            primaries, transfer, matrix = struct.unpack_from(">3H", found.content, 4)
            numbers = primaries, transfer
            narrow = coding == AV1 and matrix == _BT2020 and not is_full_range(found)
    levels = Levels.NARROW_BT2020 if narrow and profile is None else Levels.FULL
    return profile, of_cicp(*numbers, levels) if numbers else None


def is_full_range(nclx: Property) -> bool:
    """Whether a `colr` box of type nclx says that luma and chroma are of full range."""
    return len(nclx.content) > _RANGE and nclx.content[_RANGE] >> 7 == 1
