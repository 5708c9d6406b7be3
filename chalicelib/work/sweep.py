"""Repair what has stopped: retry records, finish removals, remove expired pictures, drop abandoned uploads.

A check is rescheduled before its record is worked on, so that a poison record cannot kill every run.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.errors import OriginalRefused, RetriesExhausted, Unavailable, WatermarkUnavailable
from chalicelib.records import lifecycle
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, UnreadableRecord
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.work.objects_to_records import is_newer_than, newest_alone, record_of_thumbnail
from chalicelib.work.process import Observe, Processor, ignore
from chalicelib.work.remove import remove
from chalicelib.work.retry import retry_record

UNREADABLE_MS = 60 * 60 * 1000
"""How long a record that another release has written is left alone before it is read again."""
_BATCH = 500
# One object that S3 does not deliver holds up nothing; where none is delivered, further tries only wait for
# nothing.
_MOST_POSTPONED_IN_A_ROW = 5

Counts = Counter[str]
"""How often each thing was done."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Works on every check whose time has come, until `time_is_up`, which it asks between records."""

    processor: Processor
    clock: Clock
    time_is_up: Callable[[], bool]
    observe: Observe = ignore
    told: Callable[[Record, str], object] = lambda _record, _done: None
    """Is told what was done with each record."""

    def run(self) -> Counts:
        """Work on every check whose time has come.

        Raises:
            Unavailable: S3 or Redis did not answer, for several records in a row. Their checks come again.

        """
        store = self.processor.store
        counts: Counts = Counter()
        in_a_row = 0
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
                        done_now = self._repair(record)
                        counts[done_now] += 1
                        self.told(record, done_now)
                        in_a_row = 0
                    except WatermarkUnavailable:
                        # Redis and S3 answer, so that all else can be done.
                        counts["postponed"] += 1
                    except Unavailable:
                        counts["postponed"] += 1
                        in_a_row += 1
                        if in_a_row >= _MOST_POSTPONED_IN_A_ROW:
                            raise
            store.schedule.reschedule(done)
        return counts

    def _repair(self, record: Record) -> str:
        bucket = self.processor.bucket
        if lifecycle.is_being_removed(record):
            # Its key may have a new life since the batch was read, which stays.
            return self._remove(record, RemovalScope.ANY, "removals finished", seen=record)
        has_expired = not lifecycle.is_awaiting_upload(record) and record.has_expired(self.clock())
        if has_expired and not self._was_overwritten(record):
            return self._remove(record, RemovalScope.EXPIRED, "expired")
        if record.etag is None and not bucket.exists(record.object_key):
            return self._repair_without_original(record)
        retried = retry_record(self.processor, record, self.observe, RetriesExhausted())
        return f"{'failed for good' if retried.gave_up else 'retried'}: {retried.outcome}"

    def _repair_without_original(self, record: Record) -> str:
        """Drop an abandoned upload, unless the bucket has its thumbnail: Redis has lost the rest then."""
        store, bucket = self.processor.store, self.processor.bucket
        alone = newest_alone(bucket, record.id)
        if alone is not None:
            adopted = store.adopt(record_of_thumbnail(alone), seen=record)
            return "thumbnails adopted" if adopted else "changed meanwhile"
        return "abandoned uploads discarded" if store.discard_abandoned(record) else "changed meanwhile"

    def _remove(self, record: Record, scope: RemovalScope, done: str, *, seen: Record | None = None) -> str:
        store, bucket = self.processor.store, self.processor.bucket
        removed = remove(store, bucket, record.id, scope, UNRESTRICTED, seen=seen)
        return "changed meanwhile" if removed is None else done

    def _was_overwritten(self, record: Record) -> bool:
        """Tell whether a client has put an object under its key again whose event has not been processed."""
        if naming.is_upload_key(record.object_key):
            return False
        try:
            original = self.processor.bucket.head(record.object_key)
        except OriginalRefused:
            return False
        return original is not None and is_newer_than(original, record, self.processor.retention)
