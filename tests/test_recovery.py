"""A Redis that lost writes is noticed by the next run of the reconciler, and healed both ways in that run."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.errors import BucketUnavailable
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.heartbeat import Heartbeat
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import BUCKET_EVERY_MS
from chalicelib.work.process import Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, just_after, just_before, keys_in
from tests.going_back import Snapshot
from tests.reconciler import LATE, Died, Reconciler, state_of, stored

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client


def ready(uploader: Uploader, processor: Processor) -> Record:
    record = stored(uploader)
    processor.process(record.object_key)
    return record


def ids(store: RecordStore) -> set[str]:
    return {record.id for record in store.page(100, None, UNRESTRICTED).records}


def test_as_long_as_nothing_is_lost_nothing_is_walked(reconciler: Reconciler, uploader: Uploader) -> None:
    for _ in range(3):
        assert reconciler.recover() == {}
        stored(uploader)


def test_a_server_that_is_replaced_during_a_run_is_noticed_by_the_next(
    reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler.recover()
    servers = iter([Heartbeat.server(reconciler.processor.store.heartbeat)])
    monkeypatch.setattr(Heartbeat, "server", lambda _: next(servers, "other"))
    assert reconciler.recover() == {}
    assert reconciler.recover()["losses noticed"] == 1


Loss = Callable[["redis.Redis", Snapshot, pytest.MonkeyPatch], object]
LOSSES: dict[str, Loss] = {
    "everything": lambda server, _earlier, _patch: server.flushall(),
    "the heartbeat": lambda server, _earlier, _patch: server.delete(naming.HEARTBEAT),
    "since a snapshot": lambda _server, earlier, _patch: earlier.restore(),
    "another server": lambda _server, _earlier, patch: patch.setattr(Heartbeat, "server", lambda _: "other"),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_each_loss_is_noticed_once(
    reconciler: Reconciler,
    uploader: Uploader,
    redis_server: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
    lose: Loss,
) -> None:
    reconciler.recover()
    earlier = Snapshot(redis_server)
    record = stored(uploader)
    reconciler.recover()
    lose(redis_server, earlier, monkeypatch)
    counts = reconciler.recover()
    assert counts["losses noticed"] == 1
    assert counts["originals seen"] == 1
    assert ids(uploader.store) == {record.id}
    assert reconciler.recover() == {}


def test_records_that_are_lost_come_back_and_those_of_lost_removals_go(
    reconciler: Reconciler,
    uploader: Uploader,
    processor: Processor,
    clock: SettableClock,
    redis_server: "redis.Redis",
) -> None:
    deleted, failed_back = ready(uploader, processor), ready(uploader, processor)
    reconciler.recover()
    earlier = Snapshot(redis_server)
    remove(uploader.store, uploader.bucket, deleted.id, RemovalScope.VISIBLE, UNRESTRICTED)
    new = ready(uploader, processor)
    clock.advance(**LATE)
    reconciler.recover()
    earlier.restore()
    counts = reconciler.recover()
    assert counts["records restored"] == 1
    assert counts["records removed"] == 1
    assert ids(uploader.store) == {failed_back.id, new.id}
    assert state_of(uploader.store, new.id) is State.READY


def test_newest_pictures_are_checked_first(
    uploader: Uploader, clock: SettableClock, store: RecordStore
) -> None:
    records = []
    for _ in range(5):
        records.append(stored(uploader))
        clock.advance(ms=10)
    first = store.index.newest(2, None)
    rest = store.index.newest(10, first[-1])
    assert [entry.record_id for entry in (*first, *rest)] == [record.id for record in records[::-1]]


def test_it_goes_on_where_it_stopped(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    records = {stored(uploader).id for _ in range(5)}
    reconciler.recover()
    redis_server.flushall()

    def run() -> int:
        asked = iter([False, True, True])  # time for one page
        return replace(reconciler, time_is_up=lambda: next(asked)).recover()["records restored"]

    assert [run() for _ in range(5)] == [2, 2, 1, 0, 0]
    assert ids(uploader.store) == records
    assert reconciler.recover() == {}


def test_what_was_in_flight_when_a_loss_was_noticed_is_checked_again_when_it_cannot_be(
    reconciler: Reconciler, uploader: Uploader, processor: Processor, clock: SettableClock
) -> None:
    reconciler.recover()
    record = ready(uploader, processor)
    uploader.store.heartbeat.write("of an earlier time")
    for key in keys_in(uploader.bucket):
        uploader.bucket.delete(key)
    assert reconciler.recover()["records removed"] == 0
    clock.advance(**LATE)
    assert reconciler.recover()["records removed"] == 1
    assert uploader.store.get(record.id, UNRESTRICTED) is None
    assert reconciler.recover() == {}


def test_a_loss_while_it_runs_begins_it_anew(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    records = {stored(uploader).id for _ in range(5)}
    reconciler.recover()
    redis_server.flushall()
    just_before(reconciler.bucket, "ListObjectsV2", redis_server.flushall, skip=3)
    reconciler.recover()
    assert ids(uploader.store) != records, "the walk has ended early"
    reconciler.recover()
    assert ids(uploader.store) == records


@pytest.mark.parametrize("hook", [just_before, just_after])
def test_a_run_that_dies_between_its_two_writes_is_taken_for_a_loss(
    reconciler: Reconciler, hook: Callable[..., None]
) -> None:
    """Too much is checked then, never too little."""
    reconciler.recover()
    hook(reconciler.bucket, "PutObject", die := Died())
    with pytest.raises(Died):
        reconciler.recover()
    assert die.raised
    assert reconciler.recover()["losses noticed"] == (hook is just_after)


def test_a_loss_that_was_noticed_is_not_forgotten_when_the_run_dies(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis"
) -> None:
    record = stored(uploader)
    reconciler.recover()
    redis_server.flushall()
    just_before(reconciler.bucket, "ListObjectsV2", Died())
    with pytest.raises(Died):
        reconciler.recover()
    reconciler.recover()
    assert ids(uploader.store) == {record.id}


def test_an_outage_of_s3_is_no_loss(reconciler: Reconciler) -> None:
    reconciler.recover()
    just_before(reconciler.bucket, "GetObject", Died(BucketUnavailable))
    with pytest.raises(BucketUnavailable):
        reconciler.recover()
    assert reconciler.recover() == {}


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"\xff", b"{}"])
def test_a_heartbeat_that_cannot_be_read_is_a_loss(
    reconciler: Reconciler, s3: "S3Client", content: bytes
) -> None:
    reconciler.recover()
    s3.put_object(Bucket=reconciler.bucket.name, Key=naming.HEARTBEAT_OBJECT, Body=content)
    assert reconciler.recover()["losses noticed"] == 1
    assert reconciler.recover() == {}


def test_the_heartbeat_names_the_server(
    reconciler: Reconciler, s3: "S3Client", redis_server: "redis.Redis"
) -> None:
    reconciler.recover()
    body = s3.get_object(Bucket=reconciler.bucket.name, Key=naming.HEARTBEAT_OBJECT)["Body"].read()
    assert json.loads(body)["server"] == redis_server.info("server")["run_id"]
    assert redis_server.get(naming.HEARTBEAT) == body.decode()
    assert keys_in(reconciler.bucket) == []


def test_a_server_that_may_not_be_asked_for_its_identity_is_watched_by_the_nonce_alone(
    reconciler: Reconciler, redis_server: "redis.Redis"
) -> None:
    plain: Any = redis_server
    plain.execute_command("ACL", "SETUSER", "default", "-info")
    try:
        assert reconciler.recover() == {}
        assert reconciler.recover() == {}
        redis_server.delete(naming.HEARTBEAT)
        assert reconciler.recover()["losses noticed"] == 1
    finally:
        plain.execute_command("ACL", "SETUSER", "default", "+info")


@pytest.mark.parametrize("walk", ["bucket", "rebuild"])
def test_a_walk_of_the_future_is_one_that_was_never_made(
    reconciler: Reconciler,
    uploader: Uploader,
    store: RecordStore,
    clock: SettableClock,
    redis_server: "redis.Redis",
    walk: str,
) -> None:
    """A laptop's clock was wrong once."""
    saved = store.checkpoints.save(
        Checkpoint(walk, clock() + 400 * BUCKET_EVERY_MS, "uploads", naming.UPLOADS + "f", None)
    )
    assert saved is not None
    record = stored(uploader)
    redis_server.delete(naming.record(record.id))
    counts = reconciler.audit() if walk == "bucket" else reconciler.rebuild()[0]
    assert counts["records restored"] == 1


def test_of_the_daily_walk_nothing_is_passed_over_that_was_lost_while_it_ran(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    redis_server: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    records = {stored(uploader).id for _ in range(5)}
    reconciler.recover()
    clock.advance(ms=BUCKET_EVERY_MS + 1000)
    just_before(reconciler.bucket, "ListObjectsV2", redis_server.flushall, skip=2)
    reconciler.audit()
    reconciler.recover()
    reconciler.audit()
    assert ids(uploader.store) == records
