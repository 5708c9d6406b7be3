"""What a record and a request cost in Redis and S3, measured on a real Valkey with the real handlers.

    python -m benchmarks.redis_cost            20,000 records
    python -m benchmarks.redis_cost --quick    1,000 records, for tests

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

from benchmarks.lambda_events import http_event, s3_event, upload_event
from chalicelib import keys, signals
from chalicelib.catalogue import Catalogue, Finish, Which
from chalicelib.record import Record
from local.processes import Child

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
        ("deleted (kept for 14 days)", "IMG_8932.jpg", "deleted"),
    ):
        _empty(server)
        catalogue = Catalogue(server)
        catalogue.page(1, None)
        before, busy_before = _used(server), _busy(server)
        for record in _records(count, filename):
            _live(catalogue, record, end)
        busy = _busy(server) - busy_before
        if end is not None:
            # What the reconciler does with a record that has nothing ahead of it. Not DEL: that frees later.
            server.zremrangebyrank(keys.DUE, 0, -1)
        index: Any = server.memory_usage(keys.INDEX, samples=0)
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
            object_key=keys.original(record_id),
            filename=filename,
            created_ms=1_800_000_000_000 + number,
            original_size=chance.randrange(100_000, 4_500_000),
        )


def _live(catalogue: Catalogue, record: Record, end: str | None) -> None:
    """Take a record through the calls that the API and the pipeline make."""
    catalogue.create(record)
    if end is None:
        return
    etag = uuid.UUID(record.id).hex  # as long as S3's
    taken = catalogue.begin(replace(record, etag=etag, thumbnail=keys.new_thumbnail(etag)))
    if end == "failed":
        sentence = "The picture cannot be decoded: it is truncated or damaged. Upload it again."
        finish = catalogue.finish_failed(record.id, taken.thumbnail, sentence)
    else:
        finish = catalogue.finish_ready(record.id, taken.thumbnail or "", 3609)
    if finish is not Finish.DONE:
        raise SystemExit(f"a record came to {finish}")
    if end == "deleted":
        catalogue.start_removal(record.id, Which.ANY)
        catalogue.finish_removal(record.id, record.id)


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
    for adapter in (app.bucket(), app.pipeline().bucket):
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
        app.make_thumbnail(s3_event(BUCKET, keys.original(record_id)), context)

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
    app.catalogue.cache_clear()
    measure("poll, on a new connection", lambda: app.catalogue().get(record_id))
    return found


def _app() -> ModuleType:
    import app  # noqa: PLC0415 - after the environment says where Redis and S3 are

    app.log.setLevel("ERROR")
    signals.lines.setLevel("ERROR")
    for shared in (app.settings, app.catalogue, app.bucket, app.pipeline):
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
    catalogue = Catalogue(server)
    for record in _records(count, "IMG_8932.jpg"):
        catalogue.create(record)
    before = _busy(server)
    for record in _records(count, "IMG_8932.jpg"):
        catalogue.get(record.id)
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
