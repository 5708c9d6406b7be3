"""Geometry, output, purity and the shortcuts of the imaging."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image, ImageFile

from chalicelib.errors import PictureError, UndecodablePicture, UnsupportedFormat
from chalicelib.imaging import check, headers, make_thumbnail
from chalicelib.imaging.decoders import heif, jpeg, libwebp, webp
from chalicelib.imaging.geometry import Plans, plan, plans
from chalicelib.imaging.headers.jpeg import JpegHeader
from chalicelib.imaging.headers.webp import WebpHeader
from chalicelib.imaging.shrink import by_bands, raw_by_bands, shrink, to_resizable
from chalicelib.imaging.sniffing import sniff
from chalicelib.spec import Fit, ThumbnailSpec
from tests import pictures
from tests.inside import small_bands, use_header_reader, without_library
from tests.pictures import chart, encode, photo
from tests.test_imaging_formats import CHARTS

MAX_PIXELS = 100_000_000
SPEC = ThumbnailSpec()
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF"]


def thumbnail_of(content: bytes, spec: ThumbnailSpec = SPEC) -> Image.Image:
    return Image.open(BytesIO(make_thumbnail(content, spec, max_pixels=MAX_PIXELS).content), formats=["JPEG"])


@pytest.mark.parametrize(
    ("size", "box", "fit", "expected"),
    [
        ((400, 300), (100, 100), Fit.COVER, (100, 100)),
        ((400, 300), (100, 100), Fit.CONTAIN, (100, 75)),
        ((300, 400), (100, 50), Fit.CONTAIN, (38, 50)),
        ((101, 101), (100, 100), Fit.COVER, (100, 100)),
        ((50, 40), (100, 100), Fit.COVER, (50, 40)),
        ((50, 40), (100, 100), Fit.CONTAIN, (50, 40)),
        ((50, 400), (100, 100), Fit.COVER, (50, 100)),
        ((1, 1), (100, 100), Fit.COVER, (1, 1)),
        ((1, 20000), (100, 100), Fit.COVER, (1, 100)),
        ((20000, 1), (100, 100), Fit.COVER, (100, 1)),
        ((1, 20000), (100, 100), Fit.CONTAIN, (1, 100)),
        ((20000, 1), (100, 100), Fit.CONTAIN, (100, 1)),
        ((9000, 7), (640, 480), Fit.CONTAIN, (640, 1)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_size(
    size: tuple[int, int], box: tuple[int, int], fit: Fit, expected: tuple[int, int], orientation: int
) -> None:
    stored = size[::-1] if orientation == 6 else size
    content = encode(Image.new("RGB", stored), "JPEG", exif=b"Exif\0\0" + pictures.exif(orientation))
    assert thumbnail_of(content, ThumbnailSpec(*box, fit=fit)).size == expected


@pytest.mark.parametrize("source_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (3, 2000), (1, 1)])
def test_extreme_shapes_of_every_format(source_format: str, size: tuple[int, int]) -> None:
    if source_format == "HEIF":
        size = max(size[0], 16), max(size[1], 16)  # the encoder's least
    image = thumbnail_of(encode(Image.new("RGB", size, "red"), source_format))
    assert image.size == (min(size[0], 100), min(size[1], 100))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(1001, 333), (333, 1001), (2003, 1501)])
@pytest.mark.parametrize("source_format", ["JPEG", "PNG", "WEBP"])
def test_crop_is_centred(source_format: str, width: int, height: int, orientation: int) -> None:
    """A symmetrical picture stays symmetrical, to a fraction of a pixel, however it is stored."""
    half = Image.linear_gradient("L").rotate(90).resize((width // 2 + 1, height))
    image = Image.new("L", (width, height))
    image.paste(half, (0, 0))
    image.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (width - width // 2 - 1, 0))
    stored = pictures.turned(image.convert("RGB"), orientation)
    exif = pictures.exif(orientation)
    options = {"lossless": True} if source_format == "WEBP" else {"quality": 100}
    content = encode(
        stored, source_format, exif=b"Exif\0\0" + exif if source_format == "JPEG" else exif, **options
    )
    row = thumbnail_of(content, ThumbnailSpec(100, 100, quality=95)).convert("L").resize((100, 1)).tobytes()
    assert max(abs(one - other) for one, other in zip(row, reversed(row), strict=True)) <= 4
    assert max(row) - min(row) > 60


def test_plan_keeps_fractions() -> None:
    assert plan(301, 200, 1, ThumbnailSpec(100, 100)).box == (50.5, 0, 250.5, 200)
    assert plan(200, 301, 6, ThumbnailSpec(100, 50)).size == (50, 100)


def markers(content: bytes) -> list[int]:
    return [marker for marker, _ in pictures.jpeg_segments(content)]


@pytest.mark.parametrize("kind", CHARTS)
def test_output_is_a_baseline_jpeg_without_metadata(kind: str) -> None:
    content = make_thumbnail(CHARTS[kind](), SPEC, max_pixels=MAX_PIXELS).content
    # JFIF's APP0, tables, one baseline frame, one scan: no EXIF, profile, comment or Adobe marker.
    assert set(markers(content)) == {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}
    assert content.startswith(b"\xff\xd8")
    assert content.endswith(b"\xff\xd9")


def test_metadata_of_the_original_stays_behind() -> None:
    noted = {
        "exif": b"Exif\0\0" + pictures.exif(3),
        "comment": b"secret",
        "dpi": (300, 300),
        "xmp": b"secret",
    }
    content = make_thumbnail(encode(chart(), "JPEG", **noted), SPEC, max_pixels=MAX_PIXELS).content
    assert set(markers(content)) == {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}
    assert b"secret" not in content


@pytest.mark.parametrize("quality", [1, 50, 95])
def test_quality_is_the_encoders(quality: int) -> None:
    sizes = [
        len(
            make_thumbnail(
                encode(photo(400, 300), "PNG"), ThumbnailSpec(quality=q), max_pixels=MAX_PIXELS
            ).content
        )
        for q in (quality, 85)
    ]
    assert (sizes[0] > sizes[1]) is (quality > 85)


@pytest.mark.parametrize("kind", CHARTS)
def test_same_bytes_in_any_thread(kind: str) -> None:
    content = CHARTS[kind]()
    expected = make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


@pytest.fixture
def pillows_globals() -> Iterator[None]:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, dict(Image.OPEN), list(Image.ID)
    yield
    assert (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        dict(Image.OPEN),
        list(Image.ID),
    ) == before


@pytest.mark.usefixtures("pillows_globals")
def test_nothing_of_pillow_is_changed() -> None:
    for kind in ("HEIC", "AVIF", "JPEG 4:2:0", "TIFF LZW"):
        make_thumbnail(CHARTS[kind](), SPEC, max_pixels=MAX_PIXELS)


def test_check_imports_no_decoder() -> None:
    script = (
        "import sys; from chalicelib.imaging import check; check(sys.stdin.buffer.read(), max_pixels=10**8);"
        "print(sorted({'PIL', '_pi_heif', 'isal', 'ctypes'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=encode(chart(), "PNG"), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize("source_format", FORMATS)
def test_format_is_sniffed_and_reported(source_format: str) -> None:
    content = encode(chart(), source_format)
    assert sniff(content) == source_format
    assert make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS).source_format == source_format


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        (b"mif1\0\0\0\0mif1heic", "HEIF"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"heic\0\0\0\0mif1avif", "HEIF"),
        (b"avif\0\0\0\0mif1heic", "AVIF"),
        (b"hevc\0\0\0\0mif1", "HEIF"),
        (b"avis\0\0\0\0avif", "AVIF"),
    ],
)
def test_brands_decide_between_avif_and_heic(brands: bytes, expected: str) -> None:
    assert sniff((len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"8BPS\0\1",
        b"\0\0\1\0\1\0",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"RIFF\0\0\0\0AVI ",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
        b"\0\0\0\x18ftyp",
        b"P6 1 1 255 aaa",
    ],
)
def test_other_formats_are_refused(content: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="send JPEG, PNG"):
        check(content, max_pixels=MAX_PIXELS)
    with pytest.raises(UnsupportedFormat):
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("source_format", FORMATS)
def test_damage_passes_the_door_and_is_named_behind_it(source_format: str) -> None:
    content = encode(photo(200, 150), source_format)
    half = content[: len(content) // 2]
    check(half, max_pixels=MAX_PIXELS)
    with pytest.raises(UndecodablePicture, match="truncated, damaged"):
        make_thumbnail(half, SPEC, max_pixels=MAX_PIXELS)


def test_unexpected_errors_of_decoders_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(jpeg, "shrink", fail)
    with pytest.raises(PictureError) as caught:
        make_thumbnail(encode(chart(), "JPEG"), SPEC, max_pixels=MAX_PIXELS)
    assert isinstance(caught.value.__cause__, MemoryError)


def test_a_header_without_memory_passes_the_door_and_is_named_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    use_header_reader(monkeypatch, "JPEG", fail)
    content = encode(chart(), "JPEG")
    assert check(content, max_pixels=MAX_PIXELS) is None
    with pytest.raises(UndecodablePicture) as caught:
        make_thumbnail(content, SPEC, max_pixels=MAX_PIXELS)
    assert isinstance(caught.value.__cause__, MemoryError)


# The shortcuts: each has to give what the plain way gives.


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the samples."""
    assert (one.mode, one.size) == (other.mode, other.size)
    pairs = list(zip(one.tobytes(), other.tobytes(), strict=True))
    return sum(abs(first - second) for first, second in pairs) / len(pairs)


