"""`make reconcile` and `make rebuild` as their user calls them, on servers that the environment names."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy import ROOT
from tests.conftest import Api

if TYPE_CHECKING:
    import redis

pytestmark = pytest.mark.slow


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "deploy.maintain", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_lost_redis_is_rebuilt(api: Api, redis_url: str, redis_server: "redis.Redis") -> None:
    for _ in range(3):
        api.upload()
    api.deliver()
    before = api("GET").json()
    redis_server.flushall()
    done = command("rebuild", BUCKET=api.bucket.name, REDIS_URL=redis_url)
    assert done.returncode == 0, done.stderr
    assert "         3  records restored\n" in done.stdout
    assert done.stdout.endswith("Done.\n")
    assert api("GET").json() == before


def test_what_is_due_is_dealt_with(api: Api, redis_url: str, redis_server: "redis.Redis") -> None:
    record = api.upload()
    redis_server.zadd("due", {record["id"]: 1})
    done = command("reconcile", BUCKET=api.bucket.name, REDIS_URL=redis_url)
    assert done.returncode == 0, done.stderr
    assert "         1  driven again: ready\n" in done.stdout
    assert api("GET", f"/{record['id']}").json()["ready"] is True


@pytest.mark.parametrize(
    ("environment", "arguments", "said"),
    [
        ({"BUCKET": "", "REDIS_URL": ""}, [], "rebuild: BUCKET is not set"),
        ({"BUCKET": "pictures", "REDIS_URL": "redis://127.0.0.1:1"}, [], "Redis) cannot be reached"),
        ({}, ["--stage", "No Such"], "STAGE must be"),
        ({"AWS_ENDPOINT_URL": ""}, ["--stage", "x", "--target", "ministack"], "AWS_ENDPOINT_URL must be set"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    environment: dict[str, str], arguments: list[str], said: str
) -> None:
    done = command("rebuild", *arguments, **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
