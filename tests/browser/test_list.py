"""The list of pictures: pages, polling, downloads, deletions."""

import re
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from chalicelib import services
from tests.browser.conftest import Visit
from tests.browser.front import Asked, Front, error
from tests.browser.steps import (
    MAKING,
    card,
    choose,
    long,
    names,
    refusing,
    scroll_through,
    set_hidden,
    thumbnail,
    while_it_runs,
    without_refresh,
)
from tests.conftest import Api, picture


def polls(visit: Visit, record: dict[str, Any]) -> list[float]:
    """When the page has asked for a record."""
    return [one.at for one in visit.front.asked if one.route.endswith(record["id"])]


def test_it_waits_as_long_as_it_is_told_to(visit: Visit, api: Api) -> None:
    busy = error(
        429, "There are too many requests at the moment; try again in a second.", {"Retry-After": "3"}
    )
    record = api.upload(filename="later.jpg")
    visit.front.answer = refusing(1, "GET", record["id"], busy)
    page = visit.open()
    expect(page.get_by_text(MAKING)).to_be_visible()
    while_it_runs(page, lambda: len(polls(visit, record)) >= 2)
    first, second, *_ = polls(visit, record)
    assert second - first >= 3
    api.deliver()
    expect(thumbnail(page, "later.jpg")).to_be_visible()


def test_it_asks_ever_more_seldom_and_not_while_its_tab_is_hidden(visit: Visit, api: Api) -> None:
    record = api.upload(filename="slow.jpg")
    visit.context.add_init_script(
        """{
            const start = setTimeout;
            window.pauses = [];
            window.setTimeout = (call, milliseconds) => {
                if (call.name === "poll") pauses.push(milliseconds / 1000);
                return start(call, milliseconds);
            };
        }"""
    )
    page = visit.open()
    while_it_runs(page, lambda: len(polls(visit, record)) >= 4)
    first, *pauses = page.evaluate("pauses")
    assert first == 1
    assert all(later > earlier for earlier, later in pairwise(pauses))
    gaps = [later - earlier for earlier, later in pairwise(polls(visit, record))]
    assert len(gaps) >= 3
    assert all(gap >= pause for gap, pause in zip(gaps, pauses, strict=False)), "it keeps them"
    set_hidden(page, hidden=True)
    seen = len(visit.front.asked)
    api.deliver()
    page.wait_for_timeout(3000)
    assert len(visit.front.asked) == seen
    # It asks by itself, and not when a pause ends.
    page.evaluate("window.setTimeout = () => 0")
    set_hidden(page, hidden=False)
    expect(thumbnail(page, "slow.jpg")).to_be_visible()


def test_a_list_in_pages(visit: Visit, api: Api) -> None:
    visit.front.page_of = 3
    for number in range(7):
        api.upload(filename=f"{number}.jpg")
    api.deliver()
    page = visit.open()
    items, more = page.get_by_role("listitem"), page.get_by_role("button", name="More")
    for shown in (3, 6):
        expect(items).to_have_count(shown)
        more.focus()
        page.keyboard.press("Enter")
        expect(items.nth(shown)).to_be_focused()
    expect(items).to_have_count(7)
    assert names(page) == [f"{number}.jpg" for number in reversed(range(7))]
    expect(more).to_be_hidden()
    expect(page.get_by_role("img")).to_have_count(7)


def test_many_that_wait_are_asked_for_together(visit: Visit, api: Api) -> None:
    for number in range(20):
        api.upload(filename=f"{number}.jpg")
    without_refresh(visit.context)
    page = visit.open()
    expect(page.get_by_text(MAKING)).to_have_count(20)
    # However long making them takes, the page asks when all are ready.
    set_hidden(page, hidden=True)
    api.deliver()
    set_hidden(page, hidden=False)
    expect(page.get_by_text(MAKING)).to_have_count(0)
    scroll_through(page)
    expect(page.get_by_role("img")).to_have_count(20)
    assert visit.front.count("GET", "/thumbnail") <= 4
    assert not [one for one in visit.front.asked if re.search("thumbnail/[^/]+$", one.route)]


def test_a_list_that_fails_says_so_and_is_asked_for_again(visit: Visit, api: Api) -> None:
    api.upload(filename="there.jpg")
    down = error(
        503, "The record store (Redis) cannot be reached; try again in a moment.", {"Retry-After": "0"}
    )
    visit.front.answer = refusing(4, "GET", "/thumbnail", down)
    page = visit.open()
    expect(page.locator("#trouble")).to_contain_text("Redis")
    page.get_by_role("button", name="Try again").click()
    expect(card(page, "there.jpg")).to_be_visible()
    expect(page.locator("#trouble")).to_be_empty()


