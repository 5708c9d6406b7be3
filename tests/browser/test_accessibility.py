"""axe-core finds nothing wrong with the page, in any of its states."""

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.front import error
from tests.browser.steps import choose, file, long, slow
from tests.browser.test_pictures import THUMBNAILS, sized
from tests.conftest import Api, picture

__all__ = ["sized"]

BUSY = error(503, "The record store (Redis) cannot be reached; try again.", {"Retry-After": "60"})
DOWN = error(503, "The record store (Redis) cannot be reached; try again.", {"Retry-After": "0"})


def empty(visit: Visit, api: Api) -> Page:
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    return page


def full(visit: Visit, api: Api) -> Page:
    for name in (
        "a.jpg",
        "b" * 255,
        "\u05e9\u05dc\u05d5\u05dd.jpg",
        *(f"{number}.jpg" for number in range(6)),
    ):
        api.upload(filename=name)
    api.upload(picture()[:400], "broken.jpg")
    api.deliver()
    api.upload(filename="waits.jpg")
    page = visit.open()
    expect(page.get_by_role("listitem")).to_have_count(11)
    page.get_by_role("checkbox", name="Select a.jpg").check()
    return page


def loading(visit: Visit, api: Api) -> Page:
    visit.context.route(THUMBNAILS, lambda _: None)
    for name in ("a.jpg", "b.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    expect(page.locator("canvas")).to_have_count(2)
    return page


def uploading(visit: Visit, api: Api) -> Page:
    page = empty(visit, api)
    slow(page, 5_000)
    choose(page, *(long(300_000, f"{number}.jpg") for number in range(4)))
    expect(page.get_by_role("progressbar", name="All uploads")).to_be_visible()
    return page


def failed(visit: Visit, api: Api) -> Page:
    page = empty(visit, api)
    visit.front.answer = lambda asked: DOWN if asked.method == "POST" else None
    choose(page, "a.jpg", "b.jpg", file("notes.txt", b"notes"))
    expect(page.get_by_role("button", name="Try all again")).to_be_visible()
    return page


def waiting(visit: Visit, api: Api) -> Page:
    visit.front.answer = lambda asked: BUSY if "/api/" in asked.path else None
    page = visit.open()
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    return page


def asking(visit: Visit, api: Api) -> Page:
    page = full(visit, api)
    page.get_by_role("button", name="Delete selected").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    return page


def searching(visit: Visit, api: Api) -> Page:
    page = full(visit, api)
    page.get_by_label("Search by name").fill("none")
    expect(page.get_by_text("None of 11 pictures found.").first).to_be_visible()
    return page


def signed_out(visit: Visit, api: Api) -> Page:
    visit.front.token = "s3cret"  # noqa: S105
    page = visit.open()
    expect(page.get_by_label("Access token")).to_be_visible()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "state",
    [empty, full, loading, uploading, failed, waiting, asking, searching, signed_out],
    ids=lambda state: state.__name__,
)
def test_axe_finds_nothing(
    visit: Visit, api: Api, state: Callable[[Visit, Api], Page], scheme: Literal["light", "dark"]
) -> None:
    page = state(visit, api)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 2500})
    found = Axe().run(page)
    assert found.response["passes"], "it has looked"
    assert found.violations_count == 0, found.generate_report()


def test_axe_finds_nothing_where_there_are_sizes(sized: Api, visit: Visit) -> None:
    page = full(visit, sized)
    expect(page.get_by_role("combobox", name="Size of a.jpg")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 2500})
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_everything_is_seen_in_forced_colours(visit: Visit, api: Api) -> None:
    page = full(visit, api)
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    box = page.locator("#drop").evaluate("one => getComputedStyle(one).borderStyle")
    assert box == "dashed"
    chosen = page.locator("li:has(:checked)").evaluate("one => getComputedStyle(one).outlineStyle")
    assert chosen == "solid", "a selected card is told by more than a colour"
    assert page.evaluate("document.getAnimations().length") == 0
