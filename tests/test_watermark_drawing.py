"""The watermark in pixels: where it is drawn and where not, in each format, and what is refused as one."""

from typing import TYPE_CHECKING

import numpy
import pytest
from PIL import Image

from chalicelib.imaging import Thumbnail, make_thumbnail
from chalicelib.imaging.watermark import Watermark, read
from chalicelib.spec import Fit, ThumbnailSpec, parse_sizes
from chalicelib.work.look import Look
from tests.conftest import picture
from tests.pictures import encode

if TYPE_CHECKING:
    pass

from tests.test_imaging_formats import swapped_profile
from tests.watermarks import BLUE, CUT, SIZES, drawn_box, logo, mark, opened


def made(size: str, watermark: Watermark, source: Image.Image | None = None) -> Image.Image:
    content = encode(Image.new("RGB", (1200, 900), BLUE) if source is None else source, "PNG")
    sizes = parse_sizes(f"one={size}", ThumbnailSpec(fit=Fit.COVER))
    thumbnail = make_thumbnail(
        content, ThumbnailSpec(), max_pixels=2_000_000, sizes=sizes, watermark=watermark
    )
    assert drawn_box(opened(thumbnail.content)) is None
    return opened(thumbnail.sizes["one"].content)


@pytest.mark.parametrize("form", ["jpeg:q95", "webp:q95", "avif:q95", "png"])
@pytest.mark.parametrize(
    ("box", "share", "size", "expected"),
    [
        # Half of the width, and a 32nd of 64 to the right and below.
        ("128x64", 50, (400, 200), (62, 30, 126, 62)),
        ("64x128", 50, (400, 200), (30, 110, 62, 126)),
        # All of the width, so that there is no room for a margin.
        ("128x96", 100, (400, 200), (0, 29, 128, 93)),
        # Never higher than the thumbnail.
        ("128x64", 90, (200, 400), (94, 0, 126, 64)),
        # Never enlarged.
        ("128x64", 50, (32, 16), (94, 46, 126, 62)),
    ],
)
def test_it_is_where_it_belongs_and_nowhere_else(
    form: str, box: str, share: int, size: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    image = made(f"{box}:watermark:{form}", mark(share, size))
    found_at = drawn_box(image)
    assert found_at is not None
    # Lossy formats blur its edge.
    assert all(abs(a - b) <= 1 for a, b in zip(found_at, expected, strict=True)), found_at
    pixels = numpy.asarray(image.convert("RGB")).astype(int)
    left, top, right, bottom = expected
    outside = numpy.ones(pixels.shape[:2], dtype=bool)
    outside[max(0, top - 8) : bottom + 8, max(0, left - 8) : right + 8] = False
    assert int(numpy.abs(pixels[outside] - numpy.array(BLUE)).max()) <= 12


def test_a_size_that_does_not_ask_is_the_same_to_the_byte() -> None:
    content = picture()
    with_mark, without = (
        make_thumbnail(content, ThumbnailSpec(), max_pixels=1_000_000, sizes=SIZES, watermark=one)
        for one in (mark(), None)
    )
    assert with_mark.content == without.content
    assert with_mark.sizes["plain"] == without.sizes["plain"] == without.sizes["card"]
    assert with_mark.sizes["card"] != without.sizes["card"]
    assert Look(ThumbnailSpec(), SIZES, mark()).digest != Look(ThumbnailSpec(), SIZES).digest


@pytest.mark.parametrize("form", ["webp", "png", "avif"])
def test_what_is_transparent_stays_so_around_it(form: str) -> None:
    image = made(f"64x64:watermark:{form}", mark(50), Image.new("RGBA", (200, 200), (0, 0, 0, 0)))
    alpha = numpy.asarray(image.getchannel("A"))
    assert alpha[-10, -10] == 255
    assert alpha[0, 0] == 0
    assert alpha[-1, 0] == 0


def test_what_is_transparent_of_it_shows_the_picture() -> None:
    half = Image.new("RGBA", (200, 100), (0, 255, 0, 255))
    half.paste((255, 0, 0, 0), (0, 0, 100, 100))
    image = made("64x64:watermark:png", read(encode(half, "PNG"), 100, "version"))
    assert drawn_box(image) == (32, 30, 64, 62)
    assert image.convert("RGB").getpixel((10, 40)) == BLUE
    # Without a fringe of what it hides.
    assert numpy.asarray(image.convert("RGB"))[..., 0].max() <= 2


def test_its_colours_are_converted() -> None:
    image = Image.new("RGB", (40, 20), (30, 180, 60))
    swapped = read(encode(image, "PNG", icc_profile=swapped_profile()), 50, "version")
    assert swapped.image.mode == "RGBA"
    assert swapped.image.getpixel((9, 9)) == pytest.approx((180, 30, 60, 255), abs=8)
    assert max(mark(50, (3000, 1000)).image.size) == 1024
    palette = read(encode(Image.new("P", (40, 20)), "PNG"), 50, "version")
    assert palette.image.size == (40, 20)


BAD: dict[str, tuple[bytes, str]] = {
    "jpeg": (picture(), "not PNG"),
    "text": (b"hello", "not PNG"),
    "empty": (b"", "not PNG"),
    "cut": (CUT, "damaged"),
    "too many pixels": (logo((5000, 4000)), "pixels"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_what_is_no_watermark_is_refused_with_the_reason(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(content, 50, "version")


def test_the_placeholder_shows_it() -> None:
    def thumbnail(watermark: Watermark | None) -> Thumbnail:
        spec = ThumbnailSpec(watermark=True)
        return make_thumbnail(picture(), spec, max_pixels=1_000_000, watermark=watermark)

    assert thumbnail(mark(100)).placeholder != thumbnail(None).placeholder
