"""Waiting is seen, ends, and can be ended: slow and silent services, lost connections, many failures."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.front import Answer, Asked, error
from tests.browser.steps import MAKING, card, choose, it_moves, long, refusing, slow, while_it_runs
from tests.conftest import Api

BUSY = error(503, "The record store (Redis) cannot be reached; try again.", {"Retry-After": "0"})


@pytest.fixture
def silence(visit: Visit) -> Iterator[threading.Event]:
    """The API answers nothing until this is set."""
    over = threading.Event()

    def wait(asked: Asked) -> Answer | None:
        if "/api/" in asked.path:
            over.wait(60)
        return None

    visit.front.answer = wait
    yield over
    over.set()


def test_a_service_that_never_answers_is_given_up_on(
    visit: Visit, api: Api, silence: threading.Event
) -> None:
    api.upload(filename="there.jpg")
    visit.context.clock.install()
    page = visit.open()
    expect(page.get_by_text("Loading the pictures")).to_be_visible()
    expect(page.get_by_text("There are none yet.")).to_be_hidden()
    page.clock.run_for(6_000)
    expect(page.get_by_text("the service is slow to answer")).to_be_visible()
    # Four tries of 15 s, and what is between them; each answer of the browser's takes its turn.
    for _ in range(10):
        page.clock.run_for(9_000)
        page.wait_for_timeout(50)
    expect(page.locator("#trouble")).to_have_text("The service does not answer; try again later.")
    expect(page.get_by_text("Loading the pictures")).to_be_hidden()
    silence.set()
    page.get_by_role("button", name="Try again").click()
    expect(card(page, "there.jpg")).to_be_visible()
    expect(page.locator("#trouble")).to_be_empty()


def test_a_retry_of_the_list_counts_down_and_can_be_had_now(visit: Visit, api: Api) -> None:
    api.upload(filename="there.jpg")
    busy = error(503, "The record store (Redis) cannot be reached; try again.", {"Retry-After": "30"})
    visit.front.answer = refusing(1, "GET", "/thumbnail", busy)
    page = visit.open()
    for seconds in (29, 28):
        expect(
            page.get_by_text(f"Redis) cannot be reached; try again. Trying again in {seconds} s")
        ).to_be_visible()
    page.get_by_role("button", name="Try now").click()
    expect(card(page, "there.jpg")).to_be_visible()


def test_thirty_failures_are_one_button(visit: Visit, api: Api) -> None:
    down = threading.Event()
    down.set()
    visit.front.answer = lambda asked: BUSY if asked.method == "POST" and down.is_set() else None
    page = visit.open()
    choose(page, *(f"{number}.jpg" for number in range(30)))
    expect(page.get_by_text("30 pictures not uploaded.")).to_be_visible()
    # However fast they fail, a screen reader is told of four at a time.
    told = page.get_by_role("alert").text_content() or ""
    assert told.count(".jpg: ") <= 4
    down.clear()
    page.get_by_role("button", name="Try all again").click()
    expect(page.get_by_text(MAKING)).to_have_count(30)
    expect(page.get_by_role("region", name="Uploads")).to_be_hidden()
    assert len(api("GET").json()) == 30


def test_what_failed_offline_goes_when_the_connection_is_back(visit: Visit, api: Api) -> None:
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    visit.context.set_offline(True)
    choose(page, *(f"{number}.jpg" for number in range(4)))
    cards = page.locator("#grid")
    expect(cards.get_by_text("You are offline. This goes on by itself")).to_have_count(4)
    visit.context.set_offline(False)
    expect(page.get_by_text(MAKING)).to_have_count(4)


def test_all_uploads_have_one_progress(visit: Visit, api: Api) -> None:
    page = visit.open()
    network = slow(page, 20_000)
    choose(page, *(long(1_000_000, f"{number}.jpg") for number in range(5)))
    whole = page.get_by_role("progressbar", name="All uploads")
    expect(page.get_by_text("0 of 5 pictures uploaded")).to_be_visible()
    it_moves(page, whole)
    network.detach()
    expect(page.get_by_text(MAKING)).to_have_count(5)
    expect(whole).to_be_hidden()


def test_several_are_selected_downloaded_and_deleted(visit: Visit, api: Api) -> None:
    records = {name: api.upload(filename=name) for name in ("a.jpg", "b.jpg", "c.jpg", "keep.jpg")}
    api.deliver()
    page = visit.open()
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("checkbox", name="Select keep.jpg").uncheck()
    expect(page.get_by_text("3 pictures selected")).to_be_visible()
    saved: list[str] = []
    page.on("download", lambda download: saved.append(download.suggested_filename))
    page.get_by_role("button", name="Download selected").click()
    expect(page.get_by_role("status")).to_contain_text("3 pictures downloaded.")
    while_it_runs(page, lambda: len(saved) >= 3)
    assert sorted(saved) == ["a.thumbnail.jpg", "b.thumbnail.jpg", "c.thumbnail.jpg"]
    visit.front.answer = refusing(4, "DELETE", records["b.jpg"]["id"], BUSY)
    page.get_by_role("button", name="Delete selected").click()
    page.get_by_role("dialog", name="Delete 3 pictures?").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("2 pictures are deleted.")
    expect(page.get_by_role("alert")).to_contain_text("1 picture could not be deleted.")
    # What could not be deleted is as before, selected even, and says why.
    left = card(page, "b.jpg")
    expect(left.get_by_role("img")).to_be_visible()
    expect(left.get_by_role("button", name="Download b.jpg")).to_be_visible()
    expect(left.get_by_text("It could not be deleted.")).to_be_visible()
    expect(page.get_by_text("1 picture selected")).to_be_visible()
    left.get_by_role("button", name="Delete b.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("listitem")).to_have_count(1)
    assert [record["filename"] for record in api("GET").json()] == ["keep.jpg"]