def jpeg_header(content: bytes) -> JpegHeader:
    header = headers.read(content)[1]
    assert isinstance(header, JpegHeader)
    return header


def test_progressive_jpeg_without_detail_is_the_same_with_full_colour_resolution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = encode(photo(2400, 1800), "JPEG", progressive=True, subsampling="4:4:4")
    shortcut = jpeg.without_detail(jpeg_header(content), content, 18)
    assert shortcut is not None
    assert len(shortcut) < len(content) / 2
    quick = jpeg.decode(jpeg_header(content), content, [SPEC]).images[0]
    monkeypatch.setattr(jpeg, "without_detail", lambda *_: None)
    # But for the smoothing between blocks that libjpeg does where it knows only their means.
    assert difference(quick, jpeg.decode(jpeg_header(content), content, [SPEC]).images[0]) < 0.3


def test_progressive_jpeg_without_detail_is_close_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(photo(2800, 2100), "JPEG", progressive=True)
    assert jpeg.without_detail(jpeg_header(content), content, 21) is not None
    quick = jpeg.decode(jpeg_header(content), content, [SPEC]).images[0]
    monkeypatch.setattr(jpeg, "without_detail", lambda *_: None)
    assert difference(quick, jpeg.decode(jpeg_header(content), content, [SPEC]).images[0]) < 1.5


