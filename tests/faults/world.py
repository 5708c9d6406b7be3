"""The world of the fault matrix: Redis, S3, a clock, two processes, and what clients have been told.

Redis is a real one. S3 is moto in this process; what fails at a step is the injector's work in either case.
S3 has the service's clock, so that "long ago" is the same for both. tests/faults/cells.py runs cells in it.
"""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from moto.s3.models import s3_backends

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.errors import ServiceError, Unavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records.heartbeat import Heartbeat
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.remove import remove
from chalicelib.work.upload import PRESIGNED_SECONDS, Upload
from tests.conftest import picture
from tests.faults.injector import Injector
from tests.faults.operation import START_MS, Clock, Kind, Operation, Party
from tests.faults.s3_in_process import BUCKET, s3_without_wire
from tests.faults.steps import Killed, MeanwhileFailed
from tests.inside import redis_of
from tests.invariants import Promises, Stored, broken_for_good, broken_now
from tests.stored import RedisContent, look_at, redis_content

SMALL, NEW, NEWEST = (picture(8, 8, seed=seed) for seed in range(3))
CLIENTS_KEY = "originals/holiday/beach.jpg"
_MOST_TRIES = 3
_MOST_ROUNDS = 8
_MOST_SWEEPS = 12


class _OneAfterTheOther:
    """A pool of no threads."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> "_OneAfterTheOther":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Do as an executor's `map` does."""
        return map(function, items)


@dataclass(slots=True)
class _Scene:
    """Where an operation begins: what is stored by then, what was promised, and the time."""

    now_ms: int
    promised: Promises
    events: list[str]
    about: dict[str, str]
    redis: RedisContent
    objects: list[Any]
    broken: list[str]
    """What `set_up` has broken on purpose."""
    steps: list[str] = field(default_factory=list)


