"""Notifications reach the handler at least once, whatever fails or dies on the way."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from local import notifications
from local.notifications import Deliveries, queue_client
from tests.service import eventually

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
COUNT = 25
# What `notifications` says it is, less for tests.
VISIBILITY_SECONDS = 3
WORKER = """
import sys, threading, time
from local import notifications
notifications._TIMEOUT_SECONDS = int(sys.argv[2])
def hang(event, context):
    print(event["number"], flush=True)
    time.sleep(60)
deliveries = notifications.Deliveries(notifications.queue_client(), sys.argv[1], hang, threading.Event())
for _ in range(2):
    threading.Thread(target=deliveries.run, daemon=True).start()
time.sleep(60)
"""


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_TIMEOUT_SECONDS", VISIBILITY_SECONDS)


@pytest.fixture
def url(sqs: "SQSClient", request: pytest.FixtureRequest) -> str:
    name = f"deliveries-{abs(hash(request.node.name)) % 10**9}"
    return sqs.create_queue(QueueName=name)["QueueUrl"]


def send(sqs: "SQSClient", url: str, count: int) -> None:
    for number in range(count):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"number": number}))


@contextmanager
def delivering(url: str, handler: Callable[[dict[str, Any], Any], object]) -> Iterator[None]:
    stop = threading.Event()
    deliveries = Deliveries(queue_client(), url, handler, stop)
    running = [threading.Thread(target=deliveries.run) for _ in range(4)]
    for thread in running:
        thread.start()
    yield
    stop.set()
    for thread in running:
        thread.join(60)
        assert not thread.is_alive()


def left(sqs: "SQSClient", url: str) -> int:
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    hidden = found["ApproximateNumberOfMessagesNotVisible"]
    return int(found["ApproximateNumberOfMessages"]) + int(hidden)


def test_each_is_handled_once_and_deleted(sqs: "SQSClient", url: str) -> None:
    seen: Counter[int] = Counter()
    send(sqs, url, COUNT)
    with delivering(url, lambda event, _: seen.update([event["number"]])):
        eventually(lambda: left(sqs, url) == 0, 60)
    assert seen == dict.fromkeys(range(COUNT), 1)


def test_several_are_handled_at_a_time_and_a_slow_one_holds_up_no_other(sqs: "SQSClient", url: str) -> None:
    seen: set[int] = set()
    go_on = threading.Event()

    def handle(event: dict[str, Any], _: object) -> None:
        if event["number"] == 0:
            go_on.wait(120)
        seen.add(event["number"])

    send(sqs, url, COUNT)
    with delivering(url, handle):
        eventually(lambda: seen == set(range(1, COUNT)), 60)
        go_on.set()
        eventually(lambda: 0 in seen, 60)


def test_one_that_raised_comes_again_and_the_others_do_not(sqs: "SQSClient", url: str) -> None:
    tries: Counter[int] = Counter()

    def handle(event: dict[str, Any], _: object) -> None:
        tries[event["number"]] += 1
        if event["number"] == 3 and tries[3] < 3:
            raise KeyError

    send(sqs, url, 5)
    with delivering(url, handle):
        eventually(lambda: tries[3] == 3 and left(sqs, url) == 0, 60)
    assert tries == {0: 1, 1: 1, 2: 1, 3: 3, 4: 1}


@pytest.mark.usefixtures("short_timeout")
def test_what_a_killed_worker_had_in_hand_comes_again(sqs: "SQSClient", url: str) -> None:
    """Two of ten were being handled, eight waited for a thread: all ten come again after the time-out."""
    send(sqs, url, 10)
    command = [sys.executable, "-c", WORKER, url, str(VISIBILITY_SECONDS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        begun = {worker.stdout.readline() for _ in range(2)}
        received = time.monotonic()
        worker.kill()
    assert len(begun) == 2
    seen: set[int] = set()
    with delivering(url, lambda event, _: seen.add(event["number"])):
        eventually(lambda: seen == set(range(10)), 60)
        assert time.monotonic() - received > VISIBILITY_SECONDS / 2
        eventually(lambda: left(sqs, url) == 0, 60)


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("call", ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibility"])
def test_a_queue_that_cannot_be_reached_is_asked_again(
    sqs: "SQSClient", url: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, True])
    client = queue_client()

    def fail(**_: object) -> None:
        if next(failures, False):
            raise EndpointConnectionError(endpoint_url=url)

    client.meta.events.register(f"before-call.sqs.{call}", fail)
    monkeypatch.setattr("tests.test_notifications.queue_client", lambda: client)
    tries: Counter[int] = Counter()

    def handle(event: dict[str, Any], _: object) -> None:
        tries[event["number"]] += 1
        if event["number"] == 0 and tries[0] == 1:
            raise KeyError

    send(sqs, url, 4)
    with delivering(url, handle):
        eventually(lambda: set(tries) == set(range(4)) and tries[0] >= 2 and left(sqs, url) == 0, 60)
