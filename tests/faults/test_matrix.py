"""Every cell of the fault matrix holds, every check can fail, and the documented table is the run's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from benchmarks.documents import markers
from chalicelib import naming
from chalicelib.records.record import Record, State
from tests import invariants
from tests.faults import matrix, operations
from tests.faults.cells import Cells, Column, Row
from tests.faults.operation import Kind, Operation
from tests.faults.operations import OPERATIONS
from tests.faults.steps import MeanwhileFailed
from tests.faults.world import World
from tests.invariants import Promises, Stored

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"

CELLS = [
    pytest.param(operation, column, id=f"{operation.name}-{column}")
    for operation in OPERATIONS
    for column in Column
    if column.applies(operation)
]


@pytest.fixture(scope="module")
def world(redis_url: str) -> Iterator[World]:
    with World.open(redis_url) as made:
        yield made


@pytest.fixture(scope="module")
def cells(world: World) -> Cells:
    return Cells(world)


# --- the checks ---

NOW = 1_790_000_000_000
ID = "0b5b2c50-9b4d-4a57-8f39-0f3b6f1d8f11"
READY = Record(
    ID, naming.original(ID), "a.jpg", NOW, 900, State.READY, etag="e", thumbnail="e-1", thumbnail_size=300
)
WHOLE = Stored(
    now_ms=NOW,
    records={ID: READY},
    index=[f"{NOW}:{ID}"],
    due={},
    objects={READY.object_key: ("e", 900), naming.thumbnail(ID, "e-1"): ("t", 300)},
    listed=[ID],
)
NOTHING = Stored(NOW, {}, [], {}, {})
ENDS = replace(READY, expires_ms=NOW + 1000)
KEPT = {naming.thumbnail(ID, "e-1"): ("t", 300)}
PENDING = replace(READY, state=State.PENDING, thumbnail_size=None)
DELETING = replace(READY, state=State.DELETING)
FAILED = replace(READY, state=State.FAILED, thumbnail_size=None, error="No.")


def promises() -> Promises:
    return Promises(answered={ID}, accepted={ID})


@pytest.mark.parametrize(
    ("stored", "promised"),
    [
        (WHOLE, promises()),
        (NOTHING, Promises()),
        (NOTHING, Promises(answered={ID}, accepted={ID}, removed={ID})),
        (replace(WHOLE, objects=KEPT), replace(promises(), keep_originals=False)),
        (replace(WHOLE, records={ID: ENDS}, due={ID: NOW + 1000}), promises()),
        (replace(NOTHING, records={ID: replace(DELETING, state=State.TOMBSTONE)}), Promises(removed={ID})),
    ],
    ids=["ready", "nothing", "removed", "original not kept", "with an end", "tombstone"],
)
def test_what_is_whole_is_not_reported(stored: Stored, promised: Promises) -> None:
    assert invariants.broken_now(stored, promised) == []
    assert invariants.broken_for_good(stored, promised) == []


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (NOTHING, "the upload was answered, and there is no record"),
        (replace(WHOLE, objects=KEPT), "the upload was answered, and there is no original"),
        (replace(WHOLE, objects={READY.object_key: ("e", 900)}), "is ready, and has no thumbnail"),
        (
            replace(WHOLE, objects={**WHOLE.objects, naming.thumbnail(ID, "e-1"): ("t", 299)}),
            "says 300 bytes, and has 299",
        ),
        (replace(WHOLE, listed=[]), "is visible, and 0 times in the list"),
        (replace(WHOLE, listed=[ID, ID]), "is visible, and 2 times in the list"),
        (replace(WHOLE, records={ID: DELETING}), "is listed, and not visible"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_broken_at_a_moment_is_reported(stored: Stored, said: str) -> None:
    assert f"{ID}: {said}" in invariants.broken_now(stored, promises())
    assert f"{ID}: {said}" in invariants.broken_for_good(stored, promises())


def test_what_is_removed_and_visible_is_reported() -> None:
    assert invariants.broken_now(WHOLE, Promises(removed={ID})) == [f"{ID}: is removed, and visible"]


def test_a_list_that_is_not_newest_first_is_reported() -> None:
    newer = replace(READY, id="f" * 36, created_ms=NOW + 1)
    both = replace(WHOLE, records={ID: READY, newer.id: newer})
    said = f"{newer.id}: is listed after {ID}, which is older"
    assert said in invariants.broken_now(replace(both, listed=[ID, newer.id]), promises())
    assert said not in invariants.broken_now(replace(both, listed=[newer.id, ID]), promises())


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (NOTHING, f"{ID}: was accepted, and has no record"),
        (replace(WHOLE, records={ID: PENDING}), f"{ID}: is pending for ever"),
        (replace(WHOLE, records={ID: DELETING}), f"{ID}: is deleting for ever"),
        (
            replace(WHOLE, records={ID: FAILED}, objects=KEPT),
            f"{ID}: is failed, and has no original",
        ),
        (replace(WHOLE, records={ID: FAILED}), f"{next(iter(KEPT))}: is stored, and no record names it"),
        (
            replace(WHOLE, objects={**WHOLE.objects, "originals/x": ("e", 1)}),
            "originals/x: is stored, and no record names it",
        ),
        (
            replace(WHOLE, objects={**WHOLE.objects, READY.object_key: ("f", 900)}),
            f"{ID}: shows another version than the one that is stored",
        ),
        (replace(WHOLE, index=[]), f"{NOW}:{ID}: is visible, and not in the index"),
        (replace(WHOLE, index=[*WHOLE.index, "1:x"]), "1:x: is in the index, and not visible"),
        (replace(WHOLE, due={ID: NOW}), f"{ID}: has come due, and stays"),
        (replace(WHOLE, records={ID: replace(READY, expires_ms=NOW)}), f"{ID}: is not visible, and stays"),
        (replace(WHOLE, records={ID: ENDS}), f"{ID}: has an end, and never comes due"),
    ],
    ids=lambda value: value.rpartition(": ")[2] if isinstance(value, str) else "",
)
def test_what_is_broken_for_good_is_reported(stored: Stored, said: str) -> None:
    assert said in invariants.broken_for_good(stored, promises())


def test_an_original_that_is_not_to_be_kept_is_reported() -> None:
    promised = replace(promises(), keep_originals=False)
    unnamed = f"{READY.object_key}: is stored, and no record names it"
    assert invariants.broken_for_good(WHOLE, promised) == [unnamed]


@pytest.mark.parametrize("raised", [TypeError("x"), redis.ConnectionError("x"), MeanwhileFailed()])
def test_what_is_none_of_our_errors_is_reported(world: World, cells: Cells, raised: BaseException) -> None:
    def run(*_: object) -> None:
        world.watched.store.find(ID)
        raise raised

    operation = Operation("raises", Kind.REQUEST, operations.nothing, run)
    world.scenes[operation.name] = replace(world.scene(OPERATIONS[0]), steps=["HGETALL record:"])
    (broken, *_) = cells.run(Row(operation, 1, "HGETALL record:"), Column.ERROR_ONCE)
    assert broken.startswith("raised ")


# --- the cells ---


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "column"), CELLS)
def test_cells(cells: Cells, operation: Operation, column: Column) -> None:
    """One fault at each step of one operation."""
    broken = cells.run_all(operation, column)
    assert not broken, "\n".join(broken)


@pytest.mark.slow
def test_the_summary_in_the_documentation_is_the_runs(cells: Cells) -> None:
    all_rows = [row for operation in OPERATIONS for row in cells.rows(operation)]
    begin, end = markers(matrix.COMMAND)
    written = DOCUMENT.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    assert written.strip("\n") == matrix.summary(all_rows, {}), "run: make fault-matrix"


def test_a_cell_that_does_not_hold_is_seen_in_the_summary() -> None:
    row = Row(OPERATIONS[0], 1, "PING")
    text = matrix.summary([row], {(str(row), Column.LATE): ["it is gone"]})
    assert text.startswith("11 cells: 10 hold, 1 do not.")
    assert text.endswith("- upload: 1 PING | late: it is gone")
