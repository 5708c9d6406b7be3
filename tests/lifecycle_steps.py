"""Every record that any order of transitions leads to, and every transition of each: without Redis."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from chalicelib import naming
from chalicelib.records import lifecycle
from chalicelib.records.record import (
    UNRESTRICTED,
    Failure,
    Finished,
    ImageFacts,
    Owner,
    Pixels,
    Record,
    RemovalScope,
    State,
    StoredSize,
    Viewer,
)
from chalicelib.spec import Focus

ID = "4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10"
HOUR = 3_600_000
T0 = 1_700_000_000_000
PRESIGNED_UNTIL, AFTER_DOWNLOAD, RETENTION, LONGER = T0 + HOUR // 4, T0 + HOUR, T0 + 2 * HOUR, T0 + 3 * HOUR
LAST = LONGER + HOUR
# Before, at and after each moment at which something about a record may change.
MOMENTS = [
    T0,
    *(end + step for end in (PRESIGNED_UNTIL, AFTER_DOWNLOAD, RETENTION, LONGER) for step in (-1, 0)),
]
VIEWERS: list[Viewer] = [Owner("a"), Owner("b"), UNRESTRICTED]

PRESIGNED = Record(
    ID,
    naming.original(ID),
    "holiday.jpg",
    T0,
    None,
    state=State.AWAITING_UPLOAD,
    owner="a",
    presigned_until_ms=PRESIGNED_UNTIL,
    expires_ms=RETENTION,
)
UPLOADED = replace(
    PRESIGNED,
    state=State.PENDING,
    original_size=5,
    presigned_until_ms=None,
    body_hash="0" * 64,
    image=ImageFacts("JPEG", 40, 30),
)
KEPT_FOR_EVER = replace(UPLOADED, owner=None, expires_ms=None)


def version(record: Record, etag: str, expires_ms: int | None = RETENTION, stored_ms: int = 0) -> Record:
    """The record that a run would make of this version, if there were none; "b" is newer than "a"."""
    return replace(
        record,
        state=State.PENDING,
        original_size=6,
        etag=etag,
        version_ms=stored_ms or {"a": T0 + 1, "b": T0 + 2}[etag],
        thumbnail=f"{etag}-1",
        expires_ms=expires_ms,
    )


IMAGE = ImageFacts("JPEG", 40, 30, "cGg=")
SIZES = (StoredSize("card", 900, 4, 3, "webp"),)
_MADE: dict[str, Any] = {"sizes": SIZES, "thumbnail_pixels": Pixels(4, 3), "image": IMAGE}
RESTORED = replace(version(UPLOADED, "a"), state=State.READY, thumbnail_size=3609, **_MADE)
ALONE = replace(version(UPLOADED, "b"), state=State.READY, thumbnail_size=900, **_MADE)
FULL = Record(
    id=ID,
    object_key=naming.original(ID),
    filename="holiday.jpg",
    created_ms=T0,
    original_size=5,
    owner="a",
    presigned_until_ms=PRESIGNED_UNTIL,
    etag="a",
    thumbnail="a-1",
    stale_thumbnails=("b-1",),
    expires_ms=RETENTION,
    download_expires_ms=AFTER_DOWNLOAD,
    body_hash="0" * 64,
    focus=Focus(0.5, 0.2),
    watermark=True,
    touched_ms=T0 + 1,
    attempts=2,
)
SEEDS: list[Record | None] = [
    None,
    FULL,
    replace(FULL, state=State.READY, thumbnail_size=3609),
    replace(FULL, state=State.FAILED, error="It is damaged.", error_code="undecodable"),
    # As the release before left it: no code of the error, no time of a download.
    replace(FULL, state=State.FAILED, error="It is damaged.", download_expires_ms=None),
    replace(FULL, state=State.DELETING, thumbnail_size=3609),
    replace(FULL, state=State.DELETING, error="It is damaged.", error_code="undecodable"),
]
# Uploads of release 1 lie elsewhere.
FORMER = naming.ORIGINALS + ID
SEEDS += [
    replace(seed, object_key=FORMER)
    for seed in (PRESIGNED, FULL, *SEEDS)
    if seed is not None and seed.state is not State.DELETING
]


class Seen:
    """Stands for the record as it was when a change was decided: it has not changed since."""


SEEN = Seen()


@dataclass(frozen=True)
class Event:
    """A transition with all of its arguments but the record."""

    transition: Callable[..., Record | None]
    arguments: tuple[Any, ...]

    def __call__(self, before: Record | None) -> Record | None:
        arguments = [before if argument is SEEN else argument for argument in self.arguments]
        return self.transition(before, *arguments)


def events() -> list[Event]:
    found = [Event(lifecycle.create, (fresh,)) for fresh in (UPLOADED, PRESIGNED, RESTORED, KEPT_FOR_EVER)]
    found += [
        Event(lifecycle.create_if_absent, (fresh, now))
        for fresh in (UPLOADED, KEPT_FOR_EVER)
        for now in (T0, LAST)
    ]
    for etag, expires_ms in (("a", RETENTION), ("b", RETENTION), ("a", LONGER), ("b", None)):
        fresh = version(UPLOADED, etag, expires_ms)
        found += [Event(lifecycle.claim_version, (fresh, revive)) for revive in (None, "t", "u")]
    again = version(UPLOADED, "a", stored_ms=T0 + 3)
    found.append(Event(lifecycle.claim_version, (replace(again, focus=Focus(1, 0)), None)))
    found.append(Event(lifecycle.claim_version, (again, None)))
    current = partial(lifecycle.claim_version, is_current=True)
    found.append(Event(current, (version(UPLOADED, "a"), None)))
    results = [
        Finished(3609, SIZES, Pixels(4, 3), IMAGE),
        Failure("undecodable", "It is damaged."),
        Failure("too_complex", "It is odd."),
        Failure("archived", "It is archived."),
    ]
    for name in ("a-1", "b-1", None):
        found += [Event(lifecycle.finish, (name, result)) for result in results]
        found.append(Event(lifecycle.mark_thumbnail_lost, (name,)))
        found += [Event(lifecycle.expire_after_download, (name, end)) for end in (AFTER_DOWNLOAD, LONGER)]
    remade = Finished(3000, (), Pixels(5, 4), IMAGE)
    found.append(Event(lifecycle.replace_thumbnail, ("a-1", "a-2", remade)))
    for attempts in (1, 2):
        found.append(Event(lifecycle.record_attempt, (attempts,)))
        found.append(Event(lifecycle.withdraw_attempt, (attempts,)))
    found += [Event(lifecycle.reopen, (code,)) for code in (None, "archived", "undecodable")]
    found += [Event(lifecycle.adopt_thumbnail, (ALONE, seen)) for seen in (SEEN, FULL)]
    found.append(Event(lifecycle.move_original, (naming.original(ID),)))
    found += [
        Event(lifecycle.start_removal, (scope, viewer, now))
        for scope in RemovalScope
        for viewer in (VIEWERS if scope is RemovalScope.VISIBLE else [UNRESTRICTED])
        for now in (T0, AFTER_DOWNLOAD, LAST)
    ]
    found += [
        Event(lifecycle.start_removal, (RemovalScope.ANY, UNRESTRICTED, T0, seen)) for seen in (SEEN, FULL)
    ]
    found += [Event(lifecycle.finish_removal, (tombstone,)) for tombstone in ("t", "u")]
    found += [Event(lifecycle.discard_abandoned, (now,)) for now in (T0, LAST)]
    return found


@dataclass(frozen=True)
class Step:
    event: Event
    before: Record | None
    after: Record | None

    @property
    def transition(self) -> Callable[..., Record | None]:
        made = self.event.transition
        return made.func if isinstance(made, partial) else made


def bounded(record: Record | None) -> Record | None:
    """A record for which another stands that has the same names of stale thumbnails, however often."""
    if record is None or len(record.stale_thumbnails) < 2:
        return record
    return replace(record, stale_thumbnails=tuple(sorted(set(record.stale_thumbnails))))


@cache
def steps() -> list[Step]:
    """All events applied to all records that any order of events leads to."""
    possible = events()
    seen = set(SEEDS)
    waiting = list(SEEDS)
    found = []
    while waiting:
        before = waiting.pop()
        for event in possible:
            after = event(before)
            found.append(Step(event, before, after))
            # Most events change nothing.
            if after is not before and (reached := bounded(after)) not in seen:
                seen.add(reached)
                waiting.append(reached)
    return found


@cache
def changes() -> list[Step]:
    """Those that change the record."""
    return [step for step in steps() if step.after is not step.before and step.after != step.before]


@cache
def reachable() -> list[Record]:
    return list({step.before: None for step in steps() if step.before is not None})


TRANSITIONS = {
    name: function
    for name, function in inspect.getmembers(lifecycle, inspect.isfunction)
    if next(iter(inspect.signature(function).parameters), "") == "before"
    and not name.startswith("_")
    and inspect.signature(function).return_annotation is not int
}


def wrong(all_steps: list[Step], holds: Callable[[Step], bool]) -> list[Step]:
    """The first few steps for which something does not hold."""
    assert all_steps
    return [step for step in all_steps if not holds(step)][:3]
