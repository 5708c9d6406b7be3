"""The API with owners on, and requests of some."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import requests

import app
from app import V1
from chalicelib import services
from local.gateway import authorizers
from local.owners import TRIAL, token
from tests.conftest import Api, picture

UNKNOWN = "00000000-0000-4000-8000-000000000000"
OPEN = {"/", f"{V1}/openapi.json", f"{V1}/system/pulse"}
CLOSED = [
    (method, path)
    for path, methods in sorted(app.app.routes.items())
    for method in sorted(methods)
    if path not in OPEN
]


@pytest.fixture
def owned(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API with owners on, and a session that says nothing of who asks."""
    for name, value in TRIAL.items():
        monkeypatch.setenv(name, value)
    services.settings.cache_clear()
    services.tokens.cache_clear()
    authorizers.forget()
    yield api
    monkeypatch.undo()
    services.settings.cache_clear()
    services.tokens.cache_clear()


@functools.cache
def bearer(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject, TRIAL)}"}


def one_that(**claims: Any) -> str:
    """A token with these claims beside, or instead of, good ones."""
    good = {"iss": TRIAL["AUTH_ISSUER"], "aud": "thumbnails", "sub": "alice", "exp": time.time() + 3600}
    return jwt.encode(good | claims, TRIAL["AUTH_SECRET"], algorithm="HS256")


def client(api: Api, subject: str) -> Callable[..., requests.Response]:
    """Requests of one owner."""

    def ask(method: str, path: str = "", **kwargs: Any) -> requests.Response:
        return api(method, path, headers=bearer(subject) | kwargs.pop("headers", {}), **kwargs)

    return ask


Client = Callable[..., requests.Response]


@pytest.fixture
def alice(owned: Api) -> Client:
    return client(owned, "alice")


@pytest.fixture
def bob(owned: Api) -> Client:
    return client(owned, "bob")


def upload(ask: Client, seed: int = 0, **kwargs: Any) -> dict[str, Any]:
    reply = ask("POST", files={"image": ("photo.jpg", picture(seed=seed))}, **kwargs)
    assert reply.status_code == 201, reply.text
    record: dict[str, Any] = reply.json()
    return record
