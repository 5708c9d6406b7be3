"""Where a download ends a picture, what the page shows may be the last copy: it is not lost."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from chalicelib import services
from tests.browser.conftest import Visit
from tests.browser.front import Asked
from tests.browser.steps import card, scroll_through, thumbnail, while_it_runs
from tests.conftest import Api

GONE = "No longer on the service; it stays here until this page is closed."


@pytest.fixture
def ending(
    api: Api, visit: Visit, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Api]:
    """A deployment that keeps nothing after a download: whatever is asked next, the picture is gone."""
    monkeypatch.setenv("RETENTION_AFTER_DOWNLOAD", "0")
    monkeypatch.setenv("THUMBNAIL_SIZES", getattr(request, "param", ""))
    services.settings.cache_clear()
    services.page.cache_clear()
    services.processor.cache_clear()
    ended: set[str] = set()

    def end(asked: Asked) -> None:
        *_, before, last = asked.route.split("/")
        if last == "download":
            ended.add(before)
        elif last in ended:
            api("DELETE", f"/{last}")
        elif asked.route.endswith("/thumbnail"):
            for one in ended:
                api("DELETE", f"/{one}")

    visit.front.answer = end
    yield api
    monkeypatch.undo()
    services.settings.cache_clear()
    services.page.cache_clear()
    services.processor.cache_clear()


def opened(visit: Visit, api: Api, *names: str) -> Page:
    for name in names:
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    expect(page.get_by_role("listitem")).to_have_count(len(names))
    return page


def test_what_is_gone_from_the_service_is_shown_and_saved(visit: Visit, ending: Api) -> None:
    visit.context.clock.install()
    page = opened(visit, ending, "last.jpg", "other.jpg")
    page.get_by_role("button", name="Show last.jpg").click()
    expect(thumbnail(page, "last.jpg")).to_be_visible()
    expect(card(page, "last.jpg").get_by_text(GONE)).to_be_visible()
    # Neither does it leave when the list is asked for anew.
    ending.upload(filename="new.jpg")
    page.clock.run_for(31_000)
    expect(card(page, "new.jpg")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download last.jpg").click()
    assert download.value.suggested_filename == "last.thumbnail.jpg"
    assert download.value.path().stat().st_size > 0
    page.get_by_role("button", name="Delete last.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card(page, "last.jpg")).to_have_count(0)


def test_what_another_client_ends_stays_where_it_is_shown(visit: Visit, ending: Api) -> None:
    visit.front.answer = lambda _: None
    visit.context.clock.install()
    page = opened(visit, ending, "shown.jpg", "not shown.jpg")
    # When it ends is not to be learnt.
    visit.front.answer = lambda asked: (
        (503, {"Content-Type": "application/json"}, b'{"error": "Busy."}')
        if asked.route.count("/") == 4
        else None
    )
    page.get_by_role("button", name="Show shown.jpg").click()
    expect(thumbnail(page, "shown.jpg")).to_be_visible()
    expect(page.get_by_role("link", name="Download shown.jpg")).to_be_visible()
    visit.front.answer = lambda _: None
    for record in ending("GET").json():
        ending("DELETE", f"/{record['id']}")
    page.clock.run_for(31_000)
    expect(card(page, "not shown.jpg")).to_have_count(0)
    expect(card(page, "shown.jpg").get_by_text(GONE)).to_be_visible()
    expect(thumbnail(page, "shown.jpg")).to_be_visible()


def test_all_that_are_selected_are_saved_and_counted(visit: Visit, ending: Api) -> None:
    for number in range(5):
        ending.upload(filename=f"{number}.jpg")
    ending.deliver()
    ending.upload(filename="not yet.jpg")
    page = visit.open()
    expect(page.get_by_role("listitem")).to_have_count(6)
    saved: list[str] = []
    page.on("download", lambda download: saved.append(download.suggested_filename))
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("button", name="Download selected").click()
    expect(page.get_by_role("status")).to_contain_text(
        "5 pictures downloaded; 1 without a thumbnail left out."
    )
    while_it_runs(page, lambda: len(saved) >= 5)
    scroll_through(page)
    expect(page.get_by_role("listitem")).to_have_count(6)


def test_those_that_another_was_faster_to_download_are_told(visit: Visit, ending: Api) -> None:
    page = opened(visit, ending, "a.jpg", "b.jpg")
    record = ending("GET").json()[0]
    ending("DELETE", f"/{record['id']}")
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("button", name="Download selected").click()
    expect(page.get_by_role("status")).to_contain_text("1 picture downloaded; 1 could not be downloaded.")


@pytest.mark.parametrize("ending", ["card=240x240:contain"], indirect=True)
def test_a_size_that_is_too_late_does_not_take_the_picture_with_it(visit: Visit, ending: Api) -> None:
    visit.front.answer = lambda _: None
    page = opened(visit, ending, "sized.jpg")
    (record,) = ending("GET").json()
    # It is shown, and its end is to come.
    visit.front.answer = lambda asked: (
        (503, {"Content-Type": "application/json"}, b'{"error": "Busy."}')
        if asked.route.endswith(record["id"])
        else None
    )
    page.get_by_role("button", name="Show sized.jpg").click()
    expect(thumbnail(page, "sized.jpg")).to_be_visible()
    ending("DELETE", f"/{record['id']}")
    page.get_by_role("combobox", name="Size of sized.jpg").select_option("card")
    page.get_by_role("button", name="Download sized.jpg").click()
    expect(card(page, "sized.jpg").get_by_text(GONE)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download sized.jpg").click()
    assert download.value.suggested_filename == "sized.thumbnail.jpg"
