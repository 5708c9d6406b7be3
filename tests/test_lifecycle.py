"""What holds for every reachable record and every transition, whatever the order of events."""

from dataclasses import fields, replace
from functools import partial

import pytest

from chalicelib.records import lifecycle
from chalicelib.records.codec import encode
from chalicelib.records.lifecycle import (
    IDEMPOTENCY_SECONDS,
    IN_FLIGHT_MS,
    PROCESSED_TOMBSTONE_SECONDS,
    REOPENED,
    TOMBSTONE_SECONDS,
)
from chalicelib.records.record import (
    UNRESTRICTED,
    FinishResult,
    Owner,
    Record,
    RemovalScope,
    State,
    Viewer,
)
from tests.lifecycle_steps import (
    FULL,
    ID,
    MOMENTS,
    PRESIGNED_UNTIL,
    TRANSITIONS,
    UPLOADED,
    VIEWERS,
    Step,
    changes,
    reachable,
    steps,
    version,
    wrong,
)


def test_every_transition_is_taken_and_every_state_reached() -> None:
    assert {step.transition for step in steps()} == set(TRANSITIONS.values())
    assert {record.state for record in reachable()} == set(State)
    assert any(None not in (record.expires_ms, record.download_expires_ms) for record in reachable())
    unset = {field.name for field in fields(Record)} - {"revision", "outbox"}
    for record in reachable():
        unset -= {name for name in unset if getattr(record, name) not in (None, "", 0, ())}
    assert not unset


def test_an_event_that_comes_twice_changes_nothing_more() -> None:
    def holds(step: Step) -> bool:
        again = step.event(step.after)
        if step.transition is lifecycle.create_if_absent and again and step.after:
            # The first upload has no time of a repetition.
            again = replace(again, touched_ms=step.after.touched_ms)
        return again == step.after

    assert not wrong(changes(), holds)


def test_a_tombstone_stays_one_unless_a_claim_names_it() -> None:
    def holds(step: Step) -> bool:
        before, after = step.before, step.after
        if (
            step.transition is lifecycle.claim_version
            and before
            and step.event.arguments[1] == before.tombstone
        ):
            fresh: Record = step.event.arguments[0]
            return after == fresh
        return after == before

    tombstones = [step for step in steps() if step.before and step.before.state is State.TOMBSTONE]
    assert not wrong(tombstones, holds)


def test_no_claim_revives_a_tombstone_without_a_name() -> None:
    removed = lifecycle.finish_removal(replace(FULL, state=State.DELETING), "t")
    assert removed is not None
    assert removed.state is State.TOMBSTONE
    nameless = replace(removed, tombstone=None)
    assert lifecycle.claim_version(nameless, version(UPLOADED, "a"), None) == nameless


def test_a_removal_that_has_started_ends_in_a_tombstone_or_not_at_all() -> None:
    started = [step for step in steps() if step.before and step.before.state is State.DELETING]
    assert not wrong(
        started,
        lambda step: (
            step.after == step.before
            or (
                step.transition is lifecycle.finish_removal
                and step.after is not None
                and step.after.state is State.TOMBSTONE
            )
        ),
    )


def test_a_tombstone_says_nothing_about_anybody() -> None:
    kept = {"id", "state", "version_ms", "thumbnail", "stale_thumbnails", "tombstone", "revision"}
    empty = Record(ID, "", "", 0, None)
    tombstones = [record for record in reachable() if record.state is State.TOMBSTONE]
    assert tombstones
    for record in tombstones:
        assert record.tombstone
        told = {
            field.name
            for field in fields(Record)
            if getattr(record, field.name) != getattr(empty, field.name)
        }
        assert told <= kept
        names = {"format", "state", "version_ms", "thumbnail", "former_thumbnails", "tombstone"}
        assert encode(record).keys() <= names


