"""Records in a real Valkey: each transition from each state, and lists while records come and go."""

import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.errors import BadParameter, RecordStoreUnavailable
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.codec import as_json
from chalicelib.records.index import entry_of
from chalicelib.records.lifecycle import PROCESSED_TOMBSTONE_SECONDS, TOMBSTONE_SECONDS
from chalicelib.records.record import (
    UNRESTRICTED,
    Failure,
    Finished,
    FinishResult,
    Record,
    RemovalScope,
    State,
)
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore

if TYPE_CHECKING:
    import redis


def new_record(number: int = 0, etag: str | None = None) -> Record:
    record_id, created_ms = naming.new_id(), 1_700_000_000_000 + number
    record = Record(record_id, naming.original(record_id), f"{number}.jpg", created_ms, 5)
    return version(record, etag) if etag else record


def version(record: Record, etag: str) -> Record:
    """The record as processing claims this version of its original."""
    return replace(record, etag=etag, thumbnail=f"{etag}-run")


def named(record: Record, thumbnail: str) -> Record:
    """The record as a run claimed it that is to store a thumbnail of this name."""
    return replace(record, thumbnail=thumbnail)


def failure(sentence: str) -> Failure:
    return Failure("undecodable", sentence)


def stored_form(record: Record | None) -> Record | None:
    """A record without its revision, which is random."""
    return record and replace(record, revision="")


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


Setup = Callable[[RecordStore, Record], object]

PENDING: Setup = lambda store, record: store.create(record)  # noqa: E731 - a table of one-liners


def ready(store: RecordStore, record: Record) -> None:
    store.claim_version(version(record, "v1"))
    store.finish(named(record, "v1-run"), Finished(9))


def failed(store: RecordStore, record: Record) -> None:
    store.claim_version(version(record, "v1"))
    store.finish(named(record, "v1-run"), failure("Broken."))


def deleting(store: RecordStore, record: Record) -> None:
    ready(store, record)
    assert store.start_removal(found(store, record), RemovalScope.ANY, UNRESTRICTED)


def deleted(store: RecordStore, record: Record) -> None:
    deleting(store, record)
    assert store.finish_removal(found(store, record), "tombstone")


def found(store: RecordStore, record: Record) -> Record:
    """The record as it is stored now, in whatever state."""
    stored = store.find(record.id)
    assert stored is not None
    return stored


@pytest.mark.parametrize(("etag", "thumbnail"), [(None, "a"), ("a", None), (None, None)])
def test_only_a_version_can_be_claimed(store: RecordStore, etag: str | None, thumbnail: str | None) -> None:
    fresh = replace(new_record(), etag=etag, thumbnail=thumbnail)
    with pytest.raises(ValueError, match="only a version"):
        store.claim_version(fresh)
    assert store.find(fresh.id) is None


def test_a_record_reads_back_as_written(store: RecordStore) -> None:
    record = replace(
        new_record(),
        filename="né\0\n🌍",
        stale_thumbnails=("a", "b"),
        thumbnail="c",
        etag="b",
        thumbnail_size=0,
        error="E.",
    )
    store.create(record)
    assert stored_form(store.get(record.id, UNRESTRICTED)) == record


@pytest.mark.parametrize(
    ("setup", "state"),
    [(PENDING, State.PENDING), (ready, State.READY), (failed, State.FAILED)],
)
def test_claiming_the_same_version_changes_no_result(store: RecordStore, setup: Setup, state: State) -> None:
    record = new_record()
    setup(store, record)
    again = store.claim_version(version(record, "v1"))
    assert again.state is state
    assert again == store.get(record.id, UNRESTRICTED)


def test_claiming_makes_a_missing_record_and_lists_it_once(store: RecordStore) -> None:
    record = new_record(etag="v1")
    claimed = store.claim_version(record)
    assert stored_form(claimed) == record
    assert store.claim_version(record) == claimed
    assert store.page(10, None, UNRESTRICTED).records == [claimed]


