"""The world of the fault matrix: Redis, S3, a clock, two processes, and how a cell is run in it.

Redis is a real one. S3 is moto in this process, without the socket between, which would take most of the
time; what fails at a step is the injector's work in either case. S3 has the service's clock, so that "long
ago" is the same for both.
"""

import contextlib
import copy
import functools
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
import redis
from botocore.awsrequest import AWSResponse, HTTPHeaders
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3.models import s3_backends

from chalicelib import naming
from chalicelib.clients import redis_client, s3_client
from chalicelib.errors import ServiceError, Unavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records import codec, lifecycle
from chalicelib.records.heartbeat import Heartbeat
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.spec import NamedSize, ThumbnailSpec
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.process import Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import PRESIGNED_SECONDS, Upload, Uploader
from tests.conftest import picture
from tests.faults.injector import Fault, Injector, Killed, Meanwhile, MeanwhileFailed
from tests.inside import redis_of, use_http_session
from tests.invariants import Promises, Stored, broken_for_good, broken_in_minutes, broken_now
from tests.reconciler import Reconciler

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

START_MS = 1_790_000_000_000
SMALL, NEW, NEWEST = (picture(8, 8, seed=seed) for seed in range(3))
CLIENTS_KEY = "originals/holiday/beach.jpg"
BUCKET = "fault-matrix"
_READS = ("HGET", "ZRANGE", "S3 Get", "S3 Head", "S3 List")
_MOST_TRIES = 3
_MOST_ROUNDS = 8
_MOST_SWEEPS = 12
_MINUTES_TO_RECOVER = 20


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


_MOST_KEYS = 1000
_NOT_XML = re.compile(rb"&#x?(0*[0-8bcefBCEF]|0*1[0-9]|0*2[0-9]|0*3[01]);|[\x00-\x08\x0b\x0c\x0e-\x1f]")


class _WithoutWire:
    """Hands the requests of S3's client to moto, in place of the client's HTTP session.

    Before, it refuses what S3 refuses and moto does not: a DeleteObjects of more than 1,000 keys or with
    characters that XML 1.0 cannot hold, and to hand out what is `refused`.
    """

    def __init__(self, refused: Collection[str]) -> None:
        self._moto = BotocoreStubber()
        self._moto.enabled = True
        self._refused = refused

    def send(self, request: Any) -> Any:
        body = request.body if isinstance(request.body, bytes) else b""
        if request.method == "POST" and (body.count(b"<Key>") > _MOST_KEYS or _NOT_XML.search(body)):
            return _refusal(request, 400, "MalformedXML")
        key = unquote(urlsplit(request.url).path).removeprefix(f"/{BUCKET}").lstrip("/")
        if request.method in {"GET", "HEAD"} and key in self._refused:
            return _refusal(request, 403, "InvalidObjectState")
        return self._moto("before-send", request)


def _refusal(request: Any, status: int, code: str) -> AWSResponse:
    body = b"" if request.method == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
    raw = SimpleNamespace(stream=lambda **_: iter([body]))
    return AWSResponse(request.url, status, HTTPHeaders.from_dict({"Content-Type": "application/xml"}), raw)


def s3_without_wire(refused: Collection[str] = ()) -> "S3Client":
    """Make a client of moto's S3 in this process; no request leaves it, whatever its endpoint is called.

    Args:
        refused: object keys that it does not hand out; may change.

    """
    client: Any = s3_client(timeout=30, attempts=2)
    use_http_session(client, _WithoutWire(refused))
    made: S3Client = client
    return made


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


@dataclass(frozen=True, slots=True)
class Party:
    """One process: its clients, and what runs on them under a deployment's settings."""

    store: RecordStore
    bucket: Bucket
    clock: Clock
    keep_originals: bool
    retention: int
    sizes: tuple[NamedSize, ...] = ()

    @property
    def uploader(self) -> Uploader:
        """What takes uploads in."""
        return Uploader(self.store, self.bucket, self.clock, self.retention, UNRESTRICTED)

    @property
    def processor(self) -> Processor:
        """What events are handed to."""
        return Processor(
            self.store,
            self.bucket,
            ThumbnailSpec(),
            max_bytes=10_000,
            max_pixels=10_000,
            retention=self.retention,
            keep_originals=self.keep_originals,
            sizes=self.sizes,
        )

    @property
    def reconciler(self) -> Reconciler:
        """What the scheduler calls."""
        return Reconciler(self.processor, self.clock)


