"""Events of a record: the change that ends it notes one on it, which stays until it is published.

So an end and its event are stored by one write, and no crash between them and the bus loses one. Pure.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chalicelib import naming
from chalicelib.records import codec, lifecycle
from chalicelib.records.record import EventKind, OutboxEvent, Record

MOST_EVENTS = 16
"""Most events that wait on one record; of a key that is overwritten more often meanwhile, the oldest go."""
RESTORED_MS = 60 * 60 * 1000
"""What is made again from the bucket was published before Redis lost it, unless its picture is younger than
this."""


def add_event(before: Record | None, after: Record | None, now_ms: int) -> Record | None:
    """Note the event of a change on the record, if the change ends it; keep those that were noted before.

    Args:
        before: the record before the change.
        after: what a transition has made of it. A record that has events to publish is not dropped.
        now_ms: the time.

    """
    if after is None:
        return before if before is not None and before.outbox else None
    waiting = after.outbox
    if lifecycle.is_tombstone(after) and before is not None and not lifecycle.is_tombstone(before):
        waiting = before.outbox
    ended = _end(after)
    if ended is not None and ended != _end(before) and not _was_restored(before, after, now_ms):
        waiting = (*waiting, _event(before, after, now_ms))
    if lifecycle.is_tombstone(after) and waiting and before is not None:
        after = replace(
            after, body_hash=before.body_hash, thumbnail_size=before.thumbnail_size, error=before.error
        )
    return replace(after, outbox=waiting[-MOST_EVENTS:])


def mark_published(before: Record | None, event_id: str) -> Record | None:
    """Take an event that was published from its record."""
    if before is None:
        return before
    waiting = tuple(event for event in before.outbox if event.event_id != event_id)
    if waiting == before.outbox:
        return before
    after = replace(before, outbox=waiting)
    if lifecycle.is_tombstone(after) and not waiting:
        after = replace(after, body_hash=None, thumbnail_size=None, error=None)
    return after


ALLOWED_WHEN_FULL: frozenset[Callable[..., Any]] = lifecycle.ALLOWED_WHEN_FULL | {mark_published}
"""Transitions that Redis takes when its memory is full. An event that they note adds less than a kilobyte,
until it is published."""


def has_new_event(before: Record | None, after: Record | None) -> bool:
    """Tell whether a change has noted an event."""
    if after is None or not after.outbox:
        return False
    return before is None or after.outbox[-1] not in before.outbox


def seconds_to_live(before: Record | None, after: Record | None) -> int:
    """How long Redis keeps a record after a change; 0 for as long as it is not removed.

    A tombstone with events to publish outlasts any outage of the bus that is told from a shutdown.
    """
    if after is not None and after.outbox and lifecycle.is_tombstone(after):
        return lifecycle.TOMBSTONE_SECONDS
    return lifecycle.seconds_to_live(before, after)


def _end(record: Record | None) -> tuple[object, ...] | None:
    """What of a record has to change to make another end; None of one that has not ended."""
    if record is None:
        return None
    if lifecycle.is_gone(record):
        return (EventKind.DELETED,)
    if lifecycle.is_ready(record):
        return (EventKind.READY, record.thumbnail, record.thumbnail_size)
    return (EventKind.FAILED, record.thumbnail, record.error_code) if lifecycle.is_final(record) else None


def _was_restored(before: Record | None, after: Record, now_ms: int) -> bool:
    return before is None and max(after.created_ms, after.version_ms or 0) <= now_ms - RESTORED_MS


def _event(before: Record | None, after: Record, now_ms: int) -> OutboxEvent:
    # A presigned upload's own expiry is shown until its removal starts.
    is_deleted = lifecycle.is_gone(after)
    shown = codec.as_json(before if is_deleted and before is not None else after)
    kind = EventKind.READY if lifecycle.is_ready(after) else EventKind.FAILED
    if is_deleted:
        kind = EventKind.DELETED
    # Neither the time nor what a later download changes is part of what has ended.
    lasting = {name: value for name, value in shown.items() if name != "expires"}
    name = after.thumbnail if kind is EventKind.READY else None
    identity = [kind, after.created_ms, after.etag, after.version_ms, name, lasting]
    return OutboxEvent(
        kind,
        naming.event(json.dumps(identity, sort_keys=True)),
        now_ms,
        after.object_key,
        json.dumps(shown, separators=(",", ":")),
    )
