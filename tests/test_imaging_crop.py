"""What a crop keeps: the middle, a focal point, or the part to which eyes are drawn."""

from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.imaging.crop import kept
from benchmarks.imaging.similarity import ssim
from chalicelib.imaging import attention, headers, make_thumbnail, render
from chalicelib.imaging.geometry import plan
from chalicelib.spec import Crop, Fit, Focus, ImageFormat, NamedSize, ThumbnailSpec
from tests.samples import containers
from tests.samples.pictures import TRANSFORMS, encode, exif, turned
from tests.samples.scenes import COUNT, SIZES, Scene, scene

ATTENTION = ThumbnailSpec(crop=Crop.ATTENTION)
MAX_PIXELS = 100_000_000
FULL_SSIM = 0.995
"""Of a thumbnail, before encoding, to the same part of the picture resampled from all of its pixels."""


def made(content: bytes, spec: ThumbnailSpec) -> Image.Image:
    """Return the thumbnail before it is encoded."""
    source_format, header = headers.read(content)
    (image,) = render.render(source_format, header, content, [spec]).images
    return image


def thumbnail(content: bytes, spec: ThumbnailSpec, focus: Focus | None = None) -> bytes:
    return make_thumbnail(content, spec, max_pixels=MAX_PIXELS, focus=focus).content


Start = tuple[int, int]
"""Where a crop by attention starts, in pixels of the thumbnail."""


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Start]:
    """Where each crop by attention has started."""
    found: list[Start] = []
    place = attention.place

    def observed(image: Image.Image, size: tuple[int, int], background: tuple[int, int, int]) -> Start:
        found.append(place(image, size, background))
        return found[-1]

    monkeypatch.setattr(attention, "place", observed)
    return found


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(seed) for seed in range(COUNT)]


# --- attention ---


@pytest.mark.slow
def test_attention_keeps_the_subject_of_nine_pictures_in_ten(scenes: list[Scene]) -> None:
    def count(spec: ThumbnailSpec) -> int:
        # To a pixel of the thumbnail: at whole ones of these, attention cuts.
        return sum(one.is_within(kept(one.image, spec), min(one.image.size) / spec.height) for one in scenes)

    assert count(ATTENTION) >= 0.9 * COUNT
    assert count(ThumbnailSpec()) < 0.7 * COUNT, "the pictures are too easy to tell anything"


@pytest.mark.slow
def test_every_size_and_subject_is_among_the_pictures(scenes: list[Scene]) -> None:
    assert {one.image.size for one in scenes} == set(SIZES)
    assert {one.name.split()[0] for one in scenes} == {"head", "couple", "ball", "fruit", "sign"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 90}),
        ("AVIF", {"quality": 90, "speed": 8}),
        ("HEIC", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("GIF", {}),
    ],
)
def test_the_thumbnail_is_that_part_of_the_picture(
    scenes: list[Scene], starts: list[Start], seed: int, kind: str, options: dict[str, object]
) -> None:
    """Every decoder: as if all pixels of the same part had been resampled."""
    content = encode(scenes[seed].image, kind, **options)
    whole = made(content, ThumbnailSpec(*scenes[seed].image.size))
    image = made(content, ATTENTION)
    expected = whole.resize((100, 100), Image.Resampling.LANCZOS, kept(whole, ATTENTION, starts[0]))
    assert ssim(image, expected) >= FULL_SSIM


@pytest.mark.slow
@pytest.mark.parametrize("crop", [Crop.ATTENTION, Focus(0.8, 0.25)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_part_is_of_the_upright_picture(
    scenes: list[Scene], starts: list[Start], orientation: int, kind: str, crop: Crop | Focus
) -> None:
    upright = scenes[13].image.resize((288, 192))
    stored = turned(upright, orientation)
    if kind in {"AVIF", "HEIC"}:
        tile = containers.coded(encode(stored, kind))
        content = containers.heif([tile], stored.size, transform=TRANSFORMS[orientation])
    else:
        content = encode(stored, kind, exif=exif(orientation))
    spec = ThumbnailSpec(80, 100, crop=crop)
    image = made(content, spec)
    whole = made(content, ThumbnailSpec(*upright.size))
    assert ssim(whole, upright) >= 0.9, "it was not turned upright"
    start = starts[0] if starts else None
    expected = whole.resize((80, 100), Image.Resampling.LANCZOS, kept(whole, spec, start))
    assert image.size == (80, 100)
    assert ssim(image, expected) >= FULL_SSIM
    # To a step of the picture on which is decided: coding changes what is nearly equal.
    assert kept(upright, spec)[:2] == pytest.approx(kept(whole, spec, start)[:2], abs=2 * 4)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "I;16"])
