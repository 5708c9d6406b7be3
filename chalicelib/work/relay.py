"""Read the outbox: hand out events that are to be published, and note which were.

It runs where Redis is, and the bus is reached from elsewhere (`work.publish`). Of each record only its oldest
event is handed out, and all events to one publisher at a time, so that those of a record are published in
order. Idempotent: what is not noted is handed out again.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from chalicelib.errors import RecordUnreadable
from chalicelib.records import events
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import EventKind, OutboxEvent, UnreadableRecord
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore
from chalicelib.work.sweep import UNREADABLE_MS

BATCH = 100
"""Most events that are handed out together."""
TURN_MS = 150_000
"""How long other publishers get no events after one has asked last: longer than a publisher runs."""
_PUBLISHER = "publisher"
DETAIL_TYPE = {
    EventKind.READY: "Thumbnail Ready",
    EventKind.FAILED: "Thumbnail Failed",
    EventKind.DELETED: "Thumbnail Deleted",
}
"""What rules name as `detail-type`."""


class Receipt(NamedTuple):
    """An event that was published, and the outbox's entry by which it was found."""

    record_id: str
    at_ms: int
    partition: int | None
    event_id: str


class Waiting(NamedTuple):
    """An event that is to be published, and what `relay` wants to be told once it is."""

    receipt: Receipt
    event: OutboxEvent


def relay(
    store: RecordStore, publisher: str, published: Sequence[Receipt], *, last: bool = False
) -> list[Waiting]:
    """Note what was published, and hand out the events that come next.

    Args:
        store: the records.
        publisher: who asks. While it has its turn, other publishers get no events.
        published: what it has published of what it got before.
        last: it asks for no more, and gives up its turn.

    Returns:
        at most `BATCH` events, oldest entries first; none if another publisher has its turn. If there are
        none, the turn ends.

    Raises:
        Unavailable: Redis did not answer. What was not noted is handed out again.

    """
    store.outbox.reschedule(
        [(ScheduledCheck(*receipt[:3]), None) for receipt in published if _is_last(store, receipt)]
    )
    turn = store.checkpoints.get(_PUBLISHER)
    now = store.now_ms()
    if turn.part not in {None, publisher} and abs(now - turn.since_ms) < TURN_MS:  # clocks differ
        return []
    # A publisher at work is a walk over the outbox: of several, one replaces the checkpoint.
    taken = store.checkpoints.save(replace(turn, part=publisher, since_ms=now))
    if taken is None:
        return []
    waiting = [] if last else _waiting(store)
    if not waiting:
        store.checkpoints.save(replace(taken, part=None))
    return waiting


def detail(event: OutboxEvent, bucket: str) -> dict[str, Any]:
    """What consumers are told of an event."""
    return {
        "event_id": event.event_id,
        "bucket": bucket,
        "key": event.object_key,
        "record": json.loads(event.shown),
    }


def _waiting(store: RecordStore) -> list[Waiting]:
    found: list[Waiting] = []
    moved: list[tuple[ScheduledCheck, int | None]] = []
    now, seen = store.now_ms(), 0
    while len(found) < BATCH and (entries := store.outbox.due(BATCH - len(found), skip=seen)):
        seen += len(entries)
        for entry, record in zip(
            entries, store.find_all([entry.record_id for entry in entries]), strict=True
        ):
            if isinstance(record, UnreadableRecord):
                moved.append((entry, now + UNREADABLE_MS))
            elif record is not None and record.outbox:
                event = record.outbox[0]
                found.append(Waiting(Receipt(*entry, event.event_id), event))
            elif entry.at_ms <= now - IN_FLIGHT_MS:
                # Its event is published, or the change that it announced was never stored.
                moved.append((entry, None))
    store.outbox.reschedule(moved)
    return found


def _is_last(store: RecordStore, receipt: Receipt) -> bool:
    """Take a published event from its record; tell whether the record has no other one."""
    try:
        record = store.change(receipt.record_id, events.mark_published, receipt.event_id).after
    except RecordUnreadable:
        return False
    return record is None or not record.outbox