def test_a_tombstone_names_all_thumbnails_of_the_record() -> None:
    removals = [
        step
        for step in steps()
        if step.transition is lifecycle.finish_removal and step.before and step.before.state is State.DELETING
    ]
    assert not wrong(
        removals,
        lambda step: (
            step.after is not None
            and step.before is not None
            and lifecycle.thumbnails(step.after) == lifecycle.thumbnails(step.before)
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("viewer", VIEWERS, ids=str)
def test_delete_takes_exactly_what_get_shows(viewer: Viewer) -> None:
    taken = 0
    for record in reachable():
        for now in MOMENTS:
            after = lifecycle.start_removal(record, RemovalScope.VISIBLE, viewer, now)
            shown = lifecycle.is_visible(record, viewer, now)
            assert (after != record) == shown, (record, now)
            assert not shown or after == replace(record, state=State.DELETING)
            taken += shown
    assert (taken > 0) == (viewer != Owner("b"))


def test_a_record_is_visible_until_its_earliest_expiry() -> None:
    for record in reachable():
        ends = [record.expires_ms, record.download_expires_ms]
        if record.state is State.AWAITING_UPLOAD:
            ends.append(record.presigned_until_ms)
        known = [end for end in ends if end is not None]
        assert record.ends_ms == min(known, default=None)
        for now in (end + step for end in known for step in (-1, 0)):
            is_left = record.state not in {State.DELETING, State.TOMBSTONE}
            assert lifecycle.exists(record, now) == (is_left and now < min(known)), (record, now)


@pytest.mark.slow
def test_expired_records_are_removed_by_the_scope_for_them_and_no_others() -> None:
    for record in reachable():
        for now in MOMENTS:
            after = lifecycle.start_removal(record, RemovalScope.EXPIRED, UNRESTRICTED, now)
            is_left = record.state not in {State.DELETING, State.TOMBSTONE}
            assert (after != record) == (is_left and record.has_expired(now))


@pytest.mark.slow
def test_an_owner_sees_and_removes_its_own_records_alone() -> None:
    for record in reachable():
        for now, scope in ((now, scope) for now in MOMENTS for scope in RemovalScope):
            assert not lifecycle.is_visible(record, Owner("b"), now)
            assert lifecycle.start_removal(record, scope, Owner("b"), now) == record
            assert not lifecycle.may_remove(record, scope, Owner("b"), now)


def test_each_waiting_record_has_a_next_check() -> None:
    waiting = [record for record in reachable() if lifecycle.is_waiting(record)]
    assert {record.state for record in waiting} == {State.AWAITING_UPLOAD, State.PENDING, State.DELETING}
    for record in waiting:
        for now in MOMENTS:
            check = lifecycle.next_check(record, now)
            assert check is not None
            assert check <= max(now, record.presigned_until_ms or 0) + IN_FLIGHT_MS


def test_each_record_that_expires_is_checked_when_it_does() -> None:
    for record in reachable():
        for now in MOMENTS:
            check = lifecycle.next_check(record, now)
            if record.state is State.TOMBSTONE:
                assert check is None
            elif record.state is State.AWAITING_UPLOAD:
                # Later than its end: the object may come until then, and its event some time after.
                assert check == PRESIGNED_UNTIL + IN_FLIGHT_MS
            elif record.state is not State.DELETING and record.ends_ms is not None:
                assert check is not None
                assert check <= record.ends_ms
            elif lifecycle.is_final(record):
                assert check is None


@pytest.mark.slow
def test_only_tombstones_and_presigned_uploads_expire_in_redis() -> None:
    for step in steps():
        if step.before != step.after:
            expires = step.after is not None and step.after.state in {State.TOMBSTONE, State.AWAITING_UPLOAD}
            assert (lifecycle.seconds_to_live(step.before, step.after) > 0) == expires


@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        (replace(FULL, body_hash=None, thumbnail_size=9), PROCESSED_TOMBSTONE_SECONDS),
        (replace(FULL, body_hash=None, error="It is damaged."), PROCESSED_TOMBSTONE_SECONDS),
        (replace(FULL, body_hash=None), TOMBSTONE_SECONDS),
        (replace(FULL, body_hash=None, etag=None, thumbnail=None), TOMBSTONE_SECONDS),
        (FULL, IDEMPOTENCY_SECONDS),
        (replace(FULL, thumbnail_size=9), IDEMPOTENCY_SECONDS),
    ],
    ids=["ready", "failed", "claimed", "no event yet", "with a key", "with a key, ready"],
)
def test_a_tombstone_lives_as_long_as_something_may_still_come(before: Record, seconds: int) -> None:
    removing = replace(before, state=State.DELETING)
    assert lifecycle.seconds_to_live(removing, lifecycle.finish_removal(removing, "t")) == seconds
    assert lifecycle.seconds_to_live(before, removing) == 0
    assert lifecycle.seconds_to_live(None, removing) == 0


def test_a_record_is_ready_when_its_thumbnail_is_known_and_failed_when_it_has_an_error() -> None:
    for record in reachable():
        if record.state is not State.DELETING:
            assert (record.state is State.READY) == (record.thumbnail_size is not None), record
            assert (record.state is State.FAILED) == (record.error is not None), record
        assert record.error is not None or record.error_code is None
        assert record.thumbnail_size is None or record.error is None
        assert (record.etag is None) == (record.thumbnail is None) or record.state is State.TOMBSTONE


