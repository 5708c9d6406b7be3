"""The life of a record: each transition as a pure function of the record as it was.

    transition             none    AWAITING  PENDING      READY     FAILED       DELETING  TOMBSTONE
    create                 P,A,R   -         -            -         -            -         -
    create_if_absent       P       -         P, again     -         P, again     -         -
    claim_version          P       P         P, newer     P, newer  P, newer     -         P, if named
    finish                 -       -         R or F       -         R or F       -         -
    replace_thumbnail      -       -         -            R         -            -         -
    mark_thumbnail_lost    -       -         -            P         -            -         -
    adopt_thumbnail        R       R         R            R, other  R            -         -
    record_attempt         -       -         P, counted   -         -            -         -
    withdraw_attempt       -       -         P, counted   -         -            -         -
    reopen                 -       -         -            -         P            -         -
    move_original          -       A         P            R         F            -         -
    expire_after_download  -       -         -            R, once   -            -         -
    start_removal          -       D         D            D         D            -         -
    finish_removal         -       -         -            -         -            T         -
    discard_abandoned      -       none      none, again  -         -            -         -

    A AWAITING_UPLOAD, P PENDING, R READY, F FAILED, D DELETING, T TOMBSTONE; - no change.
    again: only where no version was claimed yet. newer: another version than the record's; the same one moves
    its times, and reopens a failure that lies outside of the picture. named: the caller names this tombstone.
    A tombstone that Redis has expired is none.

Each transition takes the record (None: there is none) and returns the record that shall be stored. The same
value means no change, None means that the record is dropped. Applied twice, each gives what it gives once; so
the store may repeat one whenever another writer came first. Times come as arguments. `seen` is the record as
it was when a change was decided: one that has changed since stays as it is.

This module alone compares states: all other modules ask the questions at its end.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chalicelib.records.record import (
    Failure,
    Finished,
    FinishResult,
    Owner,
    Record,
    RemovalScope,
    State,
    Viewer,
)

TOMBSTONE_SECONDS = 14 * 24 * 3600
"""How long a removal is remembered if the picture was never processed: SQS holds no event back for longer."""
PROCESSED_TOMBSTONE_SECONDS = 30 * 60
"""How long the removal of a processed picture is remembered: a presigned upload can be repeated for 15
minutes, and what is in progress then takes less than `IN_FLIGHT_MS`."""
IDEMPOTENCY_SECONDS = 24 * 3600
"""How long an Idempotency-Key of a removed picture is remembered: a repeated upload is refused."""
AWAITING_SECONDS = 3600
"""How long Redis keeps the record of a presigned upload: longer than it can be used and is checked."""
IN_FLIGHT_MS = 15 * 60 * 1000
"""A younger change may still be in progress: Lambda's three tries of an event take up to six minutes."""
MOST_STALE = 16
"""Most thumbnails of earlier versions that a record names; a removal lists the bucket for others."""
REOPENED = frozenset({"archived", "encrypted", "denied", "original_missing"})
"""Codes of failures that lie outside of the picture: the same version that comes again reopens them."""

_MADE = ("image", "thumbnail_size", "sizes", "thumbnail_pixels")
_TOLD_BY_THUMBNAIL = ("etag", "focus", "version_ms", "original_size", "thumbnail", *_MADE)
_GONE = frozenset({State.DELETING, State.TOMBSTONE})
_FINAL = frozenset({State.READY, State.FAILED})
_WAITING = frozenset({State.AWAITING_UPLOAD, State.PENDING, State.DELETING})


# --- transitions ---


def create(before: Record | None, fresh: Record) -> Record:
    """Insert a record: of an upload, of a presigned upload (AWAITING_UPLOAD), or rebuilt from the bucket."""
    return before or fresh


def create_if_absent(before: Record | None, fresh: Record, now_ms: int) -> Record:
    """Insert the record of an upload with an Idempotency-Key, or retry an upload that was never processed."""
    if before is None:
        return fresh
    is_repeated = before.body_hash == fresh.body_hash
    if is_repeated and before.state in {State.PENDING, State.FAILED} and before.etag is None:
        return replace(_pending_again(before), touched_ms=now_ms)
    return before


