"""Named sizes over HTTP: the record tells of them, and each can be downloaded."""

from io import BytesIO

import pytest
from PIL import Image

from tests.conftest import Api, assert_error, picture

SIZES = "card=40x30:contain 2x=20x20:webp"


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Api:
    """The API of a deployment with named sizes."""
    monkeypatch.setenv("THUMBNAIL_SIZES", SIZES)
    api: Api = request.getfixturevalue("api")
    return api


def made(api: Api, filename: str = "IMG_8932.png") -> str:
    record_id: str = api.upload(filename=filename)["id"]
    api.deliver()
    return record_id


def test_the_record_tells_of_them_once_they_are_there(sized: Api) -> None:
    pending = sized.upload()
    assert "sizes" not in pending
    sized.deliver()
    record = sized("GET", f"/{pending['id']}").json()
    assert record["ready"]
    shown = record["sizes"]
    assert {name: (one["width"], one["height"]) for name, one in shown.items()} == {
        "2x": (20, 20),
        "card": (40, 27),
    }
    for name, one in shown.items():
        assert one.keys() == {"bytes", "width", "height"}
        reply = sized("GET", f"/{pending['id']}/download", params={"size": name})
        assert len(reply.content) == one["bytes"]
    default = sized("GET", f"/{pending['id']}/download")
    assert record["size"]["thumbnail"] == len(default.content)


@pytest.mark.parametrize(
    ("size", "form", "name"), [("card", "jpeg", "IMG_8932.card.jpg"), ("2x", "webp", "IMG_8932.2x.webp")]
)
def test_a_download_is_the_one_that_was_asked_for(sized: Api, size: str, form: str, name: str) -> None:
    path = f"/{made(sized)}/download"
    reply = sized("GET", path, params={"size": size})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == f"image/{form}"
    assert f'filename="{name}"' in reply.headers["Content-Disposition"]
    with Image.open(BytesIO(reply.content)) as image:
        assert image.format == form.upper()
    etag = reply.headers["ETag"]
    default = sized("GET", path)
    assert etag != default.headers["ETag"]
    assert default.headers["Content-Type"] == "image/jpeg"
    head = sized("HEAD", path, params={"size": size})
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("ETag", "Content-Type", "Cache-Control")} == {
        name: reply.headers[name] for name in ("ETag", "Content-Type", "Cache-Control")
    }
    for known, status in ((etag, 304), (default.headers["ETag"], 200), ('"none"', 200)):
        again = sized("GET", path, params={"size": size}, headers={"If-None-Match": known})
        assert again.status_code == status


@pytest.mark.parametrize("size", ["hero", "", "Card", "card ", "../card", "x" * 3000, "200x200"])
def test_an_unknown_name_is_404_and_lists_the_names(sized: Api, size: str) -> None:
    ready, pending = made(sized), sized.upload()["id"]
    for record_id in (ready, pending):
        sentence = assert_error(sized("GET", f"/{record_id}/download", params={"size": size}), 404)
        assert "the sizes are card, 2x;" in sentence
        assert len(sentence) < 200


def test_before_it_is_ready_it_is_409(sized: Api) -> None:
    pending = sized.upload()["id"]
    reply = sized("GET", f"/{pending}/download", params={"size": "card"})
    assert_error(reply, 409)
    assert reply.headers["Retry-After"]


def test_of_a_picture_that_has_failed_it_is_422(sized: Api) -> None:
    record_id = sized.upload(picture()[:200])["id"]
    sized.deliver()
    assert_error(sized("GET", f"/{record_id}/download", params={"size": "card"}), 422)


def test_a_picture_that_was_made_before_the_size_was_set_up(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib import services

    record_id = made(api)
    assert "this service makes none" in assert_error(
        api("GET", f"/{record_id}/download", params={"size": "card"}), 404
    )
    monkeypatch.setenv("THUMBNAIL_SIZES", SIZES)
    services.settings.cache_clear()
    sentence = assert_error(api("GET", f"/{record_id}/download", params={"size": "card"}), 404)
    assert "make remake" in sentence


def test_a_size_that_is_no_longer_made_can_be_had_while_it_is_there(
    sized: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib import services

    record_id = made(sized)
    monkeypatch.delenv("THUMBNAIL_SIZES")
    services.settings.cache_clear()
    assert sized("GET", f"/{record_id}/download", params={"size": "card"}).status_code == 200


def test_a_delete_takes_all_of_them(sized: Api) -> None:
    record_id = made(sized)
    shown = sized("GET", f"/{record_id}").json()
    assert sized("DELETE", f"/{record_id}").json() == shown
    assert list(sized.bucket.pages("")) == []
    assert_error(sized("GET", f"/{record_id}/download", params={"size": "card"}), 404)