@pytest.mark.slow
def test_no_transition_loses_the_name_of_a_thumbnail_that_may_be_stored() -> None:
    """But `finish`, which follows the removal of other thumbnails, and a claim that revives a tombstone.

    And `replace_thumbnail`: what it replaces is left to the walk over the bucket, which deletes what no
    record names: clients who have just read the record can still download it. A removal lists the bucket.
    """
    kept = [
        step
        for step in steps()
        if step.before
        and step.after
        and step.transition not in {lifecycle.finish, lifecycle.replace_thumbnail}
        and not lifecycle.is_tombstone(step.before)
    ]
    assert not wrong(
        kept,
        lambda step: (
            step.before is not None
            and step.after is not None
            and set(lifecycle.thumbnails(step.before)) <= set(lifecycle.thumbnails(step.after))
        ),
    )


@pytest.mark.slow
def test_id_owner_and_creation_stay() -> None:
    changed = [
        step
        for step in steps()
        if step.before
        and step.after
        and not lifecycle.is_tombstone(step.before)
        and not lifecycle.is_tombstone(step.after)
    ]
    stays = ("id", "owner", "created_ms", "filename", "body_hash", "presigned_until_ms")
    assert not wrong(
        changed, lambda step: all(getattr(step.before, name) == getattr(step.after, name) for name in stays)
    )
    elsewhere = [step for step in changed if step.transition is not lifecycle.move_original]
    assert not wrong(
        elsewhere,
        lambda step: bool(step.before and step.after and step.before.object_key == step.after.object_key),
    )


def test_the_index_has_to_change_only_where_the_store_changes_it() -> None:
    def is_listed(record: Record | None) -> bool:
        return record is not None and lifecycle.is_listed(record)

    joins = {step.transition for step in steps() if not is_listed(step.before) and is_listed(step.after)}
    leaves = {step.transition for step in steps() if is_listed(step.before) and not is_listed(step.after)}
    assert joins == {
        lifecycle.create,
        lifecycle.create_if_absent,
        lifecycle.claim_version,
        lifecycle.adopt_thumbnail,
    }
    assert leaves == {lifecycle.start_removal, lifecycle.discard_abandoned}


def test_finish_tells_what_became_of_the_result() -> None:
    finishes = [step for step in steps() if step.transition is lifecycle.finish and step.before]

    def holds(step: Step) -> bool:
        told = lifecycle.finish_result(step.after, step.event.arguments[0])
        assert step.before is not None
        if step.after != step.before:
            return told is FinishResult.DONE
        if lifecycle.is_gone(step.before):
            return told is FinishResult.DELETED
        return told is not FinishResult.SUPERSEDED or step.before.thumbnail != step.event.arguments[0]

    assert not wrong(finishes, holds)
    assert lifecycle.finish_result(None, "a-1") is FinishResult.UNKNOWN


def claims() -> list[Step]:
    """Claims of versions of records that are there."""
    return [
        step
        for step in steps()
        if step.transition is lifecycle.claim_version and step.before and not lifecycle.is_gone(step.before)
    ]


def is_another(step: Step) -> bool:
    """Whether a claim is of another version than the record's: other content, or another focal point."""
    fresh = step.event.arguments[0]
    return step.before is None or (step.before.etag, step.before.focus) != (fresh.etag, fresh.focus)


def test_a_claim_of_the_same_version_moves_times_and_reopens_what_was_no_fault_of_the_picture() -> None:
    same = [step for step in claims() if not is_another(step)]

    def holds(step: Step) -> bool:
        before, after, fresh = step.before, step.after, step.event.arguments[0]
        assert before is not None
        assert after is not None
        expected = before
        if before.error_code in REOPENED:
            expected = replace(expected, state=State.PENDING, error=None, error_code=None, attempts=0)
        if before.version_ms is not None and fresh.version_ms > before.version_ms:
            expected = replace(expected, version_ms=fresh.version_ms)
        if before.expires_ms is not None and before.expires_ms < (fresh.expires_ms or 0):
            expected = replace(expected, expires_ms=fresh.expires_ms, download_expires_ms=None)
        return after == expected

    assert not wrong(same, holds)
    assert any(lifecycle.is_reopened(step.before) for step in same if step.before)


def test_no_claim_goes_back_to_an_older_version_unless_the_object_is_still_there() -> None:
    older = [
        step
        for step in claims()
        if step.before
        and is_another(step)
        and (step.before.version_ms or 0) > step.event.arguments[0].version_ms
    ]
    is_current = {isinstance(step.event.transition, partial) for step in older}
    assert is_current == {True, False}
    assert not wrong(
        older, lambda step: (step.after != step.before) == isinstance(step.event.transition, partial)
    )


def test_a_change_that_was_decided_by_a_record_which_changed_since_is_not_made() -> None:
    decided = [
        step
        for step in steps()
        if (step.transition is lifecycle.adopt_thumbnail and step.event.arguments[1] is FULL)
        or (step.transition is lifecycle.start_removal and step.event.arguments[3:] == (FULL,))
    ]
    assert not wrong(decided, lambda step: step.before in {step.after, FULL})
