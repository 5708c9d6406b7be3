"""An index and a schedule in partitions say what undivided ones say, and survive another number of them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.records.index import IndexEntry
from chalicelib.records.record import UNRESTRICTED, Owner, Record, RemovalScope, Viewer
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore
from tests.conftest import SettableClock
from tests.reconciler import Died, Reconciler
from tests.test_store import new_record

if TYPE_CHECKING:
    import redis

NUMBERS = (1, 2, 3, naming.MOST_PARTITIONS)
VIEWERS: list[Viewer] = [UNRESTRICTED, Owner("ann"), Owner("bob")]


def owned(created_ms: int, owner: str | None) -> Record:
    return replace(new_record(), created_ms=created_ms, owner=owner)


def stores(url: str, clock: SettableClock) -> dict[int, RecordStore]:
    """The same records, as deployments with so many partitions see them."""
    client = redis_client(url, timeout=5)
    return {number: RecordStore(client, clock, number) for number in NUMBERS}


def pages(store: RecordStore, limit: int, viewer: Viewer) -> list[tuple[list[str], str | None]]:
    found, cursor = [], None
    while True:
        page = store.page(limit, cursor, viewer)
        found.append(([record.id for record in page.records], page.cursor))
        cursor = page.cursor
        if cursor is None:
            return found


CREATED = st.lists(
    st.tuples(st.integers(1_700_000_000_000, 1_700_000_000_020), st.sampled_from([None, "ann", "bob"])),
    max_size=40,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CREATED, st.integers(1, 45))
def test_any_number_of_partitions_gives_the_same_pages_as_one(
    redis_url: str,
    redis_server: "redis.Redis",
    clock: SettableClock,
    created: list[tuple[int, str | None]],
    limit: int,
) -> None:
    records = [owned(ms, owner) for ms, owner in created]
    expected = None
    for store in stores(redis_url, clock).values():
        redis_server.flushall()
        for record in records:
            store.create(record)
        told = [pages(store, limit, viewer) for viewer in VIEWERS]
        assert expected in {None, str(told)}
        expected = str(told)
        walked = store.index.newest(limit, None)
        assert [entry.record_id for entry in walked] == [one for page in told[0][:1] for one in page[0]][
            :limit
        ]


def filled(store: RecordStore, count: int = 60) -> list[Record]:
    records = [owned(1_700_000_000_000 + number, "ann") for number in range(count)]
    for record in records:
        store.create(record)
    return records


def listed(store: RecordStore, viewer: Viewer = UNRESTRICTED) -> list[str]:
    return [record.id for record in store.page(1000, None, viewer).records]


@pytest.mark.parametrize("partitions", NUMBERS[1:])
def test_every_partition_gets_a_share_and_one_partition_has_the_former_keys(
    redis_url: str, redis_server: "redis.Redis", clock: SettableClock, partitions: int
) -> None:
    of = stores(redis_url, clock)
    filled(of[1], 200)
    names: Any = {name for name in redis_server.scan_iter() if not name.startswith("record:")}
    assert names == {"due", "records", naming.index(naming.owner_hash("ann"))}
    redis_server.flushall()
    filled(of[partitions], 200)
    for key in names:
        sizes = [redis_server.zcard(naming.partition(key, number)) for number in range(partitions)]
        assert sum(sizes) == 200
        assert min(sizes) > 0


@pytest.mark.parametrize("before", NUMBERS)
@pytest.mark.parametrize("after", NUMBERS)
def test_another_number_of_partitions(
    redis_url: str, redis_server: "redis.Redis", clock: SettableClock, before: int, after: int
) -> None:
    of = stores(redis_url, clock)
    records = filled(of[before])
    store = of[after]
    while store.index.move_home(7):
        pass
    wanted = [record.id for record in records[::-1]]
    for viewer in (UNRESTRICTED, Owner("ann")):
        assert listed(store, viewer) == wanted
    # No check is lost, and each can be moved and removed from where it stands.
    clock.advance(seconds=1000)
    due = store.schedule.due(1000)
    assert sorted(check.record_id for check in due) == sorted(wanted)
    store.schedule.reschedule([(check, None) for check in due])
    assert store.schedule.due(1000) == []
    # The daily walk indexes and schedules what it finds, which gives nothing twice.
    store.index.add(records)
    assert listed(store) == wanted
    assert [page for page, _ in pages(store, 7, UNRESTRICTED)] == [wanted[n : n + 7] for n in range(0, 60, 7)]
    for record in records:
        removing = store.start_removal(record, RemovalScope.VISIBLE, UNRESTRICTED)
        assert removing is not None
        assert store.finish_removal(removing, "once")
    assert listed(store) == []
    store.index.remove_everywhere(*[entry(record) for record in records])
    left: Any = redis_server.keys("records*")
    assert left == []


def entry(record: Record) -> IndexEntry:
    return IndexEntry(record.created_ms, record.id, naming.owner_hash(record.owner or ""))


def test_a_move_that_dies_half_way_is_done_again(
    redis_url: str, redis_server: "redis.Redis", clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = stores(redis_url, clock)
    records = filled(of[16])
    with monkeypatch.context() as patch:
        patch.setattr(of[2].index, "_remove", Died())
        with pytest.raises(Died):
            of[2].index.move_home(100)
    while of[2].index.move_home(100):
        pass
    assert listed(of[2]) == [record.id for record in records[::-1]]


def test_the_audit_moves_what_more_partitions_have_left(
    redis_url: str, redis_server: "redis.Redis", clock: SettableClock, reconciler: Reconciler
) -> None:
    def elsewhere() -> int:
        return sum(redis_server.zcard(naming.partition("records", number)) for number in range(1, 16))

    records = filled(stores(redis_url, clock)[16])
    before = elsewhere()
    assert before > 0
    stopped = replace(reconciler, time_is_up=lambda: True)
    assert "index entries moved" not in stopped.audit()
    assert elsewhere() == before
    assert reconciler.audit()["index entries moved"] >= before
    assert elsewhere() == 0
    assert listed(reconciler.processor.store) == [record.id for record in records[::-1]]


def test_what_is_due_is_read_earliest_first_over_all_partitions(
    redis_url: str, redis_server: "redis.Redis", clock: SettableClock
) -> None:
    of = stores(redis_url, clock)
    checks = [ScheduledCheck(naming.new_id(), at) for at in range(1, 41)]
    for place, check in enumerate(checks):
        of[NUMBERS[place % len(NUMBERS)]].schedule.set(check)
    for store in of.values():
        assert [(check.record_id, check.at_ms) for check in store.schedule.due(15)] == [
            (check.record_id, check.at_ms) for check in checks[:15]
        ]
    # A writer that has moved a check since it was read keeps it, wherever it stands.
    seen = of[3].schedule.due(40)
    of[16].schedule.set_if_earlier([ScheduledCheck(checks[0].record_id, 0)])
    of[3].schedule.set_if_earlier([ScheduledCheck(checks[2].record_id, 0)])
    of[3].schedule.reschedule([(check, None) for check in seen])
    assert {check.record_id for check in of[1].schedule.due(40)} == {
        checks[0].record_id,
        checks[2].record_id,
    }


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_page_is_one_round_trip_to_the_index_and_one_to_the_records(
    redis_url: str, redis_server: "redis.Redis", clock: SettableClock, limit: int
) -> None:
    store = stores(redis_url, clock)[16]
    filled(store, 100)
    before: Any = redis_server.info("commandstats")
    store.page(limit, None, UNRESTRICTED)
    after: Any = redis_server.info("commandstats")
    reads = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert reads["cmdstat_zrange"] == 16
    assert reads["cmdstat_hgetall"] == min(limit, 100)


def test_an_upload_is_stored_without_a_transaction(store: RecordStore, redis_server: "redis.Redis") -> None:
    """A cluster has none for keys of several slots."""
    redis_server.config_resetstat()
    store.create(new_record())
    commands = redis_server.info("commandstats")
    assert {"cmdstat_hset"} <= set(commands)
    assert not {"cmdstat_multi", "cmdstat_exec"} & set(commands)
