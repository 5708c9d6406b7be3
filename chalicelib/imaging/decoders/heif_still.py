"""Writes the picture that a HEIF or AVIF file shows as a file of its own, without anything else.

Decoders then see what the header reader has measured, and nothing more: no second picture, no metadata, no
sequence, and a picture that its file hides (as one that others are made of) is there like any other.
Boxes after ISO/IEC 14496-12 and 23008-12; the offsets are of 4 bytes.
"""

import struct

from chalicelib.imaging.headers.header import too_complex
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.imaging.headers.heif_parts import Part
from chalicelib.imaging.headers.heif_transforms import TRANSFORMS
from chalicelib.imaging.headers.isobmff import Property
from chalicelib.imaging.spaces import Levels

_BRANDS = {"AVIF": b"avif\0\0\0\0avifmif1miaf", "HEIF": b"heic\0\0\0\0heicmif1miaf"}
_ALPHA = Property(b"auxC", memoryview(bytes(4) + b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"))
_ESSENTIAL = 0x8000
"""In a property's index of 2 bytes."""


def still(header: HeifHeader, content: bytes) -> bytes:
    """Return a file of the picture that is shown, its tiles and its alpha.

    The picture's properties `clap`, `irot` and `imir` are left out: the caller applies `header.crop` and
    `header.orientation`. Of a tile's, one of each is kept.

    Raises:
        TooComplex: more properties than a file's indices can tell apart.

    """
    parts = header.parts
    numbers = {number: index for index, number in enumerate(parts.every, 1)}
    described: list[Property] = []
    indices: dict[Property, int] = {}
    infos, associations, references, sizes = [], [], [], []
    data: list[bytes | memoryview] = []
    for number, part in parts.every.items():
        item = numbers[number]
        infos.append(_full(b"infe", struct.pack(">2H4sB", item, 0, part.kind, 0), version=2))
        whole = number in {parts.primary, parts.alpha}
        listed = _listed(part, alpha=number == parts.alpha, bare=whole)
        for found, _ in listed:
            if found not in indices:
                described.append(found)
                indices[found] = len(described)
        if len(described) >= _ESSENTIAL:
            raise too_complex("properties")
        associations.append(struct.pack(">HB", item, len(listed)))
        associations += [
            struct.pack(">H", indices[found] | (_ESSENTIAL if essential else 0))
            for found, essential in listed
        ]
        if part.inputs:
            references.append(_reference(b"dimg", item, *(numbers[each] for each in part.inputs)))
        data.append(part.bytes_of(content))
        sizes.append(len(data[-1]))
    primary = numbers[parts.primary]
    if parts.alpha is not None:
        references.append(_reference(b"auxl", numbers[parts.alpha], primary))
        if parts.premultiplied:
            references.append(_reference(b"prem", primary, numbers[parts.alpha]))
    count = len(numbers)
    full_range = header.space is not None and header.space.levels is Levels.NARROW_BT2020
    described_boxes = [_box(found.kind, _content(found, full_range=full_range)) for found in described]
    boxes = [
        _full(b"hdlr", bytes(4) + b"pict" + bytes(13)),
        _full(b"pitm", struct.pack(">H", primary)),
        _full(b"iinf", struct.pack(">H", count) + b"".join(infos)),
        _full(b"iref", b"".join(references)) if references else b"",
        _box(
            b"iprp",
            _box(b"ipco", b"".join(described_boxes)),
            _full(b"ipma", struct.pack(">I", count) + b"".join(associations), flags=1),
        ),
    ]
    start = _box(b"ftyp", _BRANDS[header.coding])
    # The length of `iloc` does not depend on the offsets in it.
    head = len(start) + len(_meta(boxes, 0, sizes)) + 8
    return b"".join((start, _meta(boxes, head, sizes), struct.pack(">I4s", 8 + sum(sizes), b"mdat"), *data))


def _listed(part: Part, *, alpha: bool, bare: bool) -> list[tuple[Property, bool]]:
    kept = () if bare else tuple(map(part.property, TRANSFORMS))
    listed = [each for each in part.properties if each[0].kind not in TRANSFORMS or each[0] in kept]
    if alpha and part.property(b"auxC") is None:
        listed.append((_ALPHA, False))
    return listed


def _content(found: Property, *, full_range: bool) -> bytes | memoryview:
    """Return what is in a property's box, changed if colours are to be taken for such of full range."""
    if full_range and found.kind == b"colr" and bytes(found.content[:4]) == b"nclx":
        return bytes(found.content[:10]) + b"\x80"
    return found.content


def _meta(boxes: list[bytes], offset: int, sizes: list[int]) -> bytes:
    locations = []
    for item, size in enumerate(sizes, 1):
        locations.append(struct.pack(">3H2I", item, 0, 1, offset, size))
        offset += size
    iloc = _full(b"iloc", struct.pack(">2BH", 0x44, 0, len(sizes)) + b"".join(locations))
    return _full(b"meta", b"".join((*boxes, iloc)))


def _reference(kind: bytes, source: int, *targets: int) -> bytes:
    return _box(kind, struct.pack(f">2H{len(targets)}H", source, len(targets), *targets))


def _box(kind: bytes, *content: bytes | memoryview) -> bytes:
    return b"".join((struct.pack(">I4s", 8 + sum(map(len, content)), kind), *content))


def _full(kind: bytes, content: bytes, *, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), content)
