"""HEIC and AVIF whose coded items claim to be made of others: such references say nothing."""

from collections.abc import Callable

import pytest
from PIL import Image

from chalicelib.imaging import check, headers, make_thumbnail
from chalicelib.imaging.decoders.heif_still import still
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.imaging.headers.heif_parts import Part
from chalicelib.spec import ThumbnailSpec
from tests import heif_files
from tests.heif_files import Item, grid, ispe
from tests.pictures import encode
from tests.samples import containers

MAX_PIXELS = 100_000_000
SIZE = (64, 64)
CODED = {
    kind: containers.coded(encode(Image.new("RGB", SIZE, (90, 120, 30)), kind)) for kind in ("HEIF", "AVIF")
}
ALPHA = heif_files.full(b"auxC", heif_files.ALPHA)


def itself(kind: str) -> bytes:
    return heif_files.write([heif_files.coded(CODED[kind], SIZE, dimg=[1])], 1)


def each_other(kind: str) -> bytes:
    return heif_files.write([heif_files.coded(CODED[kind], SIZE, dimg=[number]) for number in (2, 1)], 1)


def tile_of_itself(kind: str) -> bytes:
    tile = heif_files.coded(CODED[kind], SIZE, dimg=[1])
    return heif_files.write([tile, Item(b"grid", grid(1, 1, *SIZE), [ispe(*SIZE)], {b"dimg": [1]})], 2)


def tile_of_its_grid(kind: str) -> bytes:
    tile = heif_files.coded(CODED[kind], SIZE, dimg=[2])
    return heif_files.write([tile, Item(b"grid", grid(1, 1, *SIZE), [ispe(*SIZE)], {b"dimg": [1]})], 2)


def alpha_of_what_it_is_made_of(kind: str) -> bytes:
    """What would be its tile has alpha; it is none."""
    picture, other = heif_files.coded(CODED[kind], SIZE, dimg=[2]), heif_files.coded(CODED[kind], SIZE)
    return heif_files.write([picture, other, heif_files.coded(CODED[kind], SIZE, ALPHA, auxl=[2])], 1)


FILES: list[Callable[[str], bytes]] = [
    itself,
    each_other,
    tile_of_itself,
    tile_of_its_grid,
    alpha_of_what_it_is_made_of,
]


@pytest.mark.parametrize("make", FILES)
@pytest.mark.parametrize("kind", CODED)
def test_coded_items_are_made_of_no_others(
    kind: str, make: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up, left = Part.property, 1_000

    def counted(part: Part, name: bytes) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            pytest.fail("an endless loop")
        return looked_up(part, name)

    monkeypatch.setattr(Part, "property", counted)
    content = make(kind)
    described = check(content, max_pixels=MAX_PIXELS)
    assert described is not None
    assert (described.width, described.height) == SIZE
    made = make_thumbnail(content, ThumbnailSpec(), max_pixels=MAX_PIXELS)
    assert (made.source_width, made.source_height) == SIZE
    _, header = headers.read(content)
    assert isinstance(header, HeifHeader)
    assert header.parts.alpha is None
    assert all(part.kind == b"grid" for part in header.parts.every.values() if part.inputs)
    # The tile of a grid is the only thing that the decoder is told to make something of.
    assert still(header, content).count(b"dimg") == (make in {tile_of_itself, tile_of_its_grid})
