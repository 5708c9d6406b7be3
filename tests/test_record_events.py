"""Which changes note an event, and how long it stays: for every record and transition, without Redis."""

import json
from dataclasses import replace

import pytest

from chalicelib.records import codec, events, lifecycle
from chalicelib.records.codec import as_json
from chalicelib.records.record import EventKind, Finished, OutboxEvent, Record, State
from tests.lifecycle_steps import KEPT_FOR_EVER, RESTORED, T0, UPLOADED, Step, changes, version, wrong

NOW = T0 + 10
MINUTE = 60_000
WAITING = OutboxEvent(EventKind.FAILED, "earlier", T0, "uploads/earlier", "{}")
CLAIMED = version(UPLOADED, "a")
READY = replace(CLAIMED, state=State.READY, thumbnail_size=3609)
FAILED = replace(CLAIMED, state=State.FAILED, error="It is damaged.", error_code="undecodable")
DELETING = replace(READY, state=State.DELETING)
TOMBSTONE = lifecycle.finish_removal(DELETING, "t")


def add(before: Record | None, after: Record | None, now_ms: int = NOW) -> Record | None:
    return events.add_event(before, after, now_ms)


def noted(before: Record | None, after: Record | None, now_ms: int = NOW) -> list[EventKind]:
    record = add(before, after, now_ms)
    return [] if record is None else [event.kind for event in record.outbox]


def with_waiting(record: Record | None) -> Record | None:
    return None if record is None else replace(record, outbox=(WAITING,))


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (CLAIMED, READY, [EventKind.READY]),
        (CLAIMED, FAILED, [EventKind.FAILED]),
        (FAILED, READY, [EventKind.READY]),
        (FAILED, replace(FAILED, error_code="too_complex"), [EventKind.FAILED]),
        (READY, replace(READY, thumbnail="b-1"), [EventKind.READY]),
        (READY, replace(READY, thumbnail_size=3610), [EventKind.READY]),
        (READY, replace(READY, download_expires_ms=T0), []),
        (READY, replace(READY, state=State.PENDING, thumbnail_size=None), []),
        (READY, DELETING, [EventKind.DELETED]),
        (CLAIMED, replace(CLAIMED, state=State.DELETING), [EventKind.DELETED]),
        (DELETING, TOMBSTONE, []),
        (None, CLAIMED, []),
        (None, READY, [EventKind.READY]),
        (CLAIMED, None, []),
    ],
)
def test_a_change_that_ends_a_record_notes_how(
    before: Record | None, after: Record | None, kinds: list[EventKind]
) -> None:
    assert noted(before, after) == kinds
    record = add(before, after)
    assert (record and replace(record, outbox=())) == after, "nothing else is changed"


@pytest.mark.slow
def test_a_record_that_is_pending_has_no_event_of_its_own() -> None:
    waits = {State.PENDING, State.AWAITING_UPLOAD}
    assert not wrong(
        [step for step in changes() if step.after and step.after.state in waits],
        lambda step: noted(step.before, step.after) == [],
    )


@pytest.mark.slow
def test_every_change_into_an_end_notes_one_event_and_no_other_change_does() -> None:
    final = {State.READY: EventKind.READY, State.FAILED: EventKind.FAILED, State.DELETING: EventKind.DELETED}

    def holds(step: Step) -> bool:
        before, after = step.before, step.after
        kinds = noted(before, after)
        if after is None or after.state not in final:
            return not kinds
        if before is None or before.state is not after.state:
            return kinds == [final[after.state]]
        return kinds in ([], [final[after.state]])

    assert not wrong(changes(), holds)


@pytest.mark.slow
def test_events_stay_through_every_change_until_they_are_published() -> None:
    """Also where a transition makes the record anew: of a key that is put again, or of a removed one."""

    def holds(step: Step) -> bool:
        before = with_waiting(step.before)
        after = add(before, step.event(before))
        return before is None or (after is not None and after.outbox[0] == WAITING)

    assert not wrong(changes(), holds)


def test_a_record_with_events_is_not_dropped() -> None:
    before = replace(KEPT_FOR_EVER, outbox=(WAITING,))
    assert lifecycle.discard_abandoned(before, T0 + lifecycle.IN_FLIGHT_MS) is None
    assert add(before, None) == before


def test_an_event_says_what_get_gave() -> None:
    ready = add(CLAIMED, READY)
    assert ready is not None
    (event,) = ready.outbox
    assert json.loads(event.shown) == as_json(READY)
    assert (event.time_ms, event.object_key) == (NOW, READY.object_key)
    presigned = replace(CLAIMED, state=State.AWAITING_UPLOAD, presigned_until_ms=T0 + MINUTE)
    deleting = add(presigned, replace(presigned, state=State.DELETING))
    assert deleting is not None
    assert json.loads(deleting.outbox[0].shown) == as_json(presigned)


def identity(before: Record | None, after: Record, now_ms: int = NOW) -> str:
    record = add(before, after, now_ms)
    assert record is not None
    return record.outbox[-1].event_id


