"""HEIF and AVIF files of any items, references and properties, put together box by box."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import pack

from tests.samples.containers import Coded

ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


def box(kind: bytes, content: bytes = b"", *, wide: bool = False) -> bytes:
    """Write a box; a wide one has its size in 64 bits."""
    if wide:
        return pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return pack(">I4s", 8 + len(content), kind) + content


def full(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Write a box with a version and flags."""
    return box(kind, pack(">I", version << 24 | flags) + content)


def ispe(width: int, height: int) -> bytes:
    """Write the property that declares a size."""
    return full(b"ispe", pack(">2I", width, height))


def clap(*numbers: int) -> bytes:
    """Write a clean aperture: the fractions of width, height and both offsets."""
    return box(b"clap", pack(">4IiIiI", *numbers))


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    """Content of a grid item."""
    return pack(">4B2H", 0, 0, rows - 1, columns - 1, width, height)


@dataclass(frozen=True)
class Item:
    """An item: its type, its bytes, its properties as boxes, and the items it refers to, by type."""

    kind: bytes
    data: bytes
    properties: Sequence[bytes] = ()
    references: dict[bytes, list[int]] = field(default_factory=dict)


def coded(picture: Coded, size: tuple[int, int], *properties: bytes, **references: list[int]) -> Item:
    """Make an item of a coded picture."""
    return Item(
        picture.kind,
        picture.data,
        (picture.configuration, ispe(*size), *properties),
        {kind.encode(): targets for kind, targets in references.items()},
    )


def write(items: Sequence[Item], primary: int, brand: bytes = b"mif1", *, wide: bool = False) -> bytes:
    """Write a file; items are numbered from 1.

    Args:
        items: all of them.
        primary: the number of the one that is shown.
        brand: the only one.
        wide: use the boxes' larger forms, keep what is not coded in `idat`, let the last box go to the end.

    """
    start = box(b"ftyp", brand + bytes(4) + brand)
    number = ">I" if wide else ">H"
    inside = b"".join(item.data for item in items if wide and item.kind in {b"grid", b"iovl"})

    def meta(offset: int) -> bytes:
        infos, locations, references, described, associations = b"", b"", b"", [], b""
        at = 0
        for index, item in enumerate(items, 1):
            infos += full(
                b"infe", pack(number, index) + pack(">H4sB", 0, item.kind, 0), version=3 if wide else 2
            )
            if wide and item.kind in {b"grid", b"iovl"}:
                locations += pack(">I3H2I", index, 1, 0, 1, at, len(item.data))
                at += len(item.data)
            else:
                locations += pack(number, index) + (bytes(2) if wide else b"")
                locations += pack(">2H2I", 0, 1, offset, len(item.data))
                offset += len(item.data)
            for kind, targets in item.references.items():
                code = f">{number[1]}H{len(targets)}{number[1]}"
                references += box(kind, pack(code, index, len(targets), *targets))
            associations += pack(number, index) + bytes((len(item.properties),))
            for found in item.properties:
                described.append(found)
                associations += (
                    pack(">H", 0x8000 | len(described)) if wide else bytes((0x80 | len(described),))
                )
        content = full(b"hdlr", bytes(4) + b"pict" + bytes(13))
        content += full(b"pitm", pack(number, primary), version=wide)
        content += full(
            b"iloc", pack(">2B", 0x44, 0) + pack(number, len(items)) + locations, version=2 * wide
        )
        content += full(b"iinf", pack(number, len(items)) + infos, version=wide)
        content += full(b"iref", references, version=wide) if references else b""
        listed = full(b"ipma", pack(">I", len(items)) + associations, version=wide, flags=wide)
        content += box(b"iprp", box(b"ipco", b"".join(described)) + listed)
        content += box(b"idat", inside) if inside else b""
        return box(b"meta", bytes(4) + content, wide=wide)

    data = b"".join(item.data for item in items if not (wide and item.kind in {b"grid", b"iovl"}))
    head = len(start) + len(meta(0)) + 8
    return start + meta(head) + pack(">I4s", 0 if wide else 8 + len(data), b"mdat") + data
