"""Many pictures: dates, search by name, thumbnails on demand, and what other tabs and clients change."""

import json
import re
import time
from email.utils import parsedate_to_datetime

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.front import Answer, Asked, error
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
)
from tests.conftest import Api, picture


def test_thumbnails_load_as_they_come_into_view(visit: Visit, api: Api) -> None:
    for number in range(40):
        api.upload(filename=f"{number}.jpg")
    api.deliver()
    page = visit.open()
    page.set_viewport_size({"width": 390, "height": 700})
    expect(page.get_by_role("listitem")).to_have_count(40)
    expect(page.get_by_role("img").first).to_be_visible()
    page.wait_for_timeout(500)
    assert 0 < len(visit.images) < 20
    scroll_through(page)
    expect(page.get_by_role("img")).to_have_count(40)


def test_each_has_its_date(visit: Visit, api: Api) -> None:
    record = api.upload(filename="dated.jpg")
    api.upload(picture()[:400], "broken.jpg")
    api.deliver()
    came = api("GET", f"/{record['id']}").headers["Last-Modified"]
    page = visit.open()
    asked = [one.method for one in visit.front.asked]
    for name in ("dated.jpg", "broken.jpg"):
        expect(card(page, name).locator("time")).to_be_visible()
    shown = card(page, "dated.jpg").locator("time")
    moment = parsedate_to_datetime(came)
    assert shown.get_attribute("datetime") == f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
    assert f"{moment:%Y, %H:%M}" in shown.inner_text()
    assert "HEAD" not in asked, "the list tells"


