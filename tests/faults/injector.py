"""Puts faults between the code and the real servers, at one chosen call of an operation.

Each call of Redis or S3 is a step: a command (of a pipeline each command by itself, as the server takes
them), a script, a request, and the reading of an object's body. What sets up a connection and `SCRIPT LOAD`
are none. First record an operation, then run it again for each of its steps and each fault:

    injector = Injector()
    injector.watch(store, bucket)
    with injector.record() as steps:
        processor.process(key)              # steps == ["S3 GetObject originals/", "ZADD due", ...]
    with injector.inject(1, Fault.KILLED_AFTER), pytest.raises(Killed):
        processor.process(key)              # the server has run the script, and its reply is lost
    injector.revive()
    processor.process(key)                  # the event comes again

`inject` fails when its step does not come. It yields the steps as `record` does, so that the way which an
operation takes after a fault can be known; several that are nested share one count:

    with injector.inject(2, Fault.ERROR_BEFORE), injector.inject(4, Meanwhile(delete)) as steps: ...

Redis's client and S3's repeat by themselves what failed, as their settings say; here they
do so without a pause. A repeat is the same step and meets the same fault, so that the caller sees it.

The hooks are the clients' own: redis-py's class of connections, and botocore's events.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from redis.commands.core import Script

from chalicelib.objects.bucket import Bucket
from chalicelib.records.store import RecordStore
from tests.faults.steps import Call, Connection, Fault, Killed, Meanwhile, MeanwhileFailed, Step
from tests.faults.watched_redis import WatchedConnection
from tests.faults.watched_s3 import WatchedS3
from tests.inside import redis_of, s3_of, scripts_of

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

Reply = TypeVar("Reply")


class Injector:
    """Counts steps, and makes one of them fail. One injector may watch several clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: list[str] | None = None
        self.faults: dict[int, Fault | Meanwhile] = {}
        self._hit: set[int] = set()
        self._unanswered: Step | None = None
        self._paused = False
        self._killed = False
        self._late: list[Callable[[], None]] = []

    # --- which clients ---

    def watch(self, *adapters: RecordStore | Bucket) -> None:
        """Watch the clients of these adapters; scripts are named as in `scripts_of`."""
        for adapter in adapters:
            if isinstance(adapter, Bucket):
                self.watch_s3(s3_of(adapter))
            else:
                self.watch_redis(redis_of(adapter), scripts_of(adapter))

    def watch_redis(self, client: "redis.Redis", scripts: Mapping[str, Script] | None = None) -> None:
        """Watch a client of one Redis over TCP, with the names that its scripts shall have.

        These are loaded, so that a script that lands late is known to the server; it could not be sent again.
        """
        for script in (scripts or {}).values():
            client.script_load(script.script)
        names = {script.sha: name for name, script in (scripts or {}).items()}
        pool: Any = client.connection_pool
        pool.disconnect()
        pool.reset()
        pool.connection_class = type(
            "WatchedRedisConnection", (WatchedConnection,), {"injector": self, "scripts": names}
        )

    def watch_s3(self, client: "S3Client") -> None:
        """Watch a client of S3."""
        WatchedS3(self, client)

    # --- what the test does ---

    @contextlib.contextmanager
    def record(self) -> Iterator[list[str]]:
        """Collect the names of the steps that are taken inside."""
        if self._steps is not None:
            yield self._steps
            return
        self._steps = []
        try:
            yield self._steps
        finally:
            self._steps, self._unanswered = None, None

    @contextlib.contextmanager
    def inject(self, step: int, fault: Fault | Meanwhile) -> Iterator[list[str]]:
        """Let `fault` happen to the step with this number, counted from 0 where the outermost block begins.

        Raises:
            AssertionError: no such step was taken.

        """
        with self.record() as steps:
            self.faults[step] = fault
            self._hit.discard(step)
            try:
                yield steps
            finally:
                del self.faults[step]
                # Also when the operation has failed: not of this, and the test might take it for this.
                assert step in self._hit, f"there was no step {step} to fail; the steps were {steps}"

    def land(self) -> None:
        """Let the servers do now what timed out: the step, and what its pipeline had sent behind it.

        Once, as if the client's repeats of it had been lost.
        """
        late, self._late = self._late, []
        for send in late:
            send()

    def revive(self) -> None:
        """Let calls through again, as those of a new process."""
        self._killed = False

    # --- what the hooks do ---

    def check_alive(self) -> None:
        if self._killed:
            raise Killed

    def step(self, call: Call, position: int, name: str) -> Step:
        """The step at this place of a call: the one that is repeated, or else the operation's next."""
        with self._lock:
            if position in call.steps:
                return call.steps[position]
            if self._paused or self._steps is None:
                step = Step(None)
            elif self._unanswered is not None:
                step, self._unanswered = self._unanswered, None
            else:
                step = Step(len(self._steps))
                self._steps.append(name)
            call.steps[position] = step
            return step

    def not_yet(self, step: Step) -> None:
        """Take back a script which the server did not know: it is loaded, and sent again as the same step."""
        if step.index is not None:
            self._unanswered = step

    def take(self, step: Step, connection: Connection, send: Callable[[], Reply]) -> Reply:
        """Take a step, or let its fault happen."""
        self.check_alive()
        fault = None if step.index is None else self.faults.get(step.index)
        if fault is None or step.index is None:
            return send()
        self._hit.add(step.index)
        if isinstance(fault, Meanwhile):
            return self._take_meanwhile(step, fault, send)
        first = not step.fault_met
        reply: Reply | None = None
        if fault is Fault.ERROR_ONCE_AFTER_EFFECT or (
            first and fault in {Fault.ERROR_AFTER, Fault.KILLED_AFTER}
        ):
            reply = send()
        step.fault_met = True
        match fault:
            case Fault.ERROR_ONCE_AFTER_EFFECT if not first:
                return cast(Reply, reply)
            case Fault.KILLED_BEFORE | Fault.KILLED_AFTER:
                self._killed = True
                raise Killed
            case Fault.TIMEOUT:
                if first:
                    self._late.append(connection.send_late)
                raise connection.timed_out()
        raise connection.failed(heard=fault is not Fault.ERROR_BEFORE)

    def _take_meanwhile(self, step: Step, fault: Meanwhile, send: Callable[[], Reply]) -> Reply:
        if fault.after:
            reply = send()
            self._once(step, fault.action)
            return reply
        self._once(step, fault.action)
        return send()

    def _once(self, step: Step, action: Callable[[], object]) -> None:
        if step.fault_met:
            return
        step.fault_met = True
        self._paused = True
        try:
            action()
        except Exception as error:
            raise MeanwhileFailed from error
        finally:
            self._paused = False
