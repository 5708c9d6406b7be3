"""The error tree: complete, drawn as it is, and fit to be read by a client."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from chalicelib import errors

ROOT = Path(app.__file__).parent
TREE = {
    name: item
    for name, item in vars(errors).items()
    if inspect.isclass(item) and issubclass(item, errors.ServiceError)
}
LEAVES = {item for item in TREE.values() if not any(item in other.__bases__ for other in TREE.values())}
OWN_SENTENCE = sorted(name for name, item in TREE.items() if item in LEAVES and "__init__" in vars(item))


def test_every_leaf_has_a_status_and_nothing_else_has() -> None:
    assert set(app.STATUS) == LEAVES


def test_statuses_are_errors_of_the_contract() -> None:
    assert set(app.STATUS.values()) == {400, 401, 404, 409, 413, 415, 422, 503}


def test_retries_are_advised_for_what_passes_by_itself() -> None:
    assert set(app.RETRY_SECONDS) == {409, 503}
    assert all(seconds >= 1 for seconds in app.RETRY_SECONDS.values())


def test_the_tree_is_drawn_as_it_is() -> None:
    """Each drawn class hangs below the last one that stands further left."""
    path: list[tuple[int, str]] = []
    drawn = {}
    for line in (inspect.getdoc(errors) or "").splitlines():
        found = re.match(r"(?P<branch>[ │]*[├└]── |    )(?P<name>[A-Z]\w+)", line)
        if not found:
            continue
        column = found.start("name")
        path = [(at, name) for at, name in path if at < column]
        drawn[found["name"]] = path[-1][1] if path else "Exception"
        path.append((column, found["name"]))
    assert drawn == {name: item.__base__.__name__ for name, item in TREE.items() if item.__base__}


def test_no_error_has_two_parents() -> None:
    assert all(len(item.__bases__) == 1 for item in TREE.values())


def is_one_sentence(text: str) -> bool:
    """One sentence for a person: its only full stop is at its end, and nothing of it is Python's."""
    return bool(re.fullmatch(r"(limit|[A-Z][\w']*)\b[^\n]*[\w)'`]\.", text)) and not re.search(
        r"[.!?] |Traceback|Exception|\w(Error|Exception)\b|0x[0-9a-f]{4}|<[a-z]|\{|__|None|True|False", text
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No full stop",
        "no capital letter.",
        "Two sentences. In one.",
        "KeyError raised by the parser.",
        "An Exception: no.",
        "Line\nend.",
        "An object at 0x7f3a2b.",
        "<html> is no sentence.",
        "Found None.",
    ],
)
def test_the_rule_for_sentences_can_fail(text: str) -> None:
    assert not is_one_sentence(text)


@pytest.mark.parametrize("name", OWN_SENTENCE)
def test_an_error_with_one_sentence_of_its_own_is_made_with_it(name: str) -> None:
    assert is_one_sentence(str(TREE[name]()))


def raised_sentences() -> Iterator[tuple[str, str]]:
    """Where an error is made with a sentence, and the sentence, with a 7 for each value filled in."""
    for path in sorted([ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py")]):
        module = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: statement.value
            for statement in module.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(module):
            if not (isinstance(call, ast.Call) and call.args):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in TREE and isinstance(call.args[0], ast.Constant | ast.JoinedStr):
                yield f"{path.name}:{call.lineno}", filled_in(call.args[0], constants)


def filled_in(text: ast.expr, constants: dict[str, ast.expr]) -> str:
    if isinstance(text, ast.Constant):
        return str(text.value)
    if isinstance(text, ast.JoinedStr):
        return "".join(filled_in(value, constants) for value in text.values)
    if isinstance(text, ast.FormattedValue):
        return filled_in(text.value, constants)
    if isinstance(text, ast.Name) and text.id in constants:
        return filled_in(constants[text.id], constants)
    return "7"


SENTENCES = list(raised_sentences())


@pytest.mark.parametrize(("place", "sentence"), SENTENCES, ids=[place for place, _ in SENTENCES])
def test_what_an_error_says_is_one_sentence_for_a_person(place: str, sentence: str) -> None:
    assert is_one_sentence(sentence), f"{place} says: {sentence}"


def test_every_error_without_a_sentence_of_its_own_is_given_one_somewhere() -> None:
    assert {place.partition(":")[0] for place, _ in SENTENCES} >= {"app.py", "catalogue.py", "upload.py"}
