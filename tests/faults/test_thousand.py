"""A thousand pictures whose functions die everywhere, and a bus that refuses for ten minutes.

Half come by the API, a quarter by presigned uploads, a quarter straight into the bucket; 5 % are broken, 10 %
are deleted at random moments. Each event comes twice, all in random order. Of each kind of call (upload,
event, delete, reconciler, publisher), a third may die at any step, before or after it, rather at one that has
killed none yet.
"""

import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.errors import ServiceError, Unavailable
from chalicelib.records import codec, lifecycle
from chalicelib.records.record import UNRESTRICTED, EventKind, OutboxEvent
from chalicelib.work.publish import publish
from chalicelib.work.relay import Waiting, relay
from chalicelib.work.upload import OPAQUE, PresignedUploadRequest
from tests.faults.events import EventWorld, broken_events, broken_story
from tests.faults.operation import Party
from tests.faults.operations import BROKEN
from tests.faults.s3_in_process import BUCKET
from tests.faults.steps import Fault, Killed
from tests.faults.world import SMALL
from tests.reconciler import LATE

MINUTE_MS = 60_000
REFUSED_MS = 10 * MINUTE_MS
STEP_MS = 2000
"""Milliseconds between two calls, on average."""


@dataclass
class Story:
    """What clients have seen of the pictures."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Object key of each picture that was promised a thumbnail, by its id."""
    last_seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What GET last gave of those that are to be deleted."""
    deleted: set[str] = field(default_factory=set)
    """Deletes that were answered."""
    killed: Counter[str] = field(default_factory=Counter)
    """How often each step of each kind of call was killed."""


ENDING = {
    "upload: S3 PutObject uploads/",
    "event: S3 PutObject thumbnails/",
    "event: EVALSHA reschedule outbox",
    "event: EVALSHA replace when full record:",
    "delete: EVALSHA reschedule outbox",
    "delete: EVALSHA replace when full record:",
}
"""Steps around the end of a record."""


def named(kind: str, step: str) -> str:
    """A step of a kind of call, whichever partition it is about."""
    return f"{kind}: {step.partition('#')[0]}"


class _Deaths(dict[int, Any]):
    """At which step a call dies, decided when the step comes: rather at one that has killed no call yet."""

    def __init__(self, kind: str, steps: list[str], story: Story, chance: random.Random) -> None:
        super().__init__()
        self._kind, self._steps, self._story, self._random = kind, steps, story, chance

    def get(self, index: int, default: Any = None) -> Any:
        name = named(self._kind, self._steps[index])
        if self._random.random() >= (0.5 if self._story.killed[name] < 2 else 0.1):
            return default
        self._story.killed[name] += 1
        return Fault.KILLED_AFTER if self._story.killed[name] % 2 else Fault.KILLED_BEFORE


class Thousand:
    """The run: calls in random order, each of which may die."""

    def __init__(self, world: EventWorld, count: int, seed: int) -> None:
        self.world = world
        self.story = Story()
        self.random = random.Random(seed)
        self.count = count
        self.waiting: list[tuple[str, Callable[[Party], object]]] = []
        self.refused_from = 0
        self.all_came = False

    # --- calls, and how they die ---

    def call(self, kind: str, action: Callable[[Party], object]) -> bool:
        """Make a call, which may be killed at one of its steps; tell whether it came to its end."""
        world, injector = self.world, self.world.injector
        died = True
        with injector.record() as steps:
            if self.random.random() < 0.35:
                injector.faults = _Deaths(kind, steps, self.story, self.random)
            try:
                action(world.watched)
                died = False
            except (Killed, Unavailable):
                pass
            except ServiceError:
                died = False
            finally:
                injector.faults = {}
        injector.revive()
        world.clock.ms += self.random.randrange(2 * STEP_MS)
        return not died

    def again(self, kind: str, action: Callable[[Party], object]) -> None:
        """Let a call be made later, at a random moment."""
        self.waiting.insert(self.random.randrange(len(self.waiting) + 1), (kind, action))

    # --- what clients and S3 do ---

    def upload(self, number: int) -> None:
        content = BROKEN if self.random.random() < 0.05 else SMALL
        world, way = self.world, number % 4
        if way < 2:
            known = set(self.story.accepted)
            world.about = {}
            if self.call("upload", lambda party: self._note(world.upload(content, by=party))):
                assert len(self.story.accepted) == len(known) + 1
            else:
                self._see_what_was_stored()
                return
        elif way == 2:
            record, _ = world.others.uploader.presign(
                PresignedUploadRequest("a.jpg", OPAQUE), max_bytes=99_999
            )
            world.s3.put_object(
                Bucket=BUCKET, Key=record.object_key, Body=content, Metadata=codec.original_metadata(record)
            )
            self._note(record)
        else:
            key = f"originals/{number}.jpg"
            self.story.accepted[world.put(content, key)] = key
        record_id, key = list(self.story.accepted.items())[-1]
        for _ in range(2):
            self.again("event", self._event(key))
        if self.random.random() < 0.1:
            self.again("delete", self._delete(record_id))

    def _note(self, record: Any) -> None:
        self.story.accepted[record.id] = record.object_key

    def _see_what_was_stored(self) -> None:
        """The event of an upload whose client was never answered: S3 may have the original."""
        for key in list(self.world.objects()):
            if key.startswith("uploads/") and key not in self.story.accepted.values():
                self.story.accepted[key.removeprefix("uploads/")] = key
                self.again("event", self._event(key))

    def _event(self, key: str) -> Callable[[Party], object]:
        return lambda party: party.processor.process(key)

    def _delete(self, record_id: str) -> Callable[[Party], object]:
        def delete(party: Party) -> None:
            record = self.world.others.store.get(record_id, UNRESTRICTED)
            if record is not None:
                self.story.last_seen[record_id] = codec.as_json(record)
            self.world.delete(record_id, by=party)
            self.story.deleted.add(record_id)

        return delete

    # --- what the platform does ---

    def publish(self, party: Party) -> None:
        world, name = self.world, f"publisher {next(self._publishers)}"

        def read(published: Sequence[Waiting], *, last: bool = False) -> list[Waiting]:
            return relay(party.store, name, [one.receipt for one in published], last=last)

        def put(events: Sequence[Waiting]) -> Sequence[Waiting]:
            self._check_that_they_have_ended([one.event for one in events])
            taken = world.take(events)
            if self.random.random() < 0.1:
                raise Killed  # the bus has them, and its answer is lost
            return taken

        publish(read, put, lambda: False)

    _publishers = itertools.count()

    def _check_that_they_have_ended(self, events: Sequence[OutboxEvent]) -> None:
        ids = [json.loads(event.shown)["id"] for event in events]
        for record in self.world.others.store.find_all(ids):
            assert record is not None
            assert not lifecycle.needs_thumbnail(record), "it is pending"  # type: ignore[arg-type]

    def run(self) -> None:
        world = self.world
        uploads = list(range(self.count))
        self.random.shuffle(uploads)
        minutes = world.clock.ms
        self.refused_from = world.clock.ms + 10 * MINUTE_MS
        while uploads or self.waiting:
            if uploads and self.random.random() < 0.4:
                self.upload(uploads.pop())
            elif self.waiting:
                kind, action = self.waiting.pop()
                if not self.call(kind, action):
                    self.again(kind, action)
            self._refuse()
            if self.random.random() < 0.1:
                self.call("publisher", self.publish)  # a thumbnail was made
            if world.clock.ms - minutes >= MINUTE_MS:
                minutes = world.clock.ms
                self.call("publisher", self.publish)
                self._check_that_all_came()
                if self.random.random() < 0.2:
                    self.call("reconciler", lambda party: party.reconciler.sweep())

    def _refuse(self) -> None:
        self.world.refuses = 0 <= self.world.clock.ms - self.refused_from < REFUSED_MS

    def _check_that_all_came(self) -> None:
        """Ten minutes after the bus takes events again, it has all that ended before."""
        end = self.refused_from + REFUSED_MS
        if self.world.clock.ms >= end + 10 * MINUTE_MS:
            late = [
                event
                for record in self.world.stored().records.values()
                for event in record.outbox
                if event.time_ms < end
            ]
            assert not late
            self.all_came = True
            self.refused_from = self.world.clock.ms + 10**12  # once is enough

    def come_to_rest(self) -> None:
        world = self.world
        world.refuses = False
        for _ in range(6):
            world.clock.ms += LATE["ms"]
            world.others.reconciler.sweep()
            world.publish()


@pytest.fixture(scope="module")
def world(redis_url: str) -> Iterator[EventWorld]:
    with EventWorld.open(redis_url) as made:
        assert isinstance(made, EventWorld)
        yield made


@pytest.mark.parametrize(
    ("count", "seed"), [(60, 1), pytest.param(1000, 2, marks=pytest.mark.slow)], ids=["sixty", "thousand"]
)
def test_all_that_has_ended_is_published_and_nothing_else(world: EventWorld, count: int, seed: int) -> None:
    world.empty()
    world.bus = []
    run = Thousand(world, count, seed)
    run.run()
    run.come_to_rest()
    stored, story = world.stored(), run.story
    assert broken_events(world.bus, stored) == []
    events: defaultdict[str, list[OutboxEvent]] = defaultdict(list)
    for event in world.bus:
        events[json.loads(event.shown)["id"]].append(event)
    for record_id in story.accepted:
        record = world.others.store.get(record_id, UNRESTRICTED)
        if record is None:
            assert record_id in story.deleted
            (told, *same) = [event for event in events[record_id] if event.kind is EventKind.DELETED]
            assert json.loads(told.shown) == story.last_seen[record_id]
            assert {event.event_id for event in same} <= {told.event_id}
        else:
            # Also of a DELETE that was told 404, since a presigned upload had ended before its event came.
            assert lifecycle.is_final(record)
            shown = [json.loads(event.shown) for event in events[record_id]]
            assert codec.as_json(record) in shown
    for record_id, of_one in events.items():
        assert broken_story(record_id, of_one) == []
    assert len(events) >= count * 0.8, "uploads that died before the original was stored are none"
    if count == 1000:
        assert len(world.bus) > len({event.event_id for event in world.bus}), "some came twice"
        assert run.all_came
        assert story.killed.keys() >= ENDING, "rarer steps are killed by the matrix"
