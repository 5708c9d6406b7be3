"""The schedule: ids of records to check, in one sorted set scored by when (milliseconds since the epoch).

Pending and deleting records are checked 15 minutes after their last change, expiring records at their expiry.
Writers add a check before they store the change that needs it: a crash in between leaves a spurious check,
never a missing one. Only the reconciler removes checks, and only those that no writer has moved since it read
them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.records.redis_errors import redis_errors

if TYPE_CHECKING:
    import redis

_SCRIPT = Path(__file__).with_name("reschedule.lua").read_text(encoding="utf-8")


class ScheduledCheck(NamedTuple):
    """A record is to be checked at `at_ms`, milliseconds since the epoch."""

    record_id: str
    at_ms: int


class Schedule:
    """The schedule of one deployment.

    All methods raise `RecordStoreUnavailable` when Redis does not answer.
    """

    def __init__(self, client: "redis.Redis", clock: Clock) -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client
        self._clock = clock
        # Removals write to the schedule, and have to be possible when Redis's memory is full.
        self._reschedule = client.register_script("#!lua flags=allow-oom\n" + _SCRIPT)

    def set_in(self, pipe: Any, check: ScheduledCheck) -> None:
        """Queue a command that sets a record's check to a pipeline of the client."""
        pipe.zadd(naming.DUE, {check.record_id: check.at_ms})

    def set(self, check: ScheduledCheck) -> None:
        """Set a record's check. Allowed when Redis's memory is full.

        The time always changes, so that a reconciler which has read the former one does not remove this one.
        """
        with redis_errors():
            self._reschedule(keys=[naming.DUE], args=[check.record_id, "", check.at_ms])

    def set_if_earlier(self, checks: Iterable[ScheduledCheck]) -> None:
        """Set checks of records that have none, or a later one."""
        at = {check.record_id: check.at_ms for check in checks}
        if at:
            with redis_errors():
                self._redis.zadd(naming.DUE, at, lt=True)

    def due(self, limit: int) -> list[ScheduledCheck]:
        """The checks whose time has come, earliest first; at most `limit`."""
        with redis_errors():
            found: Any = self._redis.zrange(
                naming.DUE, "-inf", self._clock(), byscore=True, withscores=True, offset=0, num=limit
            )
        return [ScheduledCheck(record_id, int(score)) for record_id, score in found]

    def reschedule(self, checks: Iterable[tuple[ScheduledCheck, int | None]]) -> None:
        """Move or remove checks, as `due` gave them.

        Args:
            checks: each with its new time, None to remove it. A check that a writer has moved since stays.

        """
        args = [
            part
            for check, at_ms in checks
            for part in (check.record_id, check.at_ms, "" if at_ms is None else at_ms)
        ]
        if args:
            with redis_errors():
                self._reschedule(keys=[naming.DUE], args=args)
