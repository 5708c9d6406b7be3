"""Named sizes: how they are written down, and what one decode makes of a picture."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy
import pytest
from PIL import Image, ImageStat

from chalicelib.errors import UndecodablePicture
from chalicelib.imaging import Encoded, decoders, headers, make_thumbnail, render
from chalicelib.imaging.geometry import plan
from chalicelib.spec import Fit, ImageFormat, NamedSize, ThumbnailSpec, parse_sizes
from tests.pictures import encode, photo
from tests.test_imaging_formats import swapped_profile

MAX_PIXELS = 100_000_000
DEFAULT = ThumbnailSpec(quality=70, background=(1, 2, 3))


def sizes(text: str) -> tuple[NamedSize, ...]:
    return parse_sizes(text, ThumbnailSpec())


# --- the grammar ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("2x=200x100", {"2x": replace(DEFAULT, width=200, height=100)}),
        (
            "card=400x300:contain  hero=1024x1024:cover:q80:webp",
            {
                "card": replace(DEFAULT, width=400, height=300, fit=Fit.CONTAIN),
                "hero": replace(DEFAULT, width=1024, height=1024, quality=80, format=ImageFormat.WEBP),
            },
        ),
        (
            "a=1x1:avif:q1:contain",
            {"a": replace(DEFAULT, width=1, height=1, fit=Fit.CONTAIN, quality=1, format=ImageFormat.AVIF)},
        ),
        ("a=1x1:png", {"a": replace(DEFAULT, width=1, height=1, format=ImageFormat.PNG)}),
    ],
)
def test_sizes_are_read(text: str, expected: dict[str, ThumbnailSpec]) -> None:
    assert {size.name: size.spec for size in parse_sizes(text, DEFAULT)} == expected


def test_what_a_size_does_not_say_is_as_for_the_default_thumbnail() -> None:
    default = ThumbnailSpec(fit=Fit.CONTAIN, quality=9)
    [size] = parse_sizes("a=5x6", default)
    assert size.spec == replace(default, width=5, height=6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("200x200", "'200x200' is not NAME=WIDTHxHEIGHT"),
        ("Card=1x1", "'Card=1x1' is not NAME=WIDTHxHEIGHT"),
        ("abcdefghijklmnopq=1x1", "up to 16 of a-z"),
        ("a=0x1", "'a=0x1' is not from 1x1 to 1024x1024"),
        ("a=1x1025", "is not from 1x1"),
        ("a=1x1:gif", "has 'gif', which is none of cover, contain, q1 to q95, jpeg"),
        ("a=1x1:", "has ''"),
        ("a=1x1:q96", "has 'q96'"),
        ("a=1x1:cover:contain", "says its fit twice"),
        ("a=1x1:q1:q2", "says its quality twice"),
        ("a=1x1:q1:png", "has a quality, which PNG has not"),
        ("a=1x1 b=1x1 a=2x2", "the name 'a' is there twice"),
        (" ".join(f"s{n}=1x1" for n in range(9)), "there are 9 sizes, and at most 8"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sizes(text)


# --- one decode makes all ---

SIZES = sizes("2x=200x200 card=400x300:contain hero=600x500:cover strip=300x40")


def similarity(one: Image.Image, other: Image.Image) -> float:
    """SSIM of the brightness (Wang et al. 2004) over windows of 8 x 8 pixels, at every fourth pixel."""
    pair = [numpy.asarray(image.convert("L"), dtype=float) for image in (one, other)]
    windows = [
        numpy.lib.stride_tricks.sliding_window_view(image, (8, 8))[::4, ::4].reshape(-1, 64) for image in pair
    ]
    (x, y), (mean_x, mean_y) = windows, [one.mean(1) for one in windows]
    covariance = (x * y).mean(1) - mean_x * mean_y
    least, little = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mean_x * mean_y + least) * (2 * covariance + little)
    denominator = (mean_x**2 + mean_y**2 + least) * (x.var(1) + y.var(1) + little)
    return float((numerator / denominator).mean())


FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 92},
    "JPEG, progressive": {"quality": 92, "progressive": True},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 92, "method": 0},
    "TIFF": {},
    "BMP": {},
    "AVIF": {"speed": 10, "quality": 90},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_each_size_is_as_good_as_if_it_was_made_alone_at_full_resolution(kind: str) -> None:
    image = photo(1900, 1400)
    content = encode(image, kind.partition(",")[0], **FORMATS[kind])
    with Image.open(BytesIO(content)) as opened:
        original = opened.convert("RGB")
    specs = [ThumbnailSpec(), *(size.spec for size in SIZES)]
    source_format, header = headers.read(content)
    made = render.render(source_format, header, content, specs)
    assert (made.width, made.height) == image.size
    for one, spec in zip(made.images, specs, strict=True):
        wanted = plan(*image.size, 1, spec)
        reference = original.resize(wanted.size, Image.Resampling.LANCZOS, wanted.box)
        assert one.size == wanted.size
        assert similarity(one, reference) >= 0.995, (kind, spec)


def test_a_picture_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decodes: list[int] = []
    decode = decoders.decode

    def counting(*args: Any) -> Any:
        decodes.append(len(args[-1]))
        return decode(*args)

    monkeypatch.setattr(render, "decode", counting)
    make_thumbnail(encode(photo(900, 700), "JPEG"), ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=SIZES)
    assert decodes == [5]
    decodes.clear()
    # A crop at full scale in the middle of a panorama, and all of it: together they need too much memory.
    monkeypatch.setattr(render, "_MOST_AVERAGED", 100_000)
    panorama = encode(photo(3000, 100), "JPEG")
    few = sizes("all=100x100:contain part=90x90")
    made = make_thumbnail(panorama, ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=few)
    assert decodes == [2, 1]
    assert [(one.width, one.height) for one in made.sizes.values()] == [(100, 3), (90, 90)]


def test_without_sizes_the_default_thumbnail_is_the_only_one() -> None:
    made = make_thumbnail(encode(photo(300, 200), "PNG"), ThumbnailSpec(), max_pixels=MAX_PIXELS)
    assert (made.sizes, made.source_width, made.source_height) == ({}, 300, 200)


def test_nothing_is_enlarged() -> None:
    made = make_thumbnail(
        encode(photo(150, 120), "PNG"), ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=SIZES
    ).sizes
    assert {name: (one.width, one.height) for name, one in made.items()} == {
        "2x": (150, 120),
        "card": (150, 120),
        "hero": (150, 120),
        "strip": (150, 40),
    }


def test_all_sizes_are_upright() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    content = encode(photo(300, 200), "JPEG", exif=exif.tobytes())
    made = make_thumbnail(
        content, ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=sizes("a=90x90:contain b=50x90:webp")
    )
    assert (made.source_width, made.source_height) == (200, 300)
    assert {name: (one.width, one.height) for name, one in made.sizes.items()} == {
        "a": (60, 90),
        "b": (50, 90),
    }


# --- formats ---


def opened(made: Encoded) -> Image.Image:
    with Image.open(BytesIO(made.content)) as image:
        image.load()
        return image


@pytest.mark.parametrize("form", ImageFormat)
def test_a_size_is_encoded_as_it_says(form: ImageFormat) -> None:
    [size] = sizes(f"a=60x40:{form}")
    content = encode(photo(300, 200), "JPEG")
    made = make_thumbnail(content, ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=[size]).sizes["a"]
    image = opened(made)
    assert (image.format or "").lower() == form
    assert image.size == (made.width, made.height) == (60, 40)
    assert image.mode == "RGB"
    assert not image.info.get("exif")
    assert not image.info.get("icc_profile")
    right = ImageStat.Stat(photo(300, 200).resize((60, 40))).mean
    assert ImageStat.Stat(image).mean == pytest.approx(right, abs=2)


def transparent() -> Image.Image:
    image = Image.new("RGBA", (100, 100), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (50, 0, 100, 100))
    return image


@pytest.mark.parametrize(
    ("form", "keeps"),
    [(ImageFormat.JPEG, False), (ImageFormat.WEBP, True), (ImageFormat.PNG, True), (ImageFormat.AVIF, True)],
)
@pytest.mark.parametrize("source", ["PNG", "WEBP"])
def test_transparency_is_kept_where_the_format_has_it(form: ImageFormat, keeps: bool, source: str) -> None:
    content = encode(transparent(), source, lossless=True)
    spec = ThumbnailSpec(background=(0, 0, 255))
    [size] = parse_sizes(f"a=50x50:{form}", spec)
    made = make_thumbnail(content, spec, max_pixels=MAX_PIXELS, sizes=[size])
    image = opened(made.sizes["a"]).convert("RGBA")
    left, right = image.getpixel((10, 25)), image.getpixel((40, 25))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left == pytest.approx((200, 30, 30, 255), abs=6)
    assert right[3] == (0 if keeps else 255)
    assert keeps or right[:3] == pytest.approx((0, 0, 255), abs=6)
    # The default thumbnail stands on the background, whatever the others do.
    assert opened(made).convert("RGB").getpixel((90, 50)) == pytest.approx((0, 0, 255), abs=6)


@pytest.mark.parametrize("form", ImageFormat)
def test_the_largest_response_is_let_through(form: ImageFormat) -> None:
    """Lambda's answers have at most 6,291,456 bytes, with the picture in base64."""
    noise = Image.frombytes("RGB", (1024, 1024), numpy.random.default_rng(5).bytes(3 << 20))
    spec = ThumbnailSpec(1024, 1024, quality=95, format=form)
    assert len(render.encode(noise, spec)) * 4 / 3 < 6_200_000


