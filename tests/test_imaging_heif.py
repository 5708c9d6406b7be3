"""HEIC and AVIF as cameras and encoders write them: crops, hidden pictures, sequences, tiles with alpha."""

from collections.abc import Callable
from functools import cache
from io import BytesIO

import pillow_heif
import pytest
from PIL import Image

from chalicelib.errors import UndecodablePicture, UnsupportedFormat
from chalicelib.imaging import check, headers, make_thumbnail
from chalicelib.imaging.decoders.heif_still import still
from chalicelib.imaging.headers.heif import HeifHeader
from chalicelib.spec import Fit, ThumbnailSpec
from tests import heif_files
from tests.heif_files import Item, clap
from tests.pictures import CORNERS, chart, encode, turned
from tests.samples import containers, pictures
from tests.samples.containers import Coded, Track, Transform
from tests.test_imaging_formats import MAX_PIXELS, at, corners, decoded, near

KINDS = ["HEIC", "AVIF"]
MAGENTA = (255, 0, 255)
WHOLE = ThumbnailSpec(60, 60, fit=Fit.CONTAIN)


def code(kind: str, image: Image.Image) -> Coded:
    """Encode a picture nearly without loss, and take it out of its file."""
    options = {"chroma": 444} if kind == "HEIC" else {}
    return containers.coded(pictures.encode(image, kind, **options))


@cache
def coded_chart(kind: str) -> Coded:
    return code(kind, chart())


@cache
def coded_alpha(kind: str) -> Coded:
    """Left half transparent."""
    alpha = Image.new("L", (240, 160), 255)
    alpha.paste(0, (0, 0, 120, 160))
    return code(kind, alpha)


def is_chart(image: Image.Image, tolerance: int = 10) -> bool:
    return all(near(*pair, tolerance) for pair in zip(corners(image), CORNERS, strict=True))


def header_of(content: bytes) -> HeifHeader:
    _, header = headers.read(content)
    assert isinstance(header, HeifHeader)
    return header


def framed(kind: str, orientation: int, size: tuple[int, int], place: tuple[int, int]) -> bytes:
    """The chart in a magenta frame of 320 x 256 pixels, which the container crops away, and turned by it."""
    canvas = Image.new("RGB", (320, 256), MAGENTA)
    stored = turned(chart(*size), orientation)
    canvas.paste(stored, place)
    offsets = [
        number
        for whole, side, start in zip(canvas.size, stored.size, place, strict=True)
        for number in (2 * start + side - whole, 2)
    ]
    aperture = (stored.width, 1, stored.height, 1, *offsets)
    turn = pictures.TRANSFORMS[orientation]
    tile = code(kind, canvas)
    return containers.heif(
        [tile], canvas.size, transform=Transform(turn.quarter_turns, turn.mirror, aperture)
    )


@pytest.mark.parametrize("place", [(0, 0), (33, 27)])
@pytest.mark.parametrize("size", [(120, 80), (61, 41)])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cropped_away_is_not_shown(
    kind: str, orientation: int, size: tuple[int, int], place: tuple[int, int]
) -> None:
    found = decoded(framed(kind, orientation, size, place), WHOLE)
    assert found.size == (60, 40)
    assert is_chart(found)
    # The very edge: nothing of what is beside it, not even through the filter.
    edge = [
        pixel
        for x, y in [(0, 10), (59, 30), (20, 0), (40, 39)]
        if (pixel := at(found, (x + 0.5) / 60, (y + 0.5) / 40))
    ]
    assert all(any(near(pixel, colour, 40) for colour in CORNERS) for pixel in edge), edge


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_of_a_grid(kind: str) -> None:
    image = chart()
    tiles = [code(kind, image.crop((x, y, x + 120, y + 80))) for y in (0, 80) for x in (0, 120)]
    whole = containers.heif(tiles, (120, 80), 2, Transform(0, None, (100, 1, 60, 1, 1, 1, -1, 1)))
    found = decoded(whole, WHOLE)
    assert found.size == (60, 36)
    assert is_chart(found)


