"""HEIC and AVIF whose headers say the same over and over: each thing is looked at once, or refused."""

from struct import pack

import pytest
from PIL import Image

from chalicelib.errors import TooComplex, UndecodablePicture
from chalicelib.imaging import check, headers, make_thumbnail
from chalicelib.imaging.headers.heif_parts import Part
from chalicelib.imaging.headers.isobmff import Reader
from chalicelib.spec import ThumbnailSpec
from tests import heif_files
from tests.heif_files import Item, box, full, grid, ispe
from tests.pictures import encode
from tests.samples import containers
from tests.samples.containers import Coded

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()
SIZE = (64, 64)
PICTURE = containers.coded(encode(Image.new("RGB", SIZE, (90, 120, 30)), "AVIF"))
ASPECT = box(b"pasp", pack(">2I", 1, 1))


def calls(monkeypatch: pytest.MonkeyPatch, method: str) -> list[Part]:
    """Collect the parts that a method of theirs is called of."""
    called: list[Part] = []
    original = getattr(Part, method)

    def counted(part: Part, *arguments: bytes) -> object:
        called.append(part)
        return original(part, *arguments)

    monkeypatch.setattr(Part, method, counted)
    return called


def test_properties_are_not_looked_up_for_each_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PICTURE.data[:2] == b"\x12\0"  # a temporal delimiter; the sequence header follows
    header = PICTURE.data[2 : 4 + PICTURE.data[3]]
    many = Coded(PICTURE.kind, PICTURE.configuration, header * 1_000 + PICTURE.data)
    content = heif_files.write([heif_files.coded(many, SIZE)], 1)
    called = calls(monkeypatch, "property")
    assert check(content, max_pixels=MAX_PIXELS) is not None
    assert len(called) < 50


@pytest.mark.parametrize("layers", [8, 1_000])
def test_a_part_that_is_many_layers_is_read_once(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        heif_files.coded(PICTURE, SIZE),
        Item(b"grid", grid(1, 1, *SIZE), [ispe(*SIZE)], {b"dimg": [1]}),
        Item(b"iovl", bytes(10) + pack(">2H", *SIZE), [ispe(*SIZE)], {b"dimg": [2] * layers}),
    ]
    content = heif_files.write(items, 3)
    read, looked_up = calls(monkeypatch, "bytes_of"), calls(monkeypatch, "property")
    if layers == 8:
        assert check(content, max_pixels=MAX_PIXELS) is not None
    else:
        with pytest.raises(TooComplex, match="layers"):
            check(content, max_pixels=MAX_PIXELS)
    assert sorted(part.kind for part in read) == [b"av01", b"grid", b"iovl"]
    assert len(looked_up) < 50


def with_associations(*boxes: bytes) -> bytes:
    """A file without a picture, but with lists of properties."""
    content = full(b"pitm", b"\0\1") + box(b"iprp", box(b"ipco", ASPECT) + b"".join(boxes))
    return box(b"ftyp", b"avif\0\0\0\0avif") + full(b"meta", content) + box(b"free", bytes(400_000))


def test_entries_that_are_not_in_their_box_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 such boxes took 5 seconds."""
    read, original = [], Reader.number

    def counted(reader: Reader, start: int, size: int) -> int:
        read.append(start)
        return original(reader, start, size)

    monkeypatch.setattr(Reader, "number", counted)
    content = with_associations(*[full(b"ipma", pack(">I", 65_535))] * 20)
    assert check(content, max_pixels=MAX_PIXELS) is None
    assert len(read) < 50


def test_entries_without_properties_count() -> None:
    entries = full(b"ipma", pack(">I", 40_000) + b"\0\1\0" * 40_000)
    with pytest.raises(TooComplex, match="items"):
        check(with_associations(entries, entries), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("count", [2, 255])
def test_a_list_of_properties_ends_with_its_box(count: int) -> None:
    """The box after it would pass for a second entry."""
    content = heif_files.write([heif_files.coded(PICTURE, SIZE)], 1)
    assert make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).source_width == 64
    start = content.index(b"ipma") + 8
    announced = content[:start] + pack(">I", count) + content[start + 4 :]
    with pytest.raises(UndecodablePicture):
        headers.read(announced)
    # Or the first entry has one property more.
    longer = content[: start + 6] + bytes((content[start + 6] + 1,)) + content[start + 7 :]
    with pytest.raises(UndecodablePicture):
        headers.read(longer)


def test_the_properties_of_an_item_are_as_many_as_an_entry_can_list() -> None:
    content = heif_files.write([heif_files.coded(PICTURE, SIZE, *[ASPECT] * 253)], 1, wide=True)
    assert make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).source_width == 64
    for counts in ((255, 1), (1, 255), (86, 85, 85)):
        entries = b"".join(pack(">HB", 1, count) + b"\1" * count for count in counts)
        whole = full(b"ipma", pack(">I", len(counts)) + entries)
        with pytest.raises(TooComplex, match="properties"):
            check(with_associations(whole), max_pixels=MAX_PIXELS)
        apart = [full(b"ipma", pack(">IHB", 1, 1, count) + b"\1" * count) for count in counts]
        with pytest.raises(TooComplex, match="properties"):
            check(with_associations(*apart), max_pixels=MAX_PIXELS)
