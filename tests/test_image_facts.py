"""What an original is: told by its header on upload, and by its decoder when the thumbnail is ready."""

from base64 import b64decode
from collections.abc import Callable

import pytest
from PIL import Image

from chalicelib import naming
from chalicelib.imaging import check, make_thumbnail
from chalicelib.spec import ThumbnailSpec
from tests import heif_kinds
from tests.conftest import Api, picture
from tests.pictures import chart, encode

MAX_PIXELS = 10**6


def turned(orientation: int, source_format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    return encode(chart(240, 160), source_format, exif=exif.tobytes())


PICTURES: dict[str, Callable[[], bytes]] = {
    **{
        one: (lambda one=one: encode(chart(240, 160), one))  # type: ignore[misc]  # a default
        for one in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
    },
    **{
        f"JPEG, orientation {one}": (lambda one=one: turned(one))  # type: ignore[misc]  # likewise
        for one in range(1, 9)
    },
    "WEBP, turned": lambda: turned(6, "WEBP"),
    "AVIF, turned": lambda: turned(6, "AVIF"),
    "PNG, turned": lambda: turned(8, "PNG"),
    **{
        f"{kind}, {name}": (lambda kind=kind, make=make: make(kind))  # type: ignore[misc]  # likewise
        for kind in ("HEIC", "AVIF")
        for name, make in heif_kinds.KINDS.items()
    },
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_header_says_what_the_decoder_finds(name: str) -> None:
    content = PICTURES[name]()
    described = check(content, max_pixels=MAX_PIXELS)
    made = make_thumbnail(content, ThumbnailSpec(), max_pixels=MAX_PIXELS)
    assert described is not None
    found = (made.source_format, made.source_width, made.source_height)
    assert (described.format, described.width, described.height) == found
    assert described.format == {"HEIC": "HEIF"}.get(name[:4].rstrip(","), name.partition(",")[0])


def test_what_cannot_be_read_is_not_described() -> None:
    assert check(encode(chart(), "JPEG")[:10], max_pixels=MAX_PIXELS) is None


def test_a_picture_that_lies_on_its_side_is_counted_upright() -> None:
    described = check(turned(6), max_pixels=MAX_PIXELS)
    assert described is not None
    assert (described.width, described.height) == (160, 240)


# --- over HTTP ---


def test_clients_see_it_with_the_upload_and_the_rest_when_it_is_ready(api: Api) -> None:
    content = turned(6)
    record = api.upload(content)
    facts = {"format": "JPEG", "width": 160, "height": 240}
    assert record["image"] == facts
    assert "thumbnail" not in record
    assert api("GET", f"/{record['id']}").json() == record
    api.deliver()
    shown = api("GET", f"/{record['id']}").json()
    placeholder = shown["image"].pop("placeholder")
    assert 20 <= len(b64decode(placeholder, validate=True)) <= 27
    assert shown["image"] == facts
    assert shown["thumbnail"] == {"width": 100, "height": 100}
    [listed] = api("GET").json()
    assert listed["image"] == facts | {"placeholder": placeholder}
    assert api("DELETE", f"/{record['id']}").json() == listed


def test_what_is_put_into_the_bucket_is_described_when_it_is_ready(api: Api) -> None:
    api.bucket.put("originals/a.png", picture(80, 40, image_format="PNG"), content_type="image/png")
    api.deliver()
    shown = api("GET", f"/{naming.record_id('originals/a.png')}").json()
    assert (shown["image"]["format"], shown["image"]["width"], shown["image"]["height"]) == ("PNG", 80, 40)
    assert shown["thumbnail"] == {"width": 80, "height": 40}


def test_another_version_is_described_anew(api: Api) -> None:
    for size, form in (((80, 40), "PNG"), ((60, 90), "JPEG")):
        api.bucket.put("originals/a", picture(*size, image_format=form), content_type="image/x")
        api.deliver()
        image = api("GET", f"/{naming.record_id('originals/a')}").json()["image"]
        assert (image["format"], image["width"], image["height"]) == (form, *size)


def test_of_what_has_failed_nothing_is_told(api: Api) -> None:
    record = api.upload(picture()[:-800])
    assert record["image"] == {"format": "JPEG", "width": 300, "height": 200}
    api.deliver()
    shown = api("GET", f"/{record['id']}").json()
    assert shown.keys() == {"id", "filename", "ready", "size", "error"}


def test_an_upload_that_is_repeated_tells_the_same(api: Api) -> None:
    replies = [
        api("POST", files={"image": ("a.jpg", picture())}, headers={"Idempotency-Key": "k"}).json()
        for _ in range(2)
    ]
    assert replies[0] == replies[1]
    assert replies[0]["image"] == {"format": "JPEG", "width": 300, "height": 200}
