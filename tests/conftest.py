"""Real parts for the tests: a Valkey, an S3 with its notifications, and the API over HTTP.

Servers live as long as the test session; each test gets an empty Redis and a bucket of its own.
"""

import gc
import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import redis
import requests
from chalice.local import LambdaContext
from moto.s3 import models as moto_s3
from PIL import Image

from chalicelib import naming, services, triggers
from chalicelib.clients import redis_client, s3_client
from chalicelib.clock import now_ms
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED, Record
from chalicelib.records.store import RecordStore
from chalicelib.spec import ThumbnailSpec
from chalicelib.work.process import Processor
from chalicelib.work.upload import Uploader
from tests import times
from tests.inside import s3_of
from tests.made_stack import resources, stack  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import MessageTypeDef

    from tests.reconciler import Reconciler

pytest_plugins = ("tests.servers",)
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    end_to_end = parser.getgroup("end to end", "what tests/e2e runs against")
    end_to_end.addoption(
        "--target",
        choices=["run", "ministack", "localstack"],
        default="run",
        help="run, ministack: started here; localstack: what localstack-compose.yml has started",
    )
    end_to_end.addoption("--base-url", help="a service that runs already; nothing is started then")
    end_to_end.addoption("--bucket", help="its bucket; without it, what looks into the bucket is skipped")


