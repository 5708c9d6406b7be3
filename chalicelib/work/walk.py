"""Walk over everything that bucket and index hold, a page at a time, from checkpoint to checkpoint.

A walk may stop anywhere and run twice at the same time. An object or a record younger than `IN_FLIGHT_MS` may
be in the middle of a change and is left alone; making a record that is missing is the exception, since that
interferes with no change.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.index import IndexEntry
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
