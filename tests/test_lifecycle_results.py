"""A record tells of its present version and of what that came to: nothing of an earlier one is left."""

from dataclasses import fields, replace
from typing import Any

import pytest

from chalicelib.records import lifecycle
from chalicelib.records.record import Failure, Pixels, Record, State, StoredSize
from tests.lifecycle_steps import ALONE, LONGER, RESTORED, RETENTION, UPLOADED, changes, version

STORED = ("thumbnail_size", "sizes", "thumbnail_pixels")
ERROR = ("error", "error_code")
LEFT_BY_A_REMOVAL = ("id", "state", "version_ms", "thumbnail", "stale_thumbnails", "tombstone")
KEPT_FOR_EVENTS = ("outbox", "body_hash", "thumbnail_size", "error")
EMPTY_IN = {
    State.AWAITING_UPLOAD: ("etag", "version_ms", "thumbnail", *STORED, *ERROR),
    State.PENDING: (*STORED, *ERROR),
    State.READY: ERROR,
    State.FAILED: ("image", *STORED),
    State.TOMBSTONE: tuple(
        one.name for one in fields(Record) if one.name not in {*LEFT_BY_A_REMOVAL, *KEPT_FOR_EVENTS}
    ),
}


@pytest.mark.parametrize("state", EMPTY_IN)
def test_no_state_keeps_what_belongs_to_another(state: State) -> None:
    made = [step.after for step in changes() if step.after and step.after.state is state]
    assert made
    left = {(name, getattr(one, name)) for one in made for name in EMPTY_IN[state]}
    assert {name for name, value in left if value not in {None, (), "", 0}} == set()


def test_a_newer_version_begins_without_the_results_of_the_last() -> None:
    ready = replace(RESTORED, attempts=2, download_expires_ms=RETENTION - 1)
    after = lifecycle.claim_version(ready, version(UPLOADED, "b", LONGER), None)
    assert after == replace(
        version(UPLOADED, "b", LONGER),
        image=None,
        original_size=6,
        stale_thumbnails=("a-1",),
    )


def test_a_picture_that_fails_is_no_picture_of_known_size() -> None:
    pending = version(UPLOADED, "a")
    assert pending.image is not None
    failed = lifecycle.finish(pending, "a-1", Failure("undecodable", "It is damaged."))
    assert failed == replace(
        pending, state=State.FAILED, image=None, error="It is damaged.", error_code="undecodable"
    )


def test_a_lost_thumbnail_takes_all_sizes_with_it() -> None:
    after = lifecycle.mark_thumbnail_lost(RESTORED, "a-1")
    assert after == replace(
        RESTORED, state=State.PENDING, thumbnail_size=None, sizes=(), thumbnail_pixels=None
    )


OTHER_SIZES = (StoredSize("hero", 5000, 40, 30, "jpeg"),)


@pytest.mark.parametrize(
    ("told", "is_adopted"),
    [
        ({}, False),
        ({"sizes": OTHER_SIZES}, True),
        ({"thumbnail_size": 77}, True),
        ({"thumbnail": "a-2"}, True),
        ({"thumbnail": "a-2", "sizes": OTHER_SIZES}, True),
    ],
)
def test_what_stands_alone_is_adopted_unless_the_record_has_all_of_it(
    told: dict[str, Any], *, is_adopted: bool
) -> None:
    found = replace(RESTORED, thumbnail_pixels=Pixels(9, 9), **told)
    after = lifecycle.adopt_thumbnail(RESTORED, found, RESTORED)
    assert after is not None
    assert after == (replace(found, stale_thumbnails=after.stale_thumbnails) if is_adopted else RESTORED)
    assert after.stale_thumbnails == (("a-1",) if "thumbnail" in told else ())


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("code", [None, "undecodable", "too_complex", *sorted(lifecycle.REOPENED)])
def test_only_failures_outside_of_the_picture_are_reopened(state: State, code: str | None) -> None:
    record = replace(ALONE, state=state, error_code=code)
    assert lifecycle.is_reopened(record) is (state is State.FAILED and code in lifecycle.REOPENED)
