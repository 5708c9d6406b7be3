"""The whole service as deployed, in this process: its HTTP API, its Lambda functions, and a clock to move.

What fails is the platform's part: `S3Faults` makes S3 refuse, `local_redis` loses writes.
"""

import contextlib
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote, urlsplit

import boto3
import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from chalice.local import LambdaContext

from chalicelib import metrics, naming, services
from chalicelib.clients import s3_client
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record
from chalicelib.records.store import RecordStore
from tests.faults.operation import Clock
from tests.faults.s3_in_process import s3_without_wire
from tests.inside import http_session, use_http_session

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MINUTE_MS = 60_000
RECONCILE_MS = 5 * MINUTE_MS
"""How often EventBridge calls `reconcile`."""
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_numbers = itertools.count(1)
_CACHED = (services.settings, services.store, services.bucket, services.processor, services.page)


class _Reply(BytesIO):
    """The body of a reply, as the client reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


@dataclass
class S3Faults:
    """Answers in place of S3 where `rule` says so: it gets the operation and the object key.

    A rule returns status, code and message of the error, or None to let the request pass.
    """

    bucket: str
    rule: Callable[[str, str], tuple[int, str, str] | None] = lambda _operation, _key: None

    def watch(self, client: "S3Client") -> "S3Client":
        for operation in ("GetObject", "HeadObject"):
            answer: Any = self._answer  # the types know no hook that answers
            client.meta.events.register(f"before-send.s3.{operation}", answer)
        return client

    def _answer(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse | None:
        path = unquote(urlsplit(request.url).path).lstrip("/")
        refused = self.rule(event_name.rpartition(".")[2], path.removeprefix(f"{self.bucket}/"))
        if refused is None:
            return None
        status, code, message = refused
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        sent = b"" if request.method == "HEAD" else body
        headers: Any = {"content-type": "application/xml", "content-length": str(len(sent))}
        raw: Any = _Reply(sent)
        return AWSResponse(request.url, status, headers, raw)


@dataclass
class Deployment:
    """What clients and the platform do with it. `s3` is the client of the bucket's owner."""

    url: str
    clock: Clock
    s3: "S3Client"
    bucket: str
    forms_to: str
    faults: S3Faults
    session: requests.Session = field(default_factory=requests.Session)

    # --- clients ---

    def __call__(self, method: str, path: str = "", **kwargs: Any) -> requests.Response:
        return self.session.request(method, f"{self.url}/api/v1/thumbnail{path}", timeout=60, **kwargs)

    def upload(self, content: bytes, *, key: str | None = None) -> str:
        """Upload by the API, under an Idempotency-Key or not; give the id."""
        headers = {} if key is None else {"Idempotency-Key": key}
        reply = self("POST", files={"image": ("a.jpg", content)}, headers=headers)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def presign(self) -> dict[str, Any]:
        reply = self("POST", "/upload", json={"filename": "b.jpg"})
        assert reply.status_code == 201, reply.text
        given: dict[str, Any] = reply.json()
        return given

    def send(self, presigned: Mapping[str, Any], content: bytes) -> None:
        """Send the form of a presigned upload straight to S3."""
        reply = requests.post(self.forms_to, data=presigned["fields"], files={"file": content}, timeout=60)
        assert reply.ok, reply.text

    def put(self, key: str, content: bytes, **options: Any) -> str:
        """Put an object straight into the bucket; give the id of its record."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, **options)
        return naming.record_id(key)

    def delete(self, record_id: str) -> None:
        reply = self("DELETE", f"/{record_id}")
        assert reply.status_code == 200, reply.text

    def shown(self, record_id: str) -> str:
        """What a client sees of a picture: ready, pending, failed, or the status of the answer."""
        reply = self("GET", f"/{record_id}")
        return str(reply.status_code) if reply.status_code != 200 else kind_of(reply.json())

    def listed(self) -> dict[str, dict[str, Any]]:
        """All pages of the list, by id; no id stands there twice."""
        found: dict[str, dict[str, Any]] = {}
        path = "?limit=1000"
        while path:
            reply = self("GET", path)
            assert reply.status_code == 200, reply.text
            for record in reply.json():
                assert record["id"] not in found
                found[record["id"]] = record
            target = reply.links.get("next", {}).get("url", "")
            path = "?" + urlsplit(target).query if target else ""
        return found

    # --- the platform ---

    def event(self, *keys: str, kind: str = "ObjectCreated:Put") -> dict[str, Any]:
        """S3's notification of what is stored under these keys now."""
        return {"Records": [self._event_record(key, kind) for key in keys]}

    def _event_record(self, key: str, kind: str) -> dict[str, Any]:
        stored = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=key)["Contents"][0]
        item = {"key": quote_plus(key, safe="/"), "size": stored["Size"], "eTag": stored["ETag"].strip('"')}
        where = {"bucket": {"name": self.bucket}, "object": item}
        return {"eventSource": "aws:s3", "eventName": kind, "s3": where}

    def process(self, event: Mapping[str, Any]) -> None:
        """Invoke the function that makes thumbnails."""
        import app

        app.make_thumbnail(dict(event), LambdaContext("make_thumbnail", 2048, 60_000))

    def process_upload(self, *ids: str) -> None:
        for record_id in ids:
            self.process(self.event(naming.original(record_id)))

    def retry(self, reports: list[dict[str, Any]]) -> list[int]:
        """Hand a batch of the retry queue to its consumer; give the places of those that come again."""
        import app

        messages = [{"messageId": str(place), "body": json.dumps(one)} for place, one in enumerate(reports)]
        reply = app.mark_failed({"Records": messages}, LambdaContext("mark_failed", 2048, 60_000))
        return [int(failure["itemIdentifier"]) for failure in reply["batchItemFailures"]]

    def reconcile(self, *, after_ms: int = RECONCILE_MS) -> dict[str, int]:
        """Move the clock, by the five minutes that EventBridge waits, and invoke the reconciler."""
        import app

        self.clock.ms += after_ms
        counts: dict[str, int] = app.reconcile({}, LambdaContext("reconcile", 2048, 290_000))["counts"]
        return counts

    def rebuild(self) -> dict[str, int]:
        """What `make rebuild` does: invoke the function until it is done."""
        import app

        counts: dict[str, int] = {}
        for _ in range(10):
            reply = app.rebuild({}, LambdaContext("rebuild", 2048, 900_000))
            counts = {name: counts.get(name, 0) + n for name, n in reply["counts"].items()}
            if reply["done"]:
                return counts
        raise AssertionError("the rebuild never ends")

    def redrive(self, code: str | None = None) -> int:
        """What `make redrive` does; give how many records were made pending again."""
        import app

        reply = app.rebuild({"redrive": code or ""}, LambdaContext("rebuild", 2048, 900_000))
        assert reply["done"]
        return int(reply["counts"].get("redriven", 0))

    # --- what is stored ---

    @property
    def store(self) -> RecordStore:
        return services.processor().store

    def record(self, record_id: str) -> Record | None:
        return self.store.get(record_id, UNRESTRICTED)

    def keys(self, prefix: str = "") -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        found = {item["Key"] for page in pages for item in page.get("Contents", [])}
        return found - {naming.HEARTBEAT_OBJECT}

    def objects_of(self, record_id: str) -> set[str]:
        """All objects of an upload."""
        return self.keys(naming.original(record_id)) | self.keys(naming.thumbnails(record_id))


