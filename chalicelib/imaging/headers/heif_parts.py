"""The parts of a picture in a HEIF file: items that are coded, and items that are made of others."""

from dataclasses import dataclass

from chalicelib.imaging.headers.header import too_complex, undecodable
from chalicelib.imaging.headers.isobmff import Items, Property, Reader, Span

_ALPHA = {b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"}
"""Types of auxiliary pictures that are alpha (MIAF, ISO/IEC 23000-22, 7.3.5.2; 23008-12, B.2.3.3)."""
_SPARE = 16 << 20
"""Bytes that the parts may take together beyond the file's own: parts may share some, not all of them."""


@dataclass(frozen=True, slots=True)
class Part:
    """An item, or the first sample of a track.

    `kind` is the item's type, `data` where its bytes are, `properties` what describes it, each with whether
    it is essential, `inputs` the parts that it is made of.
    """

    kind: bytes
    data: tuple[Span, ...]
    properties: tuple[tuple[Property, bool], ...]
    inputs: tuple[int, ...] = ()

    def property(self, kind: bytes) -> Property | None:
        """Return the first property of a type."""
        return next((found for found, _ in self.properties if found.kind == kind), None)

    def bytes_of(self, content: bytes) -> memoryview:
        """Return the part's bytes, copied only where they are in several places."""
        view = memoryview(content)
        if len(self.data) == 1:
            return view[slice(*self.data[0])]
        return memoryview(b"".join(view[start:end] for start, end in self.data))


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of the picture that is shown, by number: the picture itself, and its alpha if it has one."""

    every: dict[int, Part]
    primary: int
    alpha: int | None
    premultiplied: bool = False


def of_items(reader: Reader, items: Items) -> Parts:
    """Take the parts of the primary item.

    Raises:
        TooComplex: the parts overlap so much that they take far more bytes than the file has.
        UndecodablePicture: there is no such item, or one that is part of it is missing.

    """
    alpha = _alpha_of(items)
    every: dict[int, Part] = {}
    spare = len(reader.content) + _SPARE
    waiting = [items.primary] if alpha is None else [items.primary, alpha]
    while waiting:
        number = waiting.pop()
        if number in every:
            continue
        if number not in items.kinds:
            raise undecodable()
        data = tuple(items.extents.get(number, ()))
        spare -= sum(end - start for start, end in data)
        if spare < 0:
            raise too_complex("overlapping parts")
        inputs = tuple(items.inputs(number))
        properties = tuple(items.properties.get(number, ()))
        every[number] = Part(items.kinds[number], data, properties, inputs)
        waiting += inputs
    premultiplied = alpha in items.references.get(b"prem", {}).get(items.primary, [])
    return Parts(every, items.primary, alpha, premultiplied)


def _alpha_of(items: Items) -> int | None:
    for number, targets in items.references.get(b"auxl", {}).items():
        if items.primary in targets:
            for found, _ in items.properties.get(number, []):
                if found.kind == b"auxC" and bytes(found.content[4:68]).partition(b"\0")[0] in _ALPHA:
                    return number
    return None