class Kind(StrEnum):
    """What sets an operation off: this says who repeats it when it fails, and what else comes."""

    UPLOAD = "upload"
    """A request that the client does not repeat: it may only make a new one."""
    REQUEST = "request"
    """A request that the client repeats."""
    EVENT = "event"
    """An event, which Lambda delivers again."""
    TASK = "task"
    """The scheduler; events have been lost, or came long ago."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that the service does: `run`, which begins where `set_up` has led."""

    name: str
    kind: Kind
    set_up: Callable[["World"], None]
    run: Callable[["World", Party], None]
    clients_key: bool = False
    """It is about a key that the client may put another version under."""
    keep_originals: bool = True
    retention: int = 0
    sizes: tuple[NamedSize, ...] = ()
    """What the deployment makes beside the default thumbnail."""
    losses_only: bool = False
    """A variant for the columns in which it matters whether originals are kept."""


class Column(StrEnum):
    """The table's columns."""

    ERROR_BEFORE = "error before"
    ERROR_AFTER = "error after"
    ERROR_ONCE = "done twice"
    TIMEOUT = "time-out"
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    DUPLICATE = "duplicate"
    LATE = "late"
    REORDERED = "reordered"
    DELETE = "delete"
    REFUSED = "refused for good"
    WENT_BACK = "Redis went back"
    LOST = "Redis lost here"

    def applies(self, operation: Operation) -> bool:
        """Tell whether it can happen to this operation."""
        if operation.losses_only and self not in LOSSES:
            return False
        if self is Column.REORDERED:
            return operation.clients_key
        return self is not Column.DUPLICATE or operation.kind is not Kind.UPLOAD


FAULTS = {
    Column.ERROR_BEFORE: Fault.ERROR_BEFORE,
    Column.ERROR_AFTER: Fault.ERROR_AFTER,
    Column.ERROR_ONCE: Fault.ERROR_ONCE_AFTER_EFFECT,
    Column.TIMEOUT: Fault.TIMEOUT,
    Column.KILLED_BEFORE: Fault.KILLED_BEFORE,
    Column.KILLED_AFTER: Fault.KILLED_AFTER,
    Column.LATE: Fault.KILLED_AFTER,
}


LOSSES = (Column.REFUSED, Column.WENT_BACK, Column.LOST)


