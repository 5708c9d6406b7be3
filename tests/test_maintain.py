"""`make reconcile` and `make rebuild` as their user calls them, on servers that the environment names."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError

import app
from deploy import ROOT, maintain
from deploy.stack import Stack
from local.running import NOTED
from tests.conftest import Api, picture
from tests.inside import MAINTENANCE_READ_SECONDS

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
    assert "         1  retried: ready\n" in done.stdout
    assert api("GET", f"/{record['id']}").json()["ready"] is True


def test_failed_pictures_are_redriven(api: Api, redis_url: str) -> None:
    record = api.upload(picture()[:200])
    api.deliver()
    failed = api("GET", f"/{record['id']}").json()
    assert "error" in failed
    environment = {"BUCKET": api.bucket.name, "REDIS_URL": redis_url}
    assert command("redrive", FAILED="archived", **environment).stdout.endswith("}\nDone.\n")
    done = command("redrive", FAILED="undecodable", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("         1  redriven\nDone.\n")
    assert "error" not in api("GET", f"/{record['id']}").json()
    assert "retried: failed" in command("reconcile", **environment).stdout
    assert api("GET", f"/{record['id']}").json() == failed


def test_thumbnails_are_made_again(api: Api, redis_url: str) -> None:
    record = api.upload()
    api.deliver()
    environment = {"BUCKET": api.bucket.name, "REDIS_URL": redis_url, "THUMBNAIL_SIZES": "card=40x30"}
    refused = command("remake", RATE="0", **environment)
    assert (refused.returncode, "RATE must be" in refused.stderr) == (1, True)
    done = command("remake", RATE="50", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("         1  thumbnails made again\nDone.\n")
    assert api("GET", f"/{record['id']}").json()["sizes"].keys() == {"card"}
    assert "made again" not in command("remake", **environment).stdout


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


class Answers:
    """A Lambda client that answers, or fails, as it is told."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self._answers = list(answers)
        self.calls = 0

    def invoke(self, **_: Any) -> dict[str, Any]:
        self.calls += 1
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Stack, Answers]]:
    def answering(*answers: dict[str, Any] | Exception) -> tuple[Stack, Answers]:
        stack = Stack("thumbnails-prod", endpoint=os.environ["AWS_ENDPOINT_URL"])
        client = Answers(*answers)
        monkeypatch.setattr(stack, "exists", lambda: True)
        monkeypatch.setattr("boto3.client", lambda *_, **__: client)
        monkeypatch.setattr("time.sleep", lambda _: None)
        return stack, client

    return answering


LOST = ConnectionClosedError(endpoint_url="https://lambda")


def test_a_rebuild_is_done_in_slices_whose_progress_is_shown(
    deployed: Callable[..., tuple[Stack, Answers]], capsys: pytest.CaptureFixture[str]
) -> None:
    slices = [{"done": done, "counts": {"records restored": 1500}} for done in (False, False, True)]
    stack, client = deployed(*slices)
    assert maintain.run("rebuild", stack, {}) == {"records restored": 4500}
    assert client.calls == 3
    said = capsys.readouterr().out
    assert "     1,500  records restored\n" in said
    assert "     3,000  records restored\n" in said


def test_an_answer_that_is_lost_on_the_way_ends_nothing(
    deployed: Callable[..., tuple[Stack, Answers]],
) -> None:
    stack, client = deployed(LOST, LOST, {"done": True, "counts": {}})
    assert maintain.run("rebuild", stack, {}) == {}
    assert client.calls == 3


def test_a_network_that_stays_away_does(deployed: Callable[..., tuple[Stack, Answers]]) -> None:
    stack, client = deployed(*[LOST] * 9)
    with pytest.raises(ConnectionClosedError):
        maintain.run("rebuild", stack, {})
    assert client.calls == 4


def test_no_call_is_longer_than_a_nat_gateway_remembers() -> None:
    functions = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]["release"][
        "lambda_functions"
    ]
    for name in ("reconcile", "rebuild"):
        assert functions[name]["lambda_timeout"] < 300
        assert functions[name]["lambda_timeout"] + 30 <= MAINTENANCE_READ_SECONDS < 350
    # It takes up nothing more when a thumbnail could take the rest of its time, and does some work before.
    assert functions["rebuild"]["lambda_timeout"] * 1000 >= 2 * app.STOP_MS


def test_maintenance_has_the_settings_of_the_running_service() -> None:
    """All but those that only the API reads, and the name of a function on AWS."""
    source = (ROOT / "chalicelib" / "settings.py").read_text()
    of_the_api = {"ALLOWED_ORIGINS", "MAX_UPLOAD_BYTES", "PUBLIC_STORAGE_URL", "OUTBOX_FUNCTION"}
    assert set(re.findall(r'env, "([A-Z_]+)"', source)) - set(NOTED) == of_the_api
