"""How thumbnails come onto the page: by their own URLs, from S3; through the API where that does not work."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from chalicelib import services
from tests.browser.conftest import Visit
from tests.browser.steps import card, scroll_through, thumbnail, while_it_runs, without_refresh
from tests.conftest import Api, picture

THUMBNAILS = "**/thumbnails/**"


def test_a_page_of_48_pictures_is_one_request_to_the_api(visit: Visit, api: Api) -> None:
    for number in range(50):
        api.upload(picture(80, 60, seed=number), f"{number}.jpg")
    api.deliver()
    without_refresh(visit.context)
    page = visit.open()
    expect(page.get_by_role("listitem")).to_have_count(48)
    scroll_through(page)
    expect(page.get_by_role("img")).to_have_count(48)
    expect(page.locator("#grid time")).to_have_count(48)
    assert [one.route for one in visit.front.asked] == ["/", "/api/v1/thumbnail"]
    assert len(visit.images) == 48
    assert {urlsplit(url).netloc for url in visit.images} == {urlsplit(api.bucket.public_url("")).netloc}
    page.get_by_role("button", name="More").click()
    expect(page.get_by_role("img")).to_have_count(50)
    assert len([one for one in visit.front.asked if one.route.startswith("/api/")]) == 2


def test_an_image_says_what_it_is_of(visit: Visit, api: Api) -> None:
    api.upload(filename="named.jpg")
    api.deliver()
    page = visit.open()
    src = thumbnail(page, "named.jpg").get_attribute("src")
    assert src is not None
    assert "X-Amz-Signature" in src


@pytest.mark.parametrize("failure", ["not reached", "ended"])
def test_where_its_url_shows_nothing_it_comes_through_the_api(visit: Visit, api: Api, failure: str) -> None:
    def fail(route: Route) -> None:
        if failure == "ended":
            route.fulfill(status=403, body="<Error><Code>AccessDenied</Code></Error>")
        else:
            route.abort()

    visit.context.route(THUMBNAILS, fail)
    record = api.upload(filename="there.jpg")
    api.deliver()
    page = visit.open()
    expect(thumbnail(page, "there.jpg")).to_be_visible()
    assert visit.front.count("GET", f"/thumbnail/{record['id']}/download") == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Download there.jpg").click()
    assert download.value.suggested_filename == "there.thumbnail.jpg"
    assert visit.front.count("GET", f"/thumbnail/{record['id']}/download") == 1, "it is here already"


def test_what_is_held_in_memory_is_let_go_of(visit: Visit, api: Api) -> None:
    visit.context.route(THUMBNAILS, lambda route: route.abort())
    api.upload(filename="seen.jpg")
    api.deliver()
    page = visit.open()
    url = thumbnail(page, "seen.jpg").get_attribute("src")
    assert url is not None
    assert url.startswith("blob:")
    page.get_by_role("button", name="Delete seen.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    loaded = """url => new Promise(done => {
        Object.assign(new Image(), {src: url, onload: () => done(true), onerror: () => done(false)});
    })"""
    assert page.evaluate(loaded, url) is False


def test_a_picture_that_was_deleted_elsewhere_leaves(visit: Visit, api: Api) -> None:
    """The list that was read before still names it; S3 and then the API say that it is gone."""
    record = api.upload(filename="gone.jpg")
    api.upload(filename="stays.jpg")
    api.deliver()

    def delete_first(route: Route) -> None:
        if record["id"] in route.request.url:
            api("DELETE", f"/{record['id']}")
        route.continue_()

    visit.context.route(THUMBNAILS, delete_first)
    page = visit.open()
    expect(thumbnail(page, "stays.jpg")).to_be_visible()
    expect(card(page, "gone.jpg")).to_have_count(0)


def test_a_download_that_fails_leaves_the_card_as_it_is(visit: Visit, api: Api) -> None:
    api.upload(filename="kept.jpg")
    api.deliver()
    page = visit.open()
    expect(thumbnail(page, "kept.jpg")).to_be_visible()
    refused = (403, {"Content-Type": "application/json"}, b'{"error": "An API key is missing."}')
    visit.front.answer = lambda asked: refused if asked.route.endswith("/download") else None
    page.get_by_role("button", name="Download kept.jpg").click()
    kept = card(page, "kept.jpg")
    expect(kept.get_by_text("It could not be downloaded. An API key is missing.")).to_be_visible()
    expect(kept.get_by_role("img")).to_be_visible()
    visit.front.answer = lambda _: None
    with page.expect_download():
        page.get_by_role("button", name="Download kept.jpg").click()
    expect(kept.get_by_text("It could not be downloaded.")).to_have_count(0)


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Api]:
    """The API of a deployment with named sizes, and a default thumbnail that is not square."""
    monkeypatch.setenv("THUMBNAIL_SIZES", "card=240x240:contain hero=400x300:webp")
    monkeypatch.setenv("THUMBNAIL_FIT", "contain")
    services.page.cache_clear()
    yield request.getfixturevalue("api")
    services.page.cache_clear()


def test_until_it_has_come_its_placeholder_stands_there(visit: Visit, api: Api) -> None:
    held: list[Route] = []
    visit.context.route(THUMBNAILS, lambda route: held.insert(0, route))
    api.upload(filename="slow.jpg")
    api.deliver()
    page = visit.open()
    canvas = card(page, "slow.jpg").locator("canvas")
    expect(canvas).to_be_visible()
    while_it_runs(page, lambda: bool(held))
    expect(card(page, "slow.jpg").get_by_role("img")).to_have_count(0)
    before = canvas.bounding_box()
    held[0].continue_()
    image = thumbnail(page, "slow.jpg")
    expect(image).to_be_visible()
    expect(canvas).to_have_count(0)
    assert (image.get_attribute("width"), image.get_attribute("height")) == ("100", "100")
    after = image.bounding_box()
    assert before is not None
    assert after is not None
    assert all(abs(before[side] - after[side]) <= 1 for side in ("x", "y", "width", "height")), (
        "nothing moves"
    )


def test_a_placeholder_is_drawn_as_its_authors_code_does(visit: Visit) -> None:
    page = visit.open()
    pixel = """([hash, x, y]) => {
        const drawn = placeholder({image: {placeholder: hash}, thumbnail: {width: 23, height: 32}});
        const {data} = drawn.getContext("2d").getImageData(x, y, 1, 1);
        return [drawn.width, drawn.height, ...data];
    }"""
    # What thumbHashToRGBA of npm's thumbhash 0.1.1 gives, but for rounding.
    for given, expected in (
        (("1QcSHQRnh493V4dIh4eXh1h4kJUI", 0, 0), (64, 77, 113)),
        (("1QcSHQRnh493V4dIh4eXh1h4kJUI", 5, 5), (115, 114, 131)),
    ):
        width, height, *colour = page.evaluate(pixel, list(given))
        assert (width, height, colour[3]) == (23, 32, 255)
        assert all(abs(a - b) <= 1 for a, b in zip(colour, expected, strict=False))


def test_a_size_is_chosen_for_the_download(sized: Api, visit: Visit, tmp_path: Path) -> None:
    sized.upload(filename="sized.jpg")
    sized.deliver()
    page = visit.open()
    choice = page.get_by_role("combobox", name="Size of sized.jpg")
    expected = ["thumbnail 100 \u00d7 67", "card 240 \u00d7 160", "hero 300 \u00d7 200"]
    expect(choice.locator("option")).to_have_text(expected)
    image = thumbnail(page, "sized.jpg")
    assert (image.get_attribute("width"), image.get_attribute("height")) == ("100", "67")
    for name, saved, size in (
        ("hero", "sized.hero.webp", (300, 200)),
        ("card", "sized.card.jpg", (240, 160)),
        ("", "sized.thumbnail.jpg", (100, 67)),
    ):
        choice.select_option(name)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download sized.jpg").click()
        assert download.value.suggested_filename == saved
        download.value.save_as(tmp_path / saved)
        with Image.open(tmp_path / saved) as opened:
            assert opened.size == size
        expect(choice).to_have_value(name)
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
