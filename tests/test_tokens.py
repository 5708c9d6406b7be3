"""Tokens, good and bad, against a key set that is served over HTTP."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.auth import fetch as fetching
from chalicelib.auth.fetch import fetch
from chalicelib.auth.tokens import (
    KEYS_FRESH_MS,
    KEYS_USABLE_MS,
    MAX_TOKEN,
    PAUSE_MS,
    SKEW_SECONDS,
    KeysUnavailable,
    Tokens,
)
from chalicelib.errors import InvalidToken
from chalicelib.settings import Algorithm, Auth
from tests.conftest import SettableClock

ISSUER = "https://issuer.example.com/"
SECRET = b"a secret of more than thirty-two bytes"
RSA = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
PRIVATE: dict[Algorithm, Any] = {
    Algorithm.RS256: RSA[0],
    Algorithm.ES256: ec.generate_private_key(ec.SECP256R1()),
    Algorithm.EDDSA: ed25519.Ed25519PrivateKey.generate(),
    Algorithm.HS256: SECRET,
}
BY_KEYS = [algorithm for algorithm in Algorithm if algorithm is not Algorithm.HS256]


def jwk(private: Any, kid: str | None = "one", **more: Any) -> dict[str, Any]:
    """A public key as issuers show it."""
    kind: Any = (
        jwt.algorithms.RSAAlgorithm
        if isinstance(private, rsa.RSAPrivateKey)
        else jwt.algorithms.ECAlgorithm
        if isinstance(private, ec.EllipticCurvePrivateKey)
        else jwt.algorithms.OKPAlgorithm
    )
    shown: dict[str, Any] = kind.to_jwk(private.public_key(), as_dict=True)
    shown.pop("key_ops", None)
    return shown | ({} if kid is None else {"kid": kid}) | more


@dataclass
class Issuer:
    """A real server of a key set, which can be told to misbehave."""

    keys: list[Any]
    requests: int = 0
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None
    url: str = field(default="", init=False)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        if self.answer is not None:
            self.answer(handler)
        else:
            send(handler, json.dumps({"keys": self.keys}).encode())


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    status: int = 200,
    *,
    length: int | None = None,
    location: str = "",
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    if location:
        handler.send_header("Location", location)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    found = Issuer([jwk(RSA[0])])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.serve(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave early here
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_address[1]}/keys"
        yield found
        server.shutdown()
        thread.join()


def auth(algorithm: Algorithm, url: str | None = None) -> Auth:
    by_secret = algorithm is Algorithm.HS256
    return Auth(ISSUER, frozenset({"web", "phone"}), algorithm, url, SECRET if by_secret else b"")


@pytest.fixture
def tokens(issuer: Issuer, clock: SettableClock) -> Tokens:
    return Tokens(auth(Algorithm.RS256, issuer.url), fetch, clock)


def claims(**other: Any) -> dict[str, Any]:
    """Good claims, but for what is said; None leaves one out."""
    good = {"iss": ISSUER, "aud": "web", "sub": "alice", "exp": int(time.time()) + 3600}
    return {name: value for name, value in (good | other).items() if value is not None}


def signed(
    payload: dict[str, Any] | None = None,
    *,
    key: Any = RSA[0],
    algorithm: str = "RS256",
    kid: str | None = "one",
) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims() if payload is None else payload, key, algorithm=algorithm, headers=headers)


def by_hand(header: Any, payload: Any, key: bytes = SECRET) -> str:
    """A token of any content, as an attacker writes it, signed by HS256."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    text = b".".join(map(b64, parts))
    return (text + b"." + b64(hmac.digest(key, text, hashlib.sha256))).decode()


