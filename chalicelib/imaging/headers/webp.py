"""WebP (RFC 9649): its size, and the chunks of its first frame."""

import struct
from dataclasses import dataclass

from chalicelib.imaging.headers import exif
from chalicelib.imaging.headers.header import Header, too_complex, undecodable

MAX_CHUNKS = 10_000

_RIFF_HEADER = 12
_FLAGS = 20
"""Offset of VP8X's flags in the file."""
_ALPHA, _ANIMATION = 0x10, 0x02

Chunk = tuple[bytes, int, int]
"""Type, start and end of its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebpHeader(Header):
    """A WebP's canvas and its first frame.

    `parts` lists the chunks of that frame, alpha before colours, when it covers the canvas; none when it does
    not. `alpha` says whether it may have transparent parts, `lossless` how it is stored.
    """

    alpha: bool
    lossless: bool
    parts: tuple[Chunk, ...]

    def memory(self) -> int:
        """Lossy frames pass row by row, beside an alpha plane; lossless ones take 4 bytes a pixel and some.

        A frame smaller than its canvas goes through libwebp's animation decoder, which takes 17.
        """
        if not self.parts:
            return self.pixels * 17
        return self.pixels * (5 if self.lossless else 3 if self.alpha else 1)

    def still(self, content: bytes) -> bytes:
        """Return a WebP of the first frame alone, without metadata.

        When that covers only a part of the canvas: the whole file, marked as one with transparent parts, as
        what is around the frame would turn out black otherwise.
        """
        if not self.parts:
            return content[:_FLAGS] + bytes((content[_FLAGS] | _ALPHA,)) + content[_FLAGS + 1 :]
        body = b"".join(
            struct.pack("<4sI", kind, end - start) + content[start:end] + bytes((end - start) % 2)
            for kind, start, end in self.parts
        )
        if len(self.parts) > 1:
            size = b"".join((side - 1).to_bytes(3, "little") for side in (self.width, self.height))
            body = struct.pack("<4sIB3x", b"VP8X", 10, _ALPHA) + size + body
        return struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body


def read(content: bytes) -> WebpHeader:
    """Read a WebP's header and find its first frame.

    Raises:
        TooComplex: more chunks than a real picture has.
        UndecodablePicture: no frame, or chunks that do not fit together.

    """
    chunks = _chunks(content, _RIFF_HEADER, len(content))
    kind, start, _ = chunks[0]
    if kind != b"VP8X":
        width, height, alpha = _bitstream(content, chunks[0])
        lossless = kind == b"VP8L"
        return WebpHeader(width=width, height=height, alpha=alpha, lossless=lossless, parts=(chunks[0],))
    flags = content[start]
    canvas = (1 + _uint24(content, start + 4), 1 + _uint24(content, start + 7))
    first: dict[bytes, Chunk] = {}
    for chunk in chunks:
        first.setdefault(chunk[0], chunk)
    if flags & _ANIMATION:
        if b"ANMF" not in first:
            raise undecodable()
        _, start, end = first[b"ANMF"]
        at_origin = content[start : start + 6] == bytes(6)
        frame = _chunks(content, start + 16, end)
    else:
        at_origin = True
        frame = chunks
    parts = [chunk for chunk in frame if chunk[0] in {b"ALPH", b"VP8 ", b"VP8L"}][:2]
    if not parts:
        raise undecodable()
    image = parts[-1] if parts[0][0] == b"ALPH" else parts[0]
    width, height, alpha = _bitstream(content, image)
    alpha = alpha or parts[0][0] == b"ALPH"
    covers = at_origin and (width, height) == canvas
    exif_start, exif_end = first.get(b"EXIF", (b"", 0, 0))[1:]
    profile_start, profile_end = first.get(b"ICCP", (b"", 0, 0))[1:]
    return WebpHeader(
        width=canvas[0],
        height=canvas[1],
        orientation=exif.orientation(content[exif_start:exif_end]),
        profile=content[profile_start:profile_end] or None,
        alpha=alpha,
        lossless=image[0] == b"VP8L",
        parts=((parts[0], image) if image is not parts[0] else (image,)) if covers else (),
    )


def _chunks(content: bytes, position: int, end: int) -> list[Chunk]:
    """List type, start and end of the content of each RIFF chunk."""
    chunks = []
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, position)
        chunks.append((kind, position + 8, min(position + 8 + length, end)))
        if len(chunks) > MAX_CHUNKS:
            raise too_complex("chunks")
        position += 8 + length + length % 2
    return chunks


def _bitstream(content: bytes, chunk: Chunk) -> tuple[int, int, bool]:
    """Return width, height and the alpha flag of a VP8 or VP8L chunk (RFC 6386 9.1, RFC 9649 3.4)."""
    kind, start, _ = chunk
    if kind == b"VP8 " and content[start + 3 : start + 6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, start + 6)
        return width & 0x3FFF, height & 0x3FFF, False
    if kind == b"VP8L" and content[start] == 0x2F:  # noqa: PLR2004 - VP8L's signature
        (bits,) = struct.unpack_from("<I", content, start + 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    raise undecodable()


def _uint24(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 3], "little")
