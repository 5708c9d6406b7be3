"""Clients that upload all the time, and the pipeline that makes the thumbnails of what they got 201 for."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from chalicelib import services
from chalicelib.clients import redis_client
from tests.conftest import picture
from tests.reliability.deployment import Deployment
from tests.service import eventually

CLIENTS = 3
PIPELINES = 3


@dataclass(frozen=True)
class Answer:
    """What a client was answered, with the id if the picture was accepted; times are of `time.monotonic`."""

    began: float
    at: float
    status: int
    record_id: str | None


@contextlib.contextmanager
def patient_clients() -> Iterator[None]:
    """Let the service wait ten times as long for Redis: on a slow machine, too, it is refused for cause only.

    What has died refuses connections immediately.
    """

    def patient(url: str, *, timeout: float, is_cluster: bool = False) -> Any:
        return redis_client(url, timeout=10 * timeout, is_cluster=is_cluster)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "redis_client", patient)
        yield


@dataclass
class Load:
    """Uploads and processes while it is entered; at the end, what was accepted is processed."""

    deployment: Deployment
    answers: list[Answer] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    # Clients wait where the pipeline cannot follow: on a slow machine, too, a test has an end.
    _events: "queue.Queue[str | None]" = field(default_factory=lambda: queue.Queue(maxsize=10))

    def __enter__(self) -> Self:
        self._clients = [threading.Thread(target=self._upload, args=(number,)) for number in range(CLIENTS)]
        self._pipelines = [threading.Thread(target=self._process) for _ in range(PIPELINES)]
        for thread in (*self._clients, *self._pipelines):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for client in self._clients:
            client.join()
        for _pipeline in self._pipelines:
            self._events.put(None)
        for pipeline in self._pipelines:
            pipeline.join()

    @property
    def accepted(self) -> list[str]:
        return [answer.record_id for answer in self.answers if answer.record_id is not None]

    def statuses(self, *, since: float = 0, until: float = float("inf")) -> list[int]:
        """Of all requests that were made, and answered, between these times."""
        return [answer.status for answer in self.answers if since <= answer.began and answer.at < until]

    def wait_for(self, number: int, *, since: float = 0) -> None:
        """Wait until so many requests that were made since then have been answered."""
        eventually(lambda: len(self.statuses(since=since)) >= number, 120)

    def _upload(self, client: int) -> None:
        number = 0
        while not self._stopped.is_set():
            content = picture(16, 12, seed=CLIENTS * number + client)
            began = time.monotonic()
            reply = self.deployment("POST", files={"image": ("a.jpg", content)})
            record_id = reply.json()["id"] if reply.status_code == 201 else None
            self.answers.append(Answer(began, time.monotonic(), reply.status_code, record_id))
            if record_id is not None:
                self._events.put(record_id)
            number += 1
            time.sleep(0.1)

    def _process(self) -> None:
        while (record_id := self._events.get()) is not None:
            for _ in range(100):
                try:
                    self.deployment.process_upload(record_id)
                except Exception:  # noqa: BLE001 - Lambda tries again, too
                    time.sleep(0.2)
                else:
                    break
