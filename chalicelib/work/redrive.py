"""Process failed pictures again, on an operator's request."""

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.clock import Clock
from chalicelib.records.record import Record
from chalicelib.records.store import RecordStore
from chalicelib.work.sweep import Counts
from chalicelib.work.walk import IndexRun

_PAGE = 1000
_PART = "failed records"


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
        run = IndexRun(self.store, self.clock, f"redrive:{code or ''}", _PART)
        counts = Counts()
        while entries := run.page(_PAGE):
            for record in self.store.find_all([entry.record_id for entry in entries]):
                if isinstance(record, Record) and self.store.reopen(record, code):
                    counts["redriven"] += 1
            if not run.reach(entries[-1]) or self.time_is_up():
                return counts, False
        return counts, run.end()