def test_a_download_has_the_files_own_name(visit: Visit, api: Api, tmp_path: Path) -> None:
    for name in ("IMG_8932.png", "日本語 🌍.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    for name, saved in (
        ("IMG_8932.png", "IMG_8932.thumbnail.jpg"),
        ("日本語 🌍.jpg", "日本語 🌍.thumbnail.jpg"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {name}").click()
        assert download.value.suggested_filename == saved
        download.value.save_as(tmp_path / "saved.jpg")
        with Image.open(tmp_path / "saved.jpg") as image:
            assert (image.format, image.size) == ("JPEG", (100, 100))


def test_deleting_is_asked_for_first(visit: Visit, api: Api) -> None:
    for name in ("keep.jpg", "go.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    page.get_by_role("button", name="Delete go.jpg").click()
    dialog = page.get_by_role("dialog", name="Delete go.jpg?")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_be_hidden()
    assert len(api("GET").json()) == 2
    page.get_by_role("button", name="Delete go.jpg").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("listitem")).to_have_count(1)
    assert names(page) == ["keep.jpg"]
    assert [record["filename"] for record in api("GET").json()] == ["keep.jpg"]
    expect(page.get_by_role("status")).to_contain_text("go.jpg is deleted.")


def test_a_question_that_follows_another_in_the_same_moment_is_asked(visit: Visit, api: Api) -> None:
    """The browser tells that the first was closed when the second is open already."""
    api.upload(filename="photo.jpg")
    page = visit.open()
    page.get_by_role("button", name="Delete photo.jpg").click()
    page.evaluate(
        """() => {
            document.getElementById("keep").click();
            document.querySelector("[aria-label='Delete photo.jpg']").click();
        }"""
    )
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    assert api("GET").json() == []


def test_what_others_have_deleted_goes(visit: Visit, api: Api) -> None:
    record = api.upload(filename="gone.jpg")
    api.deliver()
    page = visit.open()
    expect(thumbnail(page, "gone.jpg")).to_be_visible()
    api("DELETE", f"/{record['id']}")
    page.get_by_role("button", name="Delete gone.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()


@pytest.mark.parametrize("reached", [True, False])
def test_a_late_answer_does_not_bring_back_what_left(visit: Visit, api: Api, reached: bool) -> None:
    """The thumbnail is on its way, from S3 or through the API, while its picture is deleted."""
    arrived, go_on = threading.Event(), threading.Event()

    def wait(asked: Asked) -> None:
        if asked.path.endswith("/download"):
            arrived.set()
            go_on.wait(10)

    visit.front.answer = wait
    held: list[Route] = []

    def hold(route: Route) -> None:
        if reached:
            held.append(route)
        else:
            route.abort()

    visit.context.route("**/thumbnails/**", hold)
    api.upload(filename="slow.jpg")
    api.deliver()
    page = visit.open()
    while_it_runs(page, lambda: bool(held) or arrived.is_set())
    page.get_by_role("button", name="Delete slow.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    go_on.set()
    for route in held:
        route.fulfill(body=picture(), content_type="image/jpeg")
    page.wait_for_timeout(500)
    expect(page.get_by_role("listitem")).to_have_count(0)


@pytest.mark.parametrize("prefix", ["/live", "/_aws/execute-api/thumbnails/live"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_it_works_below_a_stage(visit: Visit, api: Api, prefix: str, slash: str) -> None:
    for number in range(3):
        api.upload(filename=f"{number}.jpg")
    with Front(api.url, prefix) as front:
        front.page_of = 2
        visit.allowed.add(front.origin)
        page = visit.open(f"{front.origin}{prefix}{slash}")
        expect(page.get_by_role("listitem")).to_have_count(2)
        page.get_by_role("button", name="More").click()
        expect(page.get_by_role("listitem")).to_have_count(3)
        choose(page, "staged.jpg", long(5_000_000, "big.jpg"))
        expect(card(page, "staged.jpg").get_by_text(MAKING)).to_be_visible()
        expect(card(page, "big.jpg").get_by_text(MAKING)).to_be_visible()
        api.deliver()
        expect(page.get_by_role("img")).to_have_count(5)
        assert {one.path for one in front.asked if not one.path.startswith(prefix)} == set()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sets variables of the deployment for one test; read anew when the page is."""
    yield monkeypatch
    monkeypatch.undo()
    services.settings.cache_clear()
    services.page.cache_clear()


def apply() -> None:
    services.settings.cache_clear()
    services.page.cache_clear()
    services.processor.cache_clear()


def test_a_picture_that_ends_says_when(visit: Visit, api: Api, settings: pytest.MonkeyPatch) -> None:
    settings.setenv("RETENTION", "86400")
    apply()
    record = api.upload(filename="day.jpg")
    api.deliver()
    page = visit.open()
    expect(card(page, "day.jpg").get_by_text("Kept until")).to_be_visible()
    assert card(page, "day.jpg").locator("time").last.get_attribute("datetime") == record["expires"]


def test_where_a_download_ends_a_picture_it_is_asked_for(
    visit: Visit, api: Api, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.setenv("RETENTION_AFTER_DOWNLOAD", "60")
    apply()
    record = api.upload(filename="once.jpg")
    api.deliver()
    page = visit.open()
    expect(card(page, "once.jpg").get_by_text("Showing it starts its end.")).to_be_visible()
    assert "expires" not in api("GET", f"/{record['id']}").json()
    page.get_by_role("button", name="Show once.jpg").click()
    expect(thumbnail(page, "once.jpg")).to_be_visible()
    expect(card(page, "once.jpg").get_by_text("Kept until")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download once.jpg").click()
    download.value.save_as(tmp_path / "saved.jpg")
    assert visit.front.count("GET", f"/thumbnail/{record['id']}/download") == 1
