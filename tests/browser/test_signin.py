"""Sign-in at an issuer: OpenID Connect, authorization code with PKCE."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from chalicelib import services
from tests.browser.conftest import Visit
from tests.browser.issuer import Issuer
from tests.browser.steps import MAKING, card, choose, while_it_runs
from tests.conftest import Api

TOKEN = "t0ken-of-the-issuer"  # noqa: S105
CLIENT = "page & client"


@pytest.fixture
def issuer(api: Api, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """An issuer whose tokens are asked for: by the front, as the gateway does on AWS."""
    client = CLIENT.replace(" ", "%20")
    with Issuer(TOKEN, client) as started:
        monkeypatch.setenv("AUTH_ISSUER", started.url)
        monkeypatch.setenv("AUTH_JWKS_URL", f"{started.url}/keys")
        monkeypatch.setenv("AUTH_CLIENT_ID", client)
        visit.allowed.add(started.url)
        # The page is made with these settings; the API behind the front stays without owners.
        services.page.cache_clear()
        services.settings.cache_clear()
        services.page()
        monkeypatch.undo()
        services.settings.cache_clear()
        visit.front.token = TOKEN
        yield started
        services.page.cache_clear()


def test_a_person_signs_in_and_out(visit: Visit, issuer: Issuer, api: Api) -> None:
    api.upload(filename="mine.jpg")
    page = visit.open()
    button = page.get_by_role("button", name="Sign in")
    expect(button).to_be_focused()
    expect(page.get_by_label("Access token")).to_be_hidden()
    button.click()
    expect(card(page, "mine.jpg")).to_be_visible()
    assert page.url == visit.front.url, "neither the code nor the state stays in the address"
    (asked,) = issuer.asked
    assert asked["response_type"] == "code"
    assert asked["scope"] == "openid"
    assert asked["audience"] == "thumbnails"
    page.reload()
    expect(card(page, "mine.jpg")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(button).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0


def test_a_token_still_does(visit: Visit, issuer: Issuer, api: Api) -> None:
    api.upload(filename="mine.jpg")
    page = visit.open()
    page.get_by_text("Use an access token").click()
    page.get_by_label("Access token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(card(page, "mine.jpg")).to_be_visible()


def test_an_expired_token_is_told_from_none(visit: Visit, issuer: Issuer, api: Api) -> None:
    api.upload(filename="mine.jpg")
    page = visit.open()
    page.get_by_role("button", name="Sign in").click()
    expect(card(page, "mine.jpg")).to_be_visible()
    visit.front.token = f"another {TOKEN}"
    page.reload()
    expect(page.get_by_text("You are signed out: the sign-in has ended")).to_be_visible()
    visit.front.token = TOKEN
    page.get_by_role("button", name="Sign in").click()
    expect(card(page, "mine.jpg")).to_be_visible()


def test_who_says_no_is_told_so(visit: Visit, issuer: Issuer) -> None:
    issuer.refuses = True
    page = visit.open()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The sign-in did not succeed: access_denied")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_an_answer_that_this_tab_has_not_asked_for_is_not_taken(visit: Visit, issuer: Issuer) -> None:
    page = visit.open(f"{visit.front.url}?code=stolen&state=guessed")
    expect(page.get_by_text("The answer does not belong to this tab.")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    assert page.url == visit.front.url


def test_an_issuer_that_is_away(visit: Visit, issuer: Issuer) -> None:
    page = visit.open()
    visit.context.route(f"{issuer.url}/**", lambda route: route.abort())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The sign-in cannot be started: 127.0.0.1").first).to_be_visible()


def waiting(visit: Visit) -> Page:
    """A page whose sign-in has ended, with a picture that waits for the next one."""
    page = visit.open()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    visit.front.token = f"another {TOKEN}"
    choose(page, "waits.jpg")
    expect(card(page, "waits.jpg").get_by_text("what waits goes on then")).to_be_visible()
    visit.front.token = TOKEN
    return page


def test_what_waits_goes_on_after_a_sign_in_in_a_window_of_its_own(
    visit: Visit, issuer: Issuer, api: Api
) -> None:
    page = waiting(visit)
    page.get_by_role("button", name="Sign in").click()
    expect(card(page, "waits.jpg").get_by_text(MAKING)).to_be_visible()
    while_it_runs(page, lambda: visit.context.pages == [page])
    assert page.url == visit.front.url
    assert page.evaluate("Object.keys(sessionStorage)") == ["token"]
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert [record["filename"] for record in api("GET").json()] == ["waits.jpg"]


def test_who_says_no_in_that_window_may_think_again(visit: Visit, issuer: Issuer, api: Api) -> None:
    page = waiting(visit)
    issuer.refuses = True
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The sign-in did not succeed: access_denied").first).to_be_visible()
    while_it_runs(page, lambda: visit.context.pages == [page])
    issuer.refuses = False
    page.get_by_role("button", name="Sign in").click()
    expect(card(page, "waits.jpg").get_by_text(MAKING)).to_be_visible()


def test_where_windows_are_blocked_it_is_told_that_files_are_to_be_chosen_again(
    visit: Visit, issuer: Issuer
) -> None:
    page = waiting(visit)
    page.evaluate("window.open = () => null")
    # A person is asked by the browser, too, and stays.
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#why")).to_contain_text("what waits has to be chosen again")
    expect(card(page, "waits.jpg")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
