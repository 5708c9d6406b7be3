"""Walk over everything that bucket and index hold, a page at a time, from checkpoint to checkpoint.

A walk may stop anywhere and run twice at the same time. An object or a record younger than `IN_FLIGHT_MS` may
be in the middle of a change and is left alone; making a record that is missing is the exception, since that
interferes with no change.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.index import IndexEntry
from chalicelib.records.store import RecordStore
from chalicelib.work.repair import Repair
from chalicelib.work.sweep import Counts

_PAGE = 1000


class Part(StrEnum):
    """What a walk goes over."""

    THUMBNAILS = "thumbnails"
    UPLOADS = "uploads"
    ORIGINALS = "originals"
    INDEX = "newest records"


# Thumbnails first: an original that has no record by then has no thumbnail either.
BUCKET = (Part.THUMBNAILS, Part.UPLOADS, Part.ORIGINALS)
EVERYTHING = (*BUCKET, Part.INDEX)


class IndexRun:
    """One run over all records, newest first, on an operator's request; resumable from its checkpoint.

    A run of another `part`, or one that stopped `ABANDONED_MS` ago, begins anew.
    """

    ABANDONED_MS = 24 * 3600 * 1000

    def __init__(self, store: RecordStore, clock: Clock, name: str, part: str) -> None:
        self._store = store
        self._clock = clock
        at = store.checkpoints.get(name)
        if at.part != part or not 0 <= clock() - at.since_ms < self.ABANDONED_MS:
            at = Checkpoint(name, clock(), part, revision=at.revision)
        self._at = at
        self._after = IndexEntry(*json.loads(at.after)) if at.after else None

    def page(self, limit: int) -> Sequence[IndexEntry]:
        """The entries that follow what was reached, at most `limit`; none at the end."""
        return self._store.index.newest(limit, self._after)

    def reach(self, entry: IndexEntry) -> bool:
        """Note how far it has come; False if the checkpoint was lost, or another run has it."""
        self._after = entry
        return self._save(replace(self._at, since_ms=self._clock(), after=json.dumps(entry)))

    def end(self) -> bool:
        """Note that all was seen; the next run begins anew. False as for `reach`."""
        return self._save(replace(self._at, part=None, after=""))

    def _save(self, checkpoint: Checkpoint) -> bool:
        saved = self._store.checkpoints.save(checkpoint)
        if saved is not None:
            self._at = saved
        return saved is not None


@dataclass(frozen=True, slots=True)
class Walker:
    """Walks until `time_is_up`, which it asks between pages."""

    repair: Repair
    clock: Clock
    time_is_up: Callable[[], bool]

    def read(self, name: str, parts: tuple[Part, ...], *, every_ms: int) -> Checkpoint:
        """The checkpoint of a walk that begins again after `every_ms`; its part is None until then.

        A walk that began in the future, by a clock that was wrong, is one that was never made.
        """
        checkpoint = self.repair.store.checkpoints.get(name)
        is_recent = 0 <= self.clock() - checkpoint.since_ms < every_ms
        if is_recent and (checkpoint.part is None or checkpoint.part in set(parts)):
            return checkpoint
        return self.restart(name, parts)

    def restart(self, name: str, parts: tuple[Part, ...]) -> Checkpoint:
        """The checkpoint of a walk that begins now, wherever the last one stands."""
        revision = self.repair.store.checkpoints.get(name).revision
        return Checkpoint(name, self.clock(), parts[0].value, revision=revision)

    def walk(self, checkpoint: Checkpoint, parts: tuple[Part, ...]) -> tuple[Counts, bool]:
        """Go on from a checkpoint, or from the beginning if its part is none of `parts`.

        Returns:
            what was done, and whether the end was reached. It was not when time was up, or when the
            checkpoint was lost or taken over by another run: the next run goes on from what is stored then.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        counts = Counts()
        at: Checkpoint | None = checkpoint
        is_known = checkpoint.part in set(parts)
        first, after = (Part(checkpoint.part or ""), checkpoint.after) if is_known else (parts[0], "")
        for part in parts[parts.index(first) :]:
            for reached in self._pages(part, after, counts):
                at = self.repair.store.checkpoints.save(replace(checkpoint, part=part.value, after=reached))
                if at is None or self.time_is_up():
                    return counts, False
                checkpoint = at
            after = ""
        return counts, self.repair.store.checkpoints.save(
            replace(checkpoint, part=None, after="")
        ) is not None

    def _pages(self, part: Part, after: str, counts: Counts) -> Iterator[str]:
        """Check a part page by page; yield after each how far it has come."""
        if part is Part.INDEX:
            entry = IndexEntry(*json.loads(after)) if after else None
            while entries := self.repair.store.index.newest(_PAGE, entry):
                self.repair.check_entries(entries, counts)
                entry = entries[-1]
                yield json.dumps(entry)
            return
        prefix, check = {
            Part.THUMBNAILS: (naming.THUMBNAILS, self.repair.check_thumbnails),
            Part.UPLOADS: (naming.UPLOADS, self.repair.check_originals),
            Part.ORIGINALS: (naming.ORIGINALS, self.repair.check_originals),
        }[part]
        for page in self.repair.bucket.pages(prefix, after=after):
            check([item for item in page if not item.key.endswith("/") or item.size], counts)
            yield page[-1].key
