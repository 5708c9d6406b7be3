"""Tokens, good and bad, against a key set that is served over HTTP."""

import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.auth.fetch import fetch
from chalicelib.auth.tokens import (
    MAX_TOKEN,
    SKEW_SECONDS,
    Tokens,
)
from chalicelib.errors import InvalidToken
from chalicelib.settings import Algorithm
from tests.conftest import SettableClock
from tests.issuing import (
    BY_KEYS,
    ISSUER,
    PRIVATE,
    RSA,
    SECRET,
    Issuer,
    auth,
    b64,
    by_hand,
    claims,
    issuer,
    jwk,
    refused,
    signed,
    tokens,
)

__all__ = ["issuer", "tokens"]  # fixtures


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_good_token_names_its_subject(algorithm: Algorithm, issuer: Issuer, clock: SettableClock) -> None:
    # Keys of all kinds are shown; only one of them is meant.
    issuer.keys = [jwk(PRIVATE[one], one.value) for one in BY_KEYS]
    url = issuer.url if algorithm in BY_KEYS else None
    token = signed(key=PRIVATE[algorithm], algorithm=algorithm.value, kid=algorithm.value)
    assert Tokens(auth(algorithm, url), fetch, clock).identify(f"Bearer {token}").subject == "alice"
    assert issuer.requests == (url is not None)


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}"])
def test_the_scheme_is_read_as_http_says(tokens: Tokens, form: str) -> None:
    """RFC 9110, 11.4: its case does not count, and one or more spaces follow."""
    assert tokens.identify(form.format(signed())).subject == "alice"


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
    assert again.identify("Bearer " + signed(key=RSA[1], kid="two")).subject == "alice"


@pytest.mark.parametrize(
    "more", [{"use": "sig"}, {"alg": "RS256"}, {"key_ops": ["sign", "verify"]}, {"x5t": "x", "d": "private"}]
)
def test_a_key_may_say_more(tokens: Tokens, issuer: Issuer, more: dict[str, Any]) -> None:
    issuer.keys = [jwk(RSA[0]) | more]
    assert tokens.identify("Bearer " + signed()).subject == "alice"


def test_without_a_name_the_only_key_is_meant(tokens: Tokens, issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA[0], None), jwk(PRIVATE[Algorithm.ES256], "of another kind")]
    assert tokens.identify("Bearer " + signed(kid=None)).subject == "alice"
    refused(tokens, "Bearer " + signed(kid="one"))


def test_without_a_name_none_of_several_keys_is_meant(tokens: Tokens, issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA[0]), jwk(RSA[1], "two")]
    refused(tokens, "Bearer " + signed(kid=None))
    refused(tokens, "Bearer " + signed(key=RSA[0], kid="two"))
    assert tokens.identify("Bearer " + signed(key=RSA[1], kid="two")).subject == "alice"


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
    assert tokens.identify("Bearer " + signed(claims(**other))).subject == claims(**other)["sub"]


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
        assert found.identify(f"Bearer {token}").subject == "alice"
    else:
        refused(found, f"Bearer {token}")


def test_a_refusal_tells_nothing_of_the_token(tokens: Tokens) -> None:
    for token in (signed(claims(sub="")), signed(kid="unknown"), signed(key=RSA[1]), "not.a.token"):
        with pytest.raises(InvalidToken) as caught:
            tokens.identify(f"Bearer {token}")
        told = f"{caught.value} {caught.value.__cause__}"
        assert not [part for part in token.split(".") if len(part) > 5 and part in told]