def claim_version(
    before: Record | None, fresh: Record, revive: str | None, *, is_current: bool = False
) -> Record:
    """Claim the version `fresh.etag` of an original, whose thumbnail shall be named `fresh.thumbnail`.

    Args:
        before: the record.
        fresh: the record to store if there is none. Of an existing one of an older version, or of the same
            content with another focal point, version and expiry are replaced, and its result and the expiry
            that a download gave it are cleared. One of the same version lives as long as `fresh` if that is
            longer: the object was put there again. If its failure lies outside of the picture, it is pending.
        revive: the tombstone that the object has outlived: it was put there after that removal had finished.
        is_current: the object was read again, and is still there: a later one that the record knows is not.

    """
    if before is None:
        return fresh
    if before.state is State.TOMBSTONE and revive is not None and before.tombstone == revive:
        return replace(fresh, outbox=before.outbox)
    is_same = (before.etag, before.focus) == (fresh.etag, fresh.focus)
    is_older = not is_same and _is_later(before, fresh)
    if before.state in _GONE or (is_older and not is_current):
        return before
    if not is_same:
        return replace(
            _pending_again(before),
            etag=fresh.etag,
            focus=fresh.focus,
            version_ms=fresh.version_ms,
            original_size=fresh.original_size,
            thumbnail=fresh.thumbnail,
            stale_thumbnails=thumbnails(before)[-MOST_STALE:],
            expires_ms=fresh.expires_ms,
            image=None if before.etag else before.image,
            download_expires_ms=None,
            attempts=0 if before.etag else before.attempts,
        )
    after = before
    if before.state is State.FAILED and before.error_code in REOPENED:
        after = replace(_pending_again(before), thumbnail=before.thumbnail or fresh.thumbnail)
    if _is_later(fresh, before):
        after = replace(after, version_ms=fresh.version_ms)
    if before.expires_ms is not None and before.expires_ms < (fresh.expires_ms or 0):
        after = replace(after, expires_ms=fresh.expires_ms, download_expires_ms=None)
    return after


def finish(before: Record | None, thumbnail: str | None, result: Finished | Failure) -> Record | None:
    """Store the result of the version whose thumbnail has this name. A record that is READY stays so."""
    is_ours = finish_result(before, thumbnail) is FinishResult.DONE
    if before is None or not is_ours or before.state not in {State.PENDING, State.FAILED}:
        return before
    done = replace(_pending_again(before), stale_thumbnails=())
    if isinstance(result, Finished):
        return replace(done, state=State.READY, **{name: getattr(result, name) for name in _MADE})
    return replace(done, state=State.FAILED, image=None, error=result.sentence, error_code=result.code)


def replace_thumbnail(before: Record | None, seen: str | None, new: str, made: Finished) -> Record | None:
    """Let a ready record, whose thumbnail is still the one named `seen`, have a newly made one."""
    if before is None or before.state is not State.READY or before.thumbnail != seen:
        return before
    return replace(before, thumbnail=new, **{name: getattr(made, name) for name in _MADE})


def mark_thumbnail_lost(before: Record | None, thumbnail: str | None) -> Record | None:
    """Make a ready record pending again: not all of its thumbnail is in the bucket."""
    if before is None or before.state is not State.READY or before.thumbnail != thumbnail:
        return before
    return _pending_again(before)


def adopt_thumbnail(before: Record | None, found: Record, seen: Record | None) -> Record | None:
    """Make ready what a thumbnail that stands alone tells of: it is the only copy of the picture."""
    if before != seen:
        return before
    if before is None:
        return found
    told = {name: getattr(found, name) for name in _TOLD_BY_THUMBNAIL}
    is_known = all(getattr(before, name) == told[name] for name in ("thumbnail", "thumbnail_size", "sizes"))
    if before.state in _GONE or (before.state is State.READY and is_known):
        return before
    stale = tuple(name for name in thumbnails(before) if name != found.thumbnail)
    return replace(_pending_again(before), state=State.READY, stale_thumbnails=stale[-MOST_STALE:], **told)


