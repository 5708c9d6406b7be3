"""The whole service against a model of what it has promised, in whatever order things happen.

Hypothesis chooses what happens: uploads, objects that clients put into the bucket themselves, events that
come late, twice, in another order or never, downloads, deletes, time that passes, reconciling, a Redis that
is lost, and at which call of S3 or Redis an operation is cut off. After each step the service is compared
with what `Told` says of each picture; in the end, when everything has come to rest, nothing may be left over.

What is not held against the service:

- After FLUSHALL tombstones are forgotten: what is still in the bucket of a removed picture may bring it back.
- FLUSHALL forgets the end that a download gave.
- Two that write a client's own key at once: here, one step ends before the next one begins.
- An operation that was cut off has promised nothing, so that both is right; what it has hidden stays hidden.
"""

import hashlib
import itertools
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moto.s3 import models as moto_s3

from chalicelib import naming
from chalicelib.clients import redis_client, s3_client
from chalicelib.errors import IdempotencyKeyReused, OriginalChanging, RetriesExhausted, Unavailable
from chalicelib.objects.bucket import Bucket, ObjectInfo
from chalicelib.records import lifecycle
from chalicelib.records.heartbeat import Heartbeat
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, State, expiry_of
from chalicelib.records.store import RecordStore
from chalicelib.spec import ThumbnailSpec
from chalicelib.work import repair
from chalicelib.work.audit import BUCKET_EVERY_MS, RECORDS_EVERY_MS
from chalicelib.work.process import Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import Upload, Uploader
from tests.conftest import just_before, picture
from tests.faults.injector import Fault, Injector, Killed, Meanwhile
from tests.reconciler import Died, Reconciler

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

Answer = TypeVar("Answer")

CONTENTS = [picture(8, 8), picture(8, 8, image_format="PNG"), picture(8, 8)[:200]]
ETAGS = [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in CONTENTS]
SIZES = {etag: len(content) for etag, content in zip(ETAGS, CONTENTS, strict=True)}
CLIENTS_KEYS = ["originals/holiday 2026/red+flower & ü.jpg", "originals/b.png"]
IDEMPOTENCY_KEYS = ["first", "second"]
MINUTE_MS = 60 * 1000
DAY_MS = 24 * 60 * MINUTE_MS
RETENTION = 10 * 24 * 3600
AFTER_DOWNLOAD = 3600
MOST_ROUNDS = 12
_numbers = itertools.count(1)


# --- the model ---


class Word(Enum):
    """What the service has said of an id."""

    NOTHING = "nothing"
    PERHAPS = "perhaps"
    """Nobody was answered: it may be there or not."""
    ACCEPTED = "accepted"
    REMOVED = "removed"


class Put(NamedTuple):
    """What a client has put under its own key, and no record has shown yet."""

    etag: str
    end_ms: int | None


@dataclass(slots=True)
class Told:
    """The model of one picture."""

    object_key: str
    word: Word = Word.NOTHING
    etag: str = ""
    end_ms: int | None = None
    download_end_ms: int | None = None
    put: Put | None = None

    def expected(self, now_ms: int) -> Word:
        """ACCEPTED has to be seen, REMOVED and NOTHING must not be seen, PERHAPS may."""
        word = self.word
        if self.ends_ms is not None and self.ends_ms <= now_ms:
            word = Word.REMOVED
        return Word.PERHAPS if word is not Word.ACCEPTED and self.put is not None else word

    @property
    def ends_ms(self) -> int | None:
        return min((end for end in (self.end_ms, self.download_end_ms) if end is not None), default=None)

    def see(self, record: Record) -> None:
        """Believe what nobody was told: what is ready stays, and what a client has put there is taken up."""
        is_settled = record.state in {State.READY, State.FAILED}
        if self.put is not None and record.etag == self.put.etag and is_settled:
            self.accept(self.put.etag, record.expires_ms, record.download_expires_ms)
            self.put = None
        elif not naming.is_upload_key(self.object_key) and (record.expires_ms or 0) > (self.end_ms or 0):
            # The event of what was put there with the same content.
            self.end_ms, self.download_end_ms = record.expires_ms, record.download_expires_ms
        elif self.word is Word.PERHAPS and record.state is State.READY and self.put is None:
            self.accept(str(record.etag), record.expires_ms, record.download_expires_ms)

    def accept(self, etag: str, end_ms: int | None, download_end_ms: int | None = None) -> None:
        self.word, self.etag, self.end_ms, self.download_end_ms = Word.ACCEPTED, etag, end_ms, download_end_ms

    def forget(self, word: Word) -> None:
        """Promise no more; a removal takes along what the client has put there before."""
        self.word, self.etag, self.end_ms, self.download_end_ms = word, "", None, None
        if word is Word.REMOVED:
            self.put = None


