"""JPEG (ITU-T T.81): its markers up to the first scan, and where the further scans are."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from chalicelib.imaging.headers import exif
from chalicelib.imaging.headers.header import Header, too_complex, undecodable
from chalicelib.imaging.spaces import ADOBE_RGB

MAX_SEGMENTS = 1_000
MAX_FILL = 65_536
"""Bytes before the first scan that belong to no segment: fill bytes (T.81 B.1.1.2) and padding of sloppy
writers."""
MAX_SCANS = 100
"""Real progressive files have about 10 scans."""
MAX_SCANNED_PIXELS = 2_000_000_000
"""Pixels times scans: the decoder passes over the whole picture in each scan, however little that holds."""

END = b"\xff\xd9"
"""The end marker; in a scan's data, no such bytes occur."""
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_PROGRESSIVE = {0xC2, 0xCA}
_FRAMES = {0xC0, 0xC1, 0xC9} | _PROGRESSIVE
"""Frames that libjpeg decodes: baseline, extended and progressive; 0xC9 and 0xCA with arithmetic coding."""
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
"""DHT, DAC, DQT and DRI: what the decoder needs beside the frame."""
_WITHOUT_LENGTH = {0, 1, *range(0xD0, 0xD9)}
"""A stuffed zero where none belongs, TEM, the restart markers and SOI."""
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_ICC = b"ICC_PROFILE\0"
_JFIF_BYTES, _ADOBE_BYTES, _ICC_BYTES = 14, 12, 14
"""Of a segment's content, up to the last byte that says something (T.871 10.1, T.872 6.5.3), or up to the
profile (ICC.1:2022, B.4): libjpeg ignores shorter ones."""
_IGNORED = {*range(0xE0, 0xF0), 0xFE}
"""APPn and comments; some writers do not count the two bytes of the length itself."""
# In entropy-coded data a marker is 0xFF and neither a stuffed zero, nor a restart marker, nor a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan: `content[tables:start]` is before it, `content[start:end]` its header and data."""

    tables: int
    start: int
    end: int
    only_dc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHeader(Header):
    """A JPEG up to its first scan.

    `stripped` is the header without fill bytes, comments and metadata; with `content[first_scan:]` behind it,
    it is the same picture. `complete` says that an end marker stands behind the last of the `scans`, which
    are listed for pictures of several scans only.
    """

    components: int
    names: bytes
    """A number for each component, by which scans refer to it."""
    progressive: bool
    samples: float
    """Coefficients per pixel: 3 with full colour resolution, 1.5 with 4:2:0."""
    coarsest: float
    """Pixels per colour sample, across or down, whichever are more: 1 with 4:4:4, 4 with 4:1:1."""
    uneven: float
    """How many times more these are in one direction than in the other."""
    stripped: bytes
    first_scan: int
    scans: tuple[Scan, ...] = ()
    complete: bool = False

    def ends(self, content: bytes) -> bool:
        """Whether an end marker stands behind the last scan."""
        return self.complete or (not self.scans and content.find(END, self.first_scan) >= 0)

    def refined(self, content: bytes) -> bool:
        """Whether there is a scan for the last bit of each coefficient of each component (T.81, G.1.1.1)."""
        missing = {(name, order) for name in self.names for order in range(64)}
        for scan in self.scans:
            count = content[scan.start + 4]
            names = content[scan.start + 5 : scan.start + 5 + 2 * count : 2]
            first, last, bits = content[scan.start + 5 + 2 * count : scan.start + 8 + 2 * count]
            if not self.progressive:
                first, last, bits = 0, 63, 0
            if bits & 0xF == 0:
                missing -= {(name, order) for name in names for order in range(first, last + 1)}
        return not missing

    def memory(self) -> int:
        """Several scans need all coefficients (2 bytes each) together, and 1 byte a pixel at half the scale.

        A single one needs 4 bytes a pixel at full scale, that is, for large thumbnails; so do several
        without an end marker.
        """
        if not self.scans:
            return self.pixels * 4
        return int(self.pixels * (1 + 2 * self.samples + (0 if self.complete else 4)))


