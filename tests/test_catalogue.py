"""Records in a real Valkey: each transition from each state, and lists while records come and go."""

import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import keys
from chalicelib.catalogue import TOMBSTONE_SECONDS, Catalogue, Finish, Which
from chalicelib.clients import redis_client
from chalicelib.errors import BadParameter, CatalogueUnavailable
from chalicelib.record import Record, State

if TYPE_CHECKING:
    import redis


def new_record(number: int = 0, etag: str | None = None) -> Record:
    record_id, created_ms = keys.new_id(), 1_700_000_000_000 + number
    record = Record(record_id, keys.original(record_id), f"{number}.jpg", created_ms, 5)
    return version(record, etag) if etag else record


def version(record: Record, etag: str) -> Record:
    """The record as the pipeline takes up this version of its original."""
    return replace(record, etag=etag, thumbnail=f"{etag}-run")


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


Setup = Callable[[Catalogue, Record], object]

PENDING: Setup = lambda catalogue, record: catalogue.create(record)  # noqa: E731 - a table of one-liners


def ready(catalogue: Catalogue, record: Record) -> None:
    catalogue.begin(version(record, "v1"))
    catalogue.finish_ready(record.id, "v1-run", 9)


def failed(catalogue: Catalogue, record: Record) -> None:
    catalogue.begin(version(record, "v1"))
    catalogue.finish_failed(record.id, "v1-run", "Broken.")


def deleting(catalogue: Catalogue, record: Record) -> None:
    ready(catalogue, record)
    catalogue.start_removal(record.id, Which.ANY)


def deleted(catalogue: Catalogue, record: Record) -> None:
    deleting(catalogue, record)
    assert catalogue.finish_removal(record.id, "tombstone")


def test_a_record_reads_back_as_written(catalogue: Catalogue) -> None:
    record = replace(
        new_record(),
        filename="né\0\n🌍",
        former_thumbnails=("a", "b"),
        thumbnail="c",
        etag="b",
        thumbnail_size=0,
        error="E.",
    )
    catalogue.create(record)
    assert catalogue.get(record.id) == record


@pytest.mark.parametrize(
    ("setup", "state"),
    [(PENDING, State.PENDING), (ready, State.READY), (failed, State.FAILED)],
)
def test_begin_with_the_same_version_changes_nothing_that_is_done(
    catalogue: Catalogue, setup: Setup, state: State
) -> None:
    record = new_record()
    setup(catalogue, record)
    again = catalogue.begin(version(record, "v1"))
    assert again.state is state
    assert again == catalogue.get(record.id)


def test_begin_makes_a_record_that_is_missing_and_lists_it_once(catalogue: Catalogue) -> None:
    record = new_record(etag="v1")
    assert catalogue.begin(record) == record
    assert catalogue.begin(record) == record
    assert catalogue.page(10, None).records == [record]


def test_begin_keeps_what_the_upload_said(catalogue: Catalogue) -> None:
    record = new_record()
    catalogue.create(record)
    stranger = replace(version(record, "v1"), filename="other", created_ms=1, original_size=7)
    assert catalogue.begin(stranger) == replace(version(record, "v1"), original_size=7)


def begun(catalogue: Catalogue, record: Record) -> None:
    catalogue.begin(version(record, "v1"))


@pytest.mark.parametrize("setup", [begun, ready, failed])
def test_begin_with_a_new_version_forgets_the_former_result_but_not_where_it_is_stored(
    catalogue: Catalogue, setup: Setup
) -> None:
    record = new_record()
    setup(catalogue, record)
    expected = replace(version(record, "v2"), former_thumbnails=("v1-run",), original_size=6)
    assert catalogue.begin(replace(version(record, "v2"), original_size=6)) == expected
    assert catalogue.get(record.id) == expected
    third = catalogue.begin(version(record, "v3"))
    assert third.former_thumbnails == ("v1-run", "v2-run")
    catalogue.finish_ready(record.id, "v3-run", 9)
    done = catalogue.get(record.id)
    assert done is not None
    assert done.former_thumbnails == ()


def test_a_version_keeps_the_name_of_its_thumbnail_until_another_is_taken_up(catalogue: Catalogue) -> None:
    record = new_record()
    catalogue.begin(version(record, "v1"))
    assert catalogue.begin(replace(record, etag="v1", thumbnail="v1-retry")).thumbnail == "v1-run"
    catalogue.begin(version(record, "v2"))
    assert catalogue.begin(replace(record, etag="v1", thumbnail="v1-again")).thumbnail == "v1-again"


