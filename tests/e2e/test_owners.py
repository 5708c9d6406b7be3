"""A packaged stack whose parameters turn owners on, and off again."""

import subprocess
from functools import partial

import pytest
import requests

from local.owners import token
from tests.conftest import picture
from tests.e2e import ministack
from tests.exploration import explore

STAGE = "owners"
API = "/api/v1/thumbnail"
ISSUER = {
    "AUTH_ISSUER": "e2e",
    "AUTH_ALGORITHM": "HS256",
    "AUTH_SECRET": "a-secret-of-at-least-thirty-two-bytes",
}
ON = "AuthIssuer=e2e AuthAlgorithm=HS256 AuthJwksUrl= AuthSecret=" + ISSUER["AUTH_SECRET"]
OFF = "AuthIssuer= AuthAlgorithm=RS256 AuthSecret= AuthJwksUrl="


def bearer(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject, ISSUER)}"}


def url_of(done: "subprocess.CompletedProcess[str]") -> str:
    """MiniStack makes another API when its definition has changed, where AWS changes the one."""
    return done.stdout.split(API)[0].rpartition(" ")[2]


def test_owners_are_turned_on_and_off_by_parameters(
    ministack_endpoint: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(ministack.command, ministack_endpoint, stage=STAGE)
    deploy = partial(run, "deploy", "--build", str(ministack.ARTIFACT), "--parameters")
    monkeypatch.setenv("SMOKE_TOKEN", token("smoke", ISSUER))
    first = deploy(f"RedisUrl={redis_url} {ON}")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Smoke test passed" in first.stdout
    url = url_of(first)
    ask = partial(requests.request, timeout=60)

    assert ask("GET", f"{url}/api/v1/system/pulse").status_code == 200
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {token('a', {})}"}):
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/x"), ("POST", "/upload")):
            refused = ask(method, f"{url}{API}{path}", headers=headers)
            assert (refused.status_code, list(refused.json())) == (401, ["error"])
            assert refused.headers["WWW-Authenticate"] == 'Bearer realm="thumbnails"'
    sent = {"image": ("a.jpg", picture())}
    mine = ask("POST", f"{url}{API}", files=sent, headers=bearer("alice")).json()["id"]
    for subject, status in (("alice", 200), ("bob", 404)):
        assert ask("GET", f"{url}{API}/{mine}", headers=bearer(subject)).status_code == status
    assert ask("GET", f"{url}{API}", headers=bearer("bob")).json() == []

    monkeypatch.delenv("SMOKE_TOKEN")
    assert "It asks for a token" in deploy("").stdout
    impossible = deploy("AuthAlgorithm=ES256")
    assert impossible.returncode == 1
    assert "AUTH_JWKS_URL must be set for every AUTH_ALGORITHM but HS256" in impossible.stderr
    wrong = deploy("AuthAlgorithm=ES256 AuthSecret= AuthJwksUrl=https://127.0.0.1:1/keys")
    assert wrong.returncode == 1
    assert "403" in wrong.stderr, "without its keys, no token can be checked"
    off = deploy(OFF)
    assert "Smoke test passed" in off.stdout, off.stdout + off.stderr
    reply = ask("GET", f"{url_of(off)}{API}/{mine}")
    assert reply.status_code == 200, reply.text
    again = deploy(ON)
    assert "It asks for a token" in again.stdout, again.stdout + again.stderr
    assert ask("DELETE", f"{url_of(again)}{API}/{mine}", headers=bearer("alice")).status_code == 200
    options = ("--max-examples", "5", "--header", f"Authorization: {bearer('alice')['Authorization']}")
    well, report = explore(url_of(again), *options)
    assert well, report
    assert run("destroy", "--force").returncode == 0
