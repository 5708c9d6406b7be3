"""The page at `/` as it is sent; what it does in a browser is for tests/browser."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import requests

from chalicelib import services
from chalicelib.http.page import Page, make_page
from chalicelib.settings import Algorithm, Auth
from tests.browser.front import Front
from tests.conftest import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGE = "/live"
EMULATED = "/_aws/execute-api/thumbnails/live"
MOST_BYTES = 52_000


def get(api: Api, method: str = "GET", **kwargs: Any) -> requests.Response:
    return requests.request(method, f"{api.url}/", timeout=60, **kwargs)


def policy(reply: requests.Response) -> dict[str, list[str]]:
    directives = [one.split() for one in reply.headers["Content-Security-Policy"].split("; ")]
    return {name: sources for name, *sources in directives}


def page_for(form_url: str = "https://x.example/", auth: Auth | None = None) -> Page:
    """The page of a deployment whose bucket is elsewhere."""
    return make_page(
        max_upload=1,
        max_original=2,
        expires_after_download=False,
        form_url=form_url,
        pictures_url="https://x.example/thumbnails/",
        auth=auth,
    )


class Elements(HTMLParser):
    """Start tags with their attributes, and the contents of scripts and styles, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        within = self.tags[-1][0] if self.tags else ""
        if within in self.contents and data.strip():
            self.contents[within].append(data)


def test_its_headers(api: Api) -> None:
    reply = get(api)
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert reply.text.startswith("<!doctype html>")
    assert len(reply.content) < MOST_BYTES


def test_head_has_the_headers_and_no_body(api: Api) -> None:
    volatile = {"Date", "Content-Length"}
    given, head = get(api), get(api, "HEAD")
    assert head.content == b""
    assert {n: v for n, v in head.headers.items() if n not in volatile} == {
        n: v for n, v in given.headers.items() if n not in volatile
    }


def test_other_methods_are_not_taken(api: Api) -> None:
    reply = get(api, "POST")
    assert (reply.status_code, list(reply.json())) == (405, ["error"])


@pytest.mark.parametrize("accept", ["*/*", "text/html,*/*;q=0.8", "application/json", "image/jpeg"])
def test_it_is_html_whatever_is_accepted(api: Api, accept: str) -> None:
    assert get(api, headers={"Accept": accept}).text == get(api).text


def test_a_browser_that_has_it_gets_it_once(api: Api) -> None:
    tag = get(api).headers["ETag"]
    again = get(api, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)


def test_the_policy_allows_its_own_script_and_style_and_nothing_else(api: Api) -> None:
    reply = get(api)
    allowed, found = policy(reply), Elements(reply.text)
    assert allowed["default-src"] == ["'none'"]
    for element in ("script", "style"):
        (content,) = found.contents[element]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[f"{element}-src"] == [f"'sha256-{digest}'"]
    assert allowed["img-src"] == ["blob:", api.bucket.public_url("thumbnails/")]
    for directive in ("base-uri", "form-action", "frame-ancestors"):
        assert allowed[directive] == ["'none'"]


def test_the_policy_lets_it_send_to_the_service_and_where_presigned_uploads_lead(api: Api) -> None:
    ticket = api("POST", "/upload", json={"filename": "a.jpg"}).json()
    assert policy(get(api))["connect-src"] == ["'self'", ticket["url"]]


@pytest.mark.parametrize(
    ("issuer", "sources"),
    [
        ("https://issuer.example.com/realms/one", ["https://issuer.example.com"]),
        ("https://tenant.auth0.com/", ["https://tenant.auth0.com"]),
        (
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf",
            [
                "https://cognito-idp.eu-central-1.amazonaws.com",
                "https://*.auth.eu-central-1.amazoncognito.com",
            ],
        ),
    ],
)
@pytest.mark.parametrize("client_id", ["page", None])
def test_the_policy_lets_it_ask_the_issuer_where_people_sign_in(
    issuer: str, sources: list[str], client_id: str | None
) -> None:
    auth = Auth(issuer, frozenset({"thumbnails"}), Algorithm.RS256, f"{issuer}/keys", b"", client_id)
    url = "https://bucket.example/"
    made = page_for(form_url=url, auth=auth)
    connect = next(
        part for part in made.headers["Content-Security-Policy"].split("; ") if part.startswith("connect-src")
    )
    assert connect.split()[1:] == ["'self'", url, *(sources if client_id else [])]
    (told,) = [attributes for tag, attributes in Elements(made.html).tags if tag == "html"]
    expected = (issuer, "page", "thumbnails") if client_id else ("", "", "")
    assert (told["data-issuer"], told["data-client-id"], told["data-audience"]) == expected


def test_what_an_operator_sets_never_becomes_markup() -> None:
    auth = Auth(
        "https://a.example/'\"><b>", frozenset({'a"b'}), Algorithm.RS256, "https://a.example", b"", '"><c>'
    )
    made = page_for(auth=auth)
    (told,) = [attributes for tag, attributes in Elements(made.html).tags if tag == "html"]
    assert (told["data-issuer"], told["data-client-id"], told["data-audience"]) == (
        auth.issuer,
        '"><c>',
        'a"b',
    )


def test_nothing_in_it_leads_elsewhere_or_runs_from_an_attribute(api: Api) -> None:
    for tag, attributes in Elements(get(api).text).tags:
        assert not {"src", "href", "action", "style", "srcset"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_data_never_becomes_markup() -> None:
    source = page_for().html
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    assert not re.search(sinks, source)


def test_it_knows_the_deployments_limits(api: Api) -> None:
    (html,) = [attributes for tag, attributes in Elements(get(api).text).tags if tag == "html"]
    assert html["data-max-upload"] == str(services.settings().max_upload_bytes)
    assert html["data-max-original"] == str(services.settings().max_original_bytes)
    assert html["data-expires-after-download"] == ""


@pytest.fixture
def ending(api: Api, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Api]":
    monkeypatch.setenv("RETENTION_AFTER_DOWNLOAD", "60")
    services.settings.cache_clear()
    services.page.cache_clear()
    yield api
    monkeypatch.undo()
    services.settings.cache_clear()
    services.page.cache_clear()


def test_it_knows_that_downloads_end_pictures(ending: Api) -> None:
    reply = get(ending)
    assert 'data-expires-after-download="yes"' in reply.text
    assert policy(reply)["img-src"] == ["blob:"], "there are no URLs then"


@pytest.mark.parametrize("prefix", [STAGE, EMULATED])
@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_the_same_below_a_stage(api: Api, prefix: str, slash: str) -> None:
    with Front(api.url, prefix) as front:
        reply = requests.get(f"{front.origin}{prefix}{slash}", timeout=60, allow_redirects=False)
    assert (reply.status_code, reply.text) == (200, get(api).text)