@pytest.mark.parametrize(
    "aperture",
    [
        (60, 0, 40, 1, 0, 1, 0, 1),
        (60, 1, 40, 1, 0, 0, 0, 1),
        (0, 1, 40, 1, 0, 1, 0, 1),
        (60, 1, 40, 1, 4000, 1, 0, 1),
        (1, 4, 40, 1, 0, 1, 0, 1),
        (0xFFFFFFFF, 1, 0xFFFFFFFF, 1, 0, 1, 0, 1),
    ],
    ids=["no denominator", "no denominator of an offset", "no width", "outside", "less than a pixel", "huge"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_that_makes_no_sense_is_none(kind: str, aperture: tuple[int, ...]) -> None:
    content = containers.heif([coded_chart(kind)], (240, 160), transform=Transform(0, None, aperture))
    found = decoded(content, WHOLE)
    assert found.size == (60, 40)
    assert is_chart(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_that_sticks_out_ends_at_the_edge(kind: str) -> None:
    content = containers.heif(
        [coded_chart(kind)], (240, 160), transform=Transform(0, None, (240, 1, 160, 1, 180, 1, 120, 1))
    )
    found = decoded(content, WHOLE)
    assert found.size == (60, 40)
    assert near(at(found, 0.5, 0.5), CORNERS[3], 10)


LEFT, RIGHT = heif_files.box(b"irot", b"\1"), heif_files.box(b"irot", b"\3")
UPSIDE_DOWN, MIRRORED = heif_files.box(b"imir", b"\0"), heif_files.box(b"imir", b"\1")
CROP = clap(120, 1, 150, 1, 40, 1, 0, 1)
LISTED = {
    "mirrored, turned": ([UPSIDE_DOWN, LEFT], [LEFT, UPSIDE_DOWN]),
    "turned twice": ([LEFT, LEFT], [LEFT]),
    "turned to and fro": ([RIGHT, LEFT], [RIGHT]),
    "mirrored twice": ([MIRRORED, UPSIDE_DOWN], [MIRRORED]),
    "turned, cropped": ([LEFT, CROP], [CROP, LEFT]),
    "cropped twice": ([CROP, clap(10, 1, 10, 1, 0, 1, 0, 1)], [CROP]),
    "all of it": ([MIRRORED, LEFT, CROP], [CROP, LEFT, MIRRORED]),
}
"""How a file lists them, and what that means."""


@pytest.mark.parametrize("case", LISTED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_a_turn_and_a_mirroring_apply_once_and_in_this_order(kind: str, case: str) -> None:
    listed, meant = (
        heif_files.write([heif_files.coded(coded_chart(kind), (240, 160), *steps)], 1)
        for steps in LISTED[case]
    )
    described = check(listed, max_pixels=MAX_PIXELS)
    assert described is not None
    made = make_thumbnail(listed, WHOLE, max_pixels=MAX_PIXELS)
    assert (described.width, described.height) == (made.source_width, made.source_height)
    assert made == make_thumbnail(meant, WHOLE, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("kind", KINDS)
def test_decoders_turn_no_picture_and_a_tile_only_once(kind: str) -> None:
    """libheif would turn it as often as that is listed."""
    tile = heif_files.coded(coded_chart(kind), (240, 160), *[MIRRORED] * 100)
    whole = Item(b"grid", heif_files.grid(1, 1, 240, 160), [heif_files.ispe(240, 160), LEFT], {b"dimg": [1]})
    content = heif_files.write([tile, whole], 2)
    alone = still(header_of(content), content)
    assert (alone.count(b"irot"), alone.count(b"imir")) == (0, 1)


@pytest.mark.parametrize("source_format", ["HEIF", "AVIF"])
@pytest.mark.parametrize("brand", [b"mif1", b"msf1"])
def test_the_brand_says_nothing_of_the_coding(source_format: str, brand: bytes) -> None:
    kind = {"HEIF": "HEIC"}.get(source_format, source_format)
    content = heif_files.write([heif_files.coded(coded_chart(kind), (240, 160))], 1, brand)
    assert make_thumbnail(content, WHOLE, max_pixels=MAX_PIXELS).source_format == source_format
    assert is_chart(decoded(content, WHOLE))


@pytest.mark.parametrize("kind", [b"jpeg", b"avc1", b"j2k1", b"unci", b"mime"])
def test_other_codings_are_refused_by_name(kind: bytes) -> None:
    content = heif_files.write([Item(kind, b"x" * 100, [heif_files.ispe(240, 160)])], 1)
    with pytest.raises(UnsupportedFormat, match="send JPEG"):
        make_thumbnail(content, WHOLE, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_of_all_sizes_and_versions(kind: str) -> None:
    image = chart()
    size = (120, 80)
    tiles = [
        heif_files.coded(code(kind, image.crop((x, y, x + 120, y + 80))), size)
        for y in (0, 80)
        for x in (0, 120)
    ]
    whole = Item(
        b"grid", heif_files.grid(2, 2, 240, 160), [heif_files.ispe(240, 160)], {b"dimg": [1, 2, 3, 4]}
    )
    for wide in (False, True):
        assert is_chart(decoded(heif_files.write([*tiles, whole], 5, wide=wide), WHOLE))


@pytest.mark.parametrize("reference", [b"thmb", b"dimg", b"auxl", b"cdsc"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_primary_picture_that_is_part_of_another(kind: str, reference: bytes) -> None:
    shown = heif_files.coded(coded_chart(kind), (240, 160))
    other = heif_files.coded(code(kind, Image.new("RGB", (240, 160), MAGENTA)), (240, 160))
    owner = Item(b"tmap", b"x", [heif_files.ispe(240, 160)], {b"dimg": [1, 2]})
    items = [shown, other, owner]
    if reference == b"thmb":
        items[0] = Item(shown.kind, shown.data, shown.properties, {b"thmb": [2]})
    elif reference != b"dimg":
        items[1] = Item(other.kind, other.data, other.properties, {reference: [1]})
    assert is_chart(decoded(heif_files.write(items, 1), WHOLE))


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_views_are_cropped_and_turned_in_turn(kind: str) -> None:
    """The inner view cuts out the right half and turns it left; the outer one cuts out its top."""
    left = heif_files.box(b"irot", b"\1")
    right_half = [heif_files.ispe(160, 120), clap(120, 1, 160, 1, 60, 1, 0, 1), left]
    inner = Item(b"iden", b"", right_half, {b"dimg": [1]})
    outer = Item(b"iden", b"", [heif_files.ispe(160, 60), clap(160, 1, 40, 1, 0, 1, -40, 1)], {b"dimg": [2]})
    content = heif_files.write([heif_files.coded(coded_chart(kind), (240, 160)), inner, outer], 3)
    found = decoded(content, WHOLE)
    assert found.size == (60, 15)
    assert near(at(found, 0.25, 0.5), CORNERS[1], 10)
    assert near(at(found, 0.75, 0.5), CORNERS[3], 10)


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_of_each_tile(kind: str) -> None:
    image, alpha = chart(), Image.new("L", (240, 160), 255)
    alpha.paste(0, (0, 0, 120, 160))
    boxes = [(x, y, x + 120, y + 80) for y in (0, 80) for x in (0, 120)]
    items = [heif_files.coded(code(kind, image.crop(each)), (120, 80)) for each in boxes]
    items += [
        heif_files.coded(
            code(kind, alpha.crop(each)), (120, 80), heif_files.full(b"auxC", heif_files.ALPHA), auxl=[index]
        )
        for index, each in enumerate(boxes, 1)
    ]
    whole = Item(
        b"grid", heif_files.grid(2, 2, 240, 160), [heif_files.ispe(240, 160)], {b"dimg": [1, 2, 3, 4]}
    )
    found = decoded(heif_files.write([*items, whole], 9), WHOLE)
    assert near(at(found, 0.2, 0.2), (255, 255, 255))
    assert near(at(found, 0.8, 0.8), CORNERS[3], 10)


BRANDS = {"HEIC": [b"hevc", b"msf1"], "AVIF": [b"avis", b"msf1"]}


@pytest.mark.parametrize(("kind", "brand"), [(kind, brand) for kind in KINDS for brand in BRANDS[kind]])
def test_a_sequence_without_a_still_shows_its_first_picture(kind: str, brand: bytes) -> None:
    content = containers.sequence([Track(coded_chart(kind), (240, 160))], brand)
    assert is_chart(decoded(content, WHOLE))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_cropped_and_has_alpha(kind: str) -> None:
    color = Track(coded_chart(kind), (240, 160), (clap(120, 1, 80, 1, 0, 1, 0, 1),))
    depth = Track(code(kind, Image.new("L", (240, 160), 90)), (240, 160), (), b"urn:mpeg:hevc:2015:auxid:2")
    alpha = Track(coded_alpha(kind), (240, 160), (), heif_files.ALPHA[:-1])
    for tracks, left in (
        ([color], CORNERS[0]),
        ([color, depth], CORNERS[0]),
        ([color, alpha], (255, 255, 255)),
    ):
        found = decoded(containers.sequence(tracks, BRANDS[kind][0]), WHOLE)
        assert found.size == (60, 40)
        assert near(at(found, 0.25, 0.25), left, 10)
        assert near(at(found, 0.75, 0.75), CORNERS[3], 10)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_grey_heic_of_many_bits(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    steps = (0, 64, 128, 255)
    if bits == 8:
        image = Image.new("L", (240, 160))
        for index, step in enumerate(steps):
            image.paste(step, (60 * index, 0, 60 * index + 60, 160))
        heif = pillow_heif.from_pillow(image)
    else:
        row = b"".join((step * 257).to_bytes(2, "little") * 60 for step in steps)
        heif = pillow_heif.from_bytes(mode="I;16", size=(240, 160), data=row * 160)
    out = BytesIO()
    heif.save(out, quality=95)
    found = decoded(out.getvalue(), WHOLE)
    assert [near(at(found, (index + 0.5) / 4, 0.5), (step,) * 3, 4) for index, step in enumerate(steps)] == [
        True
    ] * 4


@pytest.mark.parametrize("source_format", ["HEIF", "AVIF"])
def test_decoders_see_the_picture_alone(source_format: str) -> None:
    """No metadata, and none of the other pictures that a file may hold."""
    content = encode(chart(), source_format, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0\0")
    assert b"Exif" in content
    alone = still(header_of(content), content)
    assert b"Exif" not in alone
    assert is_chart(decoded(alone, WHOLE))
    assert still(header_of(alone), alone) == alone


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.replace(b"pitm", b"free"),
        lambda content: content.replace(b"iloc", b"free"),
        lambda content: content.replace(b"hvcC", b"free"),
        lambda content: content.replace(b"iinf", b"free"),
        lambda content: content.replace(b"ipma", b"free"),
    ],
)
def test_a_file_that_lacks_a_part_is_undecodable(damage: Callable[[bytes], bytes]) -> None:
    content = heif_files.write([heif_files.coded(coded_chart("HEIC"), (240, 160))], 1)
    with pytest.raises(UndecodablePicture):
        make_thumbnail(damage(content), WHOLE, max_pixels=MAX_PIXELS)