# --- the service, whole, with a clock that the test moves ---


@dataclass
class World:
    """Servers and clients, made once."""

    client: "redis.Redis"
    s3: "S3Client"
    plain: "S3Client"
    injector: Injector
    raw: "redis.Redis"
    """The same Redis, as bytes."""
    now_ms: int = 0
    server: str = "first"
    ids: list[str] = field(default_factory=list)

    def clock(self) -> int:
        return self.now_ms

    def new_id(self) -> str:
        self.ids.append(str(uuid.UUID(int=len(self.ids) + 1 << 96, version=4)))
        return self.ids[-1]


@pytest.fixture
def world(
    redis_url: str, redis_server: "redis.Redis", s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    client = redis_client(redis_url, timeout=30)
    injector = Injector()
    raw = redis_py.Redis.from_url(redis_url)
    made = World(client, s3_client(timeout=30, attempts=1), s3, injector, raw)
    monkeypatch.setattr(Heartbeat, "server", lambda _: made.server)
    injector.watch(RecordStore(client), Bucket(made.s3, ""))
    # One clock for all, S3's server included; ids by number and one thread, so that a run can be repeated.
    monkeypatch.setattr(moto_s3, "utcnow", lambda: datetime.fromtimestamp(made.now_ms / 1000, UTC))
    monkeypatch.setattr(naming, "new_id", made.new_id)
    monkeypatch.setattr(repair, "_THREADS", 1)
    yield made
    client.close()
    raw.close()


class Service:
    """One deployment, empty."""

    def __init__(self, world: World, *, keep_originals: bool, retention: int = 0) -> None:
        world.now_ms = 1_800_000_000_000
        world.ids.clear()
        world.client.flushall()
        name = f"model-{next(_numbers)}"
        world.plain.create_bucket(Bucket=name)
        self.world = world
        self.retention = retention
        self.keep_originals = keep_originals
        self.store = RecordStore(world.client, world.clock)
        self.bucket = Bucket(world.s3, name)
        self.uploader = Uploader(self.store, self.bucket, world.clock, retention, UNRESTRICTED)
        self.processor = Processor(
            self.store,
            self.bucket,
            ThumbnailSpec(4, 4),
            max_bytes=1_000_000,
            max_pixels=1_000_000,
            retention=retention,
            keep_originals=keep_originals,
        )
        self.reconciler = Reconciler(self.processor, world.clock)

    def objects(self) -> dict[str, ObjectInfo]:
        """All that is in the bucket, by key."""
        found = {item.key: item for page in self.bucket.pages("") for item in page}
        found.pop(naming.HEARTBEAT_OBJECT, None)
        return found

    def ids(self) -> list[str]:
        """The ids of all records, visible or not."""
        found: Any = self.world.client.keys(naming.record("*"))
        return sorted(key.removeprefix(naming.record("")) for key in found)

    def put(self, object_key: str, number: int) -> Put:
        """What a client of S3 does."""
        self.world.plain.put_object(Bucket=self.bucket.name, Key=object_key, Body=CONTENTS[number])
        return Put(ETAGS[number], expiry_of(self.world.now_ms, self.retention))

    def walk(self) -> list[Record]:
        """The whole list, by pages of two."""
        page = self.store.page(2, None, UNRESTRICTED)
        records = page.records
        while page.cursor is not None:
            page = self.store.page(2, page.cursor, UNRESTRICTED)
            records += page.records
        return records

    def come_to_rest(self) -> None:
        """Reconcile until nothing changes any more."""
        before: object = None
        for _ in range(MOST_ROUNDS):
            self.world.now_ms += RECORDS_EVERY_MS + IN_FLIGHT_MS
            self.reconciler.sweep()
            self.reconciler.audit()
            hashes = [self.world.client.hgetall(naming.record(record_id)) for record_id in self.ids()]
            after = (self.objects(), hashes, self.world.client.zrange(naming.INDEX, 0, -1))
            if after == before:
                return
            before = after
        raise AssertionError("it does not come to rest")

    def assert_nothing_left_over(self) -> None:
        """What has to be so when everything is at rest: nothing but what visible records name."""
        shown = {record.id: record for record in self.walk()}
        assert {record.state for record in shown.values()} <= {State.READY, State.FAILED}
        named = set()
        for record in shown.values():
            if record.state is State.READY:
                named.add(naming.thumbnail(record.id, str(record.thumbnail)))
            if record.state is State.FAILED or self.keep_originals:
                named.add(record.object_key)
        assert set(self.objects()) == named
        found = self.store.find_all(self.ids())
        states = {one.state for one in found if isinstance(one, Record) and one.id not in shown}
        assert states <= {State.TOMBSTONE}
        assert [entry.record_id for entry in reversed(self.store.index.newest(1000, None))] == [
            record.id for record in sorted(shown.values(), key=lambda one: (one.created_ms, one.id))
        ]
        due: Any = self.world.client.zrange(naming.DUE, 0, -1)
        assert set(due) == {record.id for record in shown.values() if record.ends_ms is not None}


# --- what may happen ---

Chosen = tuple[int, Fault | Meanwhile | None] | None
"""Which step of an operation fails, and how; None stands for the last event that arrives meanwhile."""


def faults(last_step: int) -> "st.SearchStrategy[Chosen]":
    kinds = [None, *(kind for kind in Fault if kind is not Fault.ERROR_ONCE_AFTER_EFFECT)]
    return st.none() | st.tuples(st.integers(0, last_step), st.sampled_from(kinds))


some = st.integers(0, 3)
"""Which one of those that there are, the last one first, counted round."""


class Event(NamedTuple):
    """An event that S3 has sent and no function has received."""

    object_key: str
    etag: str


class Machine(RuleBasedStateMachine):
    """Does what Hypothesis chooses, and compares the service with the model."""

    def __init__(self, world: World, *, keep_originals: bool) -> None:
        super().__init__()
        self.world = world
        self.keep_originals = keep_originals
        self.told: dict[str, Told] = {}
        self.events: list[Event] = []
        self.replica: list[tuple[Any, Any, Any]] = []

    @initialize(retention=st.sampled_from([0, RETENTION]))
    def deploy(self, retention: int) -> None:
        self.service = Service(self.world, keep_originals=self.keep_originals, retention=retention)

    @rule(number=st.integers(0, 2), fault=faults(3))
    def upload(self, number: int, fault: Chosen) -> None:
        answer = self._attempt(fault, lambda: self.service.uploader.upload(upload_of(number)))
        record_id = self.world.ids[-1]
        self.told[record_id] = Told(naming.original(record_id))
        self._uploaded(record_id, number, answer)

    @rule(key=st.sampled_from(IDEMPOTENCY_KEYS), number=st.integers(0, 2), fault=faults(4))
    def upload_once(self, key: str, number: int, fault: Chosen) -> None:
        record_id = naming.id_for_idempotency_key(key)
        told = self.told.setdefault(record_id, Told(naming.original(record_id)))
        expected = told.expected(self.world.now_ms)
        try:
            answer = self._attempt(
                fault, lambda: self.service.uploader.upload_idempotently(upload_of(number), key)
            )
        except IdempotencyKeyReused:
            assert expected is not Word.NOTHING
            assert expected is not Word.ACCEPTED or told.etag != ETAGS[number]
        else:
            assert not answer or expected is not Word.REMOVED
            assert not answer or expected is not Word.ACCEPTED or told.etag == ETAGS[number]
            self._uploaded(record_id, number, answer)

    def _uploaded(self, record_id: str, number: int, answer: list[Record]) -> None:
        told = self.told[record_id]
        if answer and told.word is not Word.ACCEPTED:
            told.accept(ETAGS[number], answer[0].expires_ms)
        elif told.word is Word.NOTHING:
            found = self.service.store.find(record_id)
            told.word = Word.NOTHING if found is None else Word.PERHAPS
        if (stored := self.service.objects().get(told.object_key)) is not None:
            self.events.append(Event(told.object_key, stored.etag))
        self._look_for_removal(record_id)

    @rule(object_key=st.sampled_from(CLIENTS_KEYS), number=st.integers(0, 2))
    def put(self, object_key: str, number: int) -> None:
        told = self.told.setdefault(naming.record_id(object_key), Told(object_key))
        self.world.now_ms += 1000
        told.put = self.service.put(object_key, number)
        self.events.append(Event(object_key, told.put.etag))

    @precondition(lambda self: self.events)
    @rule(index=some, again=st.booleans(), fault=faults(8))
    def deliver(self, index: int, again: bool, fault: Chosen) -> None:
        event = self._of(self.events, index)
        if self._attempt(fault, lambda: self.service.processor.process(event.object_key)) and not again:
            self.events.remove(event)

    @precondition(lambda self: self.events)
    @rule(index=some, fault=faults(8))
    def fail(self, index: int, fault: Chosen) -> None:
        event = self._of(self.events, index)
        action = partial(self.service.processor.fail, event.object_key, event.etag, RetriesExhausted())
        if self._attempt(fault, action):
            self.events.remove(event)

    @precondition(lambda self: self.events)
    @rule(index=some)
    def lose_event(self, index: int) -> None:
        self.events.remove(self._of(self.events, index))

    @precondition(lambda self: self.told)
    @rule(index=some, fault=faults(4))
    def delete(self, index: int, fault: Chosen) -> None:
        record_id = self._of(list(self.told), index)
        told = self.told[record_id]
        expected = told.expected(self.world.now_ms)
        store, bucket = self.service.store, self.service.bucket
        answer = self._attempt(
            fault, lambda: remove(store, bucket, record_id, RemovalScope.VISIBLE, UNRESTRICTED)
        )
        if answer and answer[0] is not None:
            assert expected is not Word.NOTHING
            told.forget(Word.REMOVED)
        elif answer:
            assert expected is not Word.ACCEPTED
        else:
            self._look_for_removal(record_id)

    @rule(number=st.integers(0, 2), step=st.integers(1, 7))
    def delete_while_it_is_made(self, number: int, step: int) -> None:
        self.upload(number, None)
        record_id = self.world.ids[-1]
        self._delete_meanwhile(
            record_id, step, partial(self.service.processor.process, naming.original(record_id))
        )

    @precondition(lambda self: self.told)
    @rule(what=st.sampled_from(["event", "sweep", "audit"]), index=some, step=st.integers(0, 8))
    def delete_meanwhile(self, what: str, index: int, step: int) -> None:
        record_id = self._of(list(self.told), index)
        actions: dict[str, Callable[[], object]] = {
            "event": partial(self.service.processor.process, self.told[record_id].object_key),
            "sweep": self.service.reconciler.sweep,
            "audit": self.service.reconciler.audit,
        }
        self._delete_meanwhile(record_id, step, actions[what])

    def _delete_meanwhile(self, record_id: str, step: int, action: Callable[[], object]) -> None:
        removed: list[Record | None] = []

        def delete() -> None:
            removed.append(
                remove(self.service.store, self.service.bucket, record_id, RemovalScope.VISIBLE, UNRESTRICTED)
            )

        self._attempt((step, Meanwhile(delete)), action)
        if any(removed):
            self.told[record_id].forget(Word.REMOVED)

    @precondition(lambda self: self.told)
    @rule(index=some, fault=faults(1))
    def download(self, index: int, fault: Chosen) -> None:
        record_id = self._of(list(self.told), index)
        record = self.service.store.get(record_id, UNRESTRICTED)
        if record is None or record.state is not State.READY or record.download_expires_ms is not None:
            return
        self._attempt(fault, lambda: self.service.store.expire_after_download(record, AFTER_DOWNLOAD))
        found = self.service.store.find(record_id)
        assert found is not None
        self.told[record_id].download_end_ms = found.download_expires_ms

    @rule(span=st.sampled_from([IN_FLIGHT_MS, DAY_MS + MINUTE_MS, 5 * DAY_MS]))
    def wait(self, span: int) -> None:
        self.world.now_ms += span

    @rule(fault=faults(8))
    def sweep(self, fault: Chosen) -> None:
        self._attempt(fault, self.service.reconciler.sweep)

    @rule(fault=faults(12))
    def audit(self, fault: Chosen) -> None:
        self._attempt(fault, self.service.reconciler.audit)

    @rule(fault=faults(12))
    def lose_redis(self, fault: Chosen) -> None:
        now = self.world.now_ms
        stored = self.service.objects()
        self.world.client.flushall()
        answer = self._attempt(fault, self.service.reconciler.rebuild)
        while not (answer and answer[0][1]):
            answer = self._attempt(None, self.service.reconciler.rebuild)
        self._believe_the_bucket(now, stored)

    @rule()
    def replicate(self) -> None:
        """A replica has what Redis has now; what comes after is lost when it takes over."""
        self.service.reconciler.recover()
        raw = self.world.raw
        self.replica = [(name, raw.pttl(name), raw.dump(name)) for name in raw.scan_iter()]

    @precondition(lambda self: self.replica)
    @rule()
    def fail_over(self) -> None:
        """The replica takes over; the reconciler runs every five minutes, and half an hour heals all."""
        now = self.world.now_ms
        stored = self.service.objects()
        self.world.raw.flushall()
        for name, lives_ms, content in self.replica:
            self.world.raw.restore(name, max(lives_ms, 0), content)
        self.replica = []
        self.world.server += "'"
        for _ in range(6):
            self.world.now_ms += 5 * MINUTE_MS
            self.service.reconciler.recover()
            self.service.reconciler.sweep()
        self._believe_the_bucket(now, stored)

    def _believe_the_bucket(self, lost_ms: int, stored: dict[str, ObjectInfo]) -> None:
        """What Redis alone knew is forgotten: expiries of downloads, and removals that had not finished."""
        for record_id, told in self.told.items():
            expected = told.expected(lost_ms)
            record = self.service.store.find(record_id)
            told.download_end_ms = None if record is None else record.download_expires_ms
            if expected is not Word.ACCEPTED:
                thumbnails = f"{naming.THUMBNAILS}{record_id}/"
                left = any(key == told.object_key or key.startswith(thumbnails) for key in stored)
                told.forget(Word.PERHAPS if left else Word.NOTHING)
            elif not naming.is_upload_key(told.object_key):
                # Its end is that of what was put there last, which an event has perhaps not told yet.
                assert record is not None
                told.end_ms = record.expires_ms

    # --- how it is done ---

    @staticmethod
    def _of(these: list[Any], index: int) -> Any:
        return these[-1 - index % len(these)]

    def _attempt(self, fault: Chosen, action: Callable[[], Answer]) -> list[Answer]:
        """Do it, a second after whatever was before; no answer comes when it was cut off or has failed."""
        self.world.now_ms += 1000
        answer: list[Answer] = []
        try:
            if fault is None:
                answer.append(action())
            else:
                step, kind = fault
                with self.world.injector.inject(step, kind or Meanwhile(self._deliver_last)):
                    answer.append(action())
        except OriginalChanging:
            pass
        except (Killed, Unavailable):
            assert fault is not None
        except AssertionError as error:
            # It took fewer steps: it was done, or told to come again.
            if not answer and not isinstance(error.__context__, OriginalChanging):
                raise
        finally:
            self.world.injector.revive()
            self.world.injector.land()
        return answer

    def _deliver_last(self) -> None:
        for event in self.events[-1:]:
            with suppress(OriginalChanging):
                self.service.processor.process(event.object_key)

    def _look_for_removal(self, record_id: str) -> None:
        """What has been hidden, though nobody was told, stays hidden."""
        found = self.service.store.find(record_id)
        if found is not None and lifecycle.is_gone(found):
            self.told[record_id].forget(Word.REMOVED)

    # --- what has to hold ---

    @invariant()
    def holds(self) -> None:
        now = self.world.now_ms
        stored = self.service.objects()
        visible: dict[str, Record] = {}
        accepted: list[str] = []
        for record_id, told in self.told.items():
            record = self.service.store.get(record_id, UNRESTRICTED)
            if record is not None:
                visible[record_id] = record
                told.see(record)
            expected = told.expected(now)
            if record is None:
                assert expected is not Word.ACCEPTED
                continue
            assert expected in {Word.ACCEPTED, Word.PERHAPS}
            if expected is Word.ACCEPTED:
                accepted.append(record_id)
                self._assert_kept(told, record, stored)
            if record.state is State.READY:
                assert (
                    stored[naming.thumbnail(record_id, str(record.thumbnail))].size == record.thumbnail_size
                )
        walked = self.service.walk()
        assert walked == sorted(walked, key=lambda one: (one.created_ms, one.id), reverse=True)
        listed = {record.id: record for record in walked}
        assert len(listed) == len(walked)
        # An event that was cut off may have made a record that is not listed yet.
        assert listed == {record_id: visible[record_id] for record_id in {*listed, *accepted}}

    def _assert_kept(self, told: Told, record: Record, stored: dict[str, ObjectInfo]) -> None:
        if self.keep_originals or record.state is not State.READY:
            assert told.object_key in stored
        if told.put is None:
            assert record.etag in {None, told.etag}
            assert record.original_size == SIZES[told.etag]
            assert record.ends_ms == told.ends_ms

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return  # a step has failed already, or Hypothesis has seen enough
        self.service.come_to_rest()
        self.holds()
        self.service.assert_nothing_left_over()
        for told in self.told.values():
            put = told.put
            assert put is None or (put.end_ms is not None and put.end_ms <= self.world.now_ms)


def upload_of(number: int) -> Upload:
    return Upload("a.jpg", CONTENTS[number])


@pytest.mark.slow
@pytest.mark.parametrize("keep_originals", [True, False], ids=["originals kept", "originals removed"])
def test_whatever_happens(world: World, keep_originals: bool) -> None:
    class ThisMachine(Machine):
        def __init__(self) -> None:
            super().__init__(world, keep_originals=keep_originals)

    run_state_machine_as_test(
        ThisMachine,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "25")),
            stateful_step_count=int(os.environ.get("MODEL_STEPS", "20")),
            deadline=None,
            database=None,
            derandomize="MODEL_EXAMPLES" not in os.environ,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- what the machine has found in the service, shrunk; all of it is mended ---