@pytest.mark.parametrize(
    ("content", "factor"),
    [
        (lambda: encode(photo(800, 600), "JPEG", progressive=True), 20.9),
        (lambda: encode(photo(800, 600), "JPEG", progressive=True, subsampling="4:4:4"), 15.1),
        (lambda: encode(photo(800, 600), "JPEG"), 100),
        (lambda: encode(photo(800, 600), "JPEG", progressive=True)[:-2], 100),
    ],
    ids=["coarse colours", "too small", "not progressive", "truncated"],
)
def test_detail_is_kept_where_it_is_needed(content: object, factor: float) -> None:
    assert callable(content)
    jpeg_bytes = content()
    assert jpeg.without_detail(jpeg_header(jpeg_bytes), jpeg_bytes, factor) is None


@pytest.mark.parametrize(("width", "decoded"), [(4000, 2000), (4032, 2016), (3800, 3800), (8000, 2000)])
def test_a_camera_photo_is_decoded_at_half_its_size_for_1024_pixels(
    width: int, decoded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many pixels as the thumbnail has, but for a twentieth."""
    widths = []

    def observed(image: Image.Image, wanted: Plans) -> list[Image.Image]:
        widths.append(image.width)
        return shrink(image, wanted)

    monkeypatch.setattr(jpeg, "shrink", observed)
    content = encode(photo(width, 96), "JPEG")
    jpeg.decode(jpeg_header(content), content, [ThumbnailSpec(1024, 1024, Fit.CONTAIN)])
    assert widths == [decoded]


def test_libwebp_is_found() -> None:
    assert libwebp.AVAILABLE, "Pillow's wheels bring libwebp; without it WebP takes twice the time"


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("size", [(1200, 900), (333, 1000), (130, 120)])
def test_scaling_while_webp_is_decoded(mode: str, lossless: bool, size: tuple[int, int]) -> None:
    image = photo(*size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.radial_gradient("L").resize(size))
    content = encode(image, "WEBP", lossless=lossless, quality=90, method=0)
    header = headers.read(content)[1]
    assert isinstance(header, WebpHeader)
    wanted = plans(*size, 1, [SPEC])
    assert difference(webp.scaled(header, content, wanted)[0], webp.whole(header, content, wanted)[0]) < 1.5


def test_webp_without_libwebp(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(photo(400, 300), "WEBP")
    quick = thumbnail_of(content)
    monkeypatch.setattr(libwebp, "AVAILABLE", False)
    assert difference(quick, thumbnail_of(content)) < 1.5


def test_calling_libwebp_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without_library(monkeypatch, libwebp)
    with pytest.raises(RuntimeError, match="no libwebp"):
        libwebp.decode(b"", (1, 1), (1, 1), alpha=False)


def test_a_webp_of_another_size_than_declared_does_not_overflow() -> None:
    with pytest.raises(ValueError, match="status"):
        libwebp.decode(encode(chart(), "WEBP"), (10, 10), (10, 10), alpha=False)


@pytest.mark.parametrize("mode", ["1", "P", "PA", "LA", "RGBA", "I;16"])
def test_bands_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bands(monkeypatch, 5000)
    image = photo(500, 400)
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    image = image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)
    wanted = plans(*image.size, 1, [ThumbnailSpec(30, 20)])
    [at_once] = shrink(to_resizable(image), wanted)
    [banded] = by_bands(image, wanted, to_resizable)
    assert difference(banded, at_once) < 0.5


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_raw_bands_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bands(monkeypatch, 5000)
    image = photo(500, 400).convert(mode)
    stride = len(image.tobytes()) // 400
    wanted = plans(500, 400, 1, [ThumbnailSpec(30, 30)])
    [raw] = raw_by_bands(mode, memoryview(image.tobytes()), stride, wanted)
    assert difference(raw, shrink(to_resizable(image), wanted)[0]) < 0.5


def test_avif_through_pillows_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(photo(400, 300), "AVIF")
    quick = thumbnail_of(content)
    monkeypatch.setattr(heif, "getattr", lambda *_: None, raising=False)
    assert difference(quick, thumbnail_of(content)) < 1
