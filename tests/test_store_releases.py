"""Records and checkpoints that another release has written: read where that is possible, else left alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.clock import now_ms
from chalicelib.errors import RecordUnreadable
from chalicelib.records import lifecycle
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.record import (
    UNRESTRICTED,
    Finished,
    FinishResult,
    Record,
    RemovalScope,
    State,
    UnreadableRecord,
)
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore
from tests.conftest import found

if TYPE_CHECKING:
    import redis


def new_record(etag: str | None = None) -> Record:
    record_id = naming.new_id()
    record = Record(record_id, naming.original(record_id), "a.jpg", now_ms(), 5)
    return record if etag is None else version(record, etag)


def version(record: Record, etag: str) -> Record:
    return replace(record, etag=etag, thumbnail=f"{etag}-run")


def hash_of(server: "redis.Redis", record: Record) -> dict[str, str]:
    fields: Any = server.hgetall(naming.record(record.id))
    return dict(fields)


# --- a newer release ---

ODD: dict[str, dict[str, str]] = {
    "state": {"state": "archived"},
    "field": {"colour": "blue"},
    "form": {"format": "3"},
    "number": {"created_ms": "yesterday"},
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, store: RecordStore, redis_server: "redis.Redis") -> Record:
    """A record of which this release cannot read one field."""
    record = store.claim_version(new_record("v1"))
    redis_server.hset(naming.record(record.id), mapping=ODD[request.param])  # type: ignore[arg-type]
    return record


def test_an_unreadable_record_is_invisible_and_a_list_shows_the_others(
    store: RecordStore, odd: Record
) -> None:
    others = [store.claim_version(new_record("v1")) for _ in range(2)]
    assert store.get(odd.id, UNRESTRICTED) is None
    shown = store.page(10, None, UNRESTRICTED).records
    assert sorted(record.id for record in shown) == sorted(record.id for record in others)
    found, other = store.find_all([odd.id, others[0].id])
    assert isinstance(found, UnreadableRecord)
    assert found.id == odd.id
    assert other == others[0]


CHANGES: dict[str, Callable[[RecordStore, Record], object]] = {
    "find": lambda store, record: store.find(record.id),
    "upload": lambda store, record: store.create_if_absent(record),
    "claim": lambda store, record: store.claim_version(version(record, "v2")),
    "revive": lambda store, record: store.claim_version(version(record, "v2"), revive="t"),
    "remove": lambda store, record: store.start_removal(record, RemovalScope.ANY, UNRESTRICTED),
    "change": lambda store, record: store.change(record.id, lifecycle.record_attempt, 1),
}
# These change a record that was read before: it became unreadable since.
CHANGES_OF_READ: dict[str, Callable[[RecordStore, Record], object]] = {
    "finish": lambda store, record: store.finish(record, Finished(9)),
    "count": lambda store, record: store.record_attempt(record),
    "discard": lambda store, record: store.discard_abandoned(replace(record, etag=None, created_ms=1)),
    "finish a removal": lambda store, record: store.finish_removal(
        replace(record, state=State.DELETING), "t"
    ),
}


@pytest.mark.parametrize("revision", ["another", None])
@pytest.mark.parametrize("change", (CHANGES | CHANGES_OF_READ).values(), ids=CHANGES | CHANGES_OF_READ)
def test_no_transition_changes_an_unreadable_record(
    store: RecordStore,
    redis_server: "redis.Redis",
    odd: Record,
    change: Callable[[RecordStore, Record], object],
    revision: str | None,
) -> None:
    if revision is None:
        redis_server.hdel(naming.record(odd.id), "revision")
    else:
        redis_server.hset(naming.record(odd.id), "revision", revision)
    before = hash_of(redis_server, odd)
    with pytest.raises(RecordUnreadable):
        change(store, odd)
    assert hash_of(redis_server, odd) == before


@pytest.mark.parametrize("has_revision", [True, False])
def test_restoring_passes_over_an_unreadable_record(
    store: RecordStore, redis_server: "redis.Redis", odd: Record, has_revision: bool
) -> None:
    if not has_revision:
        redis_server.hdel(naming.record(odd.id), "revision")
    before = hash_of(redis_server, odd)
    assert store.restore([new_record("v1"), odd, new_record("v1")]) == 2
    assert hash_of(redis_server, odd) == before


# --- the release before ---


def former(server: "redis.Redis", record: Record, **fields: str) -> None:
    """Store a record as the release before did: without a version of the form and without a revision."""
    written = {
        "object_key": record.object_key,
        "filename": record.filename,
        "created_ms": str(record.created_ms),
        "original_size": "5",
        "state": "pending",
    }
    server.hset(naming.record(record.id), mapping=written | fields)  # type: ignore[arg-type]


def test_a_record_of_the_release_before_goes_on(store: RecordStore, redis_server: "redis.Redis") -> None:
    record = new_record("v1")
    former(redis_server, record, etag="v1", thumbnail="v1-run", tries="1")
    before = store.get(record.id, UNRESTRICTED)
    assert before == replace(record, attempts=1)
    assert store.record_attempt(before) == 2
    assert store.finish(store.claim_version(record), Finished(9)) is FinishResult.DONE
    removing = store.start_removal(found(store, record.id), RemovalScope.VISIBLE, UNRESTRICTED)
    assert removing is not None
    assert store.finish_removal(removing, "t")
    assert hash_of(redis_server, record).keys() == {"format", "state", "thumbnail", "tombstone", "revision"}


FORMER: dict[str, dict[str, str]] = {
    "pending": {"etag": "v1", "thumbnail": "v1-run"},
    "ready": {"state": "ready", "etag": "v1", "thumbnail": "v1-run", "thumbnail_size": "9"},
    "deleting": {"state": "deleting"},
    "tombstone": {"state": "deleted", "tombstone": "t"},
}


@pytest.mark.parametrize("fields", FORMER.values(), ids=FORMER)
def test_restoring_replaces_no_record_of_the_release_before(
    store: RecordStore, redis_server: "redis.Redis", fields: dict[str, str]
) -> None:
    record = new_record("v1")
    former(redis_server, record, **fields)
    before = hash_of(redis_server, record)
    assert store.restore([record]) == 0
    assert hash_of(redis_server, record) == before


def test_restoring_moves_no_check_of_a_record_that_came_in_the_meantime(store: RecordStore) -> None:
    record = store.claim_version(replace(new_record("v1"), created_ms=1))
    store.schedule.set(ScheduledCheck(record.id, 1))
    expires_late = replace(record, state=State.READY, thumbnail_size=9, expires_ms=10**13 - 1000)
    assert store.restore([expires_late]) == 0
    assert store.schedule.due(10) == [ScheduledCheck(record.id, 1)]


def test_a_restored_record_that_waits_is_checked_15_minutes_after_its_upload(store: RecordStore) -> None:
    record = replace(new_record("v1"), created_ms=now_ms() - lifecycle.IN_FLIGHT_MS)
    assert store.restore([record]) == 1
    assert store.schedule.due(10) == [ScheduledCheck(record.id, record.created_ms + lifecycle.IN_FLIGHT_MS)]


# --- checkpoints ---


def test_a_checkpoint_reads_back_as_saved(store: RecordStore) -> None:
    never = store.checkpoints.get("bucket")
    assert never == Checkpoint("bucket")
    saved = store.checkpoints.save(replace(never, since_ms=7, part="originals", after="a\n\0é"))
    assert saved is not None
    assert store.checkpoints.get("bucket") == saved
    assert store.checkpoints.get("records") == Checkpoint("records")
    finished = store.checkpoints.save(replace(saved, part=None, after=""))
    assert finished == store.checkpoints.get("bucket")
    assert finished is not None
    assert finished.part is None


@pytest.mark.parametrize(
    "fields",
    [
        {"place": "somewhere"},
        {"since_ms": "yesterday", "part": "originals", "after": "a"},
        {"since_ms": "1", "part": "originals"},
        {"since_ms": "1", "after": "a", "revision": "r"},
    ],
    ids=str,
)
def test_an_unknown_checkpoint_is_one_of_a_walk_that_was_never_made(
    store: RecordStore, redis_server: "redis.Redis", fields: dict[str, str]
) -> None:
    redis_server.hset(naming.checkpoint("bucket"), mapping=fields)  # type: ignore[arg-type]
    read = store.checkpoints.get("bucket")
    assert replace(read, revision=None) == Checkpoint("bucket")
    saved = store.checkpoints.save(replace(read, since_ms=7, part="originals"))
    assert saved is not None
    assert store.checkpoints.get("bucket") == saved
    stored: Any = redis_server.hgetall(naming.checkpoint("bucket"))
    assert stored.keys() == {"revision", "since_ms", "part", "after"}


def test_a_checkpoint_that_was_lost_is_not_saved(store: RecordStore, redis_server: "redis.Redis") -> None:
    saved = store.checkpoints.save(Checkpoint("bucket", 7, "originals"))
    assert saved is not None
    redis_server.flushall()
    assert store.checkpoints.save(replace(saved, after="b")) is None
    assert store.checkpoints.get("bucket") == Checkpoint("bucket")


def test_a_checkpoint_that_another_run_has_taken_over_is_not_saved(store: RecordStore) -> None:
    read = store.checkpoints.save(Checkpoint("bucket", 7, "originals"))
    assert read is not None
    other = store.checkpoints.save(replace(read, after="c"))
    assert other is not None
    assert store.checkpoints.save(replace(read, after="b")) is None
    assert store.checkpoints.save(Checkpoint("bucket", 8, "originals")) is None
    assert store.checkpoints.get("bucket") == other
