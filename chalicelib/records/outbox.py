"""The outbox: ids of records with events to publish, in sorted sets scored by when they ended.

As in the schedule, an entry is added before the record is stored, and removed only by what has published the
record's events, unless a writer has moved it since.
"""

from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.records import events
from chalicelib.records.record import Record
from chalicelib.records.schedule import Schedule, ScheduledCheck

if TYPE_CHECKING:
    import redis


class Outbox(Schedule):
    """The outbox of one deployment.

    All methods raise `RecordStoreUnavailable` when Redis does not answer.
    """

    key = naming.OUTBOX

    def __init__(
        self, client: "redis.Redis", clock: Clock, partitions: int = 1, *, publishes: bool = False
    ) -> None:
        """Use `client`, which must decode responses to text; note events if they are to be published."""
        super().__init__(client, clock, partitions)
        self._publishes = publishes

    def note(self, before: Record | None, after: Record | None) -> Record | None:
        """Give the record with the event of a change, if the change ends it."""
        if not self._publishes or after == before:
            return after
        return events.add_event(before, after, self._clock())

    def announce(self, before: Record | None, after: Record | None) -> None:
        """Add the entry of a record that is about to be stored with another event."""
        if after is not None and events.has_new_event(before, after):
            self.set(ScheduledCheck(after.id, self._clock()))
