"""Every cell of the fault matrix holds with events, too: what has ended is published, and nothing else is."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib import naming
from chalicelib.records.record import EventKind, OutboxEvent, Record, State
from tests.faults.cells import Cells, Column
from tests.faults.events import COLUMNS, PUBLISHING, WITH_EVENTS, EventWorld, broken_events, broken_story
from tests.faults.operation import Operation
from tests.invariants import Stored

CELLS = [
    pytest.param(operation, column, id=f"{operation.name}-{column}", marks=pytest.mark.slow)
    for operation in WITH_EVENTS
    for column in COLUMNS
    if column.applies(operation)
]
ID = "0b5b2c50-9b4d-4a57-8f39-0f3b6f1d8f11"
KEY = naming.original(ID)
RECORD = Record(
    ID, KEY, "a.jpg", 1_790_000_000_000, 900, State.READY, etag="e", thumbnail="e-1", thumbnail_size=300
)
SHOWN = f'{{"id":"{ID}","filename":"a.jpg","ready":true,"size":{{"original":900,"thumbnail":300}}}}'
READY = OutboxEvent(EventKind.READY, "1", 1, KEY, SHOWN)
DELETED = READY._replace(kind=EventKind.DELETED, event_id="2", time_ms=2)
STORED = Stored(1_790_000_000_000, {ID: RECORD}, [], {}, {})


@pytest.fixture(scope="module")
def world(redis_url: str) -> Iterator[EventWorld]:
    with EventWorld.open(redis_url) as made:
        assert isinstance(made, EventWorld)
        yield made


@pytest.fixture(scope="module")
def cells(world: EventWorld) -> Cells:
    return Cells(world)


@pytest.mark.parametrize(("operation", "column"), CELLS)
def test_cells(cells: Cells, operation: Operation, column: Column) -> None:
    broken = cells.run_all(operation, column)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("operation", PUBLISHING, ids=lambda one: one.name)
def test_killed_publishers(cells: Cells, operation: Operation) -> None:
    """The quick part of all this."""
    assert not cells.run_all(operation, Column.KILLED_AFTER)


def test_what_is_whole_is_not_reported() -> None:
    assert broken_events([READY], STORED) == []
    removed = replace(RECORD, state=State.TOMBSTONE)
    assert broken_events([READY, DELETED, DELETED], replace(STORED, records={ID: removed})) == []


@pytest.mark.parametrize(
    ("bus", "record", "said"),
    [
        ([], RECORD, "is ready, and no event says so as GET does"),
        ([READY], replace(RECORD, thumbnail_size=301), "is ready, and no event says so as GET does"),
        ([READY], replace(RECORD, state=State.TOMBSTONE), "is removed, and no event says so"),
        ([READY], replace(RECORD, outbox=(READY,)), "has events that are not published"),
    ],
)
def test_what_is_missing_is_reported(bus: list[OutboxEvent], record: Record, said: str) -> None:
    assert f"{ID}: {said}" in broken_events(bus, replace(STORED, records={ID: record}))


@pytest.mark.parametrize(
    "events",
    [
        [DELETED, READY],
        [READY._replace(shown=SHOWN.replace("true", "false"))],
        [READY._replace(kind=EventKind.FAILED)],
        [READY, READY._replace(event_id="3")],
    ],
)
def test_a_false_story_is_reported(events: list[OutboxEvent]) -> None:
    assert len(broken_story(ID, events)) == 1
    assert len(broken_events([READY, *events], STORED)) >= 1
