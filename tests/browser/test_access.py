"""Where the service has owners: a person signs in, with a token or at an issuer."""

import base64
import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.front import Answer, Asked, Front, error
from tests.browser.steps import MAKING, card, choose, long, names, slow, thumbnail, while_it_runs
from tests.conftest import Api


@pytest.fixture
def guarded(front: Front) -> Front:
    """The service as one that wants a token: a stand-in, which tells no owners apart."""
    front.token = "s3cret"  # noqa: S105
    return front


def test_a_token_is_asked_for_kept_for_the_tab_and_sent(visit: Visit, guarded: Front, api: Api) -> None:
    api.upload(filename="mine.jpg")
    api.deliver()
    page = visit.open()
    field = page.get_by_label("Access token")
    expect(field).to_be_focused()
    assert field.get_attribute("type") == "password"
    expect(page.get_by_text("This service shows pictures to their owner only.")).to_be_visible()
    expect(page.locator("#trouble")).to_be_empty()
    assert "Bearer" not in page.locator("body").inner_text(), "a person need not know of headers"
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    expect(page.get_by_text("the token is not accepted")).to_be_visible()
    field.fill("s3cret")
    page.get_by_role("button", name="Use token").click()
    expect(thumbnail(page, "mine.jpg")).to_be_visible()
    expect(field).to_be_hidden()
    assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    with page.expect_download():
        page.get_by_role("button", name="Download mine.jpg").click()
    downloads = [one for one in guarded.asked if one.path.endswith("/download")]
    assert [one.headers["authorization"] for one in downloads] == ["Bearer s3cret"]
    assert not [one for one in guarded.asked if "s3cret" in one.path]
    choose(page, "more.jpg", long(5_000_000, "big.jpg"))
    expect(page.get_by_text(MAKING)).to_have_count(2)
    page.get_by_role("button", name="Sign out").click()
    expect(field).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0


def test_uploads_that_lacked_the_token_follow_when_it_is_there(
    visit: Visit, guarded: Front, api: Api
) -> None:
    page = visit.open()
    choose(page, "early.jpg")
    expect(card(page, "early.jpg").get_by_text("Sign in to see yours")).to_be_visible()
    page.get_by_label("Access token").fill("s3cret")
    page.keyboard.press("Enter")
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert len(api("GET").json()) == 1


def test_the_token_goes_to_the_service_and_nowhere_else(
    visit: Visit, guarded: Front, s3_endpoint: str
) -> None:
    page = visit.open()
    page.get_by_label("Access token").fill("s3cret")
    page.keyboard.press("Enter")
    sent: list[dict[str, str]] = []
    page.on(
        "request",
        lambda request: sent.append(request.headers) if request.url.startswith(s3_endpoint) else None,
    )
    choose(page, long(5_000_000, "big.jpg"))
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert sent
    assert not [headers for headers in sent if "authorization" in headers]


def token_of(person: str, number: int) -> str:
    """A token as issuers make them, but for its signature."""
    claims = base64.urlsafe_b64encode(json.dumps({"sub": person, "jti": number}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.x"


class Guard:
    """Lets in who has one of these tokens, and remembers by which each upload came."""

    def __init__(self, front: Front, *tokens: str) -> None:
        self.good = set(tokens)
        self.posts: list[str] = []
        front.answer = self._check

    def _check(self, asked: Asked) -> Answer | None:
        if not asked.route.startswith("/api/v1/thumbnail"):
            return None
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.good:
            return error(401, "Send a valid token.", {"WWW-Authenticate": "Bearer"})
        if asked.method == "POST":
            self.posts.append(token)
        return None


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Use token").click()


@pytest.mark.parametrize(
    ("alice", "bob"), [("alices", "bobs"), (token_of("alice", 1), token_of("bob", 1))], ids=["opaque", "JWT"]
)
def test_what_waits_at_sign_out_never_goes_to_the_next_person(
    visit: Visit, api: Api, alice: str, bob: str
) -> None:
    guard = Guard(visit.front, alice, bob)
    page = visit.open()
    sign_in(page, alice)
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    network = slow(page, 5_000)
    choose(page, *(long(300_000, f"alice {number}.jpg") for number in range(5)))
    expect(page.get_by_text("Waiting for its turn")).to_have_count(2)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    sign_in(page, bob)
    network.detach()
    choose(page, "bob.jpg")
    expect(card(page, "bob.jpg").get_by_text(MAKING)).to_be_visible()
    while_it_runs(page, lambda: [one["filename"] for one in api("GET").json()] == ["bob.jpg"])
    assert guard.posts.count(bob) == 1
    assert names(page) == ["bob.jpg"]
    expect(page.get_by_label("Access token")).to_be_hidden()


def test_what_lacked_a_token_goes_on_for_the_same_person_only(visit: Visit, api: Api) -> None:
    guard = Guard(visit.front, token_of("alice", 1))
    page = visit.open()
    sign_in(page, token_of("alice", 1))
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    guard.good = {token_of("alice", 2), token_of("bob", 1)}
    choose(page, "first.jpg")
    expect(card(page, "first.jpg").get_by_text("what waits goes on then")).to_be_visible()
    sign_in(page, token_of("alice", 2))
    expect(card(page, "first.jpg").get_by_text(MAKING)).to_be_visible()
    guard.good = {token_of("bob", 1)}
    choose(page, "second.jpg")
    expect(card(page, "second.jpg").get_by_text("what waits goes on then")).to_be_visible()
    sign_in(page, token_of("bob", 1))
    # The stand-in tells no owners apart.
    expect(card(page, "first.jpg")).to_be_visible()
    choose(page, "bob.jpg")
    expect(card(page, "bob.jpg").get_by_text(MAKING)).to_be_visible()
    assert names(page) == ["bob.jpg", "first.jpg"]
    assert guard.posts == [token_of("alice", 2), token_of("bob", 1)]


def test_a_token_that_was_mistyped_drops_nothing(visit: Visit, guarded: Front, api: Api) -> None:
    page = visit.open()
    choose(page, "early.jpg")
    expect(card(page, "early.jpg").get_by_text("Sign in to see yours")).to_be_visible()
    sign_in(page, "s3cre")
    expect(page.get_by_text("the token is not accepted").first).to_be_visible()
    sign_in(page, "s3cret")
    expect(card(page, "early.jpg").get_by_text(MAKING)).to_be_visible()
