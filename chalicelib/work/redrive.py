"""Process failed pictures again, on an operator's request."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from chalicelib.clock import Clock
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.index import IndexEntry
from chalicelib.records.record import Record
from chalicelib.records.store import RecordStore
from chalicelib.work.sweep import Counts

_PAGE = 1000
_PART = "failed records"
_LATEST_MS = 24 * 3600 * 1000
"""A redrive that stopped longer ago than this begins anew."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """Goes through all records, a page at a time, until `time_is_up`; resumable like a walk."""

    store: RecordStore
    clock: Clock
    time_is_up: Callable[[], bool]

    def run(self, code: str | None) -> tuple[Counts, bool]:
        """Make failed records pending again, and let the next sweep process them.

        Args:
            code: a `PictureError.code`; None for whatever the records failed for.

        Returns:
            what was done, and whether all records were seen.

        Raises:
            Unavailable: Redis did not answer. The next call goes on where this one stopped.

        """
        name = f"redrive:{code or ''}"
        at: Checkpoint | None = self.store.checkpoints.get(name)
        if at is None or at.part != _PART or not 0 <= self.clock() - at.since_ms < _LATEST_MS:
            at = Checkpoint(name, self.clock(), _PART, revision=None if at is None else at.revision)
        counts = Counts()
        after = IndexEntry(*json.loads(at.after)) if at.after else None
        while entries := self.store.index.newest(_PAGE, after):
            for record in self.store.find_all([entry.record_id for entry in entries]):
                if isinstance(record, Record) and self.store.reopen(record, code):
                    counts["redriven"] += 1
            after = entries[-1]
            at = self.store.checkpoints.save(replace(at, after=json.dumps(after)))
            if at is None or self.time_is_up():
                return counts, False
        return counts, self.store.checkpoints.save(replace(at, part=None, after="")) is not None