def b64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def refused(tokens: Tokens, authorization: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        tokens.subject(authorization)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_good_token_names_its_subject(algorithm: Algorithm, issuer: Issuer, clock: SettableClock) -> None:
    # Keys of all kinds are shown; only one of them is meant.
    issuer.keys = [jwk(PRIVATE[one], one.value) for one in BY_KEYS]
    url = issuer.url if algorithm in BY_KEYS else None
    token = signed(key=PRIVATE[algorithm], algorithm=algorithm.value, kid=algorithm.value)
    assert Tokens(auth(algorithm, url), fetch, clock).subject(f"Bearer {token}") == "alice"
    assert issuer.requests == (url is not None)


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}"])
def test_the_scheme_is_read_as_http_says(tokens: Tokens, form: str) -> None:
    """RFC 9110, 11.4: its case does not count, and one or more spaces follow."""
    assert tokens.subject(form.format(signed())) == "alice"


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Bearer{}",
        "Bearer\t{}",
        " Bearer {}",
        "Bearer {} ",
        "Basic {}",
        "Bearer {}, Bearer {}",
        "Bearer {} x",
    ],
)
def test_what_is_no_bearer_header_is_refused(tokens: Tokens, form: str) -> None:
    token = signed()
    assert "Bearer" in refused(tokens, form.replace("{}", token))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "garbage",
        "a.b",
        "a.b.c.d",
        "..",
        "é.é.é",
        "a.b.\N{ARABIC-INDIC DIGIT ONE}",
        "eyJhbGciOiJSUzI1NiJ9..c2ln",
        by_hand(b"{", claims()),
        by_hand(b"[]", claims()),
        by_hand(b"\xff", claims()),
        by_hand(b'{"alg":' + b"[" * 2000, claims()),
        by_hand({"alg": ["RS256"]}, claims()),
        by_hand({}, claims()),
        by_hand({"alg": "RS256", "kid": 1}, claims()),
        by_hand({"alg": "RS256", "kid": None}, claims()),
        by_hand({"alg": "RS256", "kid": "one", "crit": ["exp"], "exp": 1}, claims()),
        by_hand({"alg": "RS256", "kid": "one", "b64": False, "crit": ["b64"]}, claims()),
    ],
)
def test_garbage_is_refused(tokens: Tokens, token: str) -> None:
    refused(tokens, f"Bearer {token}")


def test_a_huge_token_is_refused_unread(tokens: Tokens, issuer: Issuer) -> None:
    assert f"{MAX_TOKEN:,}" in refused(tokens, "Bearer " + signed(claims(more="x" * MAX_TOKEN)))
    assert issuer.requests == 0


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
def test_no_algorithm_is_none(name: str, algorithm: Algorithm, issuer: Issuer, clock: SettableClock) -> None:
    found = Tokens(auth(algorithm, issuer.url if algorithm in BY_KEYS else None), fetch, clock)
    signature = signed().rpartition(".")[2]
    unsigned = by_hand({"alg": name, "kid": "one"}, claims()).rpartition(".")[0]
    for token in (f"{unsigned}.", f"{unsigned}.{signature}"):
        refused(found, f"Bearer {token}")


@pytest.mark.parametrize("algorithm", BY_KEYS)
def test_a_public_key_is_no_secret(algorithm: Algorithm, issuer: Issuer, clock: SettableClock) -> None:
    public = PRIVATE[algorithm].public_key()
    issuer.keys = [jwk(PRIVATE[algorithm])]
    found = Tokens(auth(algorithm, issuer.url), fetch, clock)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), der, json.dumps(issuer.keys[0]).encode()):
        for name in ("HS256", algorithm.value):
            refused(found, f"Bearer {by_hand({'alg': name, 'kid': 'one'}, claims(), secret)}")


def test_a_secret_is_no_key_either(issuer: Issuer, clock: SettableClock) -> None:
    """With HS256, neither a key pair nor a key that the token itself brings counts."""
    found = Tokens(auth(Algorithm.HS256), fetch, clock)
    refused(found, f"Bearer {signed()}")
    brought = {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"x" * 32).decode()}}
    refused(found, f"Bearer {by_hand(brought, claims(), b'x' * 32)}")
    refused(found, f"Bearer {by_hand(brought | {'jku': issuer.url}, claims(), b'x' * 32)}")
    assert issuer.requests == 0


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA[1], "RS256"),
        (RSA[0], "RS384"),
        (RSA[0], "RS512"),
        (RSA[0], "PS256"),
        (PRIVATE[Algorithm.ES256], "ES256"),
        (PRIVATE[Algorithm.EDDSA], "EdDSA"),
        (SECRET, "HS256"),
    ],
)
def test_another_key_or_algorithm_is_refused(tokens: Tokens, key: Any, algorithm: str) -> None:
    refused(tokens, "Bearer " + signed(key=key, algorithm=algorithm))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_token_is_refused(tokens: Tokens, part: int) -> None:
    parts = signed().split(".")
    parts[part] = parts[part][:8] + ("A" if parts[part][8] != "A" else "B") + parts[part][9:]
    refused(tokens, f"Bearer {'.'.join(parts)}")