def test_claiming_keeps_what_the_upload_said(store: RecordStore) -> None:
    record = new_record()
    store.create(record)
    stranger = replace(version(record, "v1"), filename="other", created_ms=1, original_size=7)
    assert stored_form(store.claim_version(stranger)) == replace(version(record, "v1"), original_size=7)


def claimed_version(store: RecordStore, record: Record) -> None:
    store.claim_version(version(record, "v1"))


@pytest.mark.parametrize("setup", [claimed_version, ready, failed])
def test_claiming_a_new_version_drops_the_result_and_keeps_the_names_of_thumbnails(
    store: RecordStore, setup: Setup
) -> None:
    record = new_record()
    setup(store, record)
    expected = replace(version(record, "v2"), stale_thumbnails=("v1-run",), original_size=6)
    second = store.claim_version(replace(version(record, "v2"), original_size=6))
    assert stored_form(second) == expected
    assert store.get(record.id, UNRESTRICTED) == second
    third = store.claim_version(version(record, "v3"))
    assert third.stale_thumbnails == ("v1-run", "v2-run")
    store.finish(named(record, "v3-run"), Finished(9))
    done = store.get(record.id, UNRESTRICTED)
    assert done is not None
    assert done.stale_thumbnails == ()


def test_a_version_keeps_the_name_of_its_thumbnail_until_another_is_claimed(store: RecordStore) -> None:
    record = new_record()
    store.claim_version(version(record, "v1"))
    assert store.claim_version(replace(record, etag="v1", thumbnail="v1-retry")).thumbnail == "v1-run"
    store.claim_version(version(record, "v2"))
    assert store.claim_version(replace(record, etag="v1", thumbnail="v1-again")).thumbnail == "v1-again"


@pytest.mark.parametrize("setup", [deleting, deleted])
def test_no_event_brings_back_what_was_deleted(store: RecordStore, setup: Setup) -> None:
    record = new_record()
    setup(store, record)
    for etag in ("v1", "v2"):
        assert store.claim_version(version(record, etag)).state in {State.DELETING, State.TOMBSTONE}
        assert store.finish(named(record, f"{etag}-run"), Finished(9)) is FinishResult.DELETED
        assert store.finish(named(record, f"{etag}-run"), failure("E.")) is FinishResult.DELETED
    assert store.get(record.id, UNRESTRICTED) is None
    assert store.page(10, None, UNRESTRICTED).records == []


def test_only_the_tombstone_that_was_seen_is_revived(store: RecordStore) -> None:
    record = new_record(etag="v1")
    deleting(store, record)
    assert store.claim_version(record, revive="tombstone").state is State.DELETING
    assert store.finish_removal(found(store, record), "tombstone")
    assert store.claim_version(record, revive="another").state is State.TOMBSTONE
    revived = store.claim_version(record, revive="tombstone")
    assert stored_form(revived) == record
    assert store.page(10, None, UNRESTRICTED).records == [revived]


def test_a_revived_record_does_not_expire_with_its_tombstone(
    store: RecordStore, redis_server: "redis.Redis"
) -> None:
    record = new_record(etag="v1")
    deleted(store, record)
    store.claim_version(record, revive="tombstone")
    assert redis_server.ttl(naming.record(record.id)) == -1


@pytest.mark.parametrize(
    ("setup", "thumbnail", "result"),
    [
        (lambda *_: None, "v1-run", FinishResult.UNKNOWN),
        (PENDING, "v1-run", FinishResult.SUPERSEDED),
        (claimed_version, "v0-run", FinishResult.SUPERSEDED),
        (ready, "v0-run", FinishResult.SUPERSEDED),
        (failed, "v0-run", FinishResult.SUPERSEDED),
        (deleting, "v1-run", FinishResult.DELETED),
        (deleted, "v1-run", FinishResult.DELETED),
    ],
)
def test_finish_changes_no_version_but_the_one_it_names(
    store: RecordStore, setup: Setup, thumbnail: str, result: FinishResult
) -> None:
    record = new_record()
    setup(store, record)
    before = store.find(record.id)
    assert store.finish(named(record, thumbnail), failure("Again.")) is result
    assert store.finish(named(record, thumbnail), Finished(9)) is result
    assert store.find(record.id) == before


