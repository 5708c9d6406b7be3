"""Compare a page of objects or of index entries with the records, and repair what does not agree."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.naming import ThumbnailKey
from chalicelib.objects.bucket import Bucket, ObjectInfo
from chalicelib.records import lifecycle
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.index import IndexEntry
from chalicelib.records.lifecycle import IN_FLIGHT_MS, RemovalScope
from chalicelib.records.record import UNRESTRICTED, Record, UnreadableRecord, expiry_of
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import Found, RecordStore
from chalicelib.work.objects_to_records import is_newer_than, record_of_original, record_of_thumbnail
from chalicelib.work.remove import remove, thumbnail_keys
from chalicelib.work.sweep import Counts

_THREADS = 16
_Thumbnail = tuple[ObjectInfo, ThumbnailKey]


@dataclass(frozen=True, slots=True)
class Repair:
    """Repairs a page at a time. `retention` and `keep_originals` are the deployment's settings."""

    store: RecordStore
    bucket: Bucket
    clock: Clock
    retention: int
    keep_originals: bool

    # --- originals ---

    def check_originals(self, originals: list[ObjectInfo], counts: Counts) -> None:
        """Make records that are missing, and claim versions whose event was lost."""
        counts["originals seen"] += len(originals)
        found = self.store.find_all([naming.record_id(original.key) for original in originals])
        self._index_and_schedule(found)
        missing: list[ObjectInfo] = []
        for original, record in zip(originals, found, strict=True):
            if record is None:
                missing.append(original)
            elif isinstance(record, UnreadableRecord):
                counts["unreadable"] += 1
            elif not self._is_old(original.modified_ms) or lifecycle.is_waiting(record):
                continue  # a change may be in progress, or a check is scheduled
            elif lifecycle.is_tombstone(record) and naming.is_upload_key(original.key):
                counts["originals removed"] += self.bucket.delete_version(original.key, original.etag)
            elif lifecycle.is_tombstone(record) or is_newer_than(original, record, self.retention):
                counts["originals claimed"] += self._claim(original.key, record)
            elif lifecycle.is_ready(record) and not self.keep_originals:
                counts["originals removed"] += self._remove_original(original, record)
        stored = self._stored_thumbnails([naming.record_id(original.key) for original in missing])
        counts["records restored"] += self._restore(
            lambda original: self._from_original(original, stored[naming.record_id(original.key)]),
            missing,
            counts,
        )

    def _claim(self, object_key: str, record: Record) -> bool:
        """Claim the version whose event was lost; the sweep then processes it."""
        # Read again: the listing may be older than the removal that the record tells of.
        original = self.bucket.head(object_key)
        if original is None:
            return False
        fresh = record_of_original(original, self.retention)
        return not lifecycle.is_gone(self.store.claim_version(fresh, revive=record.tombstone))

    def _remove_original(self, original: ObjectInfo, record: Record) -> bool:
        """Remove an original that is not to be kept, if its thumbnail carries what is needed without it."""
        thumbnail = self.bucket.head(naming.thumbnail(record.id, record.thumbnail or ""))
        if thumbnail is None or not ObjectMetadata.parse(thumbnail.metadata).stands_alone:
            return False
        return self.bucket.delete_version(original.key, original.etag)

    # --- thumbnails ---

    def check_thumbnails(self, thumbnails: list[ObjectInfo], counts: Counts) -> None:
        """Make records of thumbnails that stand alone, and remove thumbnails that no record names."""
        counts["thumbnails seen"] += len(thumbnails)
        named = [
            (item, name) for item in thumbnails if (name := naming.parse_thumbnail(item.key)) is not None
        ]
        found = self.store.find_all([name.record_id for _, name in named])
        self._index_and_schedule(found)
        alone: list[ObjectInfo] = []
        for (item, _), record in zip(named, found, strict=True):
            if record is None:
                alone.append(item)
            elif isinstance(record, UnreadableRecord):
                counts["unreadable"] += 1
            elif self._is_old(item.modified_ms) and (
                lifecycle.is_tombstone(record) or item.key not in thumbnail_keys(record)
            ):
                self.bucket.delete(item.key)
                counts["thumbnails removed"] += 1
        counts["records restored"] += self._restore(self._from_thumbnail, alone, counts)

    # --- records that are missing ---

    def _restore(
        self, make: Callable[[ObjectInfo], Record | str], objects: list[ObjectInfo], counts: Counts
    ) -> int:
        """Make the records of objects that have none, many at the same time, and store them."""
        if not objects:
            return 0
        with ThreadPoolExecutor(_THREADS) as pool:
            made = list(pool.map(make, objects))
        counts.update(outcome for outcome in made if isinstance(outcome, str))
        return self.store.restore([record for record in made if isinstance(record, Record)])

    def _from_original(self, listed: ObjectInfo, stored: list[_Thumbnail]) -> Record | str:
        """The record of an original, ready if a thumbnail of this version is stored."""
        for item, name in stored:
            if name.etag == listed.etag and (thumbnail := self.bucket.head(item.key)) is not None:
                record = record_of_thumbnail(thumbnail, name, listed.key, listed.size)
                if not naming.is_upload_key(listed.key):
                    # The client may have put the same content there again since.
                    expires_ms = expiry_of(listed.modified_ms, self.retention)
                    record = replace(record, expires_ms=expires_ms or record.expires_ms)
                return record
        original = self.bucket.head(listed.key)
        if original is None:
            return "changed meanwhile"
        # Processing removes the thumbnails of other versions, as it does with those that it knows.
        stale = tuple(name.name for _, name in stored)
        return replace(record_of_original(original, self.retention), stale_thumbnails=stale)

    def _from_thumbnail(self, listed: ObjectInfo) -> Record | str:
        """The record of a thumbnail that may be all that is kept of a picture."""
        name = naming.parse_thumbnail(listed.key)
        thumbnail = self.bucket.head(listed.key)
        if name is None or thumbnail is None:
            return "changed meanwhile"
        told = ObjectMetadata.parse(thumbnail.metadata)
        original_key = told.object_key or naming.original(name.record_id)
        if (original := self.bucket.head(original_key)) is not None:
            return self._from_original(original, self._stored_thumbnails([name.record_id])[name.record_id])
        if told.stands_alone:
            return record_of_thumbnail(thumbnail, name, original_key, told.original_size or 0)
        if not self._is_old(listed.modified_ms):
            return "in flight"
        self.bucket.delete(listed.key)
        return "thumbnails removed"

    def _stored_thumbnails(self, ids: list[str]) -> dict[str, list[_Thumbnail]]:
        """The thumbnails that are stored for these ids.

        Ids that follow from one page of originals follow one another in the listing of thumbnails, too: one
        listing from the first to the last serves all. Those of clients' own keys lie anywhere between.
        """
        found: dict[str, list[_Thumbnail]] = {record_id: [] for record_id in ids}
        dense = sorted(record_id for record_id in ids if naming.is_upload_key(naming.original(record_id)))
        pages = [self.bucket.pages(f"{naming.THUMBNAILS}{one}/") for one in found.keys() - set(dense)]
        if dense:
            after, end = f"{naming.THUMBNAILS}{dense[0]}", naming.thumbnail(dense[-1], "~")
            pages.append(self.bucket.pages(naming.THUMBNAILS, after=after, until=end))
        for item in chain.from_iterable(chain.from_iterable(pages)):
            name = naming.parse_thumbnail(item.key)
            if name is not None and name.record_id in found:
                found[name.record_id].append((item, name))
        return found

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
        self.store.index.remove(*stale)
        counts["index entries removed"] += len(stale)
        final = [record for _, record in old if record is not None and lifecycle.is_final(record)]
        with ThreadPoolExecutor(_THREADS) as pool:
            counts.update(filter(None, pool.map(self._repair_without_object, final)))

    def _repair_without_object(self, record: Record) -> str | None:
        """Repair a record whose thumbnail, or whose original where it failed, is not in the bucket."""
        if lifecycle.is_ready(record):
            if self.bucket.head(naming.thumbnail(record.id, record.thumbnail or "")) is not None:
                return None
            if self.bucket.head(record.object_key) is not None:
                marked = self.store.mark_thumbnail_lost(record)
                return "thumbnails to be made again" if marked else "changed meanwhile"
        elif self.bucket.head(record.object_key) is not None:
            return None
        # S3 is the truth, and nothing of this picture is left there.
        removed = remove(self.store, self.bucket, record.id, RemovalScope.VISIBLE, UNRESTRICTED)
        return "changed meanwhile" if removed is None else "records removed"

    def _index_and_schedule(self, found: Iterable[Found]) -> None:
        """Add missing index entries and checks, whose keys a cluster may lose without the records'."""
        records = [record for record in found if isinstance(record, Record)]
        self.store.index.add([record for record in records if lifecycle.is_listed(record)])
        now = self.clock()
        checks = [(record.id, lifecycle.next_check(record, now)) for record in records]
        self.store.schedule.set_if_absent([ScheduledCheck(one, at) for one, at in checks if at is not None])

    def _is_old(self, since_ms: int) -> bool:
        return since_ms <= self.clock() - IN_FLIGHT_MS
