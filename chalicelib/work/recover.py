"""Repair what a Redis that has lost writes says wrong, within minutes instead of at the next daily audit."""

from dataclasses import dataclass

from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.work.heartbeat import HeartbeatCheck
from chalicelib.work.sweep import Counts
from chalicelib.work.walk import EVERYTHING, Walker

_NAME = "recovery"
_LATER = "recovery of what was in flight"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Walks over everything twice after each loss of writes.

    The first walk begins when the loss is noticed, and leaves alone what may be in flight; the second one
    begins when that cannot be in flight any more.
    """

    walker: Walker
    heartbeat: HeartbeatCheck

    def run(self) -> Counts:
        """Begin the walks if Redis has lost writes, or go on with those that have begun.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        checkpoints, clock = self.walker.repair.store.checkpoints, self.walker.clock
        counts = Counts()
        server = self.heartbeat.store.heartbeat.server()
        if self.heartbeat.has_lost_writes(server):
            counts["losses noticed"] += 1
            # Stored before the heartbeat: if this run dies in between, the next one notices the loss again.
            for name in (_NAME, _LATER):
                checkpoints.save(self.walker.restart(name, EVERYTHING))
        self.heartbeat.beat(server)
        for name, wait_ms in ((_NAME, 0), (_LATER, IN_FLIGHT_MS)):
            checkpoint = checkpoints.get(name)
            has_waited = clock() - checkpoint.since_ms >= wait_ms
            if checkpoint.part is not None and has_waited and not self.walker.time_is_up():
                done, _ = self.walker.walk(checkpoint, EVERYTHING)
                counts += done
        return counts
