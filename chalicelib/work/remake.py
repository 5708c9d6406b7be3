"""Make thumbnails again after the settings of a deployment have changed, on an operator's request.

Each default thumbnail carries the digest of the settings that made it: one whose digest is the current one is
left alone, so that a second run makes none, and one that was killed goes on where it stopped. No event of S3
starts it. The old thumbnail is served until the new ones are stored; the walk over the bucket deletes it
after that, as no record names it any more.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.errors import OriginalRefused, PictureError
from chalicelib.records import lifecycle
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.index import IndexEntry
from chalicelib.records.record import Record
from chalicelib.work.process import Processor
from chalicelib.work.remove import thumbnail_keys
from chalicelib.work.sweep import Counts
from chalicelib.work.walk import IndexRun

_PAGE = 100
_THREADS = 16
_NAME = "remake"
_MADE, _LEFT = "thumbnails made again", "left as they are"


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
        index = IndexRun(self.processor.store, self.clock, _NAME, self.processor.look(claimed=True).digest)
        counts = Counts()
        while entries := index.page(_PAGE):
            found = self.processor.store.find_all([entry.record_id for entry in entries])
            with ThreadPoolExecutor(_THREADS) as pool:
                outdated = list(pool.map(self._is_outdated, found))
            before: IndexEntry | None = None
            for entry, record, is_outdated in zip(entries, found, outdated, strict=True):
                if is_outdated and isinstance(record, Record):
                    if self.time_is_up():
                        if before is not None:
                            index.reach(before)
                        return counts, False
                    counts[self._remake(record, per_second)] += 1
                before = entry
            counts["records seen"] += len(entries)
            if not index.reach(entries[-1]) or self.time_is_up():
                return counts, False
        return counts, index.end()

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
        if done in {_MADE, _LEFT}:  # what was decoded; the others cost next to nothing
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
                return _LEFT
        result = self.processor.store_thumbnails(fresh, made)
        new = str(fresh.thumbnail)
        transition = lifecycle.replace_thumbnail
        change = self.processor.store.change(record.id, transition, record.thumbnail, new, result)
        if change.after is None or change.after.thumbnail != new:
            # Removed, or of another version by now: no record names what was stored.
            stored = replace(fresh, sizes=result.sizes, stale_thumbnails=())
            bucket.delete(*thumbnail_keys(stored))
            return "changed meanwhile"
        return _MADE
