"""The fault matrix: every step of every operation x every fault, and what has to hold all the same.

    python -m tests.faults.matrix --write docs/reliability.md   run all cells, put the count into that file

An *operation* is what a request, an event or the scheduler sets off. It is recorded once without a fault,
which gives its steps. A *cell* is one step with one fault: the world is put back to where the operation
begins, the operation runs with the fault, then everything happens that the platform and the client would do,
and the reconciler runs with a clock moved on, until all holds or nothing changes any more. `Cells.run` gives
what did not hold.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import documents
from local import valkey
from tests.faults.cells import LOSSES, Cells, Column, Row
from tests.faults.operation import Operation
from tests.faults.operations import NOT_KEPT, OPERATIONS
from tests.faults.world import World

COMMAND = "fault-matrix"


def summary(all_rows: Iterable[Row], broken: Mapping[tuple[str, Column], Sequence[str]]) -> str:
    """Say in Markdown how many cells hold, of which operations, and which do not."""
    steps = Counter(row.operation.name for row in all_rows)
    columns = {row.operation.name: sum(map(column_applies(row.operation), Column)) for row in all_rows}
    cells = sum(number * columns[name] for name, number in steps.items())
    first = [f"{name} ({number})" for name, number in steps.items() if not name.endswith(NOT_KEPT)]
    again = len(steps) - len(first)
    lines = [
        f"{cells:,} cells: {cells - len(broken):,} hold, {len(broken):,} do not.",
        "",
        f"Operations, with their steps: {'; '.join(first)}; {again} of them again, where "
        f"originals are not kept, in the columns {', '.join(LOSSES)}.",
    ]
    lines += [f"- {row} | {column}: {'; '.join(found)}" for (row, column), found in broken.items()]
    return "\n".join(lines)


def column_applies(operation: Operation) -> Callable[[Column], bool]:
    """Which columns can happen to an operation."""
    return lambda column: column.applies(operation)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cells and write the count; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Runs every step of every operation with every fault.")
    parser.add_argument("--write", type=Path, required=True, help="document to put the count into")
    path = parser.parse_args(arguments).write
    broken: dict[tuple[str, Column], list[str]] = {}
    with valkey.running() as server, World.open(server.connection_url) as world:
        cells = Cells(world)
        all_rows = [row for operation in OPERATIONS for row in cells.rows(operation)]
        for row in all_rows:
            for column in Column:
                if column.applies(row.operation) and (found := cells.run(row, column)):
                    broken[str(row), column] = found
    documents.write(path, COMMAND, summary(all_rows, broken))
    for (row_name, column), found in broken.items():
        sys.stderr.write(f"{row_name} | {column}: {found}\n")


if __name__ == "__main__":
    main()
