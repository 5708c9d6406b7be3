"""What may happen to the service, in whatever order, each time compared with the model."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from chalicelib import naming
from chalicelib.errors import IdempotencyKeyReused, OriginalChanging, RetriesExhausted, Unavailable
from chalicelib.objects.bucket import ObjectInfo
from chalicelib.records import lifecycle
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, State
from chalicelib.work.remove import remove
from chalicelib.work.upload import Upload
from tests.faults.steps import Fault, Killed, Meanwhile
from tests.invariants import Promises, broken_for_good, broken_now
from tests.model import (
    AFTER_DOWNLOAD,
    CLIENTS_KEYS,
    CONTENTS,
    DAY_MS,
    ETAGS,
    IDEMPOTENCY_KEYS,
    MINUTE_MS,
    RETENTION,
    SIZES,
    Service,
    Told,
    Word,
    World,
)

Answer = TypeVar("Answer")

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
        self.is_at_rest = False

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
        """Do it, a second after what was before; no answer comes when it was cut off or has failed."""
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
        """What has been hidden, though no client was told, stays hidden."""
        found = self.service.store.find(record_id)
        if found is not None and lifecycle.is_gone(found):
            self.told[record_id].forget(Word.REMOVED)

    # --- what has to hold ---

    @invariant()
    def holds(self) -> None:
        stored, promised = self.service.stored(), Promises(self.keep_originals)
        visible = {record.id: record for record in stored.visible()}
        for record_id, told in self.told.items():
            record = visible.get(record_id)
            if record is not None:
                told.see(record)
            match told.expected(stored.now_ms):
                case Word.ACCEPTED:
                    promised.answered.add(record_id)
                    promised.accepted.add(record_id)
                    if record is not None and told.put is None:
                        assert record.etag in {None, told.etag}
                        assert record.original_size == SIZES[told.etag]
                        assert record.ends_ms == told.ends_ms
                case Word.REMOVED | Word.NOTHING:
                    promised.removed.add(record_id)
        assert visible.keys() <= self.told.keys()
        check = broken_for_good if self.is_at_rest else broken_now
        assert check(stored, promised) == []

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return  # a step has failed already, or Hypothesis has seen enough
        self.service.come_to_rest()
        self.is_at_rest = True
        self.holds()
        for told in self.told.values():
            put = told.put
            assert put is None or (put.end_ms is not None and put.end_ms <= self.world.now_ms)


def upload_of(number: int) -> Upload:
    return Upload("a.jpg", CONTENTS[number])