def read(content: bytes) -> JpegHeader:
    """Read a JPEG's header.

    Raises:
        TooComplex: more segments, fill bytes or scans than a real picture has.
        UndecodablePicture: no frame, or one that is lossless, hierarchical or not of 8 bits.

    """
    found = _Found()
    for code, start, end in _segments(content):
        if code == _SOS:
            first_scan = start
            break
        found.add(code, content[start:end])
    else:
        raise undecodable()
    marker, frame = found.frame
    precision, height, width, components = struct.unpack_from(">BHHB", frame, 4)
    if precision != 8 or components not in {1, 3, 4}:  # noqa: PLR2004 - 8 bits a sample; grey, YCbCr or RGB, CMYK
        raise undecodable()
    factors = [divmod(frame[11 + 3 * index], 16) for index in range(components)]
    if not all(across and down for across, down in factors):
        raise undecodable()
    most_across, most_down = (max(several) for several in zip(*factors, strict=True))
    pixels = [(most_across / across, most_down / down) for across, down in factors]
    several = marker in _PROGRESSIVE or content[first_scan + 4] < components
    scans, complete = _scans(content, first_scan) if several else ((), False)
    if len(scans) * width * height > MAX_SCANNED_PIXELS:
        raise too_complex("scans for its size")
    return JpegHeader(
        width=width,
        height=height,
        orientation=found.orientation if found.orientation and found.orientation <= 8 else 1,  # noqa: PLR2004 - EXIF's range
        profile=b"".join(found.profile[number] for number in sorted(found.profile)) or None,
        space=ADOBE_RGB if found.adobe_rgb and components == 3 else None,  # noqa: PLR2004 - colours
        components=components,
        names=frame[10 : 10 + 3 * components : 3],
        progressive=marker in _PROGRESSIVE,
        samples=sum(across * down for across, down in factors) / (most_across * most_down),
        coarsest=max(map(max, pixels)),
        uneven=max(max(pair) / min(pair) for pair in pixels),
        stripped=b"".join(found.stripped),
        first_scan=first_scan,
        scans=scans,
        complete=complete,
    )


@dataclass(slots=True)
class _Found:
    """What the segments before the first scan say."""

    stripped: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    seen: set[int] = field(default_factory=set)
    frame: tuple[int, bytes] = (0, b"")
    orientation: int | None = None
    adobe_rgb: bool = False
    profile: dict[int, bytes] = field(default_factory=dict)

    def add(self, marker: int, segment: bytes) -> None:
        """Take in a segment, marker and length included."""
        body = segment[4:]
        if marker in _OTHER_FRAMES or (marker in _FRAMES and self.frame[1]):
            raise undecodable()
        if marker in _FRAMES:
            self.frame = marker, segment
            self.stripped.append(segment)
        elif marker in _TABLES:
            self.stripped.append(segment)
        elif (marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= _JFIF_BYTES) or (
            marker == _APP14 and body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES
        ):
            # Both decide about the colour space; the first of each counts. libjpeg ignores shorter ones.
            if marker not in self.seen:
                self.stripped.append(segment)
            self.seen.add(marker)
        elif marker == _APP1 and body.startswith(b"Exif\0"):
            # Tools that edit pictures leave an empty one, or one of their own, before the camera's.
            if self.orientation is None:
                self.orientation = exif.stated_orientation(body)
            self.adobe_rgb |= exif.is_adobe_rgb(body)
        elif marker == _APP2 and body.startswith(_ICC) and len(body) >= _ICC_BYTES:
            self.profile.setdefault(body[len(_ICC)], body[len(_ICC) + 2 :])


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start (of the 0xFF) and end of each segment up to the first scan's header."""
    position = 2
    fill = 0
    for _ in range(MAX_SEGMENTS):
        start = content.find(b"\xff", position, position + MAX_FILL)
        code = start
        while code >= 0 and content[code] == 0xFF and code - start <= MAX_FILL:  # noqa: PLR2004 - a marker's first byte
            code += 1
        fill += max(start, position) - position + code - start - 1
        if fill >= MAX_FILL or (start < 0 and len(content) - position >= MAX_FILL):
            raise too_complex("fill bytes")
        if start < 0:
            raise undecodable()
        marker = content[code]
        if marker == _EOI:
            raise undecodable()
        if marker in _WITHOUT_LENGTH:
            position = code + 1
            continue
        (length,) = struct.unpack_from(">H", content, code + 1)
        if length < 2 and marker in _IGNORED:  # noqa: PLR2004 - the length counts itself
            length = 2
        position = code + 1 + length
        if length < 2 or position > len(content):  # noqa: PLR2004
            raise undecodable()
        yield marker, code - 1, position
    raise too_complex("segments")


def _scans(content: bytes, first: int) -> tuple[tuple[Scan, ...], bool]:
    """List the scans from the one at `first` on, and say whether an end marker follows the last."""
    scans: list[Scan] = []
    position = previous = first
    segments = 0
    while (found := _MARKER.search(content, position)) is not None:
        start = found.start()
        marker = content[start + 1]
        if marker == _EOI:
            return tuple(scans), True
        if start + 4 > len(content):
            break
        position = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if marker != _SOS:
            segments += 1
            if segments > MAX_SEGMENTS:
                raise too_complex("segments")
            continue
        if len(scans) == MAX_SCANS:
            raise too_complex("scans")
        following = _MARKER.search(content, position)
        end = following.start() if following else len(content)
        # The last three bytes of a scan's header: start and end of the spectrum, and the bits' approximation.
        only_dc = position <= len(content) and content[position - 2] == 0
        scans.append(Scan(previous, start, end, only_dc))
        previous = position = end
    return tuple(scans), False