def test_a_late_failure_does_not_undo_a_thumbnail(store: RecordStore) -> None:
    record = new_record()
    ready(store, record)
    done = store.get(record.id, UNRESTRICTED)
    assert store.finish(named(record, "v1-run"), failure("Late.")) is FinishResult.DONE
    assert store.get(record.id, UNRESTRICTED) == done


def test_a_thumbnail_replaces_a_failure(store: RecordStore) -> None:
    record = new_record()
    failed(store, record)
    assert store.finish(named(record, "v1-run"), Finished(9)) is FinishResult.DONE
    replaced = replace(version(record, "v1"), state=State.READY, thumbnail_size=9)
    assert stored_form(store.get(record.id, UNRESTRICTED)) == replaced


@pytest.mark.parametrize("setup", [PENDING, ready, failed])
def test_a_removal_hides_the_record_and_one_removal_alone_finishes_it(
    store: RecordStore, setup: Setup
) -> None:
    record = new_record()
    setup(store, record)
    shown = store.get(record.id, UNRESTRICTED)
    assert shown is not None
    first, second = (
        store.start_removal(found(store, record), RemovalScope.ANY, UNRESTRICTED),
        store.start_removal(found(store, record), RemovalScope.ANY, UNRESTRICTED),
    )
    assert store.get(record.id, UNRESTRICTED) is None
    assert store.page(10, None, UNRESTRICTED).records == []
    assert first is not None
    assert second is not None
    assert as_json(first) == as_json(second) == as_json(shown)
    assert [store.finish_removal(first, token) for token in ("a", "b")] == [True, False]
    assert store.finish_removal(first, "a"), "a repeated call of the same removal is told the same"
    assert store.start_removal(found(store, record), RemovalScope.ANY, UNRESTRICTED) is None


def test_removal_of_what_never_was(store: RecordStore, redis_server: "redis.Redis") -> None:
    assert store.start_removal(new_record(), RemovalScope.ANY, UNRESTRICTED) is None
    assert not store.finish_removal(replace(new_record(), state=State.DELETING, revision="r"), "t")
    assert set(redis_server.keys()) <= {naming.DUE}, "but for a check that finds nothing"


def test_an_unfinished_removal_does_not_expire(store: RecordStore, redis_server: "redis.Redis") -> None:
    record = new_record()
    deleting(store, record)
    assert redis_server.ttl(naming.record(record.id)) == -1
    assert redis_server.zcard(naming.INDEX) == 0


def test_a_tombstone_expires(store: RecordStore, redis_server: "redis.Redis") -> None:
    record, unprocessed = new_record(), new_record()
    deleted(store, record)
    store.create(unprocessed)
    removing = store.start_removal(unprocessed, RemovalScope.ANY, UNRESTRICTED)
    assert removing is not None
    assert store.finish_removal(removing, "tombstone")
    for removed, seconds in ((record, PROCESSED_TOMBSTONE_SECONDS), (unprocessed, TOMBSTONE_SECONDS)):
        assert seconds - 60 < redis_server.ttl(naming.record(removed.id)) <= seconds
    assert redis_server.zcard(naming.INDEX) == 0


