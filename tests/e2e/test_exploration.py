"""Nothing that schemathesis sends gets an answer which the API's description does not have."""

import json
from pathlib import Path

import pytest

import app
from chalicelib.http import openapi
from local.owners import token
from tests.e2e.target import Target
from tests.exploration import explore, operations_tested
from tests.service import Service


@pytest.fixture
def emptied(target: Target) -> Target:
    if target.name not in {"run", "ministack"}:
        pytest.skip("it sends thousands of requests, and empties the service afterwards")
    return target


def empty(target: Target) -> None:
    for record in target("GET").json():
        target("DELETE", f"/{record['id']}")


def test_every_answer_is_described(emptied: Target) -> None:
    # A request to MiniStack takes a process that answers one at a time.
    examples = {"run": 50, "ministack": 10}[emptied.name]
    well, report = explore(emptied.url, "--max-examples", str(examples))
    empty(emptied)
    assert well, report
    # Of all but the description itself, which was read to begin with.
    assert operations_tested(report) == sum(map(len, app.app.routes.values())) - 1


def test_an_answer_that_is_not_described_would_be_found(emptied: Target, tmp_path: Path) -> None:
    description = tmp_path / "openapi.json"
    text = json.dumps(openapi.DOCUMENT)
    description.write_text(text.replace('"404"', '"410"'))
    options = ("--phases", "examples", "--include-operation-id", "getRecord")
    well, report = explore(emptied.url, *options, description=description)
    assert not well
    assert "[404] Not Found" in report


@pytest.mark.parametrize("subject", ["alice", None])
def test_with_owners_every_answer_is_described_too(subject: str | None) -> None:
    with Service({"OWNERS": "1"}) as service:
        options = ["--max-examples", "10"]
        if subject is None:
            # No request is let in.
            options += ["--exclude-checks", "positive_data_acceptance"]
        else:
            options += ["--header", f"Authorization: Bearer {token(subject, {})}"]
        well, report = explore(service.url, *options)
    assert well, report
    assert operations_tested(report) == sum(map(len, app.app.routes.values())) - 1
