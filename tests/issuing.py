"""An issuer of tokens, its keys, and tokens of all kinds."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from chalicelib.auth.fetch import fetch
from chalicelib.auth.tokens import (
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
        tokens.identify(authorization)
    return str(caught.value)