def test_the_same_end_has_the_same_id_whenever_it_is_noted() -> None:
    assert identity(CLAIMED, READY) == identity(FAILED, READY, NOW + MINUTE)
    assert identity(CLAIMED, READY) == identity(CLAIMED, replace(READY, revision="r", attempts=2))
    # What a download or an operator changes afterwards.
    assert identity(CLAIMED, READY) == identity(CLAIMED, replace(READY, download_expires_ms=T0))
    # After Redis was lost, the version is claimed under another name.
    assert identity(CLAIMED, FAILED) == identity(CLAIMED, replace(FAILED, thumbnail="a-2"))


@pytest.mark.parametrize(
    "other",
    [
        FAILED,
        replace(READY, thumbnail="a-2"),
        replace(READY, thumbnail_size=1),
        replace(READY, id="0" * 36),
        replace(READY, version_ms=T0 + 9),
        replace(READY, etag="b"),
        replace(READY, created_ms=T0 + 9),
        DELETING,
    ],
)
def test_another_end_has_another_id(other: Record) -> None:
    assert identity(CLAIMED, READY) != identity(CLAIMED, other)


def test_what_is_made_again_long_after_is_not_published_again() -> None:
    assert noted(None, RESTORED, T0 + events.RESTORED_MS + 1) == []
    assert noted(None, RESTORED, T0 + events.RESTORED_MS) == [EventKind.READY]
    # Whatever was made of it since is news.
    assert noted(CLAIMED, READY, T0 + events.RESTORED_MS + 1) == [EventKind.READY]


def test_one_record_does_not_keep_any_number_of_events() -> None:
    record: Record | None = CLAIMED
    for size in range(events.MOST_EVENTS + 5):
        assert record is not None
        record = add(record, replace(record, state=State.READY, thumbnail_size=size + 1))
    assert record is not None
    assert [json.loads(event.shown)["size"]["thumbnail"] for event in record.outbox] == list(
        range(6, events.MOST_EVENTS + 6)
    )


def test_what_is_published_goes_and_the_rest_stays() -> None:
    later = WAITING._replace(event_id="later")
    record = replace(READY, outbox=(WAITING, later))
    once = events.mark_published(record, "earlier")
    assert once == replace(record, outbox=(later,))
    assert events.mark_published(once, "earlier") == once
    assert events.mark_published(None, "earlier") is None


@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        (DELETING, lifecycle.IDEMPOTENCY_SECONDS),
        (replace(DELETING, body_hash=None), lifecycle.PROCESSED_TOMBSTONE_SECONDS),
        (
            replace(FAILED, state=State.DELETING, body_hash=None),
            lifecycle.PROCESSED_TOMBSTONE_SECONDS,
        ),
        (replace(CLAIMED, state=State.DELETING, body_hash=None), lifecycle.TOMBSTONE_SECONDS),
    ],
)
def test_a_tombstone_outlives_its_events_and_then_lives_as_long_as_others(
    before: Record, seconds: int
) -> None:
    before = replace(before, outbox=(WAITING,))
    bare = lifecycle.finish_removal(before, "t")
    tombstone = add(before, bare)
    assert tombstone is not None
    assert events.seconds_to_live(before, tombstone) == lifecycle.TOMBSTONE_SECONDS
    stored = codec.decode(tombstone.id, codec.encode(tombstone))
    assert stored == tombstone
    published = events.mark_published(tombstone, "earlier")
    assert published == bare
    assert events.seconds_to_live(tombstone, published) == seconds


def test_nothing_is_known_of_anybody_once_a_removal_is_published() -> None:
    before = replace(DELETING, outbox=(WAITING,), owner="alice")
    tombstone = add(before, lifecycle.finish_removal(before, "t"))
    published = events.mark_published(tombstone, "earlier")
    assert published is not None
    assert set(codec.encode(published)) <= {
        *("format", "state", "version_ms", "thumbnail", "former_thumbnails", "tombstone", "revision"),
    }


def test_a_full_redis_takes_what_empties_the_outbox() -> None:
    assert events.mark_published in events.ALLOWED_WHEN_FULL
    assert lifecycle.ALLOWED_WHEN_FULL < events.ALLOWED_WHEN_FULL


def test_only_a_new_event_is_announced() -> None:
    ready = add(CLAIMED, READY)
    assert events.has_new_event(CLAIMED, ready)
    assert events.has_new_event(None, ready)
    assert not events.has_new_event(ready, replace(ready, revision="r") if ready else None)
    assert not events.has_new_event(CLAIMED, CLAIMED)
    assert not events.has_new_event(CLAIMED, None)


def test_a_slower_run_that_finishes_the_same_version_notes_nothing_more() -> None:
    ready = add(CLAIMED, lifecycle.finish(CLAIMED, "a-1", Finished(3609)))
    assert ready is not None
    assert lifecycle.finish(ready, "a-1", Finished(3609)) == ready