def record_attempt(before: Record | None, attempts: int, etag: str | None = None) -> Record | None:
    """Note that a pending record is tried for the time number `attempts`; `etag` was its version, if any."""
    if before is None or before.state is not State.PENDING or before.attempts >= attempts:
        return before
    if etag not in {None, before.etag}:
        return before
    return replace(before, attempts=attempts)


def withdraw_attempt(before: Record | None, attempts: int) -> Record | None:
    """Take back attempt number `attempts`: it ended in an outage, which says nothing about the picture."""
    if before is None or before.state is not State.PENDING or before.attempts != attempts:
        return before
    return replace(before, attempts=attempts - 1)


def reopen(before: Record | None, error_code: str | None) -> Record | None:
    """Make a failed record pending again, on an operator's request. None: whatever it failed for."""
    if before is None or before.state is not State.FAILED or error_code not in {None, before.error_code}:
        return before
    return _pending_again(before)


def move_original(before: Record | None, object_key: str) -> Record | None:
    """Note the new object key of an upload that release 1 has stored."""
    if before is None or before.state in _GONE:
        return before
    return replace(before, object_key=object_key)


def expire_after_download(before: Record | None, thumbnail: str | None, expires_ms: int) -> Record | None:
    """Give a ready record its expiry after a download, unless an earlier download has."""
    if before is None or before.state is not State.READY or before.thumbnail != thumbnail:
        return before
    return (
        before if before.download_expires_ms is not None else replace(before, download_expires_ms=expires_ms)
    )


def start_removal(
    before: Record | None, scope: RemovalScope, viewer: Viewer, now_ms: int, seen: Record | None = None
) -> Record | None:
    """Hide a record, so that its objects can be removed, if it is in scope, and the viewer's."""
    if before is None or not may_remove(before, scope, viewer, now_ms) or before != (seen or before):
        return before
    return replace(before, state=State.DELETING)


def finish_removal(before: Record | None, tombstone: str) -> Record | None:
    """Leave a tombstone: the objects are gone. It keeps only the names that a late event has to clean up."""
    if before is None or before.state is not State.DELETING:
        return before
    return Record(
        id=before.id,
        object_key="",
        filename="",
        created_ms=0,
        original_size=None,
        state=State.TOMBSTONE,
        version_ms=before.version_ms,
        thumbnail=before.thumbnail,
        stale_thumbnails=before.stale_thumbnails,
        tombstone=tombstone,
    )


def discard_abandoned(before: Record | None, now_ms: int) -> Record | None:
    """Drop an upload whose original never came and whose client has stopped long ago.

    No tombstone is left, so that the client may repeat the upload under its Idempotency-Key.
    """
    waits = before is not None and before.state in {State.PENDING, State.AWAITING_UPLOAD}
    if before is None or not waits or before.etag is not None:
        return before
    last_ms = max(before.created_ms, before.touched_ms or 0)
    return None if last_ms <= now_ms - IN_FLIGHT_MS else before


ALLOWED_WHEN_FULL: frozenset[Callable[..., Any]] = frozenset(
    {finish, record_attempt, withdraw_attempt, start_removal, finish_removal, discard_abandoned}
)
"""Transitions that Redis takes when its memory is full: otherwise nothing could be removed from a full Redis.
None grows a record by more than a few bytes but `finish`, which adds what the thumbnails are or one sentence
to a record that was accepted already."""


# --- questions: what states mean to the rest of the code ---


def next_check(record: Record, now_ms: int) -> int | None:
    """When the reconciler has to check a record, in milliseconds since the epoch; None for never."""
    if record.state is State.AWAITING_UPLOAD:
        return (record.presigned_until_ms or now_ms) + IN_FLIGHT_MS
    if record.state is State.TOMBSTONE:
        return None
    soon = now_ms + IN_FLIGHT_MS
    if record.state is State.DELETING:
        return soon
    if record.state is State.PENDING:
        return soon if record.ends_ms is None else min(soon, record.ends_ms)
    return record.ends_ms


