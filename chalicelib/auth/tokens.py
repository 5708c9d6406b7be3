"""Check the token of a request, and tell its subject. Imports PyJWT, which only the authorizer loads.

A token is a JWT (RFC 7519) in a `Bearer` header (RFC 6750). Its algorithm is the one that the deployment has
chosen, whatever the token says, and of a key set only keys count that are meant for it: so `none` is no
algorithm, and no public key is ever taken for a secret (RFC 8725, 3.1).
"""

import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jwt

from chalicelib.clock import Clock
from chalicelib.errors import InvalidToken
from chalicelib.settings import Algorithm, Auth, Claim

MAX_TOKEN = 8192
"""Characters of the longest token that is parsed; API Gateway takes 10,240 bytes of headers in all."""
SKEW_SECONDS = 60
"""How far the issuer's clock may differ from this machine's."""
MAX_SUBJECT = 255
"""Bytes of the longest subject, in UTF-8."""
KEYS_FRESH_MS = 5 * 60 * 1000
"""How long fetched keys are used before they are fetched again."""
KEYS_USABLE_MS = 60 * 60 * 1000
"""How long they are used while the issuer does not answer; a key that it has withdrawn works for as long."""
PAUSE_MS = 10 * 1000
"""Least time between two requests to the issuer, so that made-up key ids cannot be used to flood it."""

Fetch = Callable[[str], bytes]
"""Gets the document at a URL, in bounded time and size; raises OSError when it cannot."""

_BEARER = re.compile(r"(?i:bearer) +(?P<token>[\w-]+\.[\w-]+\.[\w-]+)", re.ASCII)
_JWS = jwt.PyJWS(options={"enforce_minimum_key_length": True})
_MEANT_FOR = {
    Algorithm.RS256: {"kty": "RSA"},
    Algorithm.ES256: {"kty": "EC", "crv": "P-256"},
    Algorithm.EDDSA: {"kty": "OKP", "crv": "Ed25519"},
}
# The members of a public key. Others, such as those of a private one, are dropped.
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")
# A greater number is not in seconds: it would be after the year 5000.
_LAST_SECOND = 10**11


class KeysUnavailable(Exception):
    """The issuer's keys are unavailable, so that the token cannot be checked."""


class Key(NamedTuple):
    """A key of the issuer, and its name if it has one."""

    kid: str | None
    key: jwt.PyJWK


