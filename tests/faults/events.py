"""The world of the fault matrix with events: a bus, the publisher that fills it, and what has to be on it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import naming
from chalicelib.errors import EventBusUnavailable
from chalicelib.records import codec, lifecycle
from chalicelib.records.record import EventKind, OutboxEvent
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.publish import publish
from chalicelib.work.relay import TURN_MS, Waiting, relay
from tests.faults import operations
from tests.faults.cells import LOSSES, Column
from tests.faults.operation import Kind, Operation, Party
from tests.faults.operations import OPERATIONS
from tests.faults.world import World
from tests.invariants import Stored


class EventWorld(World):
    """A world whose records publish their ends. Whenever time passes, a publisher runs."""

    publishes = True

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url)
        self.bus: list[OutboxEvent] = []
        """What the bus has taken, in its order."""
        self.refuses = False
        """Whether the bus takes nothing."""
        self._bus_at: dict[str, list[OutboxEvent]] = {}

    def publish(self, by: Party | None = None, name: str = "publisher") -> int:
        """Run the publisher once."""
        party = by or self.others

        def read(published: Sequence[Waiting], *, last: bool = False) -> list[Waiting]:
            return relay(party.store, name, [one.receipt for one in published], last=last)

        return publish(read, self.take, lambda: False)

    def take(self, events: Sequence[Waiting]) -> Sequence[Waiting]:
        """Put events onto the bus."""
        if self.refuses:
            raise EventBusUnavailable
        self.bus += [one.event for one in events]
        return events

    def note_bus(self, operation: str) -> None:
        """Keep what is on the bus when an operation begins."""
        self._bus_at[operation] = list(self.bus)

    def begin(self, operation: Operation) -> None:
        super().begin(operation)
        self.bus = list(self._bus_at[operation.name])

    def later(self, ms: int, action: Callable[[], object], broken: list[str]) -> object:
        super().later(max(ms, TURN_MS), action, broken)
        self.attempt(self.publish, broken)
        return self.state()

    def come_to_rest(self, broken: list[str]) -> None:
        super().come_to_rest(broken)
        self.clock.ms += TURN_MS
        self.attempt(self.publish, broken)
        broken += broken_events(self.bus, self.stored())


def shown(text: str) -> dict[str, Any]:
    """What an event says of its record, but for an expiry that a download may move afterwards."""
    record: dict[str, Any] = json.loads(text)
    record.pop("expires", None)
    return record


def broken_events(bus: Sequence[OutboxEvent], stored: Stored) -> list[str]:
    """What does not hold of events when all is over: none is missing, none is false, none comes too late."""
    broken = []
    by_id: dict[str, list[OutboxEvent]] = {}
    for event in bus:
        by_id.setdefault(shown(event.shown)["id"], []).append(event)
    for one, record in stored.records.items():
        events = by_id.get(one, [])
        if record.outbox:
            broken.append(f"{one}: has events that are not published")
        if lifecycle.is_tombstone(record) and EventKind.DELETED not in [event.kind for event in events]:
            broken.append(f"{one}: is removed, and no event says so")
        if lifecycle.is_final(record) and lifecycle.exists(record, stored.now_ms):
            wanted = EventKind.READY if lifecycle.is_ready(record) else EventKind.FAILED
            now = codec.as_json(record)
            now.pop("expires", None)
            if not [event for event in events if event.kind is wanted and shown(event.shown) == now]:
                broken.append(f"{one}: is {wanted.value}, and no event says so as GET does")
    for one, events in by_id.items():
        broken += [f"{one}: {said}" for said in broken_story(one, events)]
    return broken


def broken_story(record_id: str, events: Sequence[OutboxEvent]) -> list[str]:
    """What is wrong with the events of one record, in the order in which the bus has taken them."""
    broken = []
    deleted = False
    for event in events:
        record = shown(event.shown)
        if event.kind is EventKind.READY and not record["ready"]:
            broken.append("an event says that it is ready while it is pending")
        if event.kind is EventKind.FAILED and "error" not in record:
            broken.append("an event says that it failed while it is pending")
        # Of a client's own key, a picture may have been put there again.
        if deleted and event.kind is not EventKind.DELETED and naming.is_upload_key(event.object_key):
            broken.append(f"an event says that it is {event.kind.value} after one that it is deleted")
        deleted = deleted or event.kind is EventKind.DELETED
    ids: dict[tuple[object, ...], set[str]] = {}
    for event in events:
        # Likewise, another version of the same size may end at the same moment.
        if naming.is_upload_key(event.object_key):
            ids.setdefault((event.kind, event.time_ms, event.shown), set()).add(event.event_id)
    return broken + ["one end has two ids" for found in ids.values() if len(found) > 1]


def _published(operation: Operation) -> Operation:
    """The operation, beginning where what has ended before is published."""

    def begin(world: World) -> None:
        assert isinstance(world, EventWorld)
        world.bus = []
        process = Processor.process

        def process_and_publish(processor: Processor, *arguments: Any) -> Outcome:
            outcome = process(processor, *arguments)
            world.publish()
            return outcome

        # What Redis loses in what follows was published long ago.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Processor, "process", process_and_publish)
            operation.set_up(world)
        world.publish()
        world.note_bus(operation.name)

    return replace(operation, set_up=begin)


def _unpublished(name: str, set_up: Callable[[World], None]) -> Operation:
    """The publisher, beginning where nothing is published yet."""

    def begin(world: World) -> None:
        assert isinstance(world, EventWorld)
        world.bus = []
        set_up(world)
        world.note_bus(name)

    def run(world: World, party: Party) -> None:
        assert isinstance(world, EventWorld)
        world.publish(party, f"publisher {id(party)}")

    return Operation(name, Kind.TASK, begin, run)


def _deleted(world: World) -> None:
    operations.a_ready(world)
    world.delete(world.about["id"])


def _failed_and_pending(world: World) -> None:
    operations.a_failed(world)
    operations.a_pending(world)


PUBLISHING = [
    _unpublished("publishing", operations.a_ready),
    _unpublished("publishing of a removal", _deleted),
    _unpublished("publishing beside a pending one", _failed_and_pending),
]
WITH_EVENTS = [*(_published(one) for one in OPERATIONS if not one.losses_only), *PUBLISHING]
COLUMNS = [column for column in Column if column not in LOSSES]
