"""PNG (W3C PNG, third edition): the chunks that its default image needs."""

import struct
import zlib
from dataclasses import dataclass

from chalicelib.imaging.headers import exif
from chalicelib.imaging.headers.header import MAX_PROFILE, Header, too_complex, undecodable
from chalicelib.imaging.spaces import Levels, Space, of_cicp, of_gamma

MAX_CHUNKS = 50_000
"""Encoders write image data in chunks of 8 KB or more: 400 MB of them."""

_SIGNATURE = 8
_TYPES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_GREY, _RGB, _PALETTE = 0, 2, 3
_KEY_BYTES = {_GREY: 2, _RGB: 6}
"""By colour type: bytes of the colour that is transparent."""
_MOST_ENTRIES = 256
_ANYWHERE = {b"PLTE", b"tRNS", b"iCCP", b"eXIf"}
_BEFORE_DATA = {b"cICP", b"sRGB", b"gAMA", b"cHRM"}
"""Chunks of which the first one counts; the latter are ignored behind the first IDAT."""
_FINE = 1.5
"""Below this exponent, 256 levels are too few for the darks; sRGB's curve is near 2.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PngHeader(Header):
    """A PNG's IHDR, and where the chunks of its default image are.

    `palette` and `transparency` are the content of PLTE and tRNS, the latter empty where it says nothing;
    `data` lists start and end of the content of each IDAT chunk.
    """

    bit_depth: int
    colour_type: int
    interlaced: bool
    palette: bytes
    transparency: bytes
    data: tuple[tuple[int, int], ...]

    @property
    def channels(self) -> int:
        """Samples per pixel, as stored."""
        return _TYPES[self.colour_type]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, without the filter's byte before it."""
        return (self.width * self.channels * self.bit_depth + 7) // 8

    def memory(self) -> int:
        """Count 5 bytes a pixel for pictures that are held whole; the others pass by bands of rows.

        Pictures of which the low bytes matter are held twice.
        """
        return self.pixels * (10 if self.keyed or self.fine else 5) if self.whole else self.row_bytes * 64

    @property
    def exponent(self) -> float | None:
        """The power law from samples to light that there is in place of sRGB's curve and of a profile."""
        if self.profile or self.space is None or self.space.levels is not Levels.FULL:
            return None
        return self.space.transfer if isinstance(self.space.transfer, float) else None

    @property
    def fine(self) -> bool:
        """Whether the low bytes of samples of 16 bits show: where light is stored almost as it is."""
        return self.bit_depth == 16 and self.exponent is not None and self.exponent < _FINE  # noqa: PLR2004 - PNG's number

    @property
    def keyed(self) -> bool:
        """Whether one colour of 16 bits a sample is transparent."""
        return self.bit_depth == 16 and self.colour_type == _RGB and len(self.transparency) >= 6  # noqa: PLR2004 - PNG's numbers

    @property
    def whole(self) -> bool:
        """Whether the picture has to be decoded in one piece: interlaced, or with colours of 16 bits.

        Pillow reduces those to 8 bits in a way that cannot be undone for the row that the next band starts
        from.
        """
        return self.interlaced or (self.bit_depth == 16 and self.colour_type in {2, 6})  # noqa: PLR2004 - PNG's numbers


def read(content: bytes) -> PngHeader:
    """Read a PNG's header and list its chunks.

    Raises:
        TooComplex: more chunks than a real picture has.
        UndecodablePicture: no IHDR, no image data, or a combination that PNG does not know.

    """
    chunks = _chunks(content)
    kind, start, end = chunks[0]
    if kind != b"IHDR" or end - start != 13:  # noqa: PLR2004 - IHDR's fixed size
        raise undecodable()
    width, height, bit_depth, colour_type, compression, filtering, interlace = struct.unpack_from(
        ">IIBBBBB", content, start
    )
    if bit_depth not in _DEPTHS.get(colour_type, ()) or compression or filtering or interlace > 1:
        raise undecodable()
    first: dict[bytes, bytes] = {}
    data: list[tuple[int, int]] = []
    for kind, start, end in chunks[1:]:
        if kind == b"IDAT":
            data.append((start, end))
        elif kind in _ANYWHERE or (kind in _BEFORE_DATA and not data):
            first.setdefault(kind, content[start:end])
    if not data or (colour_type == _PALETTE and not first.get(b"PLTE")):
        raise undecodable()
    space = _cicp(first.get(b"cICP", b""))
    profile = None if space else _profile(first.get(b"iCCP", b""))
    if space is None and b"sRGB" not in first:
        space = _gamma(first.get(b"gAMA", b""), first.get(b"cHRM", b""))
    return PngHeader(
        width=width,
        height=height,
        orientation=exif.orientation(first.get(b"eXIf", b"")),
        profile=profile,
        space=space,
        bit_depth=bit_depth,
        colour_type=colour_type,
        interlaced=interlace == 1,
        palette=first.get(b"PLTE", b""),
        transparency=_transparency(colour_type, first.get(b"tRNS", b""), len(first.get(b"PLTE", b"")) // 3),
        data=tuple(data),
    )


def _transparency(colour_type: int, chunk: bytes, entries: int) -> bytes:
    """Return what tRNS says (11.3.1.1) of the entries that there are, or of a key that is whole.

    libpng ignores shorter ones, with a warning.
    """
    if colour_type == _PALETTE:
        return chunk[: min(entries, _MOST_ENTRIES)]
    return chunk if len(chunk) >= _KEY_BYTES.get(colour_type, len(chunk) + 1) else b""


def _chunks(content: bytes) -> list[tuple[bytes, int, int]]:
    """List type, start and end of the content of each chunk, up to IEND or the end of the file."""
    chunks = []
    position = _SIGNATURE
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        chunks.append((kind, position + 8, min(position + 8 + length, len(content))))
        if len(chunks) > MAX_CHUNKS:
            raise too_complex("chunks")
        if kind == b"IEND":
            break
        position += length + 12
    return chunks


def _cicp(chunk: bytes) -> Space | None:
    """Read cICP, which goes before all others (11.3.2.6); with YCbCr's matrix it is not valid."""
    if len(chunk) != 4 or chunk[2]:  # noqa: PLR2004 - its fixed size
        return None
    return of_cicp(chunk[0], chunk[1], Levels.FULL if chunk[3] else Levels.NARROW)


def _gamma(gamma: bytes, chromaticities: bytes) -> Space | None:
    """Read gAMA and cHRM (11.3.2.1, 11.3.2.2), in 1/100,000; as in browsers, cHRM says nothing alone."""
    if len(gamma) != 4 or not any(gamma):  # noqa: PLR2004 - its fixed size
        return None
    exponent = 100_000 / int.from_bytes(gamma, "big")
    if len(chromaticities) != 32:  # noqa: PLR2004 - its fixed size
        return of_gamma(exponent)
    numbers = [value / 100_000 for value in struct.unpack(">8I", chromaticities)]
    white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
    return of_gamma(exponent, (red, green, blue), white)


def _profile(chunk: bytes) -> bytes | None:
    """Unpack an iCCP chunk: a name, a zero, the compression's number and the compressed profile.

    Of one that is too large, a byte more than there may be is unpacked, which shows that it is.
    """
    _, _, compressed = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(compressed[1:], MAX_PROFILE + 1) or None
    except zlib.error:
        return None