def kind_of(record: Mapping[str, Any]) -> str:
    """Tell whether a record of the API is ready, failed or pending."""
    return "failed" if "error" in record else "ready" if record["ready"] else "pending"


@contextlib.contextmanager
def deployed(
    url: str,
    redis_url: str,
    s3_endpoint: str,
    *,
    wire: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Deployment]:
    """Deploy the service on a bucket of its own.

    Args:
        url: where the app is served by the local gateway.
        redis_url: the Redis.
        s3_endpoint: where S3 is.
        wire: reach S3 by HTTP. Without it, S3 is moto in this process, without the socket between, and has
            the deployment's clock; forms go by HTTP all the same.
        environment: further settings.

    """
    in_process: Any = s3_without_wire()
    clock, bucket = Clock(), f"reliability-{next(_numbers)}"
    faults = S3Faults(bucket)

    def client(**_: object) -> "S3Client":
        made: Any = s3_client(timeout=30, attempts=1)
        if not wire:
            use_http_session(made, http_session(in_process))
        return faults.watch(made)

    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {"REDIS_URL": redis_url, "BUCKET": bucket, **(environment or {})}.items():
            patch.setenv(name, value)
        if wire:
            patch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
            clock.ms = int(datetime.now(UTC).timestamp() * 1000)
        else:
            patch.delenv("AWS_ENDPOINT_URL")
            patch.setattr("moto.s3.models.utcnow", lambda: _naive(clock.ms))
        for module in ("app", "chalicelib.services", "chalicelib.triggers"):
            patch.setattr(f"{module}.now_ms", clock)
        patch.setattr(services, "s3_client", client)
        # A simulated outage needs no waiting.
        patch.setattr("redis.retry.sleep", lambda _: None)
        for logger in (services.log, metrics.lines):
            stack.callback(logger.setLevel, logging.INFO)
            logger.setLevel(logging.CRITICAL)
        _forget()
        stack.callback(_forget)
        plain: Any = boto3.client("s3")
        if not wire:
            use_http_session(plain, http_session(in_process))
        plain.create_bucket(Bucket=bucket)
        services.bucket()  # before threads need them: making clients is not thread-safe in boto3
        services.processor()
        made = Deployment(url, clock, plain, bucket, f"{s3_endpoint}/{bucket}", faults)
        with made.session:
            yield made


def _naive(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None)


def _forget() -> None:
    for made in _CACHED:
        made.cache_clear()


LATE_MS = IN_FLIGHT_MS + 1000
"""After this time, no change is in progress any more."""