class KeySet:
    """The issuer's keys (RFC 7517), fetched when they are needed, cached, and shared by threads."""

    def __init__(self, url: str, algorithm: Algorithm, fetch: Fetch, clock: Clock) -> None:
        self._url = url
        self._algorithm = algorithm
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: list[Key] = []
        self._fetched_ms: int | None = None
        self._asked_ms: int | None = None
        self._failure: Exception | None = None

    def find(self, kid: str | None) -> jwt.PyJWK:
        """The key that a token names, or the only one if it names none.

        Raises:
            InvalidToken: the issuer has no such key.
            KeysUnavailable: the issuer did not answer.

        """
        if not self._is_younger(self._fetched_ms, KEYS_FRESH_MS):
            self._refresh()
        key = self._pick(kid)
        if key is None and kid is not None:
            # It may be a new one: issuers rotate their keys.
            self._refresh()
            key = self._pick(kid)
        if not self._is_younger(self._fetched_ms, KEYS_USABLE_MS) or (key is None and self._failure):
            raise KeysUnavailable(f"the keys at {self._url} cannot be had") from self._failure
        if key is None:
            raise InvalidToken("The token is signed with a key that its issuer does not have.")
        return key

    def _pick(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None:
            return self._keys[0].key if len(self._keys) == 1 else None
        return next((one.key for one in self._keys if one.kid == kid), None)

    def _refresh(self) -> None:
        """Fetch the keys again, unless that was tried within `PAUSE_MS`. If it fails, the known ones stay."""
        with self._lock:
            if self._is_younger(self._asked_ms, PAUSE_MS):
                return
            self._asked_ms = self._clock()
            try:
                self._keys = parse_keys(self._fetch(self._url), self._algorithm)
            except (OSError, ValueError) as error:
                self._failure = error
            else:
                self._fetched_ms, self._failure = self._asked_ms, None

    def _is_younger(self, moment_ms: int | None, than_ms: int) -> bool:
        return moment_ms is not None and 0 <= self._clock() - moment_ms < than_ms


def parse_keys(document: bytes, algorithm: Algorithm) -> list[Key]:
    """Read a key set; keys that are not meant for signatures of this algorithm, or broken, are left out.

    Raises:
        ValueError: it is no key set.

    """
    try:
        listed = list(json.loads(document)["keys"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("it is no key set") from error
    found = []
    for jwk in listed:
        if isinstance(jwk, dict) and _is_meant_for(jwk, algorithm):
            with suppress(jwt.PyJWTError, ValueError, TypeError):
                key = jwt.PyJWK({name: jwk[name] for name in _PUBLIC if name in jwk}, algorithm.value)
                found.append(Key(jwk.get("kid"), key))
    return found


def _is_meant_for(jwk: dict[str, Any], algorithm: Algorithm) -> bool:
    wanted = _MEANT_FOR[algorithm] | {"use": "sig", "alg": algorithm.value}
    given = {"use": "sig", "alg": algorithm.value} | jwk
    operations = jwk.get("key_ops", ["verify"])  # RFC 7517, 4.3
    may_verify = isinstance(operations, list) and "verify" in operations
    return may_verify and all(given.get(name) == value for name, value in wanted.items())


class Identity(NamedTuple):
    """Who has sent a request, by its token."""

    subject: str
    """The `sub`, 1 to 255 bytes of UTF-8."""
    is_claimed: bool
    """Whether the token has the claim that was asked for."""

    @property
    def context(self) -> dict[str, str]:
        """What the gateway hands on with the request; texts come through as they are."""
        return {"claimed": "yes"} if self.is_claimed else {}


class Tokens:
    """Checks the tokens of a deployment's issuer, and whether they have a claim if one is named."""

    def __init__(self, auth: Auth, fetch: Fetch, clock: Clock, claim: Claim | None = None) -> None:
        self._auth = auth
        self._claim = claim
        self._clock = clock
        self._keys = None if auth.jwks_url is None else KeySet(auth.jwks_url, auth.algorithm, fetch, clock)

    def identify(self, authorization: str) -> Identity:
        """Tell whose an Authorization header is.

        Raises:
            InvalidToken: it holds no valid token; the sentence says why, without the token.
            KeysUnavailable: the issuer's keys are unavailable.

        """
        if len(authorization) > MAX_TOKEN:
            raise InvalidToken(f"The token is longer than {MAX_TOKEN:,} characters.")
        found = _BEARER.fullmatch(authorization)
        if found is None:
            raise InvalidToken("The Authorization header must be 'Bearer', a space and a signed JWT.")
        claims = self._signed_claims(found["token"])
        self._check_place(claims)
        self._check_time(claims)
        return Identity(_subject(claims), self._claim is not None and _has(claims, self._claim))

    def _signed_claims(self, token: str) -> dict[str, Any]:
        try:
            header = _JWS.get_unverified_header(token)
            if header.get("alg") != self._auth.algorithm:
                raise InvalidToken(f"The token is not signed by {self._auth.algorithm.value}.")
            key = self._keys.find(header.get("kid")) if self._keys else self._auth.secret
            claims = json.loads(_JWS.decode(token, key, algorithms=[self._auth.algorithm.value]))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken("The token cannot be read, or its signature is wrong.") from error
        if not isinstance(claims, dict):
            raise InvalidToken("The token does not hold claims.")
        return claims

    def _check_place(self, claims: dict[str, Any]) -> None:
        if claims.get("iss") != self._auth.issuer:
            raise InvalidToken("The token is from another issuer.")
        # Access tokens of Cognito name the client that asked for them, and no audience.
        audience = claims["aud"] if "aud" in claims else claims.get("client_id")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(one, str) and one in self._auth.audiences for one in audiences):
            raise InvalidToken("The token is for another audience.")

    def _check_time(self, claims: dict[str, Any]) -> None:
        now = self._clock() / 1000
        if now >= _seconds(claims, "exp") + SKEW_SECONDS:
            raise InvalidToken("The token has expired.")
        if "nbf" in claims and now < _seconds(claims, "nbf") - SKEW_SECONDS:
            raise InvalidToken("The token is not valid yet.")


def _has(claims: dict[str, Any], claim: Claim) -> bool:
    """Tell whether a claim is a text, a list, or a text with spaces as `scope` is, and has the value."""
    held = claims.get(claim.name)
    if isinstance(held, str):
        return claim.value in {held, *held.split(" ")}
    return isinstance(held, list) and claim.value in held


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:
        raise InvalidToken(f"The token must say its '{name}' in seconds.")
    return value


def _subject(claims: dict[str, Any]) -> str:
    subject = claims.get("sub")
    size = 0
    if isinstance(subject, str):
        with suppress(UnicodeEncodeError):  # JSON can spell halves of characters
            size = len(subject.encode())
    if not isinstance(subject, str) or not 1 <= size <= MAX_SUBJECT:
        raise InvalidToken(f"The token must name its subject in 1 to {MAX_SUBJECT} bytes.")
    return subject