class World:
    """Redis, S3, the clock, two processes (one of them watched), and what clients have been told."""

    publishes = False

    def __init__(self, redis_url: str) -> None:
        self.clock = Clock()
        self.redis: redis.Redis = redis.Redis.from_url(redis_url, decode_responses=True)
        self.refused: set[str] = set()
        self.server = "first"
        self.redis_lost = False
        self.s3 = s3_without_wire(self.refused)
        self.injector = Injector()
        self.promised = Promises()
        self.events: list[str] = []
        self.about: dict[str, str] = {}
        """What the operation is about, as its `set_up` has noted it."""
        self._stores = [
            RecordStore(redis_client(redis_url, timeout=30), self.clock, publishes=self.publishes)
            for _ in range(2)
        ]
        self._buckets = [Bucket(client, BUCKET) for client in (self.s3, s3_without_wire(self.refused))]
        self.injector.watch(self._stores[1], self._buckets[1])
        self.s3.create_bucket(Bucket=BUCKET)
        self._numbers = itertools.count(1)
        self.scenes: dict[str, _Scene] = {}
        self._in_force = Operation("nothing", Kind.TASK, lambda _: None, lambda *_: None)

    @classmethod
    @contextlib.contextmanager
    def open(cls, redis_url: str) -> Iterator["World"]:
        """Make a world; ids that ascend, and a reconciler without threads, give the steps an order."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.delenv("AWS_ENDPOINT_URL", raising=False)
            world = cls(redis_url)
            patch.setattr("moto.s3.models.utcnow", world._utcnow)
            patch.setattr(naming, "new_id", world._new_id)
            for module in ("repair", "remake"):
                patch.setattr(f"chalicelib.work.{module}.ThreadPoolExecutor", _OneAfterTheOther)
            patch.setattr(Heartbeat, "server", lambda _: world.server)
            try:
                yield world
            finally:
                world._close()

    def _utcnow(self) -> datetime:
        return datetime.fromtimestamp(self.clock.ms / 1000, UTC).replace(tzinfo=None)

    def _new_id(self) -> str:
        return f"{next(self._numbers):08x}-0000-4000-8000-000000000000"

    def _close(self) -> None:
        self.empty()
        self.s3.delete_bucket(Bucket=BUCKET)
        for store in self._stores:
            redis_of(store).close()
        self.redis.close()

    # --- who is there ---

    def _party(self, number: int) -> Party:
        operation = self._in_force
        return Party(
            self._stores[number],
            self._buckets[number],
            self.clock,
            keep_originals=operation.keep_originals,
            retention=operation.retention,
            sizes=operation.sizes,
        )

    @property
    def others(self) -> Party:
        """A process in which nothing fails."""
        return self._party(0)

    @property
    def watched(self) -> Party:
        """The process that the fault happens to."""
        return self._party(1)

    # --- what clients do ---

    def upload(
        self,
        content: bytes = SMALL,
        *,
        by: Party | None = None,
        key: str | None = None,
        viewer: Viewer = UNRESTRICTED,
    ) -> Record:
        """Take an upload in, under an Idempotency-Key or not, and note the promise."""
        uploader = replace((by or self.others).uploader, client=viewer)
        file = Upload("a.jpg", content)
        record = uploader.upload(file) if key is None else uploader.upload_idempotently(file, key)
        self.promised.answered.add(record.id)
        self.promised.accepted.add(record.id)
        self.about = {"id": record.id, "key": record.object_key}
        return record

    def put(self, content: bytes, key: str = CLIENTS_KEY) -> str:
        """Put an object straight into the bucket, and give the id of its record."""
        reply = self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        record_id = naming.record_id(key)
        self.promised.accepted.add(record_id)
        self.promised.removed.discard(record_id)
        self.about = {"id": record_id, "key": key, "etag": reply["ETag"].strip('"')}
        return record_id

    def delete(self, record_id: str, *, by: Party | None = None, viewer: Viewer = UNRESTRICTED) -> None:
        """Delete a picture; whether it was there or not, the answer says that it is gone."""
        party = by or self.others
        # Until it is answered, the picture may be there or not.
        self.promised.answered.discard(record_id)
        self.promised.accepted.discard(record_id)
        removed = remove(party.store, party.bucket, record_id, RemovalScope.VISIBLE, viewer)
        if removed is None and self.redis_lost:
            return  # the answer was 404: nothing was promised
        self.promised.removed.add(record_id)

    def delete_all(self) -> None:
        """Delete what the list shows, or what else can be seen."""
        for record in self.stored().visible():
            self.delete(record.id)

    # --- what is stored ---

    def objects(self) -> Any:
        return s3_backends["123456789012"]["aws"].buckets[BUCKET].keys

    def stored(self) -> Stored:
        """Look at everything."""
        objects = {name: (one.etag.strip('"'), one.size) for name, one in self.objects().items()}
        return look_at(self.redis, self.others.store, objects, self.clock())

    def empty(self) -> None:
        self.redis.flushall()
        held = self.objects()
        for name in list(held):
            held.pop(name)

    # --- scenes ---

    def steps(self, operation: Operation) -> list[str]:
        """The steps of an operation that nothing happens to."""
        return self.scene(operation).steps

    def scene(self, operation: Operation) -> _Scene:
        if operation.name not in self.scenes:
            self._in_force = operation
            self.empty()
            self.clock.ms = START_MS
            self.promised, self.events, self.about = Promises(operation.keep_originals), [], {}
            operation.set_up(self)
            self.notice_events()
            scene = _Scene(
                self.clock.ms,
                copy.deepcopy(self.promised),
                list(self.events),
                dict(self.about),
                redis_content(self.redis),
                [copy.deepcopy(self.objects()[name]) for name in self.objects()],
                broken_now(self.stored(), self.promised),
            )
            with self.injector.record() as steps:
                operation.run(self, self.watched)
            scene.steps = list(steps)
            self.scenes[operation.name] = scene
        return self.scenes[operation.name]

    def begin(self, operation: Operation) -> None:
        """Go back to where an operation begins."""
        scene = self.scene(operation)
        self._in_force = operation
        self.empty()
        self.refused.clear()
        self.clock.ms = scene.now_ms
        self.promised, self.events, self.about = (
            copy.deepcopy(scene.promised),
            list(scene.events),
            dict(scene.about),
        )
        self.put_back(scene.redis)
        for one in scene.objects:
            again = copy.deepcopy(one)
            again.last_modified = one.last_modified
            self.objects()[again.name] = again

    def put_back(self, content: RedisContent) -> None:
        """Add to Redis what it has held before."""
        with self.redis.pipeline(transaction=False) as pipe:
            for name, fields in content.hashes.items():
                pipe.hset(name, items=[part for field in fields.items() for part in field])
            for name, scores in content.sets.items():
                pipe.zadd(name, dict(scores))
            pipe.execute()

    def notice_events(self) -> None:
        """Note of which originals S3 has sent an event; it may come more than once."""
        originals = [key for key in self.objects() if key.startswith(naming.ORIGINALS)]
        self.events += [key for key in originals if key not in self.events]

    def attempt(self, action: Callable[[], object], broken: list[str]) -> bool:
        """Do something once; tell whether it has to be repeated."""
        try:
            action()
        except (Killed, Unavailable):
            return True
        except ServiceError:
            return False  # an answer
        except (Exception, MeanwhileFailed) as error:  # noqa: BLE001 - every error is reported
            told = error.__cause__ if isinstance(error, MeanwhileFailed) else error
            broken.append(f"raised {type(told).__name__}: {told}")
        return False

    def repeat(self, action: Callable[[], object], broken: list[str]) -> None:
        for _ in range(_MOST_TRIES):
            if not self.attempt(action, broken):
                return

    def come_to_rest(self, broken: list[str]) -> None:
        """Let the reconciler run, with time passing, until all holds or nothing changes any more."""
        reconciler = self.others.reconciler
        # A presigned upload may come until then.
        self.clock.ms += PRESIGNED_SECONDS * 1000
        state = self.state()
        for _ in range(_MOST_ROUNDS):
            before = None
            for _ in range(_MOST_SWEEPS):
                before, state = state, self.later(IN_FLIGHT_MS + 1000, reconciler.sweep, broken)
                if state == before:
                    break
            before, state = state, self.later(RECORDS_EVERY_MS, reconciler.audit, broken)
            remaining = broken_for_good(self.stored(), self.promised)
            if not remaining or state == before:
                broken += remaining
                return
        broken.append("the reconciler never comes to rest")

    def later(self, ms: int, action: Callable[[], object], broken: list[str]) -> object:
        self.clock.ms += ms
        self.attempt(action, broken)
        return self.state()

    def state(self) -> object:
        content = redis_content(self.redis)
        records = {
            name: {field: value for field, value in fields.items() if field != "revision"}
            for name, fields in content.hashes.items()
            if name.startswith(naming.record(""))
        }
        return (
            records,
            content.sets,
            sorted(
                (name, one.etag) for name, one in self.objects().items() if name != naming.HEARTBEAT_OBJECT
            ),
        )
