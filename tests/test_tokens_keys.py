"""Where the keys of tokens come from: they are fetched, kept, and found again, however the issuer answers."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from chalicelib.auth import fetch as fetching
from chalicelib.auth.fetch import fetch
from chalicelib.auth.tokens import (
    KEYS_FRESH_MS,
    KEYS_USABLE_MS,
    PAUSE_MS,
    KeysUnavailable,
    Tokens,
)
from chalicelib.settings import Algorithm
from tests.conftest import SettableClock
from tests.issuing import RSA, Issuer, auth, claims, issuer, jwk, refused, send, signed, tokens

__all__ = ["issuer", "tokens"]  # fixtures


def test_keys_are_fetched_once_and_then_now_and_then(
    tokens: Tokens, issuer: Issuer, clock: SettableClock
) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(tokens.identify, ["Bearer " + signed()] * 40))
    assert [one.subject for one in found] == ["alice"]
    assert issuer.requests == 1
    clock.advance(ms=KEYS_FRESH_MS)
    token = signed(claims(exp=int(time.time()) + 3600))
    for _ in range(3):
        tokens.identify(f"Bearer {token}")
    assert issuer.requests == 2


def test_no_timer_is_left_behind_by_a_fetch(issuer: Issuer) -> None:
    """It would hold a thread, and the connection, for as long as a fetch may take."""
    before = set(threading.enumerate())
    assert fetch(issuer.url)
    left = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in left if timer not in before)


def test_a_new_key_is_found_with_its_first_token(
    tokens: Tokens, issuer: Issuer, clock: SettableClock
) -> None:
    tokens.identify("Bearer " + signed())
    issuer.keys = [jwk(RSA[1], "two")]
    clock.advance(ms=PAUSE_MS)
    assert tokens.identify("Bearer " + signed(key=RSA[1], kid="two")).subject == "alice"
    assert issuer.requests == 2
    refused(tokens, "Bearer " + signed())  # it was withdrawn


def test_made_up_key_ids_do_not_reach_the_issuer(
    tokens: Tokens, issuer: Issuer, clock: SettableClock
) -> None:
    for number in range(30):
        refused(tokens, "Bearer " + signed(kid=f"made up {number}"))
    assert issuer.requests == 1
    clock.advance(ms=PAUSE_MS)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: refused(tokens, "Bearer " + signed(kid=f"more {n}")), range(30)))
    assert issuer.requests == 2
    assert tokens.identify("Bearer " + signed()).subject == "alice"


def unavailable(tokens: Tokens, token: str) -> str:
    with pytest.raises(KeysUnavailable) as caught:
        tokens.identify(f"Bearer {token}")
    return str(caught.value.__cause__)


def test_while_the_issuer_is_down_known_keys_work_for_a_time(
    tokens: Tokens, issuer: Issuer, clock: SettableClock
) -> None:
    token = signed(claims(exp=int(time.time()) + 10 * 3600))
    tokens.identify(f"Bearer {token}")
    issuer.answer = lambda handler: send(handler, b"", 503)
    clock.advance(ms=KEYS_FRESH_MS)
    assert tokens.identify(f"Bearer {token}").subject == "alice"
    # It may be a good one, signed with a new key.
    assert "503" in unavailable(tokens, signed(kid="new"))
    clock.advance(ms=KEYS_USABLE_MS)
    assert "503" in unavailable(tokens, token)
    issuer.answer = None
    clock.advance(ms=PAUSE_MS)
    assert tokens.identify(f"Bearer {token}").subject == "alice"


def test_an_issuer_that_is_down_is_not_asked_by_every_request(tokens: Tokens, issuer: Issuer) -> None:
    issuer.answer = lambda handler: send(handler, b"", 500)
    for _ in range(5):
        unavailable(tokens, signed())
    assert issuer.requests == 1


def test_an_issuer_that_does_not_listen(clock: SettableClock) -> None:
    assert "refused" in unavailable(
        Tokens(auth(Algorithm.RS256, "http://127.0.0.1:1/"), fetch, clock), signed()
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"keys": 1}', b'{"keys": null}', b"null", b"\xff", b"[" * 100_000],
)
def test_what_is_no_key_set(tokens: Tokens, issuer: Issuer, body: bytes) -> None:
    issuer.answer = lambda handler: send(handler, body)
    unavailable(tokens, signed())


def test_redirections_are_not_followed(tokens: Tokens, issuer: Issuer) -> None:
    issuer.answer = lambda handler: send(handler, b"", 302, location=issuer.url)
    assert "302" in unavailable(tokens, signed())
    assert issuer.requests == 1


# What is sent so slowly has no end: a client that waited for it would wait until the test's end.


def drip_body(handler: BaseHTTPRequestHandler, is_over: threading.Event) -> None:
    send(handler, b"", length=1_000_000)
    while not is_over.wait(0.05):
        handler.wfile.write(b" ")


def drip_headers(handler: BaseHTTPRequestHandler, is_over: threading.Event) -> None:
    handler.send_response(200)
    while not is_over.wait(0.05):
        handler.wfile.write(b"X-Slow: yes\r\n")


def silence(_: BaseHTTPRequestHandler, is_over: threading.Event) -> None:
    is_over.wait()


@pytest.mark.parametrize("slow", [drip_body, drip_headers, silence])
def test_a_slow_answer_is_not_waited_for(
    tokens: Tokens,
    issuer: Issuer,
    slow: Callable[[BaseHTTPRequestHandler, threading.Event], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.4)
    is_over = threading.Event()
    issuer.answer = lambda handler: slow(handler, is_over)
    try:
        unavailable(tokens, signed())
    finally:
        is_over.set()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_absurdly_large_answer_is_not_read(tokens: Tokens, issuer: Issuer, chunked: bool) -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        piece = b" " * (1 << 16)
        handler.send_response(200)
        name, value = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(1 << 40))
        handler.send_header(name, value)
        handler.end_headers()
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            sent += len(piece)

    issuer.answer = flood
    assert "bytes" in unavailable(tokens, signed())
    assert sent < 64 * fetching.MAX_BYTES


def test_a_broken_answer_is_a_failure_to_answer(tokens: Tokens, issuer: Issuer) -> None:
    def nonsense(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"nonsense\r\n\r\n")

    issuer.answer = nonsense
    assert "BadStatusLine" in unavailable(tokens, signed())