class TestPage:
    def test_newest_first_also_within_a_millisecond(self, store: RecordStore) -> None:
        records = [replace(new_record(number // 3), filename=str(number)) for number in range(10)]
        for record in random.Random(1).sample(records, len(records)):
            store.create(record)
        expected = sorted(records, key=lambda record: (record.created_ms, record.id), reverse=True)
        for limit in (1, 3, 10, 11):
            assert walk(store, limit) == ids(expected)

    def test_records_that_come_during_a_walk_do_not_shift_it(self, store: RecordStore) -> None:
        old = [new_record(number) for number in range(6)]
        for record in old:
            store.create(record)
        seen = walk(store, 2, lambda page: store.create(new_record(100 + page)))
        assert seen == ids(old[::-1])

    def test_records_that_go_during_a_walk_leave_no_gap(self, store: RecordStore) -> None:
        records = [new_record(number) for number in range(9)]
        for record in records:
            store.create(record)
        # After each page, the last record seen goes (the cursor stands on it) and so does the one after next.
        newest_first = records[::-1]

        def remove(page: int) -> None:
            for gone in newest_first[page * 3 - 1], newest_first[min(page * 3 + 1, 8)]:
                store.start_removal(gone, RemovalScope.ANY, UNRESTRICTED)

        seen = walk(store, 3, remove)
        removed_unseen = {newest_first[4].id, newest_first[7].id}
        assert seen == [record.id for record in newest_first if record.id not in removed_unseen]

    @pytest.mark.parametrize("vanish", ["hash", "deleting"])
    def test_index_entries_without_a_record_are_passed_over(
        self, store: RecordStore, redis_server: "redis.Redis", vanish: str
    ) -> None:
        records = [new_record(number) for number in range(4)]
        for record in records:
            store.create(record)
        for gone in records[1:3]:
            if vanish == "hash":
                redis_server.delete(naming.record(gone.id))
            else:
                redis_server.hset(naming.record(gone.id), "state", "deleting")
        assert walk(store, 1) == [records[3].id, records[0].id]
        assert ids(store.page(10, None, UNRESTRICTED).records) == [records[3].id, records[0].id]

    @pytest.mark.parametrize("cursor", ["", "%", "AA", "MTox", "a" * 100, "é"])
    def test_a_foreign_cursor_is_refused(self, store: RecordStore, cursor: str) -> None:
        with pytest.raises(BadParameter):
            store.page(1, cursor, UNRESTRICTED)


def walk(store: RecordStore, limit: int, between: Callable[[int], object] = lambda _: None) -> list[str]:
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = store.page(limit, cursor, UNRESTRICTED)
        assert len(page.records) <= limit
        seen += ids(page.records)
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            return seen
        between(pages)


def test_no_command_touches_two_keys(store: RecordStore, redis_server: "redis.Redis") -> None:
    """What a cluster asks for: keys of one command in one slot. MONITOR shows what is really sent."""
    record = new_record(etag="v1")
    untyped: Any = redis_server
    with untyped.monitor() as monitor:
        deleted(store, record)
        store.page(10, None, UNRESTRICTED)
        store.find(record.id)
        redis_server.set("the end", 1)
        sent = []
        while (command := monitor.next_command())["command"] != "SET 'the end' 1".replace("'", ""):
            sent.append(command["command"].split())
    names = {words[0].upper() for words in sent}
    assert not names & {"MULTI", "KEYS", "SCAN", "MGET", "RENAME"}
    scripts = [words for words in sent if words[0].upper() in {"EVAL", "EVALSHA"}]
    assert scripts
    assert {words[2] for words in scripts} == {"1"}
    touched = [word for words in sent for word in words[1:] if word.startswith((naming.INDEX, "record:"))]
    assert touched
    for words in sent:
        assert len({word for word in words if word in {naming.INDEX, naming.record(record.id)}}) <= 1


def test_nothing_answers() -> None:
    store = RecordStore(redis_client("redis://127.0.0.1:1", timeout=1))
    record = new_record(etag="v1")
    for call in (
        store.ping,
        lambda: store.create(record),
        lambda: store.get(record.id, UNRESTRICTED),
        lambda: store.page(1, None, UNRESTRICTED),
        lambda: store.claim_version(record),
        lambda: store.finish(named(record, "v1-run"), Finished(1)),
        lambda: store.start_removal(record, RemovalScope.ANY, UNRESTRICTED),
        lambda: store.finish_removal(replace(record, state=State.DELETING), str(uuid.uuid4())),
        lambda: store.index.remove(entry_of(record)),
        lambda: store.schedule.due(1),
        lambda: store.schedule.reschedule([(ScheduledCheck(record.id, 1), None)]),
        lambda: store.checkpoints.get("bucket"),
        lambda: store.checkpoints.save(Checkpoint("bucket")),
    ):
        with pytest.raises(RecordStoreUnavailable):
            call()
