"""The smoke test's failures: each is a sentence, so that a deployment can go back, and none hides another."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, ReadTimeoutError
from PIL import Image

from deploy import ROOT, UserError, deploy, rollback, smoke
from deploy.stack import Stack
from tests.inside import MAINTENANCE_READ_SECONDS

RECORD = {"id": "a", "ready": True, "size": {"thumbnail": 3}}
Answer = Callable[[], dict[str, Any]]


def picture(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("L", (1, 1)).save(data, kind)
    return data.getvalue()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for name in ("AWS_ENDPOINT_URL", "SMOKE_TOKEN", "SMOKE_API_KEY", "ROLLBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    found = Stack("thumbnails-prod")
    monkeypatch.setattr(found, "url", lambda: "https://api")
    return found


@pytest.fixture
def reconcile(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> Iterator[list[Answer]]:
    """What the function answers when it is asked for its settings, and how it is asked."""
    answers: list[Answer] = []

    class Lambda:
        def invoke(self, **_: Any) -> dict[str, Any]:
            return answers.pop()()

    def client(service: str, *, endpoint_url: str | None, config: Any = None) -> Lambda:
        assert (service, endpoint_url) == ("lambda", None)
        assert config.read_timeout == MAINTENANCE_READ_SECONDS
        assert config.retries["total_max_attempts"] == 1, "each would be a run"
        return Lambda()

    monkeypatch.setattr("boto3.client", client)
    yield answers
    assert answers == []


def raising(error: Exception) -> Answer:
    def answer() -> dict[str, Any]:
        raise error

    return answer


def answering(said: Any) -> Answer:
    return lambda: {"Payload": io.BytesIO(json.dumps(said).encode())}


TAKES_THEM = answering({"done": True, "counts": {}})
UNKNOWN = [
    raising(ReadTimeoutError(endpoint_url="https://lambda")),
    raising(ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")),
]


def served(monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, bytes]) -> None:
    """Let the API answer so; a last answer is the one to DELETE."""
    left = list(answers)

    def send(_: requests.Session, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        reply = requests.Response()
        reply.request, reply.url = request, str(request.url)
        reply.status_code, body = left.pop(0) if request.method != "DELETE" else (204, b"")
        reply.raw = io.BytesIO(body)
        return reply

    monkeypatch.setattr(requests.Session, "send", send)


CREATED, READY = (201, json.dumps(RECORD).encode()), (200, json.dumps(RECORD).encode())
FAILURES = {
    "base64": ([CREATED, READY, (200, base64.b64encode(picture("JPEG")))], r"as it was stored.*b'/9j/"),
    "another format": ([CREATED, READY, (200, picture("PNG"))], "as it was stored"),
    "no id": ([(201, b'{"ready": true}')], r"POST .* answered 201 without a record: .*ready"),
    "no JSON": ([(201, b"<html>")], "answered 201 without a record: <html>"),
    "a list": ([CREATED, (200, b"[]")], r"GET .* answered 200 without a record"),
    "no size": (
        [CREATED, (200, b'{"id": "a", "ready": true}'), (200, picture("JPEG"))],
        "smoke test failed: KeyError: 'size'",
    ),
}


@pytest.mark.parametrize(("answers", "said"), FAILURES.values(), ids=FAILURES)
def test_what_is_wrong_is_said(
    monkeypatch: pytest.MonkeyPatch,
    stack: Stack,
    reconcile: list[Answer],
    answers: list[tuple[int, bytes]],
    said: str,
) -> None:
    served(monkeypatch, *answers)
    reconcile.append(TAKES_THEM)
    with pytest.raises(UserError, match=said):
        smoke.run(stack)


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["timeout", "throttled"])
def test_a_function_that_cannot_be_asked_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, stack: Stack, reconcile: list[Answer], unknown: Answer
) -> None:
    served(monkeypatch, (500, b"broken"))
    reconcile.append(unknown)
    with pytest.raises(UserError, match="answered 500, not 201: broken"):
        smoke.run(stack)


def test_settings_that_are_refused_are_named(
    monkeypatch: pytest.MonkeyPatch, stack: Stack, reconcile: list[Answer]
) -> None:
    served(monkeypatch, (500, b"broken"))
    reconcile.append(answering({"errorMessage": "BUCKET must be a name"}))
    with pytest.raises(UserError, match="refuse their settings: BUCKET must"):
        smoke.run(stack)


class Known:
    """A bucket of artifacts that knows a version to go back to."""

    def remembered(self, _: str) -> object:
        return self


@pytest.mark.parametrize("unknown", [*UNKNOWN, TAKES_THEM], ids=["timeout", "throttled", "asked"])
def test_a_version_that_fails_is_taken_back_however_it_fails(
    monkeypatch: pytest.MonkeyPatch, stack: Stack, reconcile: list[Answer], unknown: Answer
) -> None:
    monkeypatch.setenv("ROLLBACK", "1")
    back: list[Stack] = []
    monkeypatch.setattr(rollback, "roll_back", lambda stack, _: back.append(stack))
    served(monkeypatch, *FAILURES["base64"][0])
    reconcile.append(unknown)
    artifacts: Any = Known()
    with pytest.raises(UserError, match="the one before is back"):
        deploy.try_it(stack, artifacts, {"Parameters": {}})
    assert back == [stack]


def test_it_deploys_where_there_is_no_local_service() -> None:
    """As in LocalStack's container, which gets no folder `local`."""
    code = "import sys; sys.modules['local'] = None; import deploy.deploy"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, check=True, timeout=60)