def test_a_flat_picture_is_cropped_in_the_middle(mode: str) -> None:
    content = encode(Image.new(mode, (400, 200)), "TIFF" if mode in {"CMYK", "I;16"} else "PNG")
    assert thumbnail(content, ATTENTION) == thumbnail(content, ThumbnailSpec())
    assert attention.place(Image.new("RGB", (400, 100)), (100, 100), (255, 255, 255)) == (148, 0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((50, 40), (50, 40)),
        ((50, 400), (50, 100)),
        ((400, 50), (100, 50)),
        ((101, 100), (100, 100)),
        ((1, 3000), (1, 100)),
        ((3000, 1), (100, 1)),
        ((5000, 200), (100, 100)),
    ],
)
def test_pictures_smaller_or_far_longer_than_the_box(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    for crop in (Crop.ATTENTION, Crop.CENTER, Focus(0, 1)):
        assert made(encode(Image.new("RGB", size, "red"), "PNG"), ThumbnailSpec(crop=crop)).size == expected


def test_of_a_long_strip_the_middle_is_searched() -> None:
    image = Image.new("RGB", (2000, 100), "white")
    image.paste("red", (1150, 0, 1190, 100))  # within the middle four squares
    content = encode(image, "PNG")
    colours = made(content, ATTENTION).getcolors()
    assert sum(count for count, colour in colours or [] if colour == (255, 0, 0)) >= 38 * 100
    image.paste("white", (1150, 0, 1190, 100))
    image.paste("red", (1950, 0, 2000, 100))
    assert thumbnail(encode(image, "PNG"), ATTENTION) == thumbnail(encode(image, "PNG"), ThumbnailSpec())


@pytest.mark.slow
def test_named_sizes_are_cropped_likewise(scenes: list[Scene]) -> None:
    """By attention, each by itself; by a focal point, all of them; those that crop nothing by neither."""
    content = encode(scenes[6].image, "PNG")
    specs = [
        replace(ATTENTION, width=60, height=200),
        replace(ATTENTION, format=ImageFormat.WEBP),
        replace(ATTENTION, fit=Fit.CONTAIN),
    ]
    sizes = [NamedSize(f"s{index}", spec) for index, spec in enumerate(specs)]
    for focus in (None, Focus(0, 0)):
        several = make_thumbnail(content, ATTENTION, max_pixels=MAX_PIXELS, sizes=sizes, focus=focus)
        for size, spec in zip(sizes, specs, strict=True):
            alone, shown = made(content, spec.focused(focus)), several.sizes[size.name]
            with Image.open(BytesIO(shown.content)) as image:
                assert image.size == (shown.width, shown.height) == alone.size
                assert ssim(image.convert("RGB"), alone) >= 0.9


def test_transparency_stays(scenes: list[Scene]) -> None:
    image = scenes[6].image.convert("RGBA")
    image.putalpha(128)
    cut = made(encode(image, "PNG"), replace(ATTENTION, format=ImageFormat.PNG))
    assert cut.size == (100, 100)
    assert cut.mode == "RGBA"
    assert cut.getchannel("A").getextrema() == (128, 128)


@pytest.mark.parametrize("form", list(ImageFormat))
def test_what_is_transparent_is_judged_on_the_background(form: ImageFormat) -> None:
    """Invisible pixels are black: a dark subject beside them is seen only on what shows through."""
    image = Image.new("RGBA", (800, 200), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (50, 50, 150, 150))
    cut = made(encode(image, "PNG"), replace(ATTENTION, format=form)).convert("RGBA")
    shown = Image.alpha_composite(Image.new("RGBA", cut.size, "white"), cut).convert("L")
    assert sum(shown.histogram()[:40]) > 1500, "a quarter of it is the subject"


# --- a focal point ---


def test_a_focal_point_keeps_each_subject(scenes: list[Scene]) -> None:
    for one in scenes:
        left, top, right, bottom = one.box
        focus = Focus((left + right) / 2 / one.image.width, (top + bottom) / 2 / one.image.height)
        for spec in (ThumbnailSpec(), ATTENTION):
            assert one.is_within(kept(one.image, spec.focused(Focus.parse(str(focus))))), one.name


sides = st.integers(1, 5000)
boxes = st.integers(1, 1024)
fractions = st.floats(0, 1)


@given(sides, sides, boxes, boxes, st.integers(1, 8), fractions, fractions)
def test_any_focal_point_is_within_a_crop_as_large_as_the_middle_one(
    width: int, height: int, across: int, down: int, orientation: int, x: float, y: float
) -> None:
    spec = ThumbnailSpec(across, down)
    middle = plan(width, height, orientation, spec)
    wanted = plan(width, height, orientation, spec.focused(Focus(x, y)))
    left, top, right, bottom = wanted.box
    assert wanted.size == middle.size
    assert wanted.factors == pytest.approx(middle.factors)
    assert min(left, top) >= 0
    assert right <= width + 1e-6
    assert bottom <= height + 1e-6
    marked = Image.new("1", (3, 3))
    marked.putpixel((min(2, int(x * 3)), min(2, int(y * 3))), 1)
    stored = turned(marked, orientation)
    (column, row) = next((i % 3, i // 3) for i, bit in enumerate(stored.tobytes("raw", "L")) if bit)
    # The point lies in that third of the stored picture, and in the crop.
    assert left < (column + 1) / 3 * width + 1e-6
    assert right > column / 3 * width - 1e-6
    assert top < (row + 1) / 3 * height + 1e-6
    assert bottom > row / 3 * height - 1e-6


@given(sides, sides, boxes, boxes, st.integers(1, 8))
def test_attention_has_the_whole_picture_or_four_crops_to_choose_from(
    width: int, height: int, across: int, down: int, orientation: int
) -> None:
    middle = plan(width, height, orientation, ThumbnailSpec(across, down))
    wanted = plan(width, height, orientation, ThumbnailSpec(across, down, crop=Crop.ATTENTION))
    for index, side in enumerate((width, height)):
        crop = middle.box[index + 2] - middle.box[index]
        assert wanted.box[index + 2] - wanted.box[index] == pytest.approx(min(side, 4 * crop))
        assert wanted.size[index] >= middle.size[index]
        assert abs(wanted.size[index] * middle.factors[index] - min(side, 4 * crop)) <= middle.factors[index]
    assert 0 in (wanted.size[0] - middle.size[0], wanted.size[1] - middle.size[1])


# --- the middle ---


def test_the_default_is_the_middle(scenes: list[Scene]) -> None:
    content = encode(scenes[6].image, "JPEG")
    assert thumbnail(content, ThumbnailSpec()) == thumbnail(content, ATTENTION, Focus(0.5, 0.5))
    assert thumbnail(content, ThumbnailSpec()) != thumbnail(content, ATTENTION)


@pytest.mark.parametrize("size", [(600, 400), (401, 607), (99, 1000), (333, 333)])
@pytest.mark.parametrize("box", [(100, 100), (64, 31), (7, 300)])
def test_the_middle_is_where_it_always_was(size: tuple[int, int], box: tuple[int, int]) -> None:
    (width, height), (across, down) = size, plan(*size, 1, ThumbnailSpec(*box)).size
    crop = min(width, height * across / down), min(height, width * down / across)
    left, top = (width - crop[0]) / 2, (height - crop[1]) / 2
    assert plan(*size, 1, ThumbnailSpec(*box)).box == (left, top, left + crop[0], top + crop[1])


@pytest.mark.parametrize("crop", [Crop.ATTENTION, Focus(0, 0)])
def test_contain_crops_nothing(scenes: list[Scene], crop: Crop | Focus) -> None:
    content = encode(scenes[6].image, "JPEG")
    contain = ThumbnailSpec(fit=Fit.CONTAIN)
    assert thumbnail(content, replace(contain, crop=crop)) == thumbnail(content, contain)
