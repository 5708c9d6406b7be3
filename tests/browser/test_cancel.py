"""Cancel: what has been sent is deleted, whenever it was cancelled and whatever gets lost on the way."""

import threading

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.front import Asked, error
from tests.browser.steps import MAKING, card, choose, long, slow
from tests.conftest import Api, keys_in
from tests.service import eventually

BUSY = error(503, "The record store (Redis) cannot be reached; try again.", {"Retry-After": "0"})


def is_upload(asked: Asked) -> bool:
    return asked.method == "POST" and asked.path.endswith("/thumbnail")


def opened(visit: Visit) -> Page:
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    return page


def nothing_is_left(visit: Visit, api: Api) -> None:
    """Neither in the list now, nor when all has been processed, nor on the page when it is opened anew."""
    eventually(lambda: api("GET").json() == [], 60)
    api.deliver()
    api.reconcile()
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()


def test_before_the_answer_has_come(visit: Visit, api: Api) -> None:
    stored, answered = threading.Event(), threading.Event()

    def hold(asked: Asked) -> bool:
        if is_upload(asked):
            stored.set()
            answered.wait(60)
        return False

    visit.front.lose = hold
    page = opened(visit)
    choose(page, "late.jpg")
    assert stored.wait(60)
    assert len(api("GET").json()) == 1
    page.get_by_role("button", name="Cancel late.jpg").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    answered.set()
    nothing_is_left(visit, api)


def test_after_the_answer_was_lost(visit: Visit, api: Api) -> None:
    # For as long as it takes: Chromium repeats a request by itself whose connection was open before.
    losing = threading.Event()
    losing.set()
    visit.front.lose = lambda asked: is_upload(asked) and losing.is_set()
    page = opened(visit)
    choose(page, "lost.jpg")
    expect(page.get_by_text("trying again in")).to_be_visible()
    losing.clear()
    before = sum(map(is_upload, visit.front.asked))
    page.get_by_role("button", name="Cancel lost.jpg").click()
    nothing_is_left(visit, api)
    posts = [one for one in visit.front.asked if is_upload(one)]
    assert len(posts) == before + 1
    assert len({one.headers["idempotency-key"] for one in posts}) == 1


def test_after_every_answer_was_lost_it_is_dismissed(visit: Visit, api: Api) -> None:
    losing = threading.Event()
    losing.set()
    visit.front.lose = lambda asked: is_upload(asked) and losing.is_set()
    page = opened(visit)
    choose(page, "lost.jpg")
    expect(page.get_by_role("button", name="Dismiss lost.jpg")).to_be_visible()
    losing.clear()
    page.get_by_role("button", name="Dismiss lost.jpg").click()
    nothing_is_left(visit, api)


# Moto leaves a file open when an upload to it is broken off.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_while_it_is_sent_straight_to_the_bucket(visit: Visit, api: Api) -> None:
    page = opened(visit)
    slow(page, 50_000)
    choose(page, long(5_000_000, "big.jpg"))
    expect(page.get_by_text("Uploading, ")).to_be_visible()
    page.get_by_role("button", name="Cancel big.jpg").click()
    eventually(lambda: any(one.method == "DELETE" for one in visit.front.asked), 60)
    nothing_is_left(visit, api)


def test_a_large_one_on_a_slow_network_is_broken_off(visit: Visit, api: Api) -> None:
    page = opened(visit)
    network = slow(page, 50_000)
    choose(page, long(2_000_000, "slow.jpg"))
    # The card goes first and the upload half a second later; the network stays slow until then.
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Cancel slow.jpg").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    # Its slot is free again: another one goes.
    network.detach()
    choose(page, "next.jpg")
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert [record["filename"] for record in api("GET").json()] == ["next.jpg"]
    assert not any(one.method == "DELETE" for one in visit.front.asked)


def test_one_that_waits_for_its_turn_is_never_sent(visit: Visit, api: Api) -> None:
    page = opened(visit)
    network = slow(page, 5_000)
    choose(page, *(long(300_000, f"{number}.jpg") for number in range(4)))
    page.get_by_role("button", name="Cancel 3.jpg").click()
    network.detach()
    expect(page.get_by_text(MAKING)).to_have_count(3)
    assert sorted(record["filename"] for record in api("GET").json()) == ["0.jpg", "1.jpg", "2.jpg"]
    assert sum(map(is_upload, visit.front.asked)) == 3


def test_what_cannot_be_deleted_comes_back_and_is_tried_again(visit: Visit, api: Api) -> None:
    stored, answered, down = threading.Event(), threading.Event(), threading.Event()

    def hold(asked: Asked) -> bool:
        if is_upload(asked):
            stored.set()
            answered.wait(60)
        return False

    visit.front.lose = hold
    visit.front.answer = lambda asked: BUSY if asked.method == "DELETE" and down.is_set() else None
    down.set()
    page = opened(visit)
    choose(page, "stays.jpg")
    assert stored.wait(60)
    page.get_by_role("button", name="Cancel stays.jpg").click()
    answered.set()
    sentence = "It could not be cancelled and may be stored."
    expect(card(page, "stays.jpg").get_by_text(sentence)).to_be_visible()
    down.clear()
    page.get_by_role("button", name="Try again stays.jpg").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    nothing_is_left(visit, api)
