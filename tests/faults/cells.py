"""The cells of the fault matrix: which fault happens at which step, and what happens after it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chalicelib import naming
from chalicelib.errors import ServiceError, Unavailable
from tests.faults.operation import Kind, Operation
from tests.faults.steps import Fault, Meanwhile
from tests.faults.world import NEWEST, World
from tests.invariants import broken_in_minutes, broken_now
from tests.stored import RedisContent, redis_content

_READS = ("HGET", "ZRANGE", "S3 Get", "S3 Head", "S3 List")
_MINUTES_TO_RECOVER = 20


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


@dataclass(frozen=True, slots=True)
class Row:
    """A step of an operation."""

    operation: Operation
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.operation.name}: {self.number} {self.name}"


class Cells:
    """Runs cells in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._again: list[Callable[[], object]] = []
        self._runs: dict[tuple[str, int, Column], list[str]] = {}

    def rows(self, operation: Operation) -> list[Row]:
        """The steps of an operation."""
        return [Row(operation, number, name) for number, name in enumerate(self.world.steps(operation), 1)]

    def run_all(self, operation: Operation, column: Column) -> list[str]:
        """Run the cells of all steps of an operation, and give what did not hold in which."""
        return [
            f"{row} | {column} | {said}" for row in self.rows(operation) for said in self.run(row, column)
        ]

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
            Column.DUPLICATE: lambda: operation.run(self.world, self.world.others),
            Column.REORDERED: self._overtake,
            Column.DELETE: self.world.delete_all,
        }[column]
        action = functools.partial(self._meanwhile, what)
        broken = self._run(operation, step, column, Meanwhile(action))
        if step == len(self.world.steps(operation)) - 1:
            broken += self._run(operation, step, column, Meanwhile(action, after=True))
        return broken

    def _first_like(self, operation: Operation, step: int, column: Column) -> tuple[int, Column]:
        """The first step at which a process dies with the same done, so that the outcome is the same."""
        steps = self.world.steps(operation)
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
        about = self.world.about
        self.world.put(NEWEST, about["key"])
        self.world.about = about
        self._meanwhile(functools.partial(self.world.others.processor.process, about["key"]))

    def _run(self, operation: Operation, step: int, column: Column, fault: Fault | Meanwhile) -> list[str]:
        self.world.begin(operation)
        self._again = []
        known = self.world.scene(operation).broken
        broken: list[str] = []
        with self.world.injector.inject(step, fault):
            failed = self.world.attempt(lambda: operation.run(self.world, self.world.watched), broken)
        self.world.notice_events()
        now = broken_now(self.world.stored(), self.world.promised)
        broken += [f"right after it: {said}" for said in now if said not in known]
        self.world.injector.revive()
        if column is Column.LATE:
            self.world.come_to_rest(broken)
            self._again.append(self.world.delete_all)
        elif failed and operation.kind is not Kind.UPLOAD:
            self.world.repeat(lambda: operation.run(self.world, self.world.others), broken)
        self.world.injector.land()
        self.world.notice_events()
        for action in self._again:
            self.world.repeat(action, broken)
        if operation.kind is not Kind.TASK or column is Column.LATE:
            for key in self.world.events:
                self.world.repeat(functools.partial(self.world.others.processor.process, key), broken)
        self.world.come_to_rest(broken)
        return broken

    def _run_loss(self, operation: Operation, step: int, column: Column) -> list[str]:
        """Let S3 or Redis lose something at a step, for good; the operation itself is not disturbed."""
        self.world.begin(operation)
        self.world.others.reconciler.recover()
        broken: list[str] = []
        before: list[RedisContent] = []

        def lose() -> None:
            self._unpromise_half_removals()
            self.world.redis.flushall()

        actions: dict[Column, Callable[[], object]] = {
            Column.REFUSED: self._refuse,
            Column.WENT_BACK: lambda: before.append(redis_content(self.world.redis)),
            Column.LOST: lose,
        }
        self.world.redis_lost = column is Column.LOST
        with self.world.injector.inject(step, Meanwhile(actions[column])):
            failed = self.world.attempt(lambda: operation.run(self.world, self.world.watched), broken)
        self.world.redis_lost = False
        if column is Column.WENT_BACK:
            self.world.redis.flushall()
            self.world.put_back(*before)
            self.world.server = f"after {self.world.server}"[:40]
        self.world.notice_events()
        if failed and operation.kind is not Kind.UPLOAD:
            self.world.repeat(lambda: operation.run(self.world, self.world.others), broken)
        for key in self.world.events if operation.kind is not Kind.TASK else []:
            self.world.repeat(functools.partial(self.world.others.processor.process, key), broken)
        for _ in range(_MINUTES_TO_RECOVER // 5):
            self.world.later(5 * 60 * 1000, self.world.others.reconciler.recover, broken)
            self.world.later(0, self.world.others.reconciler.sweep, broken)
        known = [said for said in self.world.scene(operation).broken if operation.kind is Kind.TASK]
        if operation.kind is not Kind.TASK:
            broken += [
                f"in minutes: {said}"
                for said in broken_in_minutes(self.world.stored(), self.world.promised)
                if said not in known
            ]
        self.world.come_to_rest(broken)
        return broken

    def _unpromise_half_removals(self) -> None:
        """What is still in the bucket when Redis loses its removal may come back: no DELETE was answered."""
        stored, told = set(self.world.objects()), self.world.promised
        for one in list(told.removed):
            prefixes = (naming.original(one), naming.thumbnails(one))
            if any(key.startswith(prefixes) or naming.record_id(key) == one for key in stored):
                for promised in (told.removed, told.accepted, told.answered):
                    promised.discard(one)

    def _refuse(self) -> None:
        key = self.world.about.get("key")
        if key is not None:
            self.world.refused.add(key)
            self.world.promised.refused.add(key)
