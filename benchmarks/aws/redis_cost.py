"""What a record and a request cost in Redis and S3, measured on a real Valkey with the real handlers.

    python -m benchmarks.aws.redis_cost            20,000 records
    python -m benchmarks.aws.redis_cost --quick    1,000 records, for tests

The requests go through `app.py` as Lambda calls it; `MONITOR` and botocore's hooks tell what they asked for.
"""

import argparse
import json
import os
import random
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from types import ModuleType
from typing import Any

import redis
from chalice.local import LambdaContext
from PIL import Image

from chalicelib import metrics, naming
from chalicelib.records.record import UNRESTRICTED, Failure, Finished, FinishResult, Record, RemovalScope
from chalicelib.records.store import RecordStore
from local.processes import Child
from tests.lambda_events import http_event, s3_event, upload_event

BUCKET = "cost"
SEED = 1
THUMBNAIL = "/api/v1/thumbnail"


@dataclass(frozen=True, slots=True)
class Request:
    """What one request asked of Redis and S3.

    `sent` are the commands that the client sent, `inside` those that scripts ran; `s3` counts requests
    by S3's name of the operation.
    """

    sent: list[str]
    inside: int
    s3: list[str]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What a record costs Redis: bytes of memory, how many of them in the index, and processor time.

    The latter is microseconds for all calls that led the record to its state.
    """

    size: float
    index: float
    busy: float


# --- memory ---


def memory(server: "redis.Redis", count: int) -> dict[str, Upkeep]:
    """Measure what a record costs in each state, with `count` of them; the server ends up empty."""
    found = {}
    for name, filename, end in (
        ("pending", "IMG_8932.jpg", None),
        ("ready", "IMG_8932.jpg", "ready"),
        ("ready, a file name of 255 characters", "x" * 251 + ".jpg", "ready"),
        ("failed", "IMG_8932.jpg", "failed"),
        ("deleted", "IMG_8932.jpg", "deleted"),
    ):
        _empty(server)
        store = RecordStore(server)
        store.page(1, None, UNRESTRICTED)
        before, busy_before = _used(server), _busy(server)
        for record in _records(count, filename):
            _live(store, record, end)
        busy = _busy(server) - busy_before
        if end is not None:
            # What the reconciler does with a record that has nothing ahead of it. Not DEL: that frees later.
            server.zremrangebyrank(naming.DUE, 0, -1)
        index: Any = server.memory_usage(naming.INDEX, samples=0)
        found[name] = Upkeep((_used(server) - before) / count, (index or 0) / count, busy / count * 1e6)
    _empty(server)
    return found


def _empty(server: Any) -> None:
    # Valkey frees in the background unless told otherwise, which would count against the next.
    server.execute_command("FLUSHALL", "SYNC")


def _records(count: int, filename: str) -> Iterator[Record]:
    chance = random.Random(SEED)
    for number in range(count):
        record_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        yield Record(
            id=record_id,
            object_key=naming.original(record_id),
            filename=filename,
            created_ms=1_800_000_000_000 + number,
            original_size=chance.randrange(100_000, 4_500_000),
        )


def _live(store: RecordStore, record: Record, end: str | None) -> None:
    """Take a record through the calls that the API and the pipeline make."""
    store.create(record)
    if end is None:
        return
    etag = uuid.UUID(record.id).hex  # as long as S3's
    claimed = store.claim_version(replace(record, etag=etag, thumbnail=naming.new_thumbnail(etag)))
    if end == "failed":
        sentence = "The picture cannot be decoded: it is truncated or damaged. Upload it again."
        finish = store.finish(claimed, Failure("undecodable", sentence))
    else:
        finish = store.finish(claimed, Finished(3609))
    if finish is not FinishResult.DONE:
        raise SystemExit(f"a record came to {finish}")
    if end == "deleted":
        removing = store.start_removal(claimed, RemovalScope.ANY, UNRESTRICTED)
        if removing is None or not store.finish_removal(removing, record.id):
            raise SystemExit("a record could not be removed")


def _used(server: "redis.Redis") -> int:
    facts: Any = server.info("memory")
    return int(facts["used_memory"])


def _busy(server: "redis.Redis") -> float:
    """Seconds of processor time of the one thread that runs all commands."""
    facts: Any = server.info("cpu")
    return float(facts["used_cpu_user_main_thread"] + facts["used_cpu_sys_main_thread"])


# --- requests ---


def requests(server: "redis.Redis") -> dict[str, Request]:
    """Run each kind of request once, warm, and tell what it asked for."""
    app = _app()
    picture = BytesIO()
    Image.linear_gradient("L").convert("RGB").save(picture, "JPEG")
    content = picture.getvalue()
    s3_calls: list[str] = []
    for adapter in (app.bucket(), app.triggers.processor().bucket):
        adapter._s3.meta.events.register("before-call.s3", lambda model, **_: s3_calls.append(model.name))
    app.bucket()._s3.create_bucket(Bucket=BUCKET)
    context = LambdaContext("cost", memory_size=2048, max_runtime_ms=60_000)

    def call(event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = app.app(event, context)
        if answer["statusCode"] not in {200, 201}:
            raise SystemExit(f"unexpected answer {answer}")
        return answer

    def upload() -> str:
        return str(json.loads(call(upload_event(content))["body"])["id"])

    def process(record_id: str) -> None:
        app.make_thumbnail(s3_event(BUCKET, naming.original(record_id)), context)

    # Everything once beforehand, so that scripts are loaded and connections made.
    first = upload()
    process(first)
    call(http_event("DELETE", f"{THUMBNAIL}/{first}", record_id=first))
    upload()
    found: dict[str, Request] = {}

    def measure(name: str, action: Callable[[], object]) -> object:
        s3_calls.clear()
        with _monitor(server) as commands:
            result = action()
        sent = [command for command, in_script in commands if not in_script]
        found[name] = Request(sent, len(commands) - len(sent), list(s3_calls))
        return result

    record_id = str(measure("upload", upload))
    own = f"{THUMBNAIL}/{record_id}"
    measure("poll", lambda: call(http_event("GET", own, record_id=record_id)))
    measure("make the thumbnail", lambda: process(record_id))
    measure("the same event again", lambda: process(record_id))
    measure("download", lambda: call(http_event("GET", f"{own}/download", record_id=record_id)))
    measure("list two records", lambda: call(http_event("GET", THUMBNAIL)))
    measure("delete", lambda: call(http_event("DELETE", own, record_id=record_id)))
    measure("pulse", lambda: call(http_event("GET", "/api/v1/system/pulse")))
    app.store.cache_clear()
    measure("poll, on a new connection", lambda: app.store().get(record_id, UNRESTRICTED))
    return found


def _app() -> ModuleType:
    import app  # noqa: PLC0415 - after the environment says where Redis and S3 are
    from chalicelib import services  # noqa: PLC0415 - it reads that environment, too

    services.log.setLevel("ERROR")
    metrics.lines.setLevel("ERROR")
    for shared in (services.settings, services.store, services.bucket, services.processor):
        shared.cache_clear()
    return app


@contextmanager
def _monitor(server: "redis.Redis") -> Iterator[list[tuple[str, bool]]]:
    """Collect all commands but its own as (name, whether a script ran it)."""
    commands: list[tuple[str, bool]] = []
    watcher: Any = server
    with watcher.monitor() as monitor, redis.Redis(connection_pool=server.connection_pool) as other:
        other.ping()
        while monitor.next_command()["command"] != "PING":
            pass
        yield commands
        other.echo("the end")
        while True:
            command = monitor.next_command()
            if command["command"] == "ECHO the end":
                return
            commands.append((command["command"].partition(" ")[0], command["client_type"] == "lua"))


# --- the report ---


def memory_table(found: dict[str, Upkeep]) -> list[str]:
    """Make a Markdown table of what a record costs in each state."""
    rows = [
        f"| {name} | {cost.size:,.0f} | {cost.index:,.0f} | {cost.busy:,.0f} |"
        for name, cost in found.items()
    ]
    return [
        "| record | bytes | in the index | processor time to get there (µs) |",
        "|---|--:|--:|--:|",
        *rows,
    ]


def poll_time(server: "redis.Redis", count: int) -> float:
    """Microseconds of Valkey's processor time that one poll takes."""
    _empty(server)
    store = RecordStore(server)
    for record in _records(count, "IMG_8932.jpg"):
        store.create(record)
    before = _busy(server)
    for record in _records(count, "IMG_8932.jpg"):
        store.get(record.id, UNRESTRICTED)
    return (_busy(server) - before) / count * 1e6