KEY = CLIENTS_KEYS[0]
ID = naming.record_id(KEY)


def kill(service: Service, step: int, action: Callable[[], object]) -> None:
    """The process that does this is gone before this call of S3 or Redis."""
    with service.world.injector.inject(step, Fault.KILLED_BEFORE), pytest.raises(Killed):
        action()
    service.world.injector.revive()


def redis_is_lost(service: Service) -> None:
    service.world.client.flushall()
    assert service.reconciler.rebuild()[1]


@pytest.fixture
def ending(world: World) -> Service:
    """A deployment where pictures end, holding a client's own object that has its thumbnail."""
    service = Service(world, keep_originals=True, retention=RETENTION)
    service.put(KEY, 0)
    service.processor.process(KEY)
    return service


def test_what_is_put_after_an_expiry_that_stopped_half_way_is_kept(ending: Service) -> None:
    """Nobody has deleted anything: the old picture has ended, and the new one is lost."""
    ending.world.now_ms += RETENTION * 1000 + 1000
    just_before(ending.bucket, "DeleteObjects", die := Died())
    with pytest.raises(Died):
        ending.reconciler.sweep()
    assert die.raised
    halfway = ending.store.find(ID)
    assert halfway is not None
    assert halfway.state is State.DELETING
    ending.put(KEY, 1)
    ending.world.now_ms += IN_FLIGHT_MS
    ending.reconciler.sweep()
    assert KEY in ending.objects()


