"""Compare a page of objects or of index entries with the records, and repair what does not agree.

An object that may be the only copy of a picture is deleted only if a newer one of the same picture is stored,
or if its record says that it was deleted or has expired.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.errors import OriginalChanging, OriginalRefused, RecordUnreadable
from chalicelib.objects.bucket import Bucket, ObjectInfo
from chalicelib.records import lifecycle
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.index import IndexEntry
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import Record, UnreadableRecord, expiry_of
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import Found, RecordStore
from chalicelib.work.contradiction import repair_contradiction, stored_lengths
from chalicelib.work.objects_to_records import (
    StoredThumbnail,
    is_newer_than,
    record_of_thumbnail,
    record_of_version,
    stored_thumbnail,
)
from chalicelib.work.process import Processor, SeenVersion
from chalicelib.work.remove import thumbnail_keys
from chalicelib.work.store_thumbnails import remove_original
from chalicelib.work.sweep import Counts

_THREADS = 16
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Repair:
    """Repairs a page at a time, with the processor's adapters and settings."""

    processor: Processor
    clock: Clock

    @property
    def store(self) -> RecordStore:
        """The records."""
        return self.processor.store

    @property
    def bucket(self) -> Bucket:
        """The objects."""
        return self.processor.bucket

    # --- thumbnails ---

    def check_thumbnails(self, thumbnails: list[ObjectInfo], counts: Counts) -> None:
        """Make the records of thumbnails that have none, and delete thumbnails that have been replaced."""
        counts["thumbnails seen"] += len(thumbnails)
        named = [item for item in thumbnails if naming.parse_thumbnail(item.key) is not None]
        pictures = [(one, list(items)) for one, items in groupby(named, lambda item: item.key.split("/")[1])]
        doubtful: list[Record] = []
        found = self.store.find_all([record_id for record_id, _ in pictures])
        self._index_and_schedule(found)
        unnamed: list[tuple[Record | None, ObjectInfo]] = []
        for (_, items), record in zip(pictures, found, strict=True):
            if isinstance(record, UnreadableRecord):
                counts["unreadable"] += 1
                continue
            if record is not None and lifecycle.is_ready(record) and not _has_all(items, record):
                doubtful.append(record)
            # The newest first, so that it is the one of which a record is made; named sizes last, which go
            # where their default thumbnail goes.
            for item in sorted(items, key=lambda item: (_is_sized(item), -item.modified_ms)):
                if record is None or item.key not in thumbnail_keys(record):
                    unnamed.append((record, item))
        # The rest of a picture may be on another page: what its record tells is looked up.
        self._in_parallel(
            lambda record: [repair_contradiction(self.store, self.bucket, record)], doubtful, counts
        )
        # Of one picture one after the other: whether the second is to be deleted depends on the first.
        self._in_parallel(
            lambda group: [
                self._check_unnamed_size(item) if _is_sized(item) else self._check_unnamed(record, item)
                for record, item in group
            ],
            [list(group) for _, group in groupby(unnamed, lambda one: one[1].key.split("/")[1])],
            counts,
        )

    def _check_unnamed(self, seen: Record | None, item: ObjectInfo) -> str | None:  # noqa: PLR0911 - a table
        """Adopt a thumbnail that no record names, or delete it."""
        stored = stored_thumbnail(self.bucket, item)
        if stored is None:
            return "changed meanwhile"
        record = self.store.find(stored.name.record_id)
        if record is None:
            return self._restore_from_thumbnail(stored)
        if item.key in thumbnail_keys(record) and not lifecycle.is_tombstone(record):
            return None
        if seen is not None and record != seen:
            return "changed meanwhile"
        if lifecycle.is_tombstone(record) and (stored.told.version_ms or 0) > (record.version_ms or 0):
            return None  # of a later life of the same key, of which Redis has lost the record
        if stored.told.stands_alone and not lifecycle.is_gone(record):
            current = stored_thumbnail(self.bucket, self._current(record, item))
            is_newer = current is None or current.age < stored.age
            if is_newer and not self._has_original(record):
                adopted = self.store.adopt(record_of_thumbnail(stored), seen=record)
                return "thumbnails adopted" if adopted else "changed meanwhile"
            if current is None:
                # The original is there, and a thumbnail of it will be; until then this may be the only one.
                return None
        if not self._is_old(item.modified_ms):
            return "in flight"
        self.bucket.delete(item.key)
        return "thumbnails removed"

    def _check_unnamed_size(self, item: ObjectInfo) -> str | None:
        """Delete a named size that no record names, unless it belongs to a thumbnail that stays."""
        name = naming.parse_thumbnail(item.key)
        if name is None:
            return None
        record, default = self.store.find(name.record_id), naming.thumbnail(name.record_id, name.name)
        if record is not None and name.name in lifecycle.thumbnails(record):
            if lifecycle.needs_thumbnail(record) or item.key in thumbnail_keys(record):
                return None
        elif self.bucket.exists(default):
            return None
        if not self._is_old(item.modified_ms):
            return "in flight"
        self.bucket.delete(item.key)
        return "thumbnails removed"

    def _current(self, record: Record, item: ObjectInfo) -> ObjectInfo:
        """The listing's entry of the thumbnail that the record names."""
        return ObjectInfo(naming.thumbnail(record.id, record.thumbnail or ""), 0, "", item.modified_ms)

    def _has_original(self, record: Record) -> bool:
        return self.bucket.exists(record.object_key)

    def _restore_from_thumbnail(self, stored: StoredThumbnail) -> str | None:
        """Make the record of a thumbnail, if it shows the original that is there, or stands alone."""
        record = record_of_thumbnail(stored)
        original = self._head_listed(record.object_key)
        if original is None and naming.is_upload_key(record.object_key):
            # An upload of release 1: only this service writes thumbnails, so that what they tell is believed.
            former = self._head_listed(naming.ORIGINALS + record.id)
            # What a client has stored under that key is another picture.
            if former is not None and (former.etag == stored.name.etag or not stored.told.stands_alone):
                original, record = former, replace(record, object_key=former.key)
        if original is None and not stored.told.stands_alone:
            if not self._is_old(stored.object.modified_ms):
                return "in flight"
            self.bucket.delete(stored.object.key)
            return "thumbnails removed"
        if original is not None and (
            original.etag != stored.name.etag or ObjectMetadata.parse(original.metadata).focus != record.focus
        ):
            # The original has another version by now; the walk over originals makes the record of that.
            return None
        if original is not None and not naming.is_upload_key(record.object_key):
            # The client may have put the same content there again since.
            expires_ms = expiry_of(original.modified_ms, self.processor.retention)
            record = replace(record, expires_ms=expires_ms or record.expires_ms)
        return "records restored" if self.store.adopt(record, seen=None) else None

    def _head_listed(self, object_key: str) -> ObjectInfo | None:
        """What S3 says of an original, by a listing if it refuses to say it of the object itself."""
        try:
            return self.bucket.head(object_key)
        except OriginalRefused:
            listed = next(self.bucket.pages(object_key), [])
            return next((item for item in listed if item.key == object_key), None)

    # --- originals ---

    def check_originals(self, originals: list[ObjectInfo], counts: Counts) -> None:
        """Make records that are missing, and claim versions whose event was lost."""
        counts["originals seen"] += len(originals)
        found = self.store.find_all([naming.record_id(original.key) for original in originals])
        former = self.store.find_all([naming.former_upload_id(item.key) or "" for item in originals])
        found = [
            upload if isinstance(upload, Record) and upload.object_key == original.key else record
            for original, record, upload in zip(originals, found, former, strict=True)
        ]
        self._index_and_schedule(found)
        self._in_parallel(
            lambda pair: [self._check_original(*pair)], zip(originals, found, strict=True), counts
        )

    def _check_original(self, original: ObjectInfo, record: Found) -> str | None:  # noqa: PLR0911 - a table
        if isinstance(record, UnreadableRecord):
            return "unreadable"
        if record is None:
            return self._restore_from_original(original)
        if lifecycle.is_awaiting_upload(record):
            return "originals claimed" if self._claim(original, record) else "changed meanwhile"
        if not self._is_old(original.modified_ms) or lifecycle.is_waiting(record):
            return None  # a change may be in progress, or a check is scheduled
        if lifecycle.is_tombstone(record) and naming.is_upload_key(original.key):
            deleted = self.bucket.delete_version(original.key, original.etag)
            return "originals removed" if deleted else "changed meanwhile"
        if lifecycle.is_tombstone(record) or is_newer_than(original, record, self.processor.retention):
            return "originals claimed" if self._claim(original, record) else "changed meanwhile"
        if lifecycle.is_reopened(record):
            is_claimed = self._is_readable(original) and self._claim(original, record)
            return "originals claimed" if is_claimed else None
        is_former = naming.former_upload_id(original.key) == record.id
        if not is_former and record.version_ms is not None and original.modified_ms > record.version_ms:
            # The same content was stored again, perhaps with another focal point, which no listing tells.
            return "originals claimed" if self._claim(original, record) else "changed meanwhile"
        if lifecycle.is_ready(record) and not self.processor.keep_originals:
            told = {True: "originals removed", False: "changed meanwhile", None: None}
            return told[remove_original(self.bucket, record, original)]
        return self._move_former_upload(original, record) if is_former else None

    def _restore_from_original(self, listed: ObjectInfo) -> str:
        """Make the record of an original, which the sweep then processes."""
        original: ObjectInfo | None = listed
        if naming.is_upload_key(listed.key):
            try:
                original = self.bucket.head(listed.key)
            except OriginalRefused:
                return self._process_refused(listed)
        if original is None:
            return "changed meanwhile"
        fresh = record_of_version(self.store, original, self.processor.retention)
        return "records restored" if self.store.restore([fresh]) else "changed meanwhile"

    def _claim(self, listed: ObjectInfo, record: Record) -> bool:
        """Claim the version whose event was lost; the sweep then processes it."""
        # Read again: the listing may be older than the removal that the record tells of.
        try:
            original = self.bucket.head(listed.key)
        except OriginalRefused:
            return self._process_refused(listed) == "refused"
        if original is None:
            return False
        fresh = record_of_version(self.store, original, self.processor.retention)
        claimed = self.store.claim_version(fresh, revive=record.tombstone, is_current=True)
        return not lifecycle.is_gone(claimed)

    def _process_refused(self, listed: ObjectInfo) -> str:
        """Let the record say why S3 does not hand out the original."""
        seen = SeenVersion(listed.etag, listed.size, listed.modified_ms)
        self.processor.process(listed.key, seen=seen)
        return "refused"

    def _is_readable(self, listed: ObjectInfo) -> bool:
        try:
            stored = self.bucket.get(listed.key)
        except OriginalRefused:
            return False
        if stored is None:
            return False
        with stored:
            return True

    def _move_former_upload(self, original: ObjectInfo, record: Record) -> str:
        """Store an upload of release 1 where only this service writes: its metadata can be believed there."""
        key = naming.original(record.id)
        self.bucket.copy(original.key, key)
        self.store.move_original(record, key)
        self.bucket.delete_version(original.key, original.etag)
        return "uploads moved"

    # --- records ---

    def check_entries(self, entries: Sequence[IndexEntry], counts: Counts) -> None:
        """Remove entries without a record, and repair records whose objects are not in the bucket."""
        counts["records seen"] += len(entries)
        found = self.store.find_all([entry.record_id for entry in entries])
        self._index_and_schedule(found)
        counts.update("unreadable" for record in found if isinstance(record, UnreadableRecord))
        old = [
            (entry, record)
            for entry, record in zip(entries, found, strict=True)
            if self._is_old(entry.created_ms) and not isinstance(record, UnreadableRecord)
        ]
        stale = [
            entry
            for entry, record in old
            if record is None or lifecycle.is_gone(record) or record.created_ms != entry.created_ms
        ]
        self.store.index.remove_everywhere(*stale)
        counts["index entries removed"] += len(stale)
        checked = [record for _, record in old if record is not None and self._is_settled(record)]
        self._in_parallel(
            lambda record: [repair_contradiction(self.store, self.bucket, record)], checked, counts
        )

    def _is_settled(self, record: Record) -> bool:
        """Tell whether the bucket must have by now what a record says, because no change is in progress."""
        if lifecycle.needs_thumbnail(record) and record.version_ms is not None:
            # Redis may have forgotten that the version was processed, and that the picture was deleted then.
            return self._is_old(record.version_ms)
        return lifecycle.is_final(record)

    # --- both ---

    def _in_parallel(
        self, check: Callable[[_Item], list[str | None]], items: Iterable[_Item], counts: Counts
    ) -> None:
        """Check items in threads, and count what was done."""
        waiting = list(items)
        if not waiting:
            return

        def check_one(item: _Item) -> list[str | None]:
            try:
                return check(item)
            except (OriginalChanging, RecordUnreadable):
                return ["postponed"]  # this one alone; an outage ends the page

        with ThreadPoolExecutor(_THREADS) as pool:
            for done in pool.map(check_one, waiting):
                counts.update(filter(None, done))

    def _index_and_schedule(self, found: Iterable[Found]) -> None:
        """Add missing entries of index, schedule and outbox: a cluster may lose these without the records."""
        records = [record for record in found if isinstance(record, Record)]
        self.store.index.add([record for record in records if lifecycle.is_listed(record)])
        # Counted from when the version was stored: what is overdue is checked by the next sweep.
        checks = [
            (record.id, lifecycle.next_check(record, record.version_ms or record.created_ms))
            for record in records
        ]
        self.store.schedule.set_if_earlier([ScheduledCheck(one, at) for one, at in checks if at is not None])
        self.store.outbox.set_if_earlier(
            [ScheduledCheck(record.id, record.outbox[0].time_ms) for record in records if record.outbox]
        )

    def _is_old(self, since_ms: int) -> bool:
        return since_ms <= self.clock() - IN_FLIGHT_MS


def _is_sized(item: ObjectInfo) -> bool:
    """Tell whether a thumbnail is one of a named size."""
    name = naming.parse_thumbnail(item.key)
    return name is not None and name.size is not None


def _has_all(items: list[ObjectInfo], record: Record) -> bool:
    """Tell whether these objects are all that a ready record tells of, and whole."""
    found = {item.key: item.size for item in items}
    return all(found.get(key) == length for key, length in stored_lengths(record).items())
