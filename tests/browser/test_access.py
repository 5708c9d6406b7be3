"""Where the service has owners: a person signs in, with a token or at an issuer."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.front import Front
from tests.browser.steps import MAKING, card, choose, long, thumbnail
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
