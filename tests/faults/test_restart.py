"""The processes of `make run` die one after the other while clients use it: what was promised to them holds.

Valkey and the object store outlive the service, as they do on AWS. A client that got no answer was
promised nothing.
"""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from PIL import Image

from chalicelib import naming
from chalicelib.clients import redis_client, s3_client
from chalicelib.objects.bucket import Bucket
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.process import Processor
from local.notifications import QUEUE
from tests.conftest import SettableClock, picture
from tests.reconciler import Reconciler
from tests.service import Service, eventually, is_alive, processes_of

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

pytestmark = pytest.mark.slow

BUCKET = "restarted-pictures"
CLIENTS = 4
MOST_UPLOADS = 2000  # of each client: more than there is time for
ANSWERS = 5  # that each client gets between two deaths
PAUSE_SECONDS = 0.15
DOWN_SECONDS = 0.2  # that a client without an answer waits before it goes on
END_SECONDS = 180  # of which 20 are the queue's, until what a dead worker had in hand comes again

PICTURES = [
    picture(),
    picture(800, 600, seed=1),
    picture(seed=2, image_format="PNG"),
    picture(seed=3, image_format="WEBP"),
    picture(seed=4, image_format="PNG")[:400],
]
BROKEN = 4
"""Place of the picture that is accepted by its beginning and cannot be decoded."""


@dataclass
class Client:
    """Uses the service with pictures of its own, and remembers what it was promised."""

    number: int
    kept: dict[str, int] = field(default_factory=dict)
    """Ids that were answered with 201, and which picture it was."""
    deleted: set[str] = field(default_factory=set)
    """Ids whose deletion was answered with 200."""
    uncertain: set[str] = field(default_factory=set)
    """Ids whose deletion was not answered: they may be there, or not, or half."""
    unanswered: int = 0
    answered: int = 0
    """Uploads that were answered with 201."""

    def use(self, running: list[Service], stop: threading.Event) -> None:
        """Upload and do something else in turn, until told to stop; the last of `running` is up."""
        rng = random.Random(self.number)
        for _ in range(MOST_UPLOADS):
            if stop.wait(PAUSE_SECONDS):
                return
            try:
                self._upload(running[-1], rng.randrange(len(PICTURES)))
                if self.kept:
                    record_id = rng.choice(list(self.kept))
                    rng.choice([self._look, self._delete, self._list])(running[-1], record_id)
            except requests.RequestException:  # a broken answer is none
                self.unanswered += 1
                stop.wait(DOWN_SECONDS)
        stop.wait()

    def _upload(self, service: Service, which: int) -> None:
        reply = service("POST", files={"image": (f"{which}.jpg", PICTURES[which])})
        if answered(reply, 201):
            self.kept[reply.json()["id"]] = which
            self.answered += 1

    def _look(self, service: Service, record_id: str) -> None:
        reply = service("GET", f"/{record_id}")
        if answered(reply, 200) and reply.json()["ready"]:
            thumbnail = service("GET", f"/{record_id}/download")
            if answered(thumbnail, 200):
                assert len(thumbnail.content) == reply.json()["size"]["thumbnail"]

    def _delete(self, service: Service, record_id: str) -> None:
        del self.kept[record_id]
        self.uncertain.add(record_id)
        if answered(service("DELETE", f"/{record_id}"), 200):
            self.uncertain.remove(record_id)
            self.deleted.add(record_id)
            answered(service("GET", f"/{record_id}"), 404)

    def _list(self, service: Service, _: str) -> None:
        reply = service("GET", params={"limit": 1000})
        if answered(reply, 200):
            seen = Counter(record["id"] for record in reply.json())
            assert not self.deleted & seen.keys()
            assert all(seen[record_id] == 1 for record_id in self.kept)


def answered(reply: requests.Response, status: int) -> bool:
    """Tell whether this is the answer; that the service is too busy is none."""
    assert reply.status_code in {status, 503}, (reply.request.method, reply.url, reply.text)
    return reply.status_code == status


@pytest.fixture
def environment(redis_url: str, redis_server: "redis.Redis", s3_endpoint: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "AWS_ENDPOINT_URL": s3_endpoint, "BUCKET": BUCKET}


def test_what_was_promised_outlives_every_process(
    environment: dict[str, str], s3: "S3Client", sqs: "SQSClient", processor: Processor
) -> None:
    clients = [Client(number) for number in range(CLIENTS)]
    stop = threading.Event()
    with ExitStack() as stack:
        running = [stack.enter_context(Service(environment))]
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        stack.callback(stop.set)
        working = [pool.submit(client.use, running, stop) for client in clients]
        for module in ("local.api", "local.worker", "local.api"):
            for how in (signal.SIGTERM, signal.SIGKILL):
                work_goes_on(clients, working)
                end_child(running[-1], module, how)
        for how in (signal.SIGTERM, signal.SIGKILL):
            work_goes_on(clients, working)
            running[-1].stop(how)
            # Without a pause: of one that was killed, the children may be at work still.
            running.append(stack.enter_context(Service(environment)))
        work_goes_on(clients, working)
        stop.set()
        for work in working:
            work.result(120)
        assert_enough_was_done(clients)

        service = running[-1]
        kept = {record_id: which for client in clients for record_id, which in client.kept.items()}
        deleted = set[str]().union(*(client.deleted for client in clients))
        for record_id, which in kept.items():
            ended = service.wait_for_end(record_id, END_SECONDS)
            assert ended["ready"] is (which != BROKEN), ended
        eventually(lambda: is_empty(sqs), END_SECONDS, lambda: f"events are left\n{service.output}")
        assert_promises_are_kept(service, s3, kept, deleted)

        left = leftovers(service, s3)
        assert not left & (kept.keys() | deleted), "only of requests without an answer may anything be left"
        reconcile(environment["REDIS_URL"], processor)
        assert_promises_are_kept(service, s3, kept, deleted)
        assert not leftovers(service, s3)
    assert "Traceback" not in "".join(one.output for one in running)