@pytest.mark.parametrize("setup", [deleting, deleted])
def test_no_event_brings_back_what_was_deleted(catalogue: Catalogue, setup: Setup) -> None:
    record = new_record()
    setup(catalogue, record)
    for etag in ("v1", "v2"):
        assert catalogue.begin(version(record, etag)).state in {State.DELETING, State.DELETED}
        assert catalogue.finish_ready(record.id, f"{etag}-run", 9) is Finish.DELETED
        assert catalogue.finish_failed(record.id, f"{etag}-run", "E.") is Finish.DELETED
    assert catalogue.get(record.id) is None
    assert catalogue.page(10, None).records == []


def test_only_the_tombstone_that_was_seen_is_revived(catalogue: Catalogue) -> None:
    record = new_record(etag="v1")
    deleting(catalogue, record)
    assert catalogue.begin(record, revive="tombstone").state is State.DELETING
    assert catalogue.finish_removal(record.id, "tombstone")
    assert catalogue.begin(record, revive="another").state is State.DELETED
    assert catalogue.begin(record, revive="tombstone") == record
    assert catalogue.page(10, None).records == [record]


def test_a_revived_record_is_not_forgotten_with_its_tombstone(
    catalogue: Catalogue, redis_server: "redis.Redis"
) -> None:
    record = new_record(etag="v1")
    deleted(catalogue, record)
    catalogue.begin(record, revive="tombstone")
    assert redis_server.ttl(keys.record(record.id)) == -1


@pytest.mark.parametrize(
    ("setup", "thumbnail", "result"),
    [
        (lambda *_: None, "v1-run", Finish.UNKNOWN),
        (PENDING, "v1-run", Finish.SUPERSEDED),
        (begun, "v0-run", Finish.SUPERSEDED),
        (ready, "v0-run", Finish.SUPERSEDED),
        (failed, "v0-run", Finish.SUPERSEDED),
        (deleting, "v1-run", Finish.DELETED),
        (deleted, "v1-run", Finish.DELETED),
    ],
)
def test_finish_changes_nothing_that_it_did_not_begin(
    catalogue: Catalogue, setup: Setup, thumbnail: str, result: Finish
) -> None:
    record = new_record()
    setup(catalogue, record)
    before = catalogue.find(record.id)
    assert catalogue.finish_failed(record.id, thumbnail, "Again.") is result
    assert catalogue.finish_ready(record.id, thumbnail, 9) is result
    assert catalogue.find(record.id) == before


def test_a_late_failure_does_not_undo_a_thumbnail(catalogue: Catalogue) -> None:
    record = new_record()
    ready(catalogue, record)
    done = catalogue.get(record.id)
    assert catalogue.finish_failed(record.id, "v1-run", "Late.") is Finish.DONE
    assert catalogue.get(record.id) == done


def test_a_thumbnail_mends_a_failure(catalogue: Catalogue) -> None:
    record = new_record()
    failed(catalogue, record)
    assert catalogue.finish_ready(record.id, "v1-run", 9) is Finish.DONE
    mended = replace(version(record, "v1"), state=State.READY, thumbnail_size=9)
    assert catalogue.get(record.id) == mended


@pytest.mark.parametrize("setup", [PENDING, ready, failed])
def test_a_removal_hides_at_once_and_shows_the_record_to_one_alone(
    catalogue: Catalogue, setup: Setup
) -> None:
    record = new_record()
    setup(catalogue, record)
    shown = catalogue.get(record.id)
    assert shown is not None
    first, second = (
        catalogue.start_removal(record.id, Which.ANY),
        catalogue.start_removal(record.id, Which.ANY),
    )
    assert catalogue.get(record.id) is None
    assert catalogue.page(10, None).records == []
    assert first is not None
    assert second is not None
    assert first.as_json() == second.as_json() == shown.as_json()
    assert [catalogue.finish_removal(record.id, token) for token in ("a", "b")] == [True, False]
    assert catalogue.finish_removal(record.id, "a"), "a repeated call of the same removal is told the same"
    assert catalogue.start_removal(record.id, Which.ANY) is None


def test_removal_of_what_never_was(catalogue: Catalogue, redis_server: "redis.Redis") -> None:
    assert catalogue.start_removal(keys.new_id(), Which.ANY) is None
    assert not catalogue.finish_removal(keys.new_id(), "t")
    assert redis_server.dbsize() == 0


def test_a_removal_that_has_not_ended_is_not_forgotten(
    catalogue: Catalogue, redis_server: "redis.Redis"
) -> None:
    record = new_record()
    deleting(catalogue, record)
    assert redis_server.ttl(keys.record(record.id)) == -1
    assert redis_server.zcard(keys.INDEX) == 0


def test_a_removal_is_remembered_for_a_while_and_then_forgotten(
    catalogue: Catalogue, redis_server: "redis.Redis"
) -> None:
    record = new_record()
    deleted(catalogue, record)
    assert TOMBSTONE_SECONDS - 60 < redis_server.ttl(keys.record(record.id)) <= TOMBSTONE_SECONDS
    assert redis_server.zcard(keys.INDEX) == 0


