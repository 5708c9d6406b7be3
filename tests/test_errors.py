"""The error tree: complete, drawn as it is, and fit to be read by a client."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import app
from chalicelib import errors, triggers
from chalicelib.http.errors import RETRY_SECONDS, STATUS, error_response, framework_error
from chalicelib.objects.events import FailureReason
from chalicelib.records.record import Failure
from chalicelib.work.process import failure_of

ROOT = Path(app.__file__).parent
TREE = {
    name: item
    for name, item in vars(errors).items()
    if inspect.isclass(item) and issubclass(item, errors.ServiceError)
}
LEAVES = {item for item in TREE.values() if not any(item in other.__bases__ for other in TREE.values())}
OWN_SENTENCE = sorted(name for name, item in TREE.items() if item in LEAVES and "__init__" in vars(item))


def leaves(root: type[errors.ServiceError]) -> set[type[errors.ServiceError]]:
    return {item for item in LEAVES if issubclass(item, root)}


def test_every_error_of_a_request_or_a_dependency_has_a_status() -> None:
    """Of those of a picture, the ones that an upload's header already shows.

    No request waits for the bus or the watermark.
    """
    at_upload = {errors.UnsupportedFormat, errors.TooManyPixels, errors.TooComplex}
    dependencies = leaves(errors.Unavailable) - {errors.EventBusUnavailable, errors.WatermarkUnavailable}
    assert set(STATUS) == leaves(errors.RequestError) | dependencies | at_upload


def test_every_error_is_of_one_of_the_three_trees() -> None:
    roots: list[type[errors.ServiceError]] = [errors.RequestError, errors.PictureError, errors.Unavailable]
    trees = [leaves(root) for root in roots]
    assert set().union(*trees) == LEAVES
    assert sum(map(len, trees)) == len(LEAVES)


def test_every_failure_of_a_picture_has_a_code_of_its_own() -> None:
    codes = [vars(item)["code"] for item in leaves(errors.PictureError)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)
    assert not [name for name, item in TREE.items() if item not in LEAVES and "code" in vars(item)]


def test_a_failed_record_keeps_code_and_sentence() -> None:
    for item in (
        errors.OriginalMissing,
        errors.RetriesExhausted,
        errors.OutOfMemory,
        errors.OriginalArchived,
    ):
        error = item()
        assert failure_of(error) == Failure(error.code, str(error))


def test_every_reason_of_a_failed_event_has_an_error_of_its_own() -> None:
    assert triggers.ERROR_BY_REASON.keys() == set(FailureReason)
    assert len(set(triggers.ERROR_BY_REASON.values())) == len(FailureReason)


def test_statuses_are_errors_of_the_contract() -> None:
    assert set(STATUS.values()) == {400, 401, 404, 409, 413, 415, 422, 503}


def test_retries_are_advised_for_what_passes_by_itself() -> None:
    assert set(RETRY_SECONDS) == {409, 503}
    assert all(seconds >= 1 for seconds in RETRY_SECONDS.values())


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500])
def test_an_error_of_the_framework_is_one_sentence_in_our_form(status: int) -> None:
    body = framework_error(status, "In the framework's words.", "PATCH")
    assert list(body) == ["error"]
    assert is_one_sentence(body["error"])
    assert ("PATCH" in body["error"]) == (status == 405)
    assert ("framework" in body["error"]) == (status not in {405, 500})


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.UnknownThumbnail(), 404, {}),
        (errors.ThumbnailNotReady(), 409, {"Retry-After": "1"}),
        (errors.BucketUnavailable(), 503, {"Retry-After": "5"}),
        (errors.RecordUnreadable("its format is '9'"), 503, {"Retry-After": "5"}),
        (errors.TooComplex("It has too many chunks."), 413, {}),
    ],
)
def test_the_response_of_an_error(error: errors.ServiceError, status: int, headers: dict[str, str]) -> None:
    assert error_response(error) == (status, {"error": str(error)}, headers)


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
    """One sentence for a person: its only full stop is at its end, and nothing of it is Python's.

    It may begin with a parameter's name.
    """
    return bool(re.fullmatch(r"(limit|key|7|[A-Z][\w']*)\b[^\n]*[\w)'`]\.", text)) and not re.search(
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
    made = TREE[name]
    wanted: dict[str, list[Any]] = {"RecordUnreadable": ["its format is '9'"], "UnknownSize": [["card"]]}
    wanted["WatermarkUnavailable"] = ["assets/logo.png", "it is damaged"]
    assert is_one_sentence(str(made(*wanted.get(name, []))))


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
    assert {place.partition(":")[0] for place, _ in SENTENCES} >= {
        "app.py",
        "index.py",
        "multipart.py",
        "upload.py",
    }