def test_what_is_put_after_a_delete_that_stopped_half_way_is_kept(ending: Service) -> None:
    kill(ending, 4, lambda: remove(ending.store, ending.bucket, ID, RemovalScope.VISIBLE, UNRESTRICTED))
    ending.put(KEY, 1)
    ending.world.now_ms += IN_FLIGHT_MS + 1000
    ending.reconciler.sweep()
    assert KEY in ending.objects()


def test_what_is_put_after_the_end_of_a_restored_record_is_kept(world: World) -> None:
    service = Service(world, keep_originals=True, retention=RETENTION)
    service.put(KEY, 0)
    redis_is_lost(service)
    world.now_ms += RETENTION * 1000 + 1000
    service.put(KEY, 1)
    service.reconciler.sweep()
    assert KEY in service.objects()


def test_the_same_content_put_again_after_its_end_is_kept(ending: Service) -> None:
    ending.world.now_ms += RETENTION * 1000 + 1000
    ending.put(KEY, 0)
    ending.reconciler.sweep()
    assert KEY in ending.objects()


def test_a_new_version_of_a_restored_record_has_its_own_end(world: World) -> None:
    service = Service(world, keep_originals=True, retention=RETENTION)
    service.put(KEY, 0)
    redis_is_lost(service)
    world.now_ms += DAY_MS
    put = service.put(KEY, 1)
    service.processor.process(KEY)
    record = service.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms == put.end_ms


