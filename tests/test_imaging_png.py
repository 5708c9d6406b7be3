"""PNG: every combination of colour type, depth and interlacing, to the sample."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import product

import pytest
from isal import isal_zlib
from PIL import Image

from chalicelib.errors import UndecodablePicture
from chalicelib.imaging import make_thumbnail
from chalicelib.imaging.decoders import png as decoder
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers import png as header
from chalicelib.imaging.shrink import Reducer
from chalicelib.spec import ThumbnailSpec
from tests import pictures
from tests.inside import small_bands
from tests.pictures import chunk, encode

KINDS = [(depth, 0) for depth in (1, 2, 4, 8, 16)] + [(8, 2), (16, 2)] + [(d, 3) for d in (1, 2, 4, 8)]
KINDS += [(8, 4), (16, 4), (8, 6), (16, 6)]
SIZE = (37, 29)
PALETTE = bytes(index * factor % 256 for index in range(256) for factor in (1, 5, 11))
ALPHAS = bytes(index * 3 % 256 for index in range(256))
Pixel = tuple[int, int, int, int]


def sample(x: int, y: int, channel: int, bit_depth: int) -> int:
    return (x * 7 + y * 13 + channel * 101) * 257 % (1 << bit_depth)


def picture(bit_depth: int, colour_type: int, *, interlaced: bool, transparency: bytes = b"") -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    before = chunk(b"PLTE", PALETTE[: 3 << bit_depth]) if colour_type == 3 else b""
    if transparency:
        before += chunk(b"tRNS", transparency)
    return pictures.png(
        SIZE,
        bit_depth,
        colour_type,
        lambda x, y: [sample(x, y, channel, bit_depth) for channel in range(channels)],
        interlaced=interlaced,
        before_data=before,
    )


def expected(x: int, y: int, bit_depth: int, colour_type: int, transparency: bytes) -> Pixel:
    """What the PNG specification says a pixel is, reduced to 8 bits."""
    raw = [sample(x, y, channel, bit_depth) for channel in range(4)]
    values = [value >> 8 if bit_depth == 16 else value * 255 // ((1 << bit_depth) - 1) for value in raw]
    if colour_type == 3:
        red, green, blue = PALETTE[3 * raw[0] : 3 * raw[0] + 3]
        return red, green, blue, transparency[raw[0]] if raw[0] < len(transparency) else 255
    if colour_type == 0:
        key = int.from_bytes(transparency, "big") if transparency else None
        return values[0], values[0], values[0], 0 if raw[0] == key else 255
    if colour_type == 2:
        keys = list(struct.unpack(">3H", transparency)) if transparency else None
        return values[0], values[1], values[2], 0 if raw[:3] == keys else 255
    if colour_type == 4:
        return values[0], values[0], values[0], values[1]
    return values[0], values[1], values[2], values[3]


def on_white(pixel: Pixel) -> tuple[float, ...]:
    *colour, alpha = pixel
    return tuple((value * alpha + 255 * (255 - alpha)) / 255 for value in colour)


def transparencies() -> list[tuple[int, int, bytes]]:
    cases = []
    for bit_depth, colour_type in KINDS:
        cases.append((bit_depth, colour_type, b""))
        # The colour of the pixel at 3, 4, or some alphas of the palette.
        if colour_type == 0:
            cases.append((bit_depth, colour_type, struct.pack(">H", sample(3, 4, 0, bit_depth))))
        elif colour_type == 2:
            keys = [sample(3, 4, channel, bit_depth) for channel in range(3)]
            cases.append((bit_depth, colour_type, struct.pack(">3H", *keys)))
        elif colour_type == 3:
            cases.append((bit_depth, colour_type, ALPHAS[: (1 << bit_depth) - 1]))
    return cases


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("bit_depth", "colour_type", "transparency"), transparencies())
def test_every_sample(
    bit_depth: int, colour_type: int, transparency: bytes, interlaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small bands, so that rows have to be filtered over their borders.
    small_bands(monkeypatch, 4 * SIZE[0])
    content = picture(bit_depth, colour_type, interlaced=interlaced, transparency=transparency)
    reading = header.read(content)
    small = decoder.decode(reading, content, [ThumbnailSpec(*SIZE)]).images[0]
    assert small.size == SIZE
    image = Image.new("RGBA", SIZE, "white")
    image.alpha_composite(
        small.convert("RGBA") if small.mode != "La" else small.convert("LA").convert("RGBA")
    )
    for x, y in product(range(SIZE[0]), range(SIZE[1])):
        wanted = on_white(expected(x, y, bit_depth, colour_type, transparency))
        found = image.getpixel((x, y))
        assert isinstance(found, tuple)
        assert all(abs(one - other) <= 1.5 for one, other in zip(found[:3], wanted, strict=True)), (x, y)


@pytest.mark.parametrize(
    ("bit_depth", "colour_type"), [kind for kind in KINDS if kind not in {(16, 2), (16, 6)}]
)
@pytest.mark.parametrize("spec", [ThumbnailSpec(5, 5), ThumbnailSpec(9, 2), ThumbnailSpec(30, 30)])
def test_bands_give_what_the_whole_gives(
    bit_depth: int, colour_type: int, spec: ThumbnailSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_bands(monkeypatch, 4 * SIZE[0])
    content = picture(bit_depth, colour_type, interlaced=False)
    reading = header.read(content)
    wanted = plans(*SIZE, 1, [spec])
    [banded] = decoder.by_bands(reading, content, wanted)
    [whole] = decoder.whole(reading, content, wanted)
    assert (banded.mode, banded.size) == (whole.mode, whole.size)
    # Grey and alpha of 16 bits come from Pillow as RGBA, whose rounding may differ by one.
    pairs = zip(banded.tobytes(), whole.tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= (1 if (bit_depth, colour_type) == (16, 4) else 0)


def test_isal_is_what_inflates() -> None:
    assert vars(decoder)["decompressobj"] is isal_zlib.decompressobj, (
        "the fallback would hide what is missing"
    )


def test_zlib_gives_what_isal_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(pictures.photo(700, 500), "PNG")
    spec = ThumbnailSpec()
    with_isal = make_thumbnail(content, spec, max_pixels=10**6)
    monkeypatch.setattr(decoder, "decompressobj", zlib.decompressobj)
    assert make_thumbnail(content, spec, max_pixels=10**6) == with_isal


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_data_in_many_chunks(piece: int) -> None:
    content = encode(pictures.chart(), "PNG")
    reading = header.read(content)
    data = b"".join(content[start:end] for start, end in reading.data)
    chunks = [chunk(b"IDAT", data[at : at + piece]) for at in range(0, len(data), piece)]
    split = content[:33] + b"".join(chunks) + chunk(b"IEND", b"")
    spec = ThumbnailSpec()
    assert make_thumbnail(split, spec, max_pixels=10**6) == make_thumbnail(content, spec, max_pixels=10**6)


def test_more_data_than_rows_is_not_read() -> None:
    data = zlib.compress(bytes(100_000_000))
    content = encode(pictures.chart(), "PNG")[:33] + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    thumbnail = make_thumbnail(content, ThumbnailSpec(), max_pixels=10**6)
    with Image.open(BytesIO(thumbnail.content)) as image:
        assert image.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_a_reducer_without_bands_has_no_picture() -> None:
    with pytest.raises(ValueError, match="no band"):
        Reducer(plans(10, 10, 1, [ThumbnailSpec()])).finish()


# What is wrong with a file although every row is there.


def with_data(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The file with its image data changed, in one chunk."""
    reading = header.read(content)
    data = change(b"".join(content[start:end] for start, end in reading.data))
    first, last = reading.data[0][0] - 8, reading.data[-1][1] + 4
    return content[:first] + chunk(b"IDAT", data) + content[last:]


CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "wrong": lambda data: data[:-4] + bytes(value ^ 0x55 for value in data[-4:]),
    "zeros": lambda data: data[:-4] + bytes(4),
    "missing": lambda data: data[:-4],
    "half": lambda data: data[:-2],
    "wrong, more data behind": lambda data: data[:-4] + b"abcd" + bytes(500),
}


@pytest.mark.slow
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("checksum", CHECKSUMS)
def test_a_wrong_checksum_alone_is_no_damage(checksum: str, kind: tuple[int, int], interlaced: bool) -> None:
    content = picture(*kind, interlaced=interlaced)
    odd = with_data(content, CHECKSUMS[checksum])
    assert odd != content
    spec = ThumbnailSpec()
    assert make_thumbnail(odd, spec, max_pixels=10**6) == make_thumbnail(content, spec, max_pixels=10**6)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", [(8, 2), (16, 2), (1, 0)])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) * 3 // 4],
        lambda data: data[:2] + bytes(40) + data[42:],
        lambda data: b"\x78\x02" + data[2:],
        lambda data: b"\x77\x85" + data[2:],
        lambda data: b"\x78\x20" + data[2:],
        lambda data: data[:1],
        lambda _: b"",
        lambda _: zlib.compress(b"\x09" + bytes(50_000_000))[:-4] + b"abcd",
    ],
    ids=[
        "cut off",
        "damaged",
        "header's check",
        "method",
        "dictionary",
        "a byte",
        "none",
        "a filter that there is not, and too much",
    ],
)
def test_damaged_data_are_refused(
    change: Callable[[bytes], bytes], kind: tuple[int, int], interlaced: bool
) -> None:
    odd = with_data(picture(*kind, interlaced=interlaced), change)
    with pytest.raises(UndecodablePicture):
        make_thumbnail(odd, ThumbnailSpec(), max_pixels=10**6)