def request_table(found: dict[str, Request]) -> list[str]:
    """Make a Markdown table of what each request asks for."""
    lines = ["| request | Redis commands | commands that scripts run | S3 requests |", "|---|---|--:|---|"]
    for name, request in found.items():
        sent, s3 = ", ".join(request.sent) or "none", ", ".join(request.s3) or "none"
        lines.append(f"| {name} | {sent} | {request.inside} | {s3} |")
    return lines


@contextmanager
def servers() -> Iterator["redis.Redis"]:
    """Start Valkey and S3, and let this process's environment lead there; yields a client of its own."""
    child = Child("local.servers", "redis", "s3")
    child.start()
    former = dict(os.environ)
    try:
        os.environ.update(json.loads(child.first_line()) | {"BUCKET": BUCKET})
        server: redis.Redis = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
        yield server
        server.close()
    finally:
        os.environ.clear()
        os.environ.update(former)
        child.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Measures what a record and a request cost.")
    parser.add_argument("--quick", action="store_true", help="1,000 records instead of 20,000")
    options = parser.parse_args(arguments)
    with servers() as server:
        facts: Any = server.info()
        print(f"Valkey {facts.get('valkey_version', facts['redis_version'])}, seed {SEED}", file=sys.stderr)
        print(*request_table(requests(server)), "", sep="\n")
        count = 1000 if options.quick else 20_000
        print(*memory_table(memory(server, count)), "", sep="\n")
        print(f"A poll takes {poll_time(server, count):.0f} µs of Valkey's processor time.")


if __name__ == "__main__":
    main()