def test_a_damaged_picture_fails_in_all_sizes_alike() -> None:
    content = encode(photo(400, 300), "JPEG")
    with pytest.raises(UndecodablePicture):
        make_thumbnail(content[:3000], ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=SIZES)


def in_form(source: bytes, form: ImageFormat) -> bytes:
    one = NamedSize("one", ThumbnailSpec(format=form))
    return make_thumbnail(source, ThumbnailSpec(), max_pixels=MAX_PIXELS, sizes=[one]).sizes["one"].content


@pytest.mark.parametrize("form", list(ImageFormat))
def test_none_carries_metadata(form: ImageFormat) -> None:
    """Not even the profile that the conversion to sRGB leaves behind, which tells the time."""
    source = encode(Image.new("RGB", (300, 200), (30, 180, 60)), "PNG", icc_profile=swapped_profile())
    content = in_form(source, form)
    # The signature of an ICC profile, and the name of PNG's chunk, which compresses it.
    assert not {part for part in (b"acsp", b"iCCP") if part in content}
    assert content == in_form(source, form)


@pytest.mark.parametrize("side", [256, 1600])
@pytest.mark.parametrize("form", [ImageFormat.WEBP, ImageFormat.AVIF, ImageFormat.PNG, ImageFormat.JPEG])
def test_a_transparent_level_of_grey_is_transparent_at_each_size(form: ImageFormat, side: int) -> None:
    """Pillow reads a GIF whose palette is a ramp as grey, with the transparent level beside it."""
    grey = Image.new("L", (side, side), 100)
    grey.paste(200, (side // 2, 0, side, side))
    grey.paste(Image.frombytes("L", (256, 1), bytes(range(256))), (0, 0))  # so that the palette is a ramp
    source = encode(grey, "GIF", transparency=100)
    assert Image.open(BytesIO(source)).mode == "L"
    sizes = [
        NamedSize("one", ThumbnailSpec(format=form)),
        NamedSize("two", ThumbnailSpec(60, 60, format=form)),
    ]
    made = make_thumbnail(source, ThumbnailSpec(), max_pixels=5_000_000, sizes=sizes)
    for content in (made.content, *(size.content for size in made.sizes.values())):
        with Image.open(BytesIO(content)) as opened:
            shown = Image.new("RGBA", opened.size, "white")
            shown.alpha_composite(opened.convert("RGBA"))
        left, right = (shown.getpixel((opened.width * part // 4, opened.height // 2)) for part in (1, 3))
        assert left == pytest.approx((255, 255, 255, 255), abs=3)
        assert right == pytest.approx((200, 200, 200, 255), abs=3)