@pytest.mark.parametrize(
    "key",
    [
        jwk(RSA[0], use="enc"),
        jwk(RSA[0], alg="RS512"),
        jwk(RSA[0], alg="RSA-OAEP"),
        jwk(RSA[0]) | {"key_ops": ["encrypt"]},
        jwk(RSA[0]) | {"key_ops": []},
        jwk(RSA[0]) | {"key_ops": "verify"},
        jwk(PRIVATE[Algorithm.ES256]),
        jwk(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is the point
        {"kty": "oct", "kid": "one", "k": b64(SECRET).decode()},
        {"kty": "RSA", "kid": "one"},
        {"kty": "RSA", "kid": "one", "n": "!", "e": 3},
        "text",
        None,
    ],
)
def test_a_key_that_is_not_meant_for_this_does_not_count(tokens: Tokens, issuer: Issuer, key: Any) -> None:
    issuer.keys = [key]
    refused(tokens, "Bearer " + signed())
    # And it stands in no other's way.
    issuer.keys = [key, jwk(RSA[1], "two")]
    again = Tokens(auth(Algorithm.RS256, issuer.url), fetch, SettableClock())
    assert again.subject("Bearer " + signed(key=RSA[1], kid="two")) == "alice"


@pytest.mark.parametrize(
    "more", [{"use": "sig"}, {"alg": "RS256"}, {"key_ops": ["sign", "verify"]}, {"x5t": "x", "d": "private"}]
)
def test_a_key_may_say_more(tokens: Tokens, issuer: Issuer, more: dict[str, Any]) -> None:
    issuer.keys = [jwk(RSA[0]) | more]
    assert tokens.subject("Bearer " + signed()) == "alice"


def test_without_a_name_the_only_key_is_meant(tokens: Tokens, issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA[0], None), jwk(PRIVATE[Algorithm.ES256], "of another kind")]
    assert tokens.subject("Bearer " + signed(kid=None)) == "alice"
    refused(tokens, "Bearer " + signed(kid="one"))


def test_without_a_name_none_of_several_keys_is_meant(tokens: Tokens, issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA[0]), jwk(RSA[1], "two")]
    refused(tokens, "Bearer " + signed(kid=None))
    refused(tokens, "Bearer " + signed(key=RSA[0], kid="two"))
    assert tokens.subject("Bearer " + signed(key=RSA[1], kid="two")) == "alice"


# --- claims ---


@pytest.mark.parametrize(
    "other",
    [
        {"aud": "phone"},
        {"aud": ["else", "web"]},
        {"aud": None, "client_id": "web"},
        {"nbf": int(time.time()) - 10},
        {"exp": time.time() + 3600.5},
        {"sub": "é" * 127},
        {"sub": "a" * 255},
        {"iat": int(time.time()) + 1000, "azp": "else"},
    ],
)
def test_good_claims(tokens: Tokens, other: dict[str, Any]) -> None:
    assert tokens.subject("Bearer " + signed(claims(**other))) == claims(**other)["sub"]


