"""The steps of an operation, and what may happen to one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Fault(StrEnum):
    """What happens to one step."""

    ERROR_BEFORE = "error-before"
    """The connection fails before the server has heard anything."""
    ERROR_AFTER = "error-after"
    """The server does it, once; then the connection fails, and no repeat gets through."""
    ERROR_ONCE_AFTER_EFFECT = "error-once-after-effect"
    """The server does it, the connection fails, and the client's own repeat makes the server do it again."""
    TIMEOUT = "timeout"
    """The caller has waited long enough; the server does it when the test calls `Injector.land`."""
    KILLED_BEFORE = "killed-before"
    """The process is gone before the server has heard anything."""
    KILLED_AFTER = "killed-after"
    """The server does it, and the process is gone before it hears of that."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Somebody else does `action` right before the step, or right `after` it. Its own calls are no steps."""

    action: Callable[[], object]
    after: bool = False


class Killed(BaseException):
    """The process is gone: raised by the step that kills it, and by each call until `Injector.revive`."""


class MeanwhileFailed(BaseException):
    """What was to happen meanwhile has failed: the test's mistake, which no handler may take for a fault."""


class Connection(Protocol):
    """What carries a step: how it fails there, and what lies on the wire after its caller has given up."""

    def failed(self, *, heard: bool) -> Exception: ...

    def timed_out(self) -> Exception: ...

    def send_late(self) -> None: ...


@dataclass(slots=True, eq=False)
class Step:
    index: int | None
    """Place in the operation; None outside an operation whose steps are counted."""
    fault_met: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """One call as its caller sees it, the client's repeats included: its steps, by their place in it."""

    name: str = ""
    steps: dict[int, Step] = field(default_factory=dict)
    injected: Exception | None = None


def prefix_of(key: object) -> str:
    """What a key of Redis or S3 has in common with its like: `record:` of `record:<id>`."""
    found = re.match("[^:/]*[:/]?", str(key))
    return found[0] if found else ""