def work_goes_on(clients: list[Client], working: list["Future[None]"]) -> None:
    """Let each client get some answers before something else happens."""
    wanted = [client.answered + ANSWERS for client in clients]

    def have_gone_on() -> bool:
        assert not any(work.done() for work in working), [work.exception() for work in working if work.done()]
        return all(client.answered >= number for client, number in zip(clients, wanted, strict=True))

    eventually(have_gone_on, 120, lambda: str(clients))


def reconcile(redis_url: str, processor: Processor) -> None:
    """Let the reconciler do on the next day, and the day after that, what it has to do by then."""
    clock = SettableClock()
    store = RecordStore(redis_client(redis_url, timeout=30), clock)
    processor = replace(processor, store=store, bucket=Bucket(s3_client(timeout=30, attempts=2), BUCKET))
    reconciler = Reconciler(processor, clock)
    for _ in range(2):
        clock.advance(ms=RECORDS_EVERY_MS)
        reconciler.sweep()
        reconciler.audit()


def end_child(service: Service, module: str, how: signal.Signals) -> None:
    """Let a process of the service die, and wait until another one has taken its place."""
    victim = child(service, module)
    assert victim is not None
    victim.send_signal(how)

    def replaced() -> bool:
        other = child(service, module)
        if other is None or other == victim:
            return False
        return module != "local.api" or answers(service)

    eventually(replaced, 60, lambda: service.output)
    assert not is_alive(victim)


def child(service: Service, module: str) -> psutil.Process | None:
    for process in processes_of(service.process.pid):
        try:
            if module in process.cmdline() and is_alive(process):
                return process
        except psutil.NoSuchProcess:
            continue
    return None


def answers(service: Service) -> bool:
    try:
        return requests.get(f"{service.url}/api/v1/system/pulse", timeout=60).ok
    except requests.RequestException:
        return False


def is_empty(sqs: "SQSClient") -> bool:
    """Tell whether every event has been dealt with, also those that a dead worker had in hand."""
    counts = sqs.get_queue_attributes(
        QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return not any(map(int, counts.values()))


def assert_enough_was_done(clients: list[Client]) -> None:
    """Fail when the machine was too slow for the test to mean anything."""
    assert all(client.kept and client.deleted for client in clients)
    assert any(client.unanswered for client in clients), "no request met a death"


def assert_promises_are_kept(
    service: Service, s3: "S3Client", kept: dict[str, int], deleted: set[str]
) -> None:
    listed = {}
    for record in all_records(service):
        assert record["id"] not in listed, "each once"
        listed[record["id"]] = record
    assert listed.keys() >= kept.keys()
    assert not listed.keys() & deleted
    objects = all_objects(s3)
    for record_id, which in kept.items():
        assert objects[naming.original(record_id)] == len(PICTURES[which])
        assert service("GET", f"/{record_id}").json() == listed[record_id]
    for record_id in deleted:
        assert service("GET", f"/{record_id}").status_code == 404
    assert not {key for key in objects if id_of(key) in deleted}
    for record_id, record in listed.items():
        sizes = [size for key, size in objects.items() if key.startswith(f"{naming.THUMBNAILS}{record_id}/")]
        assert sizes == ([record["size"]["thumbnail"]] if record["ready"] else []), record
        if record["ready"]:
            content = service("GET", f"/{record_id}/download").content
            assert len(content) == record["size"]["thumbnail"]
            Image.open(BytesIO(content)).load()


def leftovers(service: Service, s3: "S3Client") -> set[str]:
    """Ids of records that wait for an original which never came, and of objects without a record."""
    objects = all_objects(s3)
    listed = {record["id"]: record for record in all_records(service)}
    without_original = {
        record_id
        for record_id, record in listed.items()
        if not record["ready"] and naming.original(record_id) not in objects
    }
    return without_original | ({id_of(key) for key in objects} - listed.keys())


def all_records(service: Service) -> Iterator[dict[str, Any]]:
    """What a client reads that follows the list from page to page."""
    reply = service("GET", params={"limit": 20})
    while True:
        assert reply.status_code == 200, reply.text
        yield from reply.json()
        if "next" not in reply.links:
            return
        reply = service("GET", reply.links["next"]["url"].removeprefix("/api/v1/thumbnail"))


def all_objects(s3: "S3Client") -> dict[str, int]:
    """Keys of all pictures' objects in the bucket, and their sizes in bytes."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    found = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
    # A service that runs for a minute writes it.
    found.pop(naming.HEARTBEAT_OBJECT, None)
    return found


def id_of(key: str) -> str:
    """The record that an object belongs to."""
    return key.split("/")[1] if key.startswith(naming.THUMBNAILS) else naming.record_id(key)