class TestPage:
    def test_newest_first_also_within_a_millisecond(self, catalogue: Catalogue) -> None:
        records = [replace(new_record(number // 3), filename=str(number)) for number in range(10)]
        for record in random.Random(1).sample(records, len(records)):
            catalogue.create(record)
        expected = sorted(records, key=lambda record: (record.created_ms, record.id), reverse=True)
        for limit in (1, 3, 10, 11):
            assert walk(catalogue, limit) == ids(expected)

    def test_records_that_come_during_a_walk_do_not_shift_it(self, catalogue: Catalogue) -> None:
        old = [new_record(number) for number in range(6)]
        for record in old:
            catalogue.create(record)
        seen = walk(catalogue, 2, lambda page: catalogue.create(new_record(100 + page)))
        assert seen == ids(old[::-1])

    def test_records_that_go_during_a_walk_leave_no_gap(self, catalogue: Catalogue) -> None:
        records = [new_record(number) for number in range(9)]
        for record in records:
            catalogue.create(record)
        # After each page, the last record seen goes (the cursor stands on it) and so does the one after next.
        newest_first = records[::-1]

        def remove(page: int) -> None:
            for gone in newest_first[page * 3 - 1], newest_first[min(page * 3 + 1, 8)]:
                catalogue.start_removal(gone.id, Which.ANY)

        seen = walk(catalogue, 3, remove)
        removed_unseen = {newest_first[4].id, newest_first[7].id}
        assert seen == [record.id for record in newest_first if record.id not in removed_unseen]

    @pytest.mark.parametrize("vanish", ["hash", "deleting"])
    def test_index_entries_without_a_record_are_passed_over(
        self, catalogue: Catalogue, redis_server: "redis.Redis", vanish: str
    ) -> None:
        records = [new_record(number) for number in range(4)]
        for record in records:
            catalogue.create(record)
        for gone in records[1:3]:
            if vanish == "hash":
                redis_server.delete(keys.record(gone.id))
            else:
                redis_server.hset(keys.record(gone.id), "state", "deleting")
        assert walk(catalogue, 1) == [records[3].id, records[0].id]
        assert ids(catalogue.page(10, None).records) == [records[3].id, records[0].id]

    @pytest.mark.parametrize("cursor", ["", "%", "AA", "MTox", "a" * 100, "é"])
    def test_a_foreign_cursor_is_refused(self, catalogue: Catalogue, cursor: str) -> None:
        with pytest.raises(BadParameter):
            catalogue.page(1, cursor)


def walk(catalogue: Catalogue, limit: int, between: Callable[[int], object] = lambda _: None) -> list[str]:
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = catalogue.page(limit, cursor)
        assert len(page.records) <= limit
        seen += ids(page.records)
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            return seen
        between(pages)


def test_no_command_touches_two_keys(catalogue: Catalogue, redis_server: "redis.Redis") -> None:
    """What a cluster asks for: keys of one command in one slot. MONITOR shows what is really sent."""
    record = new_record(etag="v1")
    untyped: Any = redis_server
    with untyped.monitor() as monitor:
        deleted(catalogue, record)
        catalogue.page(10, None)
        catalogue.find(record.id)
        redis_server.set("the end", 1)
        sent = []
        while (command := monitor.next_command())["command"] != "SET 'the end' 1".replace("'", ""):
            sent.append(command["command"].split())
    names = {words[0].upper() for words in sent}
    assert not names & {"MULTI", "KEYS", "SCAN", "MGET", "RENAME"}
    scripts = [words for words in sent if words[0].upper() in {"EVAL", "EVALSHA"}]
    assert scripts
    assert {words[2] for words in scripts} == {"1"}
    touched = [word for words in sent for word in words[1:] if word.startswith((keys.INDEX, "record:"))]
    assert touched
    for words in sent:
        assert len({word for word in words if word in {keys.INDEX, keys.record(record.id)}}) <= 1


def test_nothing_answers() -> None:
    catalogue = Catalogue(redis_client("redis://127.0.0.1:1", timeout=1))
    record = new_record(etag="v1")
    for call in (
        catalogue.ping,
        lambda: catalogue.create(record),
        lambda: catalogue.get(record.id),
        lambda: catalogue.page(1, None),
        lambda: catalogue.begin(record),
        lambda: catalogue.finish_ready(record.id, "v1-run", 1),
        lambda: catalogue.start_removal(record.id, Which.ANY),
        lambda: catalogue.finish_removal(record.id, str(uuid.uuid4())),
        lambda: catalogue.unlist(record),
    ):
        with pytest.raises(CatalogueUnavailable):
            call()
