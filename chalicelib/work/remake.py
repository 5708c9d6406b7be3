"""Make thumbnails again after the settings of a deployment have changed, on an operator's request.

Each default thumbnail carries the digest of the settings that made it: one whose digest is the current one is
left alone, so that a second run makes none, and one that was killed goes on where it stopped. No event leads
here. The old thumbnail is served until the new ones are stored; the walk over the bucket deletes it after
that, as no record names it any more.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.errors import OriginalRefused, PictureError
from chalicelib.records import lifecycle
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.index import IndexEntry
from chalicelib.records.record import Record
from chalicelib.work.process import Processor
from chalicelib.work.remove import thumbnail_keys
from chalicelib.work.sweep import Counts

_PAGE = 100
_THREADS = 16
_NAME = "remake"
_LATEST_MS = 24 * 3600 * 1000
"""A run that stopped longer ago than this begins anew."""


@dataclass(frozen=True, slots=True)
class Remake:
    """Goes through all records, newest first, until `time_is_up`; resumable like a walk.

    `pause` waits for so many seconds.
    """

    processor: Processor
    clock: Clock
    time_is_up: Callable[[], bool]
    pause: Callable[[float], None]

    def run(self, per_second: float) -> tuple[Counts, bool]:
        """Make ready records' thumbnails again that other settings made, where the original is still kept.

        Args:
            per_second: the most pictures that are made in a second, more than 0.

        Returns:
            what was done, and whether all records were seen.

        Raises:
            Unavailable: Redis or S3 did not answer. The next call goes on where this one stopped.

        """
        store, settings = self.processor.store, self.processor.look(claimed=True).digest
        at: Checkpoint | None = store.checkpoints.get(_NAME)
        if at is None or at.part != settings or not 0 <= self.clock() - at.since_ms < _LATEST_MS:
            at = Checkpoint(_NAME, self.clock(), settings, revision=None if at is None else at.revision)
        counts = Counts()
        after = IndexEntry(*json.loads(at.after)) if at.after else None
        while entries := store.index.newest(_PAGE, after):
            found = store.find_all([entry.record_id for entry in entries])
            with ThreadPoolExecutor(_THREADS) as pool:
                outdated = list(pool.map(self._is_outdated, found))
            for entry, record, is_outdated in zip(entries, found, outdated, strict=True):
                if is_outdated and isinstance(record, Record):
                    if self.time_is_up():
                        store.checkpoints.save(replace(at, after=json.dumps(after) if after else ""))
                        return counts, False
                    counts[self._remake(record, per_second)] += 1
                after = entry
            counts["records seen"] += len(entries)
            at = store.checkpoints.save(replace(at, after=json.dumps(after)))
            if at is None or self.time_is_up():
                return counts, False
        return counts, store.checkpoints.save(replace(at, part=None, after="")) is not None

    def _is_outdated(self, record: object) -> bool:
        """Tell whether the thumbnail of a ready record was made by other settings than the current ones."""
        if not isinstance(record, Record) or not lifecycle.is_ready(record):
            return False
        try:
            stored = self.processor.bucket.head(naming.thumbnail(record.id, record.thumbnail or ""))
        except OriginalRefused:
            return False
        told = None if stored is None else ObjectMetadata.parse(stored.metadata)
        return told is not None and told.settings != self.processor.look(claimed=record.watermark).digest

    def _remake(self, record: Record, per_second: float) -> str:
        started = self.clock()
        done = self._made_again(record)
        self.pause(max(0.0, 1 / per_second - (self.clock() - started) / 1000))
        return done

    def _made_again(self, record: Record) -> str:
        """Make the thumbnails of one record again, and say what was done."""
        bucket = self.processor.bucket
        try:
            original = bucket.get(record.object_key)
        except OriginalRefused:
            return "refused"
        if original is None:
            return "originals not kept"
        with original:
            if original.info.etag != record.etag:
                return "changed meanwhile"  # the event of that version makes its thumbnails
            fresh = replace(record, thumbnail=naming.new_thumbnail(original.info.etag), sizes=())
            try:
                made, _ = self.processor.make(original, fresh)
            except PictureError:
                return "left as they are"
        result = self.processor.store_thumbnails(fresh, made)
        new = str(fresh.thumbnail)
        transition = lifecycle.replace_thumbnail
        change = self.processor.store.change(record.id, transition, record.thumbnail, new, result)
        if change.after is None or change.after.thumbnail != new:
            # Removed, or of another version by now: no record names what was stored.
            stored = replace(fresh, sizes=result.sizes, stale_thumbnails=())
            bucket.delete(*thumbnail_keys(stored))
            return "changed meanwhile"
        return "thumbnails made again"
