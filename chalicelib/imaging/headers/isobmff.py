"""Boxes and items of ISO base media files: ISO/IEC 14496-12, and ISO/IEC 23008-12 (HEIF) for items.

What is read here comes from strangers: boxes, items and extents are counted, offsets are checked against the
file, and nothing is followed twice.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from chalicelib.imaging.headers.header import too_complex, undecodable

MAX_BOXES = 10_000
"""Boxes that are walked through, beside the one that each item has in `iinf`."""
MAX_ITEMS = 70_000
"""A grid has at most 256 x 256 tiles (23008-12, 6.6.2.3.2); alpha and metadata come on top."""
MAX_PROPERTIES = 255
"""Of one item: as many as one entry of `ipma` can list; an item has one entry (23008-12, 9.3.1)."""

FULL_BOX = 4
"""Bytes of version and flags before the content of a full box (14496-12, 4.2.2)."""

Span = tuple[int, int]
"""Start and end of some bytes of the file."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its type, and where its content starts and ends."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Property:
    """What describes an item: the type of its box, and the box's content."""

    kind: bytes
    content: memoryview


class Reader:
    """A file, read box by box; more than `MAX_BOXES` in all are refused."""

    def __init__(self, content: bytes) -> None:
        """Read `content`, the whole file."""
        self.content = content
        self._left = MAX_BOXES

    def boxes(self, start: int, end: int, free: int = 0) -> Iterator[Box]:
        """Yield the boxes between two offsets, one after the other; `free` of them are not counted.

        Raises:
            TooComplex: more boxes than a real picture has.
            UndecodablePicture: a box that is shorter than its own header.

        """
        end = min(end, len(self.content))
        while start + 8 <= end:
            if free:
                free -= 1
            else:
                self._left -= 1
                if self._left < 0:
                    raise too_complex("boxes")
            size, kind = struct.unpack_from(">I4s", self.content, start)
            header = 8
            if size == 1:
                (size,) = struct.unpack_from(">Q", self.content, start + 8)
                header = 16
            elif size == 0:  # to the end of what it is in
                size = end - start
            if size < header:
                raise undecodable()
            yield Box(kind, start + header, min(start + size, end))
            start += size

    def first(self, kind: bytes, parent: Box, skip: int = 0) -> Box | None:
        """Return the first box of a type among those in `parent`, from `skip` bytes after its start on."""
        return next((box for box in self.boxes(parent.start + skip, parent.end) if box.kind == kind), None)

    def property(self, box: Box) -> Property:
        """Return a box as a property, without copying it."""
        return Property(box.kind, memoryview(self.content)[box.start : box.end])

    def number(self, start: int, size: int) -> int:
        """Return the unsigned number of `size` bytes at an offset; 0 where there are no bytes for it."""
        return int.from_bytes(self.content[start : start + size], "big")


@dataclass(slots=True)
class Items:
    """What a `meta` box says of its items, by their numbers.

    `kinds` are the items' types; `extents` the parts of the file that an item is made of, in order;
    `properties` the boxes that describe an item, each with whether it is essential, in the order in which
    they apply; `references` the items that an item refers to, by the reference's type.
    """

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[Span]] = field(default_factory=dict)
    properties: dict[int, list[tuple[Property, bool]]] = field(default_factory=dict)
    references: dict[bytes, dict[int, list[int]]] = field(default_factory=dict)

    def inputs(self, item: int) -> list[int]:
        """Return the items that a derived one is made of, in their order."""
        return self.references.get(b"dimg", {}).get(item, [])


def read_items(reader: Reader, meta: Box) -> Items:
    """Read a `meta` box.

    Raises:
        TooComplex: more items than a real picture has.
        UndecodablePicture: boxes that do not fit together.
        struct.error: a box that is cut off.

    """
    items = Items()
    found = {box.kind: box for box in reader.boxes(meta.start + FULL_BOX, meta.end)}
    if pitm := found.get(b"pitm"):
        items.primary = _number(reader, pitm.start + FULL_BOX, _version(reader, pitm) > 0)
    if iinf := found.get(b"iinf"):
        _read_kinds(reader, iinf, items)
    if iloc := found.get(b"iloc"):
        _read_locations(reader, iloc, found.get(b"idat"), items)
    if iref := found.get(b"iref"):
        _read_references(reader, iref, items)
    if iprp := found.get(b"iprp"):
        _read_properties(reader, iprp, items)
    return items


def _version(reader: Reader, box: Box) -> int:
    return reader.number(box.start, 1)