@pytest.mark.parametrize(
    ("other", "about"),
    [
        ({"iss": None}, "issuer"),
        ({"iss": ISSUER.rstrip("/")}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": None}, "audience"),
        ({"aud": "else"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": {"web": 1}}, "audience"),
        ({"aud": "web phone"}, "audience"),
        ({"aud": [["web"], 1]}, "audience"),
        ({"aud": "else", "client_id": "web"}, "audience"),
        ({"aud": None, "client_id": "else"}, "audience"),
        ({"aud": None, "azp": "web"}, "audience"),
        ({"exp": None}, "exp"),
        ({"exp": "9999999999"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": 10**40}, "exp"),
        ({"exp": int(time.time() * 1000)}, "exp"),
        ({"exp": -1}, "exp"),
        ({"nbf": "0"}, "nbf"),
        ({"nbf": float("nan")}, "nbf"),
        ({"nbf": int(time.time()) + 100_000}, "not valid yet"),
        ({"exp": int(time.time()) - 1000}, "expired"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": ["alice"]}, "subject"),
        ({"sub": "a" * 256}, "subject"),
        ({"sub": "é" * 128}, "subject"),
        ({"sub": "\ud800"}, "subject"),
    ],
)
def test_bad_claims_are_refused_by_what_is_wrong(
    other: dict[str, Any], about: str, clock: SettableClock
) -> None:
    token = by_hand({"alg": "HS256"}, claims(**other))
    assert about in refused(Tokens(auth(Algorithm.HS256), fetch, clock), f"Bearer {token}")


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'"text"', b"null", b"\xff", b"[" * 4000, b"1" * 5000])
def test_what_holds_no_claims_is_refused(payload: bytes, clock: SettableClock) -> None:
    refused(Tokens(auth(Algorithm.HS256), fetch, clock), f"Bearer {by_hand({'alg': 'HS256'}, payload)}")


@pytest.mark.parametrize(
    ("claim", "away", "good"),
    [
        ("exp", -SKEW_SECONDS + 1, True),
        ("exp", -SKEW_SECONDS, False),
        ("nbf", SKEW_SECONDS, True),
        ("nbf", SKEW_SECONDS + 1, False),
    ],
)
def test_clocks_may_differ_so_much_and_no_more(claim: str, away: int, good: bool) -> None:
    now = 1_800_000_000
    found = Tokens(auth(Algorithm.HS256), fetch, lambda: now * 1000)
    payload = claims(exp=now + 600) | {claim: now + away}
    token = by_hand({"alg": "HS256"}, payload)
    if good:
        assert found.subject(f"Bearer {token}") == "alice"
    else:
        refused(found, f"Bearer {token}")


def test_a_refusal_tells_nothing_of_the_token(tokens: Tokens) -> None:
    for token in (signed(claims(sub="")), signed(kid="unknown"), signed(key=RSA[1]), "not.a.token"):
        with pytest.raises(InvalidToken) as caught:
            tokens.subject(f"Bearer {token}")
        told = f"{caught.value} {caught.value.__cause__}"
        assert not [part for part in token.split(".") if len(part) > 5 and part in told]


# --- where the keys come from ---


def test_keys_are_fetched_once_and_then_now_and_then(
    tokens: Tokens, issuer: Issuer, clock: SettableClock
) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(tokens.subject, ["Bearer " + signed()] * 40)) == {"alice"}
    assert issuer.requests == 1
    clock.advance(ms=KEYS_FRESH_MS)
    token = signed(claims(exp=int(time.time()) + 3600))
    for _ in range(3):
        tokens.subject(f"Bearer {token}")
    assert issuer.requests == 2


def test_a_new_key_is_found_at_once(tokens: Tokens, issuer: Issuer, clock: SettableClock) -> None:
    tokens.subject("Bearer " + signed())
    issuer.keys = [jwk(RSA[1], "two")]
    clock.advance(ms=PAUSE_MS)
    assert tokens.subject("Bearer " + signed(key=RSA[1], kid="two")) == "alice"
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
    assert tokens.subject("Bearer " + signed()) == "alice"


def unavailable(tokens: Tokens, token: str) -> str:
    with pytest.raises(KeysUnavailable) as caught:
        tokens.subject(f"Bearer {token}")
    return str(caught.value.__cause__)


def test_while_the_issuer_is_down_known_keys_work_for_a_time(
    tokens: Tokens, issuer: Issuer, clock: SettableClock
) -> None:
    token = signed(claims(exp=int(time.time()) + 10 * 3600))
    tokens.subject(f"Bearer {token}")
    issuer.answer = lambda handler: send(handler, b"", 503)
    clock.advance(ms=KEYS_FRESH_MS)
    assert tokens.subject(f"Bearer {token}") == "alice"
    # It may be a good one, signed with a new key.
    assert "503" in unavailable(tokens, signed(kid="new"))
    clock.advance(ms=KEYS_USABLE_MS)
    assert "503" in unavailable(tokens, token)
    issuer.answer = None
    clock.advance(ms=PAUSE_MS)
    assert tokens.subject(f"Bearer {token}") == "alice"


def test_an_issuer_that_is_down_is_not_asked_by_every_request(tokens: Tokens, issuer: Issuer) -> None:
    issuer.answer = lambda handler: send(handler, b"", 500)
    for _ in range(5):
        unavailable(tokens, signed())
    assert issuer.requests == 1


def test_nobody_listens(clock: SettableClock) -> None:
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


# What is sent so slowly has no end: whoever waited for it would wait until the test is given up.


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