@pytest.mark.slow
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", [(8, 2), (16, 2), (1, 0)])
def test_more_data_than_rows_is_no_damage_either(kind: tuple[int, int], interlaced: bool) -> None:
    odd = with_data(
        picture(*kind, interlaced=interlaced), lambda _: zlib.compress(bytes(50_000_000))[:-4] + b"abcd"
    )
    assert make_thumbnail(odd, ThumbnailSpec(), max_pixels=10**6).width == SIZE[0]


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_transparent_colour_of_16_bits_is_told_by_both_bytes(interlaced: bool) -> None:
    key = (0x1234, 0x5678, 0x9ABC)
    others = [key, (0x1235, 0x5678, 0x9ABC), (0x1234, 0x5679, 0x9ABC), (0x1234, 0x5678, 0x9ABD), (0, 0, 0)]
    content = pictures.png(
        (len(others), 6),
        16,
        2,
        lambda x, _: others[x],
        interlaced=interlaced,
        before_data=chunk(b"tRNS", struct.pack(">3H", *key)),
    )
    small = decoder.decode(header.read(content), content, [ThumbnailSpec(len(others), 6)]).images[0]
    alphas = small.convert("RGBA").getchannel("A")
    assert [alphas.getpixel((x, 3)) for x in range(len(others))] == [0, 255, 255, 255, 255]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("bit_depth", "colour_type", "transparency"),
    [
        *((depth, 0, bytes(1)) for depth in (1, 2, 4, 8, 16)),
        *((depth, 2, key) for depth in (8, 16) for key in (bytes(1), bytes(2), bytes(5))),
        *((depth, kind, bytes(6)) for depth in (8, 16) for kind in (4, 6)),
    ],
)
def test_a_transparent_colour_that_breaks_off_is_none(
    bit_depth: int, colour_type: int, transparency: bytes, interlaced: bool
) -> None:
    content = picture(bit_depth, colour_type, interlaced=interlaced, transparency=transparency)
    plain = picture(bit_depth, colour_type, interlaced=interlaced)
    one, other = (make_thumbnail(each, ThumbnailSpec(), max_pixels=10**6) for each in (content, plain))
    assert one == other


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bit_depth", [1, 2, 4, 8])
@pytest.mark.parametrize("more", [1, 300])
def test_alphas_of_more_entries_than_the_palette_has(more: int, bit_depth: int, interlaced: bool) -> None:
    alphas = ALPHAS[: 1 << bit_depth]
    content = picture(bit_depth, 3, interlaced=interlaced, transparency=alphas + bytes(more))
    exact = picture(bit_depth, 3, interlaced=interlaced, transparency=alphas)
    one, other = (make_thumbnail(each, ThumbnailSpec(), max_pixels=10**6) for each in (content, exact))
    assert one == other


def test_the_first_size_is_the_one_that_counts() -> None:
    """Neither a second IHDR nor the sizes of an animation's frames are believed."""
    content = picture(8, 2, interlaced=False)
    frames = chunk(b"acTL", struct.pack(">II", 2, 0))
    frames += chunk(b"fcTL", struct.pack(">5I2H2B", 0, 60000, 60000, 0, 0, 1, 10, 0, 0))
    again = chunk(b"IHDR", struct.pack(">II5B", 60000, 60000, 8, 2, 0, 0, 0))
    for inserted in (frames, again, frames + again):
        odd = content[:33] + inserted + content[33:]
        assert (header.read(odd).width, header.read(odd).height) == SIZE
        assert make_thumbnail(odd, ThumbnailSpec(), max_pixels=10**4) == make_thumbnail(
            content, ThumbnailSpec(), max_pixels=10**4
        )