@dataclass(slots=True)
class _Scene:
    """Where an operation begins: what is stored by then, what was promised, and the time."""

    now_ms: int
    promised: Promises
    events: list[str]
    about: dict[str, str]
    hashes: dict[str, dict[str, str]]
    sets: dict[str, dict[str, float]]
    objects: list[Any]
    broken: list[str]
    """What `set_up` has broken on purpose."""
    steps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """A step of an operation."""

    operation: Operation
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.operation.name}: {self.number} {self.name}"


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
        self._again: list[Callable[[], object]] = []
        self._stores = [
            RecordStore(redis_client(redis_url, timeout=30), self.clock, publishes=self.publishes)
            for _ in range(2)
        ]
        self._buckets = [Bucket(client, BUCKET) for client in (self.s3, s3_without_wire(self.refused))]
        self.injector.watch(self._stores[1], self._buckets[1])
        self.s3.create_bucket(Bucket=BUCKET)
        self._numbers = itertools.count(1)
        self._runs: dict[tuple[str, int, Column], list[str]] = {}
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
        """Delete what the list shows, or whatever else can be seen."""
        for record in self.stored().visible():
            self.delete(record.id)

    # --- what is stored ---

    def objects(self) -> Any:
        return s3_backends["123456789012"]["aws"].buckets[BUCKET].keys

    def stored(self) -> Stored:
        """Look at everything."""
        hashes, sets = self._redis_content()
        prefix = naming.record("")
        held = {
            name.removeprefix(prefix): fields for name, fields in hashes.items() if name.startswith(prefix)
        }
        return Stored(
            now_ms=self.clock(),
            records={
                one: record
                for one, fields in held.items()
                if isinstance(record := codec.decode(one, fields), Record) and not self._is_dropped(record)
            },
            index=[
                member if name == naming.INDEX else f"{name} {member}"
                for name, members in sets.items()
                if name not in {naming.DUE, naming.OUTBOX}
                for member in members
            ],
            due={one: int(at) for one, at in sets.get(naming.DUE, {}).items()},
            objects={
                name: (one.etag.strip('"'), one.size)
                for name, one in self.objects().items()
                if name != naming.HEARTBEAT_OBJECT
            },
            listed=[record.id for record in self.others.store.page(1000, None, UNRESTRICTED).records],
        )

    def _is_dropped(self, record: Record) -> bool:
        """Tell whether Redis would have dropped a record by now, if its clock were the world's."""
        until_ms = record.presigned_until_ms or self.clock()
        return record.etag is None and until_ms + lifecycle.AWAITING_SECONDS * 1000 < self.clock()

    def _redis_content(self) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, float]]]:
        names: Any = [name for name in self.redis.keys("*") if name not in {naming.HEARTBEAT, naming.HEALTH}]
        sets = [
            name
            for name in names
            if name in {naming.INDEX, naming.DUE, naming.OUTBOX} or name.startswith(naming.index(""))
        ]
        hashes = [name for name in names if name not in sets]
        with self.redis.pipeline(transaction=False) as pipe:
            for name in hashes:
                pipe.hgetall(name)
            for name in sets:
                pipe.zrange(name, 0, -1, withscores=True)
            found = pipe.execute()
        return (
            dict(zip(hashes, found, strict=False)),
            {name: dict(pairs) for name, pairs in zip(sets, found[len(hashes) :], strict=True)},
        )

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
            self._notice_events()
            hashes, sets = self._redis_content()
            scene = _Scene(
                self.clock.ms,
                copy.deepcopy(self.promised),
                list(self.events),
                dict(self.about),
                hashes,
                sets,
                [copy.deepcopy(self.objects()[name]) for name in self.objects()],
                broken_now(self.stored(), self.promised),
            )
            with self.injector.record() as steps:
                operation.run(self, self.watched)
            scene.steps = list(steps)
            self.scenes[operation.name] = scene
        return self.scenes[operation.name]

    def _begin(self, operation: Operation) -> None:
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
        self._again = []
        self._put_back(scene.hashes, scene.sets)
        for one in scene.objects:
            again = copy.deepcopy(one)
            again.last_modified = one.last_modified
            self.objects()[again.name] = again

    def _put_back(self, hashes: dict[str, dict[str, str]], sets: dict[str, dict[str, float]]) -> None:
        with self.redis.pipeline(transaction=False) as pipe:
            for name, fields in hashes.items():
                pipe.hset(name, items=[part for field in fields.items() for part in field])
            for name, scores in sets.items():
                pipe.zadd(name, dict(scores))
            pipe.execute()

    # --- cells ---

    def run(self, row: Row, column: Column) -> list[str]:
        """Run one cell.

        Right after one step is right before the next: so what others do meanwhile is done before each step,
        and after the last one, too; and cells that differ in nothing but this are run once.
        """
        operation, step = row.operation, row.number - 1
        if column in FAULTS:
            same = self._first_like(operation, step, column)
            if (operation.name, *same) not in self._runs:
                self._runs[operation.name, *same] = self._run(operation, *same, FAULTS[same[1]])
            return self._runs[operation.name, *same]
        if column in LOSSES:
            return self._run_loss(operation, step, column)
        what = {
            Column.DUPLICATE: lambda: operation.run(self, self.others),
            Column.REORDERED: self._overtake,
            Column.DELETE: self.delete_all,
        }[column]
        action = functools.partial(self._meanwhile, what)
        broken = self._run(operation, step, column, Meanwhile(action))
        if step == len(self.steps(operation)) - 1:
            broken += self._run(operation, step, column, Meanwhile(action, after=True))
        return broken

    def _first_like(self, operation: Operation, step: int, column: Column) -> tuple[int, Column]:
        """The first step at which a process dies with the same done, and nobody can tell the difference."""
        steps = self.steps(operation)
        if column is Column.KILLED_BEFORE and step > 0:
            step, column = step - 1, Column.KILLED_AFTER
        if column in {Column.KILLED_AFTER, Column.LATE}:
            while step > 0 and steps[step].startswith(_READS):
                step -= 1
        return step, column

    def _meanwhile(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Unavailable:  # it met what is half-done, and is told to come again
            self._again.append(action)
        except ServiceError:
            pass

    def _overtake(self) -> None:
        """A newer version comes, and its event is handled before the one of the version at hand."""
        about = self.about
        self.put(NEWEST, about["key"])
        self.about = about
        self._meanwhile(functools.partial(self.others.processor.process, about["key"]))

    def _run(self, operation: Operation, step: int, column: Column, fault: Fault | Meanwhile) -> list[str]:
        self._begin(operation)
        known = self.scene(operation).broken
        broken: list[str] = []
        with self.injector.inject(step, fault):
            failed = self._attempt(lambda: operation.run(self, self.watched), broken)
        self._notice_events()
        broken += [
            f"at once: {said}" for said in broken_now(self.stored(), self.promised) if said not in known
        ]
        self.injector.revive()
        if column is Column.LATE:
            self._come_to_rest(broken)
            self._again.append(self.delete_all)
        elif failed and operation.kind is not Kind.UPLOAD:
            self._repeat(lambda: operation.run(self, self.others), broken)
        self.injector.land()
        self._notice_events()
        for action in self._again:
            self._repeat(action, broken)
        if operation.kind is not Kind.TASK or column is Column.LATE:
            for key in self.events:
                self._repeat(functools.partial(self.others.processor.process, key), broken)
        self._come_to_rest(broken)
        return broken

    def _run_loss(self, operation: Operation, step: int, column: Column) -> list[str]:
        """Let S3 or Redis lose something at a step, for good; the operation itself is not disturbed."""
        self._begin(operation)
        self.others.reconciler.recover()
        broken: list[str] = []
        before: list[Any] = []

        def lose() -> None:
            self._unpromise_half_removals()
            self.redis.flushall()

        actions: dict[Column, Callable[[], object]] = {
            Column.REFUSED: self._refuse,
            Column.WENT_BACK: lambda: before.extend(self._redis_content()),
            Column.LOST: lose,
        }
        self.redis_lost = column is Column.LOST
        with self.injector.inject(step, Meanwhile(actions[column])):
            failed = self._attempt(lambda: operation.run(self, self.watched), broken)
        self.redis_lost = False
        if column is Column.WENT_BACK:
            self.redis.flushall()
            self._put_back(*before)
            self.server = f"after {self.server}"[:40]
        self._notice_events()
        if failed and operation.kind is not Kind.UPLOAD:
            self._repeat(lambda: operation.run(self, self.others), broken)
        for key in self.events if operation.kind is not Kind.TASK else []:
            self._repeat(functools.partial(self.others.processor.process, key), broken)
        for _ in range(_MINUTES_TO_RECOVER // 5):
            self._later(5 * 60 * 1000, self.others.reconciler.recover, broken)
            self._later(0, self.others.reconciler.sweep, broken)
        known = [said for said in self.scene(operation).broken if operation.kind is Kind.TASK]
        if operation.kind is not Kind.TASK:
            broken += [
                f"in minutes: {said}"
                for said in broken_in_minutes(self.stored(), self.promised)
                if said not in known
            ]
        self._come_to_rest(broken)
        return broken

    def _unpromise_half_removals(self) -> None:
        """What is still in the bucket when Redis loses its removal may come back: no DELETE was answered."""
        stored = set(self.objects())
        for one in list(self.promised.removed):
            prefixes = (naming.original(one), naming.thumbnails(one))
            if any(key.startswith(prefixes) or naming.record_id(key) == one for key in stored):
                for promised in (self.promised.removed, self.promised.accepted, self.promised.answered):
                    promised.discard(one)

    def _refuse(self) -> None:
        key = self.about.get("key")
        if key is not None:
            self.refused.add(key)
            self.promised.refused.add(key)

    def _notice_events(self) -> None:
        """Note of which originals S3 has sent an event; it may come more than once."""
        originals = [key for key in self.objects() if key.startswith(naming.ORIGINALS)]
        self.events += [key for key in originals if key not in self.events]

    def _attempt(self, action: Callable[[], object], broken: list[str]) -> bool:
        """Do something once; tell whether it has to be repeated."""
        try:
            action()
        except (Killed, Unavailable):
            return True
        except ServiceError:
            return False  # an answer
        except (Exception, MeanwhileFailed) as error:  # noqa: BLE001 - whatever it is, it is reported
            told = error.__cause__ if isinstance(error, MeanwhileFailed) else error
            broken.append(f"raised {type(told).__name__}: {told}")
        return False

    def _repeat(self, action: Callable[[], object], broken: list[str]) -> None:
        for _ in range(_MOST_TRIES):
            if not self._attempt(action, broken):
                return

    def _come_to_rest(self, broken: list[str]) -> None:
        """Let the reconciler run, with time passing, until all holds or nothing changes any more."""
        reconciler = self.others.reconciler
        # A presigned upload may come until then.
        self.clock.ms += PRESIGNED_SECONDS * 1000
        state = self._state()
        for _ in range(_MOST_ROUNDS):
            before = None
            for _ in range(_MOST_SWEEPS):
                before, state = state, self._later(IN_FLIGHT_MS + 1000, reconciler.sweep, broken)
                if state == before:
                    break
            before, state = state, self._later(RECORDS_EVERY_MS, reconciler.audit, broken)
            remaining = broken_for_good(self.stored(), self.promised)
            if not remaining or state == before:
                broken += remaining
                return
        broken.append("the reconciler never comes to rest")

    def _later(self, ms: int, action: Callable[[], object], broken: list[str]) -> object:
        self.clock.ms += ms
        self._attempt(action, broken)
        return self._state()

    def _state(self) -> object:
        hashes, sets = self._redis_content()
        records = {
            name: {field: value for field, value in fields.items() if field != "revision"}
            for name, fields in hashes.items()
            if name.startswith(naming.record(""))
        }
        return (
            records,
            sets,
            sorted(
                (name, one.etag) for name, one in self.objects().items() if name != naming.HEARTBEAT_OBJECT
            ),
        )
