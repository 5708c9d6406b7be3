"""The schedule: ids of records to check, in sorted sets scored by when (milliseconds since the epoch).

Pending and deleting records are checked 15 minutes after their last change, expiring records at their expiry.
Writers add a check before they store the change that needs it: a crash in between leaves a spurious check,
never a missing one. Only the reconciler removes checks, and only those that no writer has moved since it read
them.

The ids of records say in which of the `partitions` their checks are. What is due is read from every partition
that there may be: a check stays where it is when the number of partitions changes.
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
    """A record is to be checked at `at_ms`, milliseconds since the epoch.

    `partition` is where `Schedule.due` has found the check, None if that is where the record belongs.
    """

    record_id: str
    at_ms: int
    partition: int | None = None


class Schedule:
    """The schedule of one deployment, or another one under another `key`.

    All methods raise `RecordStoreUnavailable` when Redis does not answer.
    """

    key = naming.DUE

    def __init__(self, client: "redis.Redis", clock: Clock, partitions: int = 1) -> None:
        """Use `client`, which must decode responses to text; checks are put into so many partitions."""
        self._redis = client
        self._clock = clock
        self._partitions = partitions
        # Removals write to the schedule, and have to be possible when Redis's memory is full.
        self._reschedule = client.register_script("#!lua flags=allow-oom\n" + _SCRIPT)

    def set_in(self, pipe: Any, check: ScheduledCheck) -> None:
        """Queue a command that sets a record's check to a pipeline of the client."""
        pipe.zadd(self._key(check), {check.record_id: check.at_ms})

    def set(self, check: ScheduledCheck) -> None:
        """Set a record's check. Allowed when Redis's memory is full.

        The time always changes, so that a reconciler which has read the former one does not remove this one.
        """
        with redis_errors():
            self._reschedule(keys=[self._key(check)], args=[check.record_id, "", check.at_ms])

    def set_if_earlier(self, checks: Iterable[ScheduledCheck]) -> None:
        """Set checks of records that have none, or a later one."""
        at: dict[str, dict[str, int]] = {}
        for check in checks:
            at.setdefault(self._key(check), {})[check.record_id] = check.at_ms
        if at:
            with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
                for key, times in at.items():
                    pipe.zadd(key, times, lt=True)
                pipe.execute()

    def due(self, limit: int, *, skip: int = 0) -> list[ScheduledCheck]:
        """The checks whose time has come, earliest first and without the first ones; at most `limit`."""
        now = self._clock()
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for number in range(naming.MOST_PARTITIONS):
                key = naming.partition(self.key, number)
                pipe.zrange(key, "-inf", now, byscore=True, withscores=True, offset=0, num=skip + limit)
            found = pipe.execute()
        checks = [
            ScheduledCheck(record_id, int(score), None if number == self._home(record_id) else number)
            for number, entries in enumerate(found)
            for record_id, score in entries
        ]
        return sorted(checks, key=lambda check: check.at_ms)[skip : skip + limit]

    def reschedule(self, checks: Iterable[tuple[ScheduledCheck, int | None]]) -> None:
        """Move or remove checks, as `due` gave them.

        Args:
            checks: each with its new time, None to remove it. A check that a writer has moved since stays.

        """
        args: dict[str, list[str | int]] = {}
        for check, at_ms in checks:
            given = (check.record_id, check.at_ms, "" if at_ms is None else at_ms)
            args.setdefault(self._key(check), []).extend(given)
        with redis_errors():
            for key, of_partition in args.items():
                self._reschedule(keys=[key], args=of_partition)

    def _key(self, check: ScheduledCheck) -> str:
        number = self._home(check.record_id) if check.partition is None else check.partition
        return naming.partition(self.key, number)

    def _home(self, record_id: str) -> int:
        return naming.partition_of(record_id, self._partitions)