def test_a_search_finds_names_in_all_pages(visit: Visit, api: Api) -> None:
    for name in ("Été à la mer.jpg", *(f"{number}.jpg" for number in range(55)), "summer.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    field = page.get_by_label("Search by name")
    field.fill("ETE")
    expect(page.get_by_text("1 of 57 pictures found.").first).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(thumbnail(page, "Été à la mer.jpg")).to_be_visible()
    expect(page.get_by_role("button", name="More")).to_be_hidden()
    field.fill("nothing like it")
    expect(page.get_by_text("None of 57 pictures found.").first).to_be_visible()
    field.fill("")
    expect(page.get_by_role("listitem")).to_have_count(57)


def test_a_selection_holds_nothing_that_a_search_hides(visit: Visit, api: Api) -> None:
    for number in range(8):
        api.upload(filename=f"{number}.jpg")
    page = visit.open()
    expect(page.get_by_role("listitem")).to_have_count(8)
    page.get_by_role("button", name="Select all").click()
    page.get_by_label("Search by name").fill("3.jpg")
    expect(page.get_by_text("1 picture selected")).to_be_visible()


def test_what_others_add_appears_and_what_they_delete_goes(visit: Visit, api: Api) -> None:
    visit.context.clock.install()
    old = [api.upload(filename=f"old {number}.jpg") for number in range(3)]
    api.deliver()
    page = visit.open()
    expect(page.get_by_role("img")).to_have_count(3)
    api("DELETE", f"/{old[1]['id']}")
    for name in ("new 0.jpg", "new 1.jpg"):
        api.upload(filename=name)
    api.deliver()
    page.clock.run_for(31_000)
    expect(thumbnail(page, "new 1.jpg")).to_be_visible()
    expect(card(page, "old 1.jpg")).to_have_count(0)
    assert names(page) == ["new 1.jpg", "new 0.jpg", "old 2.jpg", "old 0.jpg"]
    # A service that is busy for once leaves everything as it is.
    busy = error(503, "The record store (Redis) cannot be reached; try again.", {"Retry-After": "0"})
    visit.front.answer = refusing(1, "GET", "/thumbnail", busy)
    page.clock.run_for(31_000)
    assert len(names(page)) == 4
    expect(page.get_by_role("alert")).to_be_empty()


def test_thumbnails_that_others_add_come_straight_from_s3(visit: Visit, api: Api) -> None:
    visit.context.clock.install()
    api.upload(filename="old.jpg")
    api.deliver()
    page = visit.open()
    expect(thumbnail(page, "old.jpg")).to_be_visible()
    lists = visit.front.count("GET", "/thumbnail")
    page.clock.run_for(31_000)
    while_it_runs(page, lambda: visit.front.count("GET", "/thumbnail") > lists)
    assert not [one for one in visit.front.asked if one.path.endswith("limit=48&urls=900")][1:], "none is new"
    api.upload(filename="new.jpg")
    api.deliver()
    page.clock.run_for(31_000)
    image = thumbnail(page, "new.jpg")
    expect(image).to_be_visible()
    assert "X-Amz-Signature" in (image.get_attribute("src") or "")
    assert not [one for one in visit.front.asked if one.route.endswith("/download")]


def test_a_large_upload_whose_thumbnail_is_being_made_stops_no_refresh(visit: Visit, api: Api) -> None:
    visit.context.clock.install()
    old = api.upload(filename="old.jpg")
    api.deliver()
    page = visit.open()
    expect(thumbnail(page, "old.jpg")).to_be_visible()
    choose(page, long(5_000_000, "big.jpg"))
    expect(card(page, "big.jpg").get_by_text(MAKING)).to_be_visible()

    def being_made(asked: Asked) -> Answer | None:
        """S3 has the file, and the list tells of it."""
        if asked.method != "GET" or asked.route != "/api/v1/thumbnail":
            return None
        unmade = {"ready": False, "size": {"original": 5_000_000}}
        listed = [one | unmade if one["filename"] == "big.jpg" else one for one in api("GET").json()]
        return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()

    set_hidden(page, hidden=True)
    visit.front.answer = being_made
    api.deliver()
    api("DELETE", f"/{old['id']}")
    api.upload(filename="new.jpg")
    # Shown again, the tab asks for both: the list, and the one that waits.
    busy = error(503, "Busy.", {"Retry-After": "60"})
    visit.front.answer = lambda asked: being_made(asked) or (busy if asked.route.count("/") == 4 else None)
    page.clock.set_system_time(time.time() + 60)
    set_hidden(page, hidden=False)
    expect(card(page, "new.jpg")).to_be_visible()
    visit.front.answer = being_made
    page.clock.set_system_time(time.time() + 120)
    page.clock.run_for(31_000)
    expect(card(page, "old.jpg")).to_have_count(0)


def test_a_refresh_leaves_pages_to_come_alone(visit: Visit, api: Api) -> None:
    visit.context.clock.install()
    visit.front.page_of = 3
    for number in range(7):
        api.upload(filename=f"{number}.jpg")
    api.deliver()
    page = visit.open()
    expect(page.get_by_role("img")).to_have_count(3)
    api("DELETE", f"/{api('GET').json()[1]['id']}")
    page.clock.run_for(31_000)
    expect(page.get_by_role("listitem")).to_have_count(2)
    for _ in range(2):
        page.get_by_role("button", name="More").click()
        page.clock.run_for(1_000)
    expect(page.get_by_role("listitem")).to_have_count(6)
    assert names(page) == [f"{number}.jpg" for number in (6, 4, 3, 2, 1, 0)]


def test_two_cards_fit_beside_each_other_on_a_phone(visit: Visit, api: Api) -> None:
    for number in range(4):
        api.upload(filename=f"{number}.jpg")
    page = visit.open()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_role("listitem")).to_have_count(4)
    tops = page.locator("#grid > li").evaluate_all(
        "cards => cards.map(card => card.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1] < tops[2] == tops[3]
    columns = page.locator("#grid").evaluate("grid => getComputedStyle(grid).gridTemplateColumns")
    assert len(re.findall("px", columns)) == 2


def test_what_others_delete_moves_neither_the_focus_nor_the_view(visit: Visit, api: Api) -> None:
    visit.context.clock.install()
    records = [api.upload(filename=f"{number}.jpg") for number in range(30)]
    page = visit.open()
    page.set_viewport_size({"width": 390, "height": 700})
    expect(page.get_by_role("listitem")).to_have_count(30)
    where = "[document.activeElement.tagName, document.activeElement.ariaLabel, scrollY]"
    before = page.evaluate(where)
    assert before == ["BODY", None, 0]
    api("DELETE", f"/{records[0]['id']}")
    page.clock.run_for(31_000)
    expect(page.get_by_role("listitem")).to_have_count(29)
    assert page.evaluate(where) == before
    # One that has the focus gives it to its neighbour, where it is.
    page.get_by_role("checkbox", name="Select 1.jpg").focus()
    page.evaluate("scrollTo(0, 0)")
    api("DELETE", f"/{records[1]['id']}")
    page.clock.run_for(31_000)
    expect(page.get_by_role("listitem").filter(has_text="2.jpg").last).to_be_focused()
    assert page.evaluate("scrollY") == 0
