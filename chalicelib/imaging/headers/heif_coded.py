"""What the coded data of a HEIF picture's parts say of their sizes, beside what the container declares.

The file states both, and a decoder allocates memory by the coded one: one that declares less is a trap.
"""

import struct
from dataclasses import dataclass, field

from chalicelib.imaging.headers import av1, hevc
from chalicelib.imaging.headers.header import too_complex, undecodable
from chalicelib.imaging.headers.heif_parts import Part, Parts
from chalicelib.imaging.headers.isobmff import MAX_ITEMS

AV1, HEVC = "AVIF", "HEIF"
"""The coding, by the format's name in Pillow's spelling."""

MAX_UNITS = 200_000
"""Units of coded data that are looked at: some per tile."""
MAX_DEPTH = 4
"""Of parts that are made of parts: a real one is an identity of a grid of coded tiles."""
MAX_WORK = 8
"""Times the area of the largest part that may be decoded in all: a grid takes once or some more, an overlay
once a layer."""

_CODINGS = {b"av01": AV1, b"hvc1": HEVC, b"hev1": HEVC}
_LAYERED = {b"lsel", b"a1op", b"a1lx"}
"""Properties of pictures in AV1 layers (AVIF, 2.3.2): their size may be that of a layer."""
_WINDOW = 128
"""Pixels that an encoder may add to a side to fill its blocks, which are 64 at most."""

Size = tuple[int, int]


@dataclass(slots=True)
class Measured:
    """All sizes that the parts have, declared and coded; `work` is the most pixels that one picture decodes.

    `colour` are primaries and transfer by H.273, where AV1's data say them.
    """

    sizes: list[Size] = field(default_factory=list)
    codings: set[str] = field(default_factory=set)
    truthful: bool = True
    deep: bool = False
    work: int = 0
    colour: tuple[int, int] | None = None


def declared_size(part: Part) -> Size | None:
    """Return what a part's `ispe` declares, if it has one (23008-12, 6.5.3)."""
    ispe = part.property(b"ispe")
    return None if ispe is None else struct.unpack_from(">2I", ispe.content, 4)


def measure(content: bytes, parts: Parts) -> Measured:
    """Measure all parts of a picture and its alpha.

    Raises:
        TooComplex: more units, layers or parts of parts than a real picture has.
        UndecodablePicture: coded data without a size.

    """
    measuring = _Measuring(content, parts)
    for number in (parts.primary, parts.alpha):
        if number is not None:
            work = measuring.visit(number, MAX_DEPTH)
            measuring.found.work = max(measuring.found.work, work)
    found = measuring.found
    if found.work > MAX_WORK * max((width * height for width, height in found.sizes), default=0):
        raise too_complex("layers")
    return found


class _Measuring:
    def __init__(self, content: bytes, parts: Parts) -> None:
        self.found = Measured()
        self._content = content
        self._parts = parts
        # Derived parts that are measured: a part that is the tile or layer of several is measured one time.
        self._coded: dict[int, Size] = {}
        self._derived: set[int] = set()
        self._visits = MAX_ITEMS
        self._units = MAX_UNITS

    def visit(self, number: int, depth: int) -> int:
        """Measure a part and those that it is made of; return the pixels that are decoded for it."""
        self._visits -= 1
        if depth == 0 or self._visits < 0:
            raise too_complex("layers")
        part = self._parts.every[number]
        if not part.inputs:
            if number not in self._coded:
                self._coded[number] = self._leaf(part)
            return _area(self._coded[number])
        if number not in self._derived:
            self._derived.add(number)
            self._composed(part)
        return sum(self.visit(each, depth - 1) for each in part.inputs)

    def _composed(self, part: Part) -> None:
        """Take in what a picture that is made of others declares, twice if it is a grid or an overlay."""
        found = self.found
        declared = declared_size(part)
        if declared:
            found.sizes.append(declared)
        if part.kind not in {b"grid", b"iovl"}:
            return
        data = part.bytes_of(self._content)
        at, code = (4 if part.kind == b"grid" else 10), (">2I" if data[1] & 1 else ">2H")
        width, height = struct.unpack_from(code, data, at)
        found.sizes.append((width, height))
        found.truthful &= declared in {None, (width, height)}
        if part.kind == b"grid":
            rows, columns = data[2] + 1, data[3] + 1
            tile = declared_size(self._parts.every[part.inputs[0]])
            # 23008-12, 6.6.2.3.1: tiles fill the picture; none may be outside of it altogether.
            found.truthful &= len(part.inputs) == rows * columns and (
                tile is None or ((columns - 1) * tile[0] < width and (rows - 1) * tile[1] < height)
            )

    def _leaf(self, part: Part) -> Size:
        coding = _CODINGS.get(part.kind)
        if coding is None:
            self.found.codings.add(part.kind.decode("latin-1"))
            return 0, 0
        self.found.codings.add(coding)
        declared = declared_size(part)
        coded = self._av1(part, declared) if coding == AV1 else self._hevc(part, declared)
        self.found.sizes += [declared or coded, coded]
        return coded

    def _count(self) -> None:
        self._units -= 1
        if self._units < 0:
            raise too_complex("units of coded data")

    def _av1(self, part: Part, declared: Size | None) -> Size:
        """Return the largest size of any frame: sequences may follow each other in the same data."""
        found = self.found
        configuration = part.property(b"av1C")
        layered = any(part.property(kind) for kind in _LAYERED)
        sequence: av1.Sequence | None = None
        largest: Size = (0, 0)
        for data in (
            configuration.content[4:] if configuration else memoryview(b""),
            part.bytes_of(self._content),
        ):
            for kind, unit in av1.units(data):
                self._count()
                size = None
                if av1.is_sequence(kind):
                    sequence = av1.read_sequence(unit)
                    size = (sequence.width, sequence.height)
                    found.deep |= sequence.deep
                    found.colour = found.colour or sequence.colour
                    if declared and not layered:
                        found.truthful &= size == declared
                elif sequence is not None and av1.is_frame(kind) and av1.states_its_size(sequence, unit):
                    size = sequence.most
                if size:
                    largest = max(largest, size, key=_area)
        if sequence is None:
            raise undecodable()
        return largest

    def _hevc(self, part: Part, declared: Size | None) -> Size:
        """Return the largest size of any parameter set, in `hvcC` or among the data."""
        configuration = part.property(b"hvcC")
        if configuration is None:
            raise undecodable()
        largest: Size = (0, 0)
        size = hevc.length_size(configuration.content)
        for units in (
            hevc.configured_units(configuration.content),
            hevc.units(part.bytes_of(self._content), size),
        ):
            for unit in units:
                self._count()
                if not hevc.is_parameters(unit):
                    continue
                sets = hevc.read_parameters(unit)
                self.found.deep |= sets.deep
                shown = (sets.width, sets.height)
                self.found.truthful &= max(sets.coded[0] - shown[0], sets.coded[1] - shown[1]) <= _WINDOW
                if declared:
                    self.found.truthful &= shown[0] <= declared[0] and shown[1] <= declared[1]
                largest = max(largest, shown, key=_area)
        if largest == (0, 0):
            raise undecodable()
        return largest


def _area(size: Size) -> int:
    return size[0] * size[1]
