"""A page of the list costs the same with few records and with many, counted at the real server."""

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.service.list_pages import Cost, cost, counting_store, cursors, ready_records, seed
from chalicelib import naming
from chalicelib.records.record import UNRESTRICTED, Finished, State
from chalicelib.records.store import RecordStore
from tests.service import ROOT

if TYPE_CHECKING:
    import redis


def costs(server: Any, url: str, count: int, limit: int) -> list[Cost]:
    server.flushall()
    seed(url, count)
    assert server.zcard(naming.INDEX) == count
    store = counting_store(url)
    return [cost(store, server, limit, cursor) for cursor in cursors(server, limit).values()]


def test_a_page_costs_the_same_whatever_the_number_of_records(
    redis_url: str, redis_server: "redis.Redis"
) -> None:
    few, many = (costs(redis_server, redis_url, count, limit=10) for count in (10, 5_000))
    assert few == many
    assert {found.round_trips for found in many} == {2}
    assert {sum(calls for _, calls in found.commands) for found in many} == {1 + 10}


def test_a_larger_page_costs_more_commands_and_no_more_round_trips(
    redis_url: str, redis_server: "redis.Redis"
) -> None:
    small, large = (costs(redis_server, redis_url, 300, limit)[0] for limit in (10, 200))
    assert small.round_trips == large.round_trips
    assert dict(large.commands)["hgetall"] == 20 * dict(small.commands)["hgetall"]


def test_what_is_seeded_is_what_the_pipeline_leaves(
    redis_url: str, redis_server: "redis.Redis", store: RecordStore
) -> None:
    seed(redis_url, 3)
    stored = hashes(redis_server)
    found = store.page(10, None, UNRESTRICTED).records
    assert [record.state for record in found] == [State.READY] * 3
    redis_server.flushall()
    for record in reversed(found):
        store.create(replace(record, state=State.PENDING, etag=None, thumbnail=None, thumbnail_size=None))
        store.finish(store.claim_version(record), Finished(record.thumbnail_size or 0))
    assert hashes(redis_server) == stored
    again = store.page(10, None, UNRESTRICTED).records
    assert [replace(record, revision="") for record in again] == [
        replace(record, revision="") for record in found
    ]


def hashes(server: Any) -> list[dict[str, str]]:
    """The hashes of the first records, without their revisions, which are random."""
    found: list[dict[str, str]] = [server.hgetall(naming.record(record.id)) for record in ready_records(3)]
    assert all(fields.pop("revision") for fields in found)
    return found


def test_cursors_lead_to_full_pages(redis_url: str, redis_server: "redis.Redis", store: RecordStore) -> None:
    seed(redis_url, 100)
    pages = {name: store.page(7, cursor, UNRESTRICTED) for name, cursor in cursors(redis_server, 7).items()}
    newest_first = [record.id for record in ready_records(100)][::-1]
    assert [record.id for record in pages["first"].records] == newest_first[:7]
    assert [record.id for record in pages["middle"].records] == newest_first[50:57]
    assert [record.id for record in pages["last"].records] == newest_first[-7:]
    assert (pages["middle"].cursor is None, pages["last"].cursor is None) == (False, True)


@pytest.mark.slow
def test_the_benchmark_prints_its_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.service.list_pages", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[2:]] == [
        [page, limit] for limit in ("10", "100") for page in ("first", "middle", "last")
    ] + [["first, over HTTP", "100"]]
