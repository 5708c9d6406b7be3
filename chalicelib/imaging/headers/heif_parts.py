"""The parts of a picture in a HEIF file: items that are coded, and items that are made of others."""

from dataclasses import dataclass, replace

from chalicelib.imaging.headers.header import too_complex, undecodable
from chalicelib.imaging.headers.isobmff import Items, Property, Reader, Span

CODED = {b"av01", b"hvc1", b"hev1"}
"""Types of items and samples that are coded themselves, and so are made of no others."""
_ALPHA = {b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"}
"""Types of auxiliary pictures that are alpha (MIAF, ISO/IEC 23000-22, 7.3.5.2; 23008-12, B.2.3.3)."""
_MAX_VIEWS = 4
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
    """All parts of the picture that is shown, by number: the picture itself, and its alpha if it has one.

    `views` are the items that show the picture anew, turned or cropped once more (23008-12, 6.6.2.1), from
    the one that is shown on; they are not among `every`.
    """

    every: dict[int, Part]
    primary: int
    alpha: int | None
    premultiplied: bool = False
    views: tuple[Part, ...] = ()


def of_items(reader: Reader, items: Items) -> Parts:
    """Take the parts of the primary item.

    Raises:
        TooComplex: the parts overlap so much that they take far more bytes than the file has.
        UndecodablePicture: there is no such item, or one that is part of it is missing.

    """
    primary, views = items.primary, []
    while items.kinds.get(primary) == b"iden" and len(items.inputs(primary)) == 1:
        views.append(_part(items, primary))
        (primary,) = items.inputs(primary)
        if len(views) == _MAX_VIEWS:
            raise too_complex("layers")
    alphas = {
        target: number
        for number, targets in items.references.get(b"auxl", {}).items()
        if any(is_alpha(found) for found, _ in items.properties.get(number, []))
        for target in targets
    }
    alpha = next((alphas[number] for number in (items.primary, primary) if number in alphas), None)
    whole = _part(items, primary)
    every: dict[int, Part] = {}
    if alpha is None and (tiles := [alphas[each] for each in whole.inputs if each in alphas]):
        # Each tile has its alpha: together they are the alpha of the grid.
        alpha = max(items.kinds) + 1
        every[alpha] = replace(whole, inputs=tuple(tiles))
    spare = len(reader.content) + _SPARE
    waiting = [primary, *(every[alpha].inputs if alpha in every else [] if alpha is None else [alpha])]
    while waiting:
        number = waiting.pop()
        if number in every:
            continue
        every[number] = _part(items, number)
        spare -= sum(end - start for start, end in every[number].data)
        if spare < 0:
            raise too_complex("overlapping parts")
        waiting += every[number].inputs
    premultiplied = alpha in items.references.get(b"prem", {}).get(items.primary, [])
    return Parts(every, primary, alpha, premultiplied, tuple(views))


def is_alpha(found: Property) -> bool:
    """Whether a property says that an auxiliary picture is alpha."""
    return found.kind in {b"auxC", b"auxi"} and bytes(found.content[4:68]).partition(b"\0")[0] in _ALPHA


def _part(items: Items, number: int) -> Part:
    if number not in items.kinds:
        raise undecodable()
    kind = items.kinds[number]
    return Part(
        kind=kind,
        data=tuple(items.extents.get(number, ())),
        properties=tuple(items.properties.get(number, ())),
        # A reference `dimg` of a coded item says nothing, and could lead in a circle.
        inputs=() if kind in CODED else tuple(items.inputs(number)),
    )
