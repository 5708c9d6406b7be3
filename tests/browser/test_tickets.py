"""Large files go by presigned uploads, which end, and whose answers get lost."""

import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.front import error
from tests.browser.steps import MAKING, card, choose, long, thumbnail, while_it_runs
from tests.conftest import Api
from tests.service import eventually

LATER = "() => { const now = Date.now; Date.now = () => now() + 16 * 60_000; }"
"""A quarter of an hour later, presigned uploads have ended."""


def losing(page: Page, s3_endpoint: str) -> Callable[[], None]:
    """Let S3 store files, and the answers get lost. Returns what ends that."""
    lost = threading.Event()

    def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost.is_set():
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(f"{s3_endpoint}/**", lose)
    return lost.set


def given_up(visit: Visit, s3_endpoint: str) -> tuple[Page, Callable[[], None]]:
    """A page that has a large upload stored, and does not know."""
    page = visit.open()
    found = losing(page, s3_endpoint)
    choose(page, long(5_000_000, "big.jpg"))
    expect(page.get_by_role("button", name="Try again big.jpg")).to_be_visible()
    return page, found


def test_what_s3_had_stored_is_not_stored_again_after_its_time(
    visit: Visit, api: Api, s3_endpoint: str
) -> None:
    page, found = given_up(visit, s3_endpoint)
    api.deliver()
    found()
    page.evaluate(LATER)
    page.get_by_role("button", name="Try again big.jpg").click()
    expect(thumbnail(page, "big.jpg")).to_be_visible()
    assert visit.front.count("POST", "/thumbnail/upload") == 1
    assert [record["filename"] for record in api("GET").json()] == ["big.jpg"]


def test_what_s3_refuses_after_its_time_may_be_stored_already(
    visit: Visit, api: Api, s3_endpoint: str
) -> None:
    """The service's clock says so, and this computer's does not."""
    page, _ = given_up(visit, s3_endpoint)
    cors = {"Access-Control-Allow-Origin": "*"}
    ended = "<Error><Code>AccessDenied</Code><Message>Policy expired.</Message></Error>"
    page.route(f"{s3_endpoint}/**", lambda route: route.fulfill(status=403, headers=cors, body=ended))
    page.get_by_role("button", name="Try again big.jpg").click()
    expect(card(page, "big.jpg").get_by_text("Policy expired.")).to_be_visible()
    api.deliver()
    page.unroute(f"{s3_endpoint}/**")
    page.get_by_role("button", name="Try again big.jpg").click()
    expect(thumbnail(page, "big.jpg")).to_be_visible()
    assert len(api("GET").json()) == 1


def test_one_that_never_came_is_sent_anew_and_cancel_withdraws_all(
    visit: Visit, api: Api, s3_endpoint: str
) -> None:
    page, _ = given_up(visit, s3_endpoint)
    # S3 has stored it, and its event is late.
    page.evaluate(LATER)
    page.get_by_role("button", name="Try again big.jpg").click()
    while_it_runs(page, lambda: visit.front.count("POST", "/thumbnail/upload") > 1)
    expect(page.get_by_role("button", name="Try again big.jpg")).to_be_visible()
    page.get_by_role("button", name="Dismiss big.jpg").click()
    # With a clock that is that fast, each try asks for another.
    sent = visit.front.count("POST", "/thumbnail/upload")
    eventually(lambda: len({one.route for one in visit.front.asked if one.method == "DELETE"}) == sent, 60)
    api.deliver()
    assert api("GET").json() == []


@pytest.mark.parametrize("comes", [True, False])
def test_a_record_that_comes_after_its_file_is_waited_for(visit: Visit, api: Api, comes: bool) -> None:
    """The upload took longer than the record of it lasts, until S3's event makes it anew."""
    missing = threading.Event()
    missing.set()
    gone = error(404, "There is no such thumbnail.")
    visit.front.answer = lambda asked: (
        gone if missing.is_set() and asked.method == "GET" and asked.route.count("/") == 4 else None
    )
    page = visit.open()
    choose(page, long(5_000_000, "slow.jpg"))
    while_it_runs(
        page, lambda: sum(one.route.count("/") == 4 and one.method == "GET" for one in visit.front.asked) >= 2
    )
    expect(card(page, "slow.jpg").get_by_text(MAKING)).to_be_visible()
    if comes:
        missing.clear()
        api.deliver()
        expect(thumbnail(page, "slow.jpg")).to_be_visible()
    else:
        page.evaluate(LATER)
        expect(card(page, "slow.jpg").get_by_text("The service does not have it any more")).to_be_visible()