def test_the_same_content_put_again_keeps_its_end_when_redis_is_lost(ending: Service) -> None:
    ending.world.now_ms += DAY_MS
    put = ending.put(KEY, 0)
    ending.processor.process(KEY)
    redis_is_lost(ending)
    record = ending.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms == put.end_ms


def test_the_same_content_put_again_has_its_own_end_without_its_event(ending: Service) -> None:
    ending.world.now_ms += DAY_MS
    put = ending.put(KEY, 0)
    ending.world.now_ms += BUCKET_EVERY_MS
    ending.reconciler.audit()
    record = ending.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms == put.end_ms


def test_the_end_of_a_download_is_not_that_of_a_new_version(world: World) -> None:
    service = Service(world, keep_originals=True)
    service.put(KEY, 0)
    service.processor.process(KEY)
    downloaded = service.store.get(ID, UNRESTRICTED)
    assert downloaded is not None
    service.store.expire_after_download(downloaded, AFTER_DOWNLOAD)
    service.put(KEY, 1)
    service.processor.process(KEY)
    record = service.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms is None


def test_a_record_whose_event_died_is_listed_and_due(world: World) -> None:
    service = Service(world, keep_originals=True)
    service.put(KEY, 0)
    for step in range(5):
        kill(service, step, lambda: service.processor.process(KEY))
        assert (service.store.get(ID, UNRESTRICTED) is None) == (service.walk() == [])