def seconds_to_live(before: Record | None, after: Record | None) -> int:
    """How long Redis keeps a record after this change; 0 for as long as it is not removed.

    A tombstone lives as long as something of the removed picture may still come: of a processed one, only a
    slow run, or the repeated use of a presigned upload, can store an object again.
    """
    if after is not None and after.state is State.AWAITING_UPLOAD:
        return AWAITING_SECONDS
    if before is None or after is None or after.state is not State.TOMBSTONE:
        return 0
    if before.body_hash is not None:
        return IDEMPOTENCY_SECONDS
    was_processed = before.thumbnail_size is not None or before.error is not None
    return PROCESSED_TOMBSTONE_SECONDS if was_processed else TOMBSTONE_SECONDS


def exists(record: Record, now_ms: int) -> bool:
    """Tell whether a record is neither removed nor expired."""
    return record.state not in _GONE and not record.has_expired(now_ms)


def is_visible(record: Record, viewer: Viewer, now_ms: int) -> bool:
    """Tell whether a record exists for this viewer: what GET shows, and what DELETE takes."""
    return exists(record, now_ms) and _may_see(record, viewer)


def is_listed(record: Record) -> bool:
    """Tell whether the index has the record: not while it awaits its upload, and not once it is gone."""
    return record.state not in _GONE and record.state is not State.AWAITING_UPLOAD


def may_remove(record: Record, scope: RemovalScope, viewer: Viewer, now_ms: int) -> bool:
    """Tell whether a removal of this scope, for this viewer, may start or go on with a record."""
    if record.state is State.TOMBSTONE or not _may_see(record, viewer):
        return False
    if record.state is State.DELETING or scope is RemovalScope.ANY:
        return True
    return record.has_expired(now_ms) == (scope is RemovalScope.EXPIRED)


def finish_result(record: Record | None, thumbnail: str | None) -> FinishResult:
    """What a run that makes the thumbnail of this name may still do with the record."""
    if record is None:
        return FinishResult.UNKNOWN
    if record.state in _GONE:
        return FinishResult.DELETED
    return FinishResult.DONE if (record.thumbnail or "") == (thumbnail or "") else FinishResult.SUPERSEDED


def needs_thumbnail(record: Record) -> bool:
    """Tell whether the claimed version waits for its thumbnail."""
    return record.state is State.PENDING


def is_ready(record: Record) -> bool:
    """Tell whether the thumbnail is stored."""
    return record.state is State.READY


def is_final(record: Record) -> bool:
    """Tell whether a record has its result: a thumbnail or an error."""
    return record.state in _FINAL


def is_waiting(record: Record) -> bool:
    """Tell whether something has still to happen: an upload, a thumbnail, or the rest of a removal."""
    return record.state in _WAITING


def is_awaiting_upload(record: Record) -> bool:
    """Tell whether a presigned upload has not come yet."""
    return record.state is State.AWAITING_UPLOAD


def is_gone(record: Record) -> bool:
    """Tell whether a record is removed, or its removal has started."""
    return record.state in _GONE


def is_being_removed(record: Record) -> bool:
    """Tell whether a removal has started and not finished."""
    return record.state is State.DELETING


def is_tombstone(record: Record) -> bool:
    """Tell whether the removal of a record has finished."""
    return record.state is State.TOMBSTONE


def thumbnails(record: Record) -> tuple[str, ...]:
    """Names of all thumbnails of a record that may be stored, whatever their sizes."""
    return (*record.stale_thumbnails, *([record.thumbnail] if record.thumbnail else []))


def is_another(record: Record, fresh: Record) -> bool:
    """Tell whether `fresh` is of another version than the record, or of the same content put there later."""
    return record.etag != fresh.etag or _is_later(fresh, record)


def is_reopened(record: Record) -> bool:
    """Tell whether a record failed for a reason that lies outside of the picture, and may be over by now."""
    return record.state is State.FAILED and record.error_code in REOPENED


def _is_later(one: Record, other: Record) -> bool:
    return one.version_ms is not None and other.version_ms is not None and one.version_ms > other.version_ms


def _pending_again(record: Record) -> Record:
    record = replace(record, thumbnail_size=None, sizes=(), thumbnail_pixels=None)
    return replace(record, state=State.PENDING, error=None, error_code=None, attempts=0)


def _may_see(record: Record, viewer: Viewer) -> bool:
    return not isinstance(viewer, Owner) or record.owner == viewer.subject