def pytest_configure() -> None:
    # Shells let what they run in the background ignore it, and programs that tests start inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell in reports which tests `make test` leaves out; tests/times.py reads it."""
    for item in items:
        if item.get_closest_marker(times.SLOW):
            item.user_properties.append((times.SLOW, "yes"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector from looking through ten thousand tests again and again."""
    gc.collect()
    gc.freeze()


def picture(width: int = 300, height: int = 200, *, image_format: str = "JPEG", seed: int = 0) -> bytes:
    """A picture with some detail in it; another seed gives other bytes."""
    image = Image.linear_gradient("L").resize((width, height))
    image = Image.merge("RGB", (image, image.rotate(180), Image.new("L", image.size, 40 + seed % 200)))
    out = BytesIO()
    image.save(out, image_format)
    return out.getvalue()


@pytest.fixture
def redis_server(redis_url: str) -> Iterator["redis.Redis"]:
    """A plain client of an empty Redis, to look at what is really stored."""
    client: redis.Redis = redis.Redis.from_url(redis_url, decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="session")
def s3(aws_environment: None) -> "S3Client":
    """A plain client of S3, as any user of the bucket has one."""
    client: S3Client = boto3.client("s3")
    return client


STANDING_MS = 1_800_000_000_000
"""Where `s3_clock` stands at first."""


class SettableClock:
    """The real time and what a test has added to it: S3 keeps the real one."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms

    def advance(self, *, seconds: float = 0, ms: float = 0) -> None:
        self.ahead_ms += int(seconds * 1000 + ms)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def s3_clock(clock: SettableClock, monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """The same clock, which stands still until it is moved, and which S3 goes by as well."""
    monkeypatch.setattr("tests.conftest.now_ms", lambda: STANDING_MS)
    monkeypatch.setattr(moto_s3, "utcnow", lambda: datetime.fromtimestamp(clock() / 1000, UTC))
    return clock


@pytest.fixture
def store(redis_url: str, redis_server: "redis.Redis", clock: SettableClock) -> RecordStore:
    return RecordStore(redis_client(redis_url, timeout=30), clock)


@pytest.fixture
def bucket(s3: "S3Client") -> Bucket:
    name = f"pictures-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return Bucket(s3_client(timeout=30, attempts=1), name)


@pytest.fixture
def processor(store: RecordStore, bucket: Bucket) -> Processor:
    return Processor(store, bucket, ThumbnailSpec(), max_bytes=1_000_000, max_pixels=1_000_000)


@pytest.fixture
def uploader(store: RecordStore, bucket: Bucket, clock: SettableClock) -> Uploader:
    return Uploader(store, bucket, clock, retention=0, client=UNRESTRICTED)


@pytest.fixture
def reconciler(processor: Processor, clock: SettableClock) -> "Reconciler":
    from tests.reconciler import Reconciler

    return Reconciler(processor, clock)


def found(store: RecordStore, record_id: str) -> Record:
    """A record that has to be there, in whatever state."""
    record = store.find(record_id)
    assert record is not None
    return record


def keys_in(bucket: Bucket, prefix: str = "") -> list[str]:
    """All object keys of a bucket, sorted, without the heartbeat, which is of no picture."""
    listed = s3_of(bucket).list_objects_v2(Bucket=bucket.name, Prefix=prefix)
    keys = [item["Key"] for item in listed.get("Contents", [])]
    return [key for key in keys if key != naming.HEARTBEAT_OBJECT]


def just_before(target: Bucket, operation: str, action: Callable[[], object], *, skip: int = 0) -> None:
    """Run `action` once, when the adapter is about to call S3's `operation`: this is how a race is forced.

    Args:
        target: the adapter whose client is watched.
        operation: S3's name of the call, such as PutObject.
        action: what the other side does at that moment.
        skip: how many calls of the operation to let pass first.
    """
    _once(target, f"before-call.s3.{operation}", action, skip)


def just_after(target: Bucket, operation: str, action: Callable[[], object], *, skip: int = 0) -> None:
    """Run `action` once, when S3 has answered the adapter's `operation`; else like `just_before`."""
    _once(target, f"after-call.s3.{operation}", action, skip)


def _once(target: Bucket, hook: str, action: Callable[[], object], skip: int) -> None:
    calls = itertools.count()

    def run(parsed: dict[str, Any] | None = None, **_: object) -> None:
        if next(calls) != skip:
            return
        try:
            action()
        except BaseException:
            # Nobody else can: the caller has not got the answer yet.
            if parsed is not None and "Body" in parsed:
                parsed["Body"].close()
            raise

    s3_of(target).meta.events.register(hook, run)


@dataclass
class Api:
    """The API over HTTP, with the events in the test's hand: nothing happens to an upload until `deliver`."""

    url: str
    bucket: Bucket
    store: RecordStore
    queue_url: str
    sqs: "SQSClient"
    handler: Callable[[dict[str, Any], Any], None]
    session: requests.Session = field(default_factory=requests.Session)

    def __call__(self, method: str, path: str = "", **kwargs: Any) -> requests.Response:
        return self.session.request(method, f"{self.url}/api/v1/thumbnail{path}", timeout=60, **kwargs)

    def upload(self, content: bytes | None = None, filename: str = "photo.jpg") -> dict[str, Any]:
        reply = self("POST", files={"image": (filename, picture() if content is None else content)})
        assert reply.status_code == 201, reply.text
        record: dict[str, Any] = reply.json()
        return record

    def events(self) -> list[dict[str, Any]]:
        """Take all notifications that S3 has sent since."""
        found = []
        while messages := self._receive():
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return [event for event in found if "Records" in event]

    def _receive(self) -> "list[MessageTypeDef]":
        reply = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
        return reply.get("Messages", [])

    def deliver(self, events: list[dict[str, Any]] | None = None) -> None:
        """Hand notifications to the function that Lambda runs; those that S3 has sent, if none are given."""
        for event in self.events() if events is None else events:
            self.handler(event, LambdaContext("make_thumbnail", 2048, 60_000))

    def reconcile(self) -> dict[str, int]:
        """Let the function run that EventBridge calls every five minutes."""
        import app

        counts: dict[str, int] = app.reconcile({}, LambdaContext("reconcile", 2048, 290_000))["counts"]
        return counts

    def fail(self, *reports: Any) -> list[str]:
        """Hand reports to the function that marks failed records; return which come again, by number."""
        import app

        messages = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(reports)]
        context = LambdaContext("mark_failed", 512, 60_000)
        reply = app.mark_failed({"Records": messages}, context)
        return [failure["itemIdentifier"] for failure in reply["batchItemFailures"]]


def assert_error(reply: requests.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/json"
    body = reply.json()
    assert list(body) == ["error"]
    sentence: str = body["error"]
    assert sentence.endswith(".")
    assert "Error" not in sentence
    assert "Traceback" not in sentence
    return sentence


def report(event: dict[str, Any]) -> dict[str, Any]:
    """What Lambda reports of an event that has failed each time."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-23T12:00:00.000Z",
        "requestContext": {
            "requestId": "e1d5a1f4-0000-4000-8000-000000000000",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:make-thumbnail:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {
            "errorMessage": "The object store cannot be reached.",
            "errorType": "BucketUnavailable",
        },
    }


@pytest.fixture(scope="session")
def api_server(redis_url: str, aws_environment: None) -> Iterator[tuple[str, str]]:
    """The app behind the local gateway, in this process; yields its URL and the queue's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", redis_url)
        patch.setenv("BUCKET", "api-pictures")
        # A queue of its own: the workers of services that other tests run, on the same servers, share theirs.
        patch.setattr("local.notifications.QUEUE", "api-events")
        from local.gateway import create_server
        from local.notifications import connect

        queue_url = connect("api-pictures")
        server = create_server("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.effective_port}", queue_url
        server.stop()
        thread.join()


@pytest.fixture(scope="session")
def sqs(aws_environment: None) -> "SQSClient":
    client: SQSClient = boto3.client("sqs")
    return client


def patient_s3_client(*, timeout: float, attempts: int) -> "S3Client":
    """A client that waits a minute where the API's own gives up; `test_outage` has that one."""
    return s3_client(timeout=max(timeout, 60), attempts=attempts)


@pytest.fixture
def api(
    api_server: tuple[str, str],
    redis_server: "redis.Redis",
    s3: "S3Client",
    sqs: "SQSClient",
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Api]:
    import app

    monkeypatch.setattr(app, "now_ms", clock)
    for module in (services, triggers):
        monkeypatch.setattr(module, "now_ms", clock)
    # On a busy machine, an S3 in this process takes longer than a second for a thousand objects.
    monkeypatch.setattr(services, "s3_client", patient_s3_client)
    # Fresh settings and clients for each test, so that what one hooks into them ends with it.
    for made in (services.settings, services.bucket, services.store, services.processor):
        made.cache_clear()
    services.processor()  # before threads need it: making clients is not thread-safe in boto3
    url, queue_url = api_server
    served = Api(url, services.bucket(), services.store(), queue_url, sqs, app.make_thumbnail)
    for key in [*keys_in(served.bucket), naming.HEARTBEAT_OBJECT]:
        s3.delete_object(Bucket=served.bucket.name, Key=key)
    served.events()
    with served.session:
        yield served


@pytest.fixture
def fault(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the app fail in a way that its code does not foresee, whenever it reads one record."""
    import app

    def fail() -> None:
        raise KeyError("state of the record")

    monkeypatch.setattr(app, "downloader", fail)
