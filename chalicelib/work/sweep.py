"""Repair what has stopped: retry records, finish removals, remove expired pictures, drop abandoned uploads.

A check is rescheduled before its record is worked on, so that a poison record cannot kill every run.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.errors import RetriesExhausted, Unavailable
from chalicelib.records import lifecycle
from chalicelib.records.lifecycle import IN_FLIGHT_MS, RemovalScope
from chalicelib.records.record import UNRESTRICTED, Record, UnreadableRecord
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.work.objects_to_records import is_newer_than
from chalicelib.work.process import Observe, Processor, ignore
from chalicelib.work.remove import remove

MOST_ATTEMPTS = 3
"""How often a pending record is retried before it fails: as often as Lambda tries an event."""
UNREADABLE_MS = 60 * 60 * 1000
"""How long a record that another release has written is left alone before it is read again."""
_BATCH = 500
# One object that S3 refuses holds up nothing; where all are refused, further tries only wait for nothing.
_MOST_POSTPONED = 5

Counts = Counter[str]
"""How often each thing was done."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Works on every check whose time has come, until `time_is_up`, which it asks between records."""

    processor: Processor
    clock: Clock
    time_is_up: Callable[[], bool]
    observe: Observe = ignore

    def run(self) -> Counts:
        """Work on every check whose time has come.

        Raises:
            Unavailable: S3 or Redis did not answer, for more than a few records. Their checks come again.

        """
        store = self.processor.store
        counts: Counts = Counter()
        while not self.time_is_up() and (checks := store.schedule.due(_BATCH)):
            done: list[tuple[ScheduledCheck, int | None]] = []
            found = store.find_all([check.record_id for check in checks])
            for check, record in zip(checks, found, strict=True):
                if isinstance(record, UnreadableRecord):
                    counts["unreadable"] += 1
                    done.append((check, self.clock() + UNREADABLE_MS))
                elif record is None or lifecycle.is_tombstone(record):
                    done.append((check, None))
                elif lifecycle.is_final(record) and not record.has_expired(self.clock()):
                    done.append((check, record.ends_ms))
                elif not self.time_is_up():
                    store.schedule.reschedule([(check, self.clock() + IN_FLIGHT_MS)])
                    try:
                        counts[self._repair(record)] += 1
                    except Unavailable:
                        counts["postponed"] += 1
                        if counts["postponed"] >= _MOST_POSTPONED:
                            raise
            store.schedule.reschedule(done)
        return counts

    def _repair(self, record: Record) -> str:
        store, bucket = self.processor.store, self.processor.bucket
        if lifecycle.is_being_removed(record):
            return self._remove(record, RemovalScope.ANY, "removals finished")
        has_expired = not lifecycle.is_awaiting_upload(record) and record.has_expired(self.clock())
        if has_expired and not self._was_overwritten(record):
            return self._remove(record, RemovalScope.EXPIRED, "expired")
        if record.etag is None and bucket.head(record.object_key) is None:
            return "abandoned uploads discarded" if store.discard_abandoned(record) else "changed meanwhile"
        if store.record_attempt(record) > MOST_ATTEMPTS:
            return f"failed for good: {self.processor.fail(record.object_key, None, RetriesExhausted())}"
        return f"retried: {self.processor.process(record.object_key, self.observe)}"

    def _remove(self, record: Record, scope: RemovalScope, done: str) -> str:
        removed = remove(self.processor.store, self.processor.bucket, record.id, scope, UNRESTRICTED)
        return "changed meanwhile" if removed is None else done

    def _was_overwritten(self, record: Record) -> bool:
        """Tell whether a client has put an object under its key again whose event has not been processed."""
        if naming.is_upload_key(record.object_key):
            return False
        original = self.processor.bucket.head(record.object_key)
        return original is not None and is_newer_than(original, record, self.processor.retention)
