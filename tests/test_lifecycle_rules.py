"""The table of transitions is true, `lifecycle` alone compares states, a full Redis takes small changes."""

import ast
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chalicelib.records import lifecycle
from chalicelib.records.codec import encode
from chalicelib.records.record import (
    Failure,
    Finished,
    Record,
    State,
)
from tests.lifecycle_steps import TRANSITIONS, changes

ROOT = Path(__file__).parent.parent

# --- a Redis whose memory is full ---


@cache
def stored_bytes(record: Record | None) -> int:
    """Length of all names and values of the hash."""
    stored = {} if record is None else encode(replace(record, revision="0" * 12))
    return sum(len(name) + len(value.encode()) for name, value in stored.items())


# The field `tries` with one digit; the longer name of a state.
FEW_BYTES = 6


def test_what_a_full_redis_takes_does_not_grow_a_record() -> None:
    growth: dict[Callable[..., Any], int] = defaultdict(int)
    for step in changes():
        # A thumbnail's size or one sentence is what a version that was accepted has still to get.
        result = step.event.arguments[1] if step.transition is lifecycle.finish else None
        allowed = 0
        if isinstance(result, Finished) and step.before is not None:
            made = {name: getattr(result, name) for name in ("thumbnail_size", "sizes", "image")}
            made["thumbnail_pixels"] = result.thumbnail_pixels
            fields = encode(replace(step.before, error=None, error_code=None, **made))
            told = [fields[name] for name in ("thumbnail_size", "error_code", "size:card")]
            allowed = len("thumbnail_sizeerror_codesize:card" + "".join(told))
        if isinstance(result, Failure):
            allowed = len(f"error{result.sentence}error_code{result.code}")
        grown = stored_bytes(step.after) - stored_bytes(step.before) - allowed
        growth[step.transition] = max(growth[step.transition], grown)
    assert {name for name, one in TRANSITIONS.items() if growth[one] <= FEW_BYTES} >= {
        one.__name__ for one in lifecycle.ALLOWED_WHEN_FULL
    }
    assert growth[lifecycle.create] > FEW_BYTES
    assert growth[lifecycle.claim_version] > FEW_BYTES


def test_a_full_redis_takes_whatever_removes_a_record() -> None:
    removing = {
        step.transition
        for step in changes()
        if step.before and (step.after is None or lifecycle.is_gone(step.after))
    }
    assert removing
    assert removing <= lifecycle.ALLOWED_WHEN_FULL


# --- the table in the docstring, and the states' only place ---

COLUMNS: list[State | None] = [
    None,
    State.AWAITING_UPLOAD,
    State.PENDING,
    State.READY,
    State.FAILED,
    State.DELETING,
    State.TOMBSTONE,
]
LETTERS: dict[str, State | None] = {state.name[0]: state for state in State} | {"none": None}


def table() -> dict[str, list[set[State | None]]]:
    """The docstring's table: for each transition, what it makes of no record and of each state."""
    rows = {}
    for line in (lifecycle.__doc__ or "").splitlines():
        name, *cells = re.split(r"\s{2,}", line.strip())
        if len(cells) == len(COLUMNS) and name != "transition":
            rows[name] = [{LETTERS[word] for word in re.findall(r"\b[A-Z]\b|none", cell)} for cell in cells]
    return rows


def state_of(record: Record | None) -> State | None:
    return None if record is None else record.state


def test_the_table_names_every_transition_and_every_state() -> None:
    assert table().keys() == TRANSITIONS.keys()
    for state in State:
        assert f"{state.name[0]} {state.name}" in (lifecycle.__doc__ or "")
    header = next(line for line in (lifecycle.__doc__ or "").splitlines() if "transition  " in line)
    assert header.split()[1:] == ["none", *(state.name.split("_")[0] for state in COLUMNS if state)]


@pytest.mark.parametrize("name", TRANSITIONS)
def test_the_table_says_what_each_transition_does(name: str) -> None:
    becomes: dict[State | None, set[State | None]] = defaultdict(set)
    for step in changes():
        is_same_version = (
            step.transition is lifecycle.claim_version
            and step.before is not None
            and step.after is not None
            and step.before.etag == step.after.etag
        )
        if step.transition is TRANSITIONS[name] and not is_same_version:
            becomes[state_of(step.before)].add(state_of(step.after))
    assert [becomes[state] for state in COLUMNS] == table()[name]


def uses_of_states(source: str) -> list[str]:
    """Where a module looks at a record's state, or names one other than to make a record."""
    tree = ast.parse(source)
    made = {
        id(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in {"Record", "replace"}
        for keyword in call.keywords
        if keyword.arg == "state"
    }
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "state")
        or (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value).endswith("State")
            and id(node) not in made
        )
        or (isinstance(node, ast.Name) and node.id == "State" and _stands_alone(node, tree))
    ]


def _stands_alone(name: ast.Name, tree: ast.Module) -> bool:
    return not any(isinstance(node, ast.Attribute) and node.value is name for node in ast.walk(tree))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("record.state is State.READY", 2),
        ("record.State.READY == x", 1),
        ("x in {State.READY, State.FAILED}", 2),
        ("State('ready')", 1),
        ("Record(state=State.READY)", 0),
        ("replace(record, state=State.READY)", 0),
        ("replace(record, error=State.READY)", 1),
        ("change(record, state=State.READY)", 1),
        ("find(state)", 0),
    ],
)
def test_the_finder_of_states_finds_them(source: str, found: int) -> None:
    assert len(uses_of_states(source)) == found


def test_lifecycle_alone_compares_states() -> None:
    allowed = {f"chalicelib/records/{name}.py" for name in ("lifecycle", "codec", "record")}
    uses = {
        str(path.relative_to(ROOT)): uses_of_states(path.read_text(encoding="utf-8"))
        for path in [ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py")]
    }
    assert allowed <= uses.keys()
    assert {path: found for path, found in uses.items() if found and path not in allowed} == {}


def test_no_script_knows_a_state() -> None:
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "chalicelib").rglob("*.lua")]
    assert scripts
    for state, script in ((state, script) for state in State for script in scripts):
        assert f"'{state.value}'" not in script
        assert f'"{state.value}"' not in script