def _number(reader: Reader, start: int, wide: bool) -> int:
    (number,) = struct.unpack_from(">I" if wide else ">H", reader.content, start)
    return int(number)


def _counted(count: int) -> int:
    if count > MAX_ITEMS:
        raise too_complex("items")
    return count


def _read_kinds(reader: Reader, iinf: Box, items: Items) -> None:
    """Read each item's type from `infe` of version 2 or 3 (14496-12, 8.11.6); older ones have none."""
    wide = _version(reader, iinf) > 0
    count = _counted(_number(reader, iinf.start + FULL_BOX, wide))
    for box in reader.boxes(iinf.start + FULL_BOX + (4 if wide else 2), iinf.end, free=count):
        version = _version(reader, box)
        if box.kind == b"infe" and version >= 2:  # noqa: PLR2004 - the first version with a type
            number = _number(reader, box.start + FULL_BOX, version > 2)  # noqa: PLR2004 - wide numbers from 3 on
            at = box.start + FULL_BOX + (4 if version > 2 else 2) + 2  # noqa: PLR2004 - likewise
            items.kinds[number] = reader.content[at : at + 4]


def _read_locations(reader: Reader, iloc: Box, idat: Box | None, items: Items) -> None:
    """Read where each item's bytes are (14496-12, 8.11.3): in the file or in `idat`, not in other items."""
    version = _version(reader, iloc)
    at = iloc.start + FULL_BOX
    sizes = reader.number(at, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in {1, 2} else 0
    wide = version > 1
    count = _counted(_number(reader, at + 2, wide))
    at += 6 if wide else 4
    left = MAX_ITEMS
    for _ in range(count):
        number = _number(reader, at, wide)
        at += 4 if wide else 2
        method = reader.number(at, 2) & 15 if version in {1, 2} else 0
        at += 2 if version in {1, 2} else 0
        base = reader.number(at + 2, base_size)
        at += 2 + base_size
        (extents,) = struct.unpack_from(">H", reader.content, at)
        at += 2
        left -= extents
        if left < 0:
            raise too_complex("parts of items")
        whole = idat if method == 1 else Box(b"", 0, len(reader.content))
        spans = []
        for _ in range(extents):
            start = base + reader.number(at + index_size, offset_size)
            length = reader.number(at + index_size + offset_size, length_size)
            at += index_size + offset_size + length_size
            if whole is not None and method <= 1:
                start += whole.start
                spans.append((min(start, whole.end), min(start + length, whole.end) if length else whole.end))
        items.extents[number] = spans


def _read_references(reader: Reader, iref: Box, items: Items) -> None:
    """Read which item refers to which (14496-12, 8.11.12)."""
    wide = _version(reader, iref) > 0
    size = 4 if wide else 2
    left = MAX_ITEMS
    for box in reader.boxes(iref.start + FULL_BOX, iref.end):
        source = _number(reader, box.start, wide)
        (count,) = struct.unpack_from(">H", reader.content, box.start + size)
        left -= count
        if left < 0:
            raise too_complex("references")
        at = box.start + size + 2
        targets = struct.unpack_from(f">{count}{'I' if wide else 'H'}", reader.content, at)
        items.references.setdefault(box.kind, {}).setdefault(source, []).extend(targets)


def _read_properties(reader: Reader, iprp: Box, items: Items) -> None:
    """Read which properties each item has (23008-12, 9.3)."""
    properties: list[Property] = []
    entries, left = 0, 8 * MAX_ITEMS
    for box in reader.boxes(iprp.start, iprp.end):
        if box.kind == b"ipco":
            properties += map(reader.property, reader.boxes(box.start, box.end))
            continue
        if box.kind != b"ipma":
            continue
        wide = _version(reader, box) > 0
        size = 2 if reader.number(box.start + 3, 1) & 1 else 1
        essential, at = 1 << (8 * size - 1), box.start + 8
        announced = _number(reader, box.start + FULL_BOX, wide=True)
        entries = _counted(entries + announced)
        for _ in range(announced):
            number = _number(reader, at, wide)
            at += 4 if wide else 2
            count = reader.content[at]
            end = at + 1 + count * size
            if end > box.end:
                raise undecodable()
            listed = items.properties.setdefault(number, [])
            left -= count
            if left < 0 or len(listed) + count > MAX_PROPERTIES:
                raise too_complex("properties")
            for start in range(at + 1, end, size):
                entry = reader.number(start, size)
                index = entry & (essential - 1)
                if 1 <= index <= len(properties):
                    listed.append((properties[index - 1], bool(entry & essential)))
            at = end
