"""Hostile HEIC and AVIF: sizes that lie, floods of boxes, items, units and layers."""

from collections.abc import Callable
from dataclasses import replace
from struct import pack

import pytest
from PIL import Image

from chalicelib.errors import PictureError, TooComplex, TooManyPixels, UndecodablePicture
from chalicelib.imaging import check, headers, limits, make_thumbnail
from chalicelib.imaging.headers import heif_coded, isobmff
from chalicelib.imaging.headers.bits import Bits
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.spec import ThumbnailSpec
from tests import heif_files
from tests.cost import cpu_within
from tests.heif_files import Item, box, full, grid, ispe
from tests.pictures import encode
from tests.samples import containers
from tests.samples.containers import Coded

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()
KINDS = ["HEIF", "AVIF"]


def flat(kind: str, side: int) -> Coded:
    return containers.coded(encode(Image.new("RGB", (side, side), (90, 120, 30)), kind))


SMALL = {kind: flat(kind, 64) for kind in KINDS}
LARGE = {kind: flat(kind, 2048) for kind in KINDS}


def header_of(content: bytes) -> HeifHeader:
    _, header = headers.read(content)
    assert isinstance(header, HeifHeader)
    return header


def declared(kind: str, coded: int, side: int) -> bytes:
    picture = LARGE[kind] if coded == 2048 else SMALL[kind]
    return heif_files.write([heif_files.coded(picture, (side, side))], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_coded_size_counts(kind: str) -> None:
    content = declared(kind, 2048, 64)
    assert header_of(content).width == 2048
    with pytest.raises(TooManyPixels, match="2048 x 2048 pixels; at most 1,000,000 are"):
        check(content, max_pixels=1_000_000)
    with pytest.raises(TooManyPixels):
        make_thumbnail(content, SPEC, max_pixels=1_000_000)


@pytest.mark.parametrize("kind", KINDS)
def test_what_codes_more_than_it_declares_is_not_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.imaging.decoders import heif  # the decoder is what must not be called

    for name in ("_avif", "_heic"):
        monkeypatch.delattr(heif, name)
    with pytest.raises(UndecodablePicture):
        make_thumbnail(declared(kind, 2048, 64), SPEC, max_pixels=MAX_PIXELS)


def test_an_avif_that_codes_less_than_it_declares_is_refused() -> None:
    """libavif would enlarge it."""
    with pytest.raises(UndecodablePicture):
        make_thumbnail(declared("AVIF", 64, 2048), SPEC, max_pixels=MAX_PIXELS)


def smuggled(kind: str) -> bytes:
    """A small picture, behind it in the same item a large one with its own headers."""
    small, large = SMALL[kind], LARGE[kind]
    data = large.data
    if kind == "HEIF":
        # Into the data go the parameter sets that belong into hvcC.
        configuration, units, at = large.configuration[8:], b"", 23
        for _ in range(configuration[22]):
            length = int.from_bytes(configuration[at + 3 : at + 5], "big")
            units += pack(">I", length) + configuration[at + 5 : at + 5 + length]
            at += 5 + length
        data = units + data
    picture = Coded(small.kind, small.configuration, small.data + data)
    return heif_files.write([heif_files.coded(picture, (64, 64))], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_header_in_the_coded_data_counts(kind: str) -> None:
    content = smuggled(kind)
    assert header_of(content).width == 2048
    with pytest.raises(UndecodablePicture):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


class Writer:
    """Bits, from the first byte's highest on."""

    def __init__(self) -> None:
        self.bits = ""

    def put(self, value: int, count: int) -> "Writer":
        self.bits += f"{value:0{count}b}" if count else ""
        return self

    def exponential(self, value: int) -> "Writer":
        digits = f"{value + 1:b}"
        self.bits += "0" * (len(digits) - 1) + digits
        return self

    def done(self) -> bytes:
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def test_numbers_of_bits_are_read_back() -> None:
    written = Writer()
    for value in (0, 1, 2, 6, 7, 254, 255, 65534):
        written.exponential(value)
    bits = Bits(written.put(5, 3).done())
    assert [bits.exponential() for _ in range(8)] == [0, 1, 2, 6, 7, 254, 255, 65534]
    assert bits.take(3) == 5
    with pytest.raises(UndecodablePicture):
        bits.take(100)
    with pytest.raises(UndecodablePicture):
        Bits(bytes(40)).exponential()


def sequence_header(width: int, height: int, bits: int = 16, *, timing: bool = False) -> bytes:
    """An AV1 sequence header of the main profile, as encoders of video write it."""
    written = Writer().put(0, 3).put(0, 2).put(timing, 1)
    if timing:
        written.put(1, 32).put(30, 32).put(1, 1).exponential(0)  # an equal picture interval
        written.put(1, 1).put(31, 5).put(1, 32).put(9, 5).put(9, 5)  # a decoder model
    written.put(1, 1).put(1, 5)  # display delays; two operating points
    for level in (8, 1):
        written.put(0, 12).put(level, 5)
        if level > 7:
            written.put(0, 1)
        if timing:
            written.put(1, 1).put(0, 32).put(0, 32).put(0, 1)
        written.put(1, 1).put(3, 4)
    written.put(bits - 1, 4).put(bits - 1, 4).put(width - 1, bits).put(height - 1, bits)
    written.put(1, 1).put(4, 4).put(2, 3)  # frame ids of 9 bits
    written.put(0, 3).put(0, 4).put(1, 1).put(0, 2)  # order hints
    written.put(0, 1).put(0, 1).put(6, 3)  # no screen content; order hints of 7 bits
    written.put(0, 3).put(1, 1).put(0, 1).put(1, 1)  # 10 bits, colours, described
    return written.put(9, 8).put(16, 8).put(9, 8).put(0, 1).put(0, 2).put(0, 1).done()


def frame_header(*, override: bool, timing: bool = False) -> bytes:
    """The start of a key frame's header that goes with `sequence_header`."""
    del timing  # with an equal interval, no time of presentation is written
    written = Writer().put(0, 1).put(0, 2).put(1, 1).put(0, 1).put(0, 9).put(override, 1)
    return written.put(0, 200).done()


def unit(kind: int, content: bytes) -> bytes:
    """An open bitstream unit with its size, of at most 127 bytes."""
    return bytes((kind << 3 | 2, len(content))) + content


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("override", [False, True])
def test_av1_headers_with_all_their_options(timing: bool, override: bool) -> None:
    data = (
        unit(2, b"")
        + unit(1, sequence_header(640, 480, timing=timing))
        + unit(6, frame_header(override=override))
    )
    picture = Coded(b"av01", box(b"av1C", b"\x81\0\0\0"), data)
    header = header_of(heif_files.write([heif_files.coded(picture, (640, 480))], 1))
    # A frame that states its own size may reach what its numbers of 16 bits can say.
    assert (header.width, header.height) == ((65536, 65536) if override else (640, 480))
    assert header.deep
    assert header.truthful
    assert header.space is not None
    assert header.space.transfer == "PQ"


def parameter_set(width: int, height: int, window: tuple[int, ...] = (), sublayers: int = 0) -> bytes:
    """A HEVC sequence parameter set up to the depth of its samples, 4:2:0, sublayers with profiles."""
    written = Writer().put(0, 4).put(sublayers, 3).put(1, 1).put(0, 88).put(93, 8)
    for _ in range(sublayers):
        written.put(3, 2)
    if sublayers:
        written.put(0, 2 * (8 - sublayers))
    written.put(0, 96 * sublayers)
    written.exponential(0).exponential(1).exponential(width).exponential(height).put(bool(window), 1)
    for number in window:
        written.exponential(number)
    # A 3 keeps zeros from looking like a start code.
    payload = written.exponential(2).exponential(2).done()
    escaped = bytearray()
    for byte in payload:
        if byte <= 3 and escaped.endswith(b"\0\0"):
            escaped.append(3)
        escaped.append(byte)
    return b"\x42\x01" + bytes(escaped)


def hevc(parameters: bytes) -> Coded:
    configuration = (
        b"\1" + bytes(20) + b"\x03" + b"\x01" + b"\xa1" + pack(">2H", 1, len(parameters)) + parameters
    )
    return Coded(b"hvc1", box(b"hvcC", configuration), pack(">I", 4) + b"\x26\1xx")


@pytest.mark.parametrize("sublayers", [0, 1, 6])
def test_hevc_parameter_sets(sublayers: int) -> None:
    parameters = parameter_set(648, 488, (1, 3, 0, 4), sublayers)
    header = header_of(heif_files.write([heif_files.coded(hevc(parameters), (640, 480))], 1))
    assert (header.width, header.height) == (640, 480)
    assert header.deep
    assert header.truthful


def test_what_a_parameter_set_hides_counts() -> None:
    """A window of 64 x 64 pixels in a picture of 8192."""
    content = heif_files.write(
        [heif_files.coded(hevc(parameter_set(8192, 8192, (0, 4064, 0, 4064))), (64, 64))], 1
    )
    assert not header_of(content).truthful
    with pytest.raises(UndecodablePicture):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


def tiled(rows: int, columns: int, size: tuple[int, int], tile: int = 64, kind: str = "AVIF") -> bytes:
    picture = SMALL[kind] if tile == 64 else LARGE[kind]
    item = heif_files.coded(picture, (tile, tile))
    whole = Item(b"grid", grid(rows, columns, *size), [ispe(*size)], {b"dimg": [1] * (rows * columns)})
    return heif_files.write([item, whole], 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [(2, 2, (64, 64)), (2, 2, (64, 128)), (3, 1, (64, 128)), (6, 1, (64, 320))],
)
def test_tiles_outside_of_their_picture_are_refused(
    kind: str, rows: int, columns: int, size: tuple[int, int]
) -> None:
    content = tiled(rows, columns, size, kind=kind)
    with pytest.raises(PictureError):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)
    assert not header_of(content).truthful


def test_a_grid_whose_sizes_differ_is_refused() -> None:
    item = heif_files.coded(SMALL["AVIF"], (64, 64))
    whole = Item(b"grid", grid(1, 2, 128, 64), [ispe(2000, 2000)], {b"dimg": [1, 1]})
    content = heif_files.write([item, whole], 2)
    assert header_of(content).width == 2000
    with pytest.raises(UndecodablePicture):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


def test_all_tiles_together_count_for_memory() -> None:
    content = tiled(3, 3, (4200, 4200), tile=2048)
    header = header_of(content)
    assert header.truthful
    assert header.work == 9 * 2048 * 2048
    assert header.memory() == 12 * header.work


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("deep", [False, True])
def test_alpha_and_depth_count_for_memory(deep: bool, alpha: bool) -> None:
    header = header_of(encode(Image.new("RGBA" if alpha else "RGB", (64, 64)), "AVIF"))
    assert replace(header, deep=deep).memory() == 64 * 64 * (18 if deep else 12) + 64 * 64 * alpha * (
        4 if deep else 2
    )


def layered(depth: int, width: int) -> bytes:
    """Overlays of overlays, each of `width` times the one below."""
    items = [heif_files.coded(SMALL["HEIF"], (64, 64))]
    canvas = bytes(10) + pack(">2H", 64, 64) + bytes(4 * width)
    for number in range(1, depth + 1):
        items.append(Item(b"iovl", canvas, [ispe(64, 64)], {b"dimg": [number] * width}))
    return heif_files.write(items, len(items))


def circle() -> bytes:
    return heif_files.write(
        [
            Item(b"iovl", bytes(14), [ispe(64, 64)], {b"dimg": [2]}),
            Item(b"iovl", bytes(14), [ispe(64, 64)], {b"dimg": [1]}),
        ],
        1,
    )


def overlapping() -> bytes:
    """Many tiles that are each made of the same large part of the file, many times over."""
    small = SMALL["AVIF"]
    data = small.data + bytes(1 << 20)
    infos = b"".join(full(b"infe", pack(">2H4sB", item, 0, b"av01", 0), version=2) for item in range(1, 201))
    infos += full(b"infe", pack(">2H4sB", 201, 0, b"grid", 0), version=2)
    extents = b"".join(pack(">3H", item, 0, 100) + pack(">2I", 0, 0) * 100 for item in range(1, 202))
    content = full(b"pitm", pack(">H", 201)) + full(b"iinf", pack(">H", 201) + infos)
    content += full(b"iloc", pack(">2BH", 0x44, 0, 201) + extents)
    content += full(b"iref", box(b"dimg", pack(">2H200H", 201, 200, *range(1, 201))))
    start = box(b"ftyp", b"avif\0\0\0\0avif")
    return start + full(b"meta", content) + box(b"mdat", data)


def raw_meta(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"avif\0\0\0\0avif") + full(b"meta", full(b"pitm", b"\0\1") + b"".join(boxes))


def many_units(kind: str) -> bytes:
    empty = b"\x7a\0" if kind == "AVIF" else bytes(4)
    small = SMALL[kind]
    picture = Coded(small.kind, small.configuration, empty * (heif_coded.MAX_UNITS + 1) + small.data)
    return heif_files.write([heif_files.coded(picture, (64, 64))], 1)


FLOODS: dict[str, Callable[[], bytes]] = {
    "boxes": lambda: box(b"ftyp", b"heic\0\0\0\0heic") + box(b"free") * 1_000_000,
    "boxes in a meta box": lambda: raw_meta(box(b"free") * 1_000_000),
    "properties": lambda: raw_meta(box(b"iprp", box(b"ipco", box(b"free") * 1_000_000))),
    "associations": lambda: raw_meta(
        box(b"iprp", full(b"ipma", pack(">I", 60_000) + (b"\0\1\xff" + b"\x81" * 255) * 60_000))
    ),
    "items": lambda: raw_meta(full(b"iinf", pack(">I", 1_000_000) + box(b"infe") * 1_000_000, version=1)),
    "places": lambda: raw_meta(full(b"iloc", pack(">2BI", 0, 0, 1_000_000) + bytes(8_000_000), version=2)),
    "parts of an item": lambda: raw_meta(
        full(b"iloc", pack(">2BH", 0, 0, 100) + pack(">3H", 1, 0, 65535) * 100)
    ),
    "references": lambda: raw_meta(full(b"iref", box(b"dimg", pack(">2H", 1, 65535) + bytes(131_070)) * 100)),
    "AV1 units": lambda: many_units("AVIF"),
    "HEVC units": lambda: many_units("HEIF"),
    "layers": lambda: layered(1, 1000),
    "layers of layers": lambda: layered(3, 200),
    "deep layers": lambda: layered(20, 1),
    "layers in a circle": circle,
    "overlapping parts": overlapping,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_floods_are_refused_quickly(kind: str) -> None:
    content = FLOODS[kind]()
    with cpu_within(2):
        for _ in range(2):
            with pytest.raises(TooComplex, match="too many"):
                check(content, max_pixels=MAX_PIXELS)


# Sizes of boxes that lead nowhere: refused, and never an endless loop.
ODD_BOXES: dict[str, bytes] = {
    "of 0 bytes, to the end": pack(">I4s", 0, b"meta"),
    "of less than its header": pack(">I4s", 4, b"meta"),
    "of 64 bits, less than its header": pack(">I4sQ", 1, b"meta", 8),
    "of 64 bits, huge": pack(">I4sQ", 1, b"meta", 2**64 - 1),
    "of 64 bits, cut off": pack(">I4s", 1, b"meta"),
    "huge": pack(">I4s", 2**32 - 1, b"meta"),
}


@pytest.mark.parametrize("kind", ODD_BOXES)
def test_boxes_of_odd_sizes(kind: str) -> None:
    for rest in (b"", bytes(12), full(b"pitm", b"\0\1"), ODD_BOXES[kind] * 3):
        with pytest.raises(UndecodablePicture):
            headers.read(box(b"ftyp", b"heic\0\0\0\0heic") + ODD_BOXES[kind] + rest)


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_boxes_in_boxes_are_not_followed(depth: int) -> None:
    content = b"".join(pack(">I4s", 8 * (depth - level), b"moov") for level in range(depth))
    with pytest.raises(UndecodablePicture):
        headers.read(box(b"ftyp", b"msf1\0\0\0\0msf1") + content)


def test_the_largest_grid_is_read_in_a_moment() -> None:
    tile = SMALL["AVIF"]
    item = heif_files.coded(tile, (64, 64))
    content = heif_files.write(
        [item, Item(b"grid", grid(256, 256, 16384, 16384), [ispe(16384, 16384)], {b"dimg": [1] * 65535})], 2
    )
    with cpu_within(2), pytest.raises(TooManyPixels):
        check(content, max_pixels=MAX_PIXELS)
    assert isobmff.MAX_ITEMS > 256 * 256


def test_memory_is_within_the_limit_for_pictures_of_phones() -> None:
    """48 and 50 megapixels in tiles of 512 x 512, as the largest phones write them."""
    for columns, rows, size in ((16, 12, (8064, 6048)), (16, 12, (8160, 6144))):
        header = HeifHeader(
            width=size[0], height=size[1], coding="HEIF", crop=None, shown=size, deep=True, truthful=True,
            work=columns * rows * 512 * 512, parts=header_of(declared("HEIF", 64, 64)).parts,
        )  # fmt: skip
        assert header.memory() < limits.MAX_MEMORY
