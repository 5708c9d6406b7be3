"""What the tests of sweep, audit and rebuild share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.objects.bucket import Bucket
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import Record, State
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import Audit
from chalicelib.work.heartbeat import HeartbeatCheck
from chalicelib.work.process import Processor
from chalicelib.work.rebuild import Rebuild
from chalicelib.work.recover import Recovery
from chalicelib.work.redrive import Redrive
from chalicelib.work.repair import Repair
from chalicelib.work.sweep import Counts, Sweep
from chalicelib.work.upload import Upload, Uploader
from chalicelib.work.walk import Walker
from tests.conftest import picture

if TYPE_CHECKING:
    import redis

CLIENTS_KEY = "originals/holiday 2026/red+flower & ü.jpg"
LATE = {"ms": IN_FLIGHT_MS + 1000}
"""After this time no change can be in progress any more."""


@dataclass(frozen=True)
class Reconciler:
    """The parts of the reconciler, put together as the app does it; without a bound on time by default."""

    processor: Processor
    clock: Clock
    time_is_up: Callable[[], bool] = lambda: False

    @property
    def bucket(self) -> Bucket:
        return self.processor.bucket

    def sweep(self) -> Counts:
        return Sweep(self.processor, self.clock, self.time_is_up).run()

    def audit(self) -> Counts:
        return Audit(self._walker()).run()

    def rebuild(self) -> tuple[Counts, bool]:
        return Rebuild(self._walker()).run()

    def recover(self) -> Counts:
        heartbeat = HeartbeatCheck(self.processor.store, self.bucket)
        return Recovery(self._walker(), heartbeat).run()

    def redrive(self, code: str | None = None) -> tuple[Counts, bool]:
        return Redrive(self.processor.store, self.clock, self.time_is_up).run(code)

    def _walker(self) -> Walker:
        return Walker(Repair(self.processor, self.clock), self.clock, self.time_is_up)


class Died(BaseException):
    """An action that raises: itself, as when the process dies, or an error of the product."""

    def __init__(self, error: Callable[[], Exception] | None = None) -> None:
        super().__init__()
        self._error = error
        self.raised = False

    def __call__(self, *_: object) -> None:
        self.raised = True
        raise self._error() if self._error else self


def stored(uploader: Uploader, content: bytes | None = None, name: str = "a.jpg") -> Record:
    return uploader.upload(Upload(name, picture() if content is None else content))


def put(bucket: Bucket, key: str, content: bytes) -> None:
    bucket.put(key, content, content_type="image/jpeg")


def state_of(store: RecordStore, record_id: str) -> State | None:
    record = store.find(record_id)
    return None if record is None else record.state


def due(redis_server: "redis.Redis") -> dict[str, float]:
    """The schedule: the time of the next check (milliseconds since the epoch) for each id."""
    found: Any = redis_server.zrange(naming.DUE, 0, -1, withscores=True)
    return dict(found)
