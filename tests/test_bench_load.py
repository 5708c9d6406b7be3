"""The load test keeps within its bounds, and notices what a service does wrong. Locust is not needed here."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.documents import markers
from benchmarks.service import load
from benchmarks.service.load_plan import (
    EXPECTED,
    MOST_REQUESTS,
    MOST_SECONDS,
    MOST_USERS,
    PROFILES,
    BadPlan,
    Picture,
    Result,
    Sample,
    Seen,
    checked_url,
    in_form,
    is_loopback,
    percentiles,
    profile,
    requests_table,
    uploads_table,
)
from chalicelib.records.record import Failure
from local.http_server import CONNECTIONS
from tests.conftest import Api, picture
from tests.service import ROOT

RECORD = {"id": "a", "filename": "f", "ready": False, "size": {"original": 1}}
GOOD = Sample("poll", 200, 0.01)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_within_the_bounds_and_can_be_changed_within_them(name: str) -> None:
    own = PROFILES[name]
    assert profile(name) == own == own.within_bounds()
    assert profile(name, users=1, seconds=2, requests=3) == replace(own, users=1, seconds=2, requests=3)
    most = profile(name, users=MOST_USERS, seconds=MOST_SECONDS, requests=MOST_REQUESTS)
    assert (most.users, most.seconds, most.requests) == (MOST_USERS, MOST_SECONDS, MOST_REQUESTS)


@pytest.mark.parametrize(
    "change",
    [
        {"users": 0},
        {"users": MOST_USERS + 1},
        {"seconds": 0},
        {"seconds": MOST_SECONDS + 1},
        {"requests": -1},
        {"requests": MOST_REQUESTS + 1},
    ],
)
def test_nothing_goes_beyond_the_bounds(change: dict[str, int]) -> None:
    with pytest.raises(BadPlan, match=f"^{next(iter(change))} must be from 1 to "):
        profile("soak", **change)


def test_all_clients_find_a_connection_at_the_local_gateway() -> None:
    """Beyond that, a client that is still sending may see a broken connection and no answer."""
    assert MOST_USERS < CONNECTIONS


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8080/", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("https://api.example.com/live", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0:8080", False),
    ],
)
def test_another_machine_gets_load_only_if_that_is_said(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
    assert checked_url(f"{url}/", allow_remote=True) == url.rstrip("/")
    if expected:
        assert checked_url(url, allow_remote=False) == url.rstrip("/")
    else:
        with pytest.raises(BadPlan, match="--allow-remote"):
            checked_url(url, allow_remote=False)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://"])
def test_a_base_url_is_a_url(url: str) -> None:
    with pytest.raises(BadPlan, match="must be like"):
        checked_url(url, allow_remote=True)


@pytest.mark.parametrize(
    "sample",
    [
        GOOD,
        Sample("upload", 201, 1),
        Sample("upload", 429, 1, "1"),
        Sample("download", 409, 1, "1"),
        Sample("delete", 503, 1, "5"),
    ],
)
def test_what_the_api_promises_is_no_complaint(sample: Sample) -> None:
    assert sample.complaints() == []


@pytest.mark.parametrize(
    ("sample", "complaint"),
    [
        (Sample("upload", 0, 1), "no answer"),
        (Sample("upload", 0, 1, in_form=False), "no answer"),
        (Sample("upload", 500, 1), "status 500"),
        (Sample("upload", 413, 1), "status 413"),
        (Sample("poll", 404, 1), "status 404"),
        (Sample("poll", 409, 1, "1"), "status 409"),
        (Sample("list", 429, 1), "Retry-After"),
        (Sample("list", 503, 1, ""), "Retry-After"),
        (Sample("list", 503, 1, "soon"), "Retry-After"),
        (Sample("download", 409, 1), "Retry-After"),
        (Sample("download", 200, 1, in_form=False), "body"),
    ],
)
def test_what_it_does_not_promise_is_one(sample: Sample, complaint: str) -> None:
    (found,) = sample.complaints()
    assert complaint in found


@pytest.mark.parametrize(
    ("name", "status", "body", "expected"),
    [
        ("upload", 201, json.dumps(RECORD), True),
        ("upload", 201, "{}", False),
        ("upload", 201, "<html>", False),
        ("poll", 200, json.dumps([RECORD]), False),
        ("list", 200, json.dumps([RECORD, RECORD]), True),
        ("list", 200, "[]", True),
        ("list", 200, json.dumps(RECORD), False),
        ("list", 200, "[1]", False),
        ("list", 429, '{"error": "Later."}', True),
        ("list", 429, "[]", False),
        ("list", 503, '{"message": null}', False),
        ("download", 200, '{"error": "No."}', False),
        ("download", 409, '{"error": "No."}', True),
    ],
)
def test_bodies_are_looked_at(name: str, status: int, body: str, expected: bool) -> None:
    assert in_form(name, status, body.encode()) is expected


def test_a_thumbnail_is_a_whole_jpeg() -> None:
    assert in_form("download", 200, picture())
    assert not in_form("download", 200, picture()[:-1])


def result(ends: dict[str, str], *pictures: Picture, samples: list[Sample] | None = None) -> Result:
    known = {one.id for one in pictures}
    seen = Seen(
        [GOOD] if samples is None else samples, [*pictures, *(Picture(i) for i in ends if i not in known)]
    )
    return Result(PROFILES["steady"], seen, ends)


def test_a_run_in_which_all_went_well_has_no_complaints() -> None:
    gone = Picture("c", 1.0, may_be_gone=True, deleted=True)
    unsure = Picture("d", 1.0, may_be_gone=True)
    ends = {"a": "ready", "b": "failed", "c": "deleted", "d": "ready"}
    assert result(ends, gone, unsure).complaints() == []


@pytest.mark.parametrize("end", ["pending", "unknown"])
def test_a_lost_upload_is_noticed(end: str) -> None:
    found = result({"a": "ready", "b": end})
    assert found.lost() == ["b"]
    assert found.complaints() == ["1 accepted uploads are lost: b"]


def test_a_deleted_picture_that_came_back_is_noticed() -> None:
    (complaint,) = result({"a": "ready"}, Picture("a", may_be_gone=True, deleted=True)).complaints()
    assert "there again: a" in complaint


def test_faults_are_counted_and_a_run_without_any_upload_shows_nothing() -> None:
    bad = [Sample("list", 500, 1), Sample("list", 500, 1), Sample("poll", 429, 1)]
    assert result({"a": "ready"}, samples=bad).complaints() == [
        "list: status 500 (2 times)",
        "poll: 429 without a Retry-After in seconds (1 times)",
    ]
    assert result({}).complaints() == ["no upload was accepted, so that nothing has been shown"]


def test_what_is_handed_from_process_to_process_arrives() -> None:
    seen = Seen([GOOD, Sample("list", 429, 0.5, "1", False)], [Picture("a", 1.5, True, True), Picture("b")])
    assert Seen.from_json(seen.to_json()) == seen


def test_percentiles() -> None:
    assert percentiles([], "{:.1f}") == ["", "", ""]
    assert percentiles([2.0], "{:.1f}") == ["2.0"] * 3
    assert percentiles(list(range(101)), "{:.0f}") == ["50", "95", "99"]


def test_the_tables() -> None:
    samples = [Sample("upload", 201, 0.1), Sample("upload", 201, 0.3), Sample("upload", 429, 0.2)]
    found = result({"a": "ready", "b": "unknown"}, Picture("a", 2.0), samples=samples)
    header, _, upload, *others = requests_table([found]).splitlines()
    assert header.count("|") == upload.count("|")
    assert upload == "| steady | upload | 3 | 2 x 201, 1 x 429 | 200 | 290 | 298 | 1 |"
    assert [row.split("|")[2].strip() for row in others] == list(EXPECTED)[1:]
    header, _, row = uploads_table([found]).splitlines()
    assert header.count("|") == row.count("|")
    assert row == "| steady | 4 | 60 | 1 | 2 | 1 | 0 | 0 | 1 | 2.0 | 2.0 | 2.0 | 2.0 |"


def test_the_audit_asks_the_service_itself(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = api.upload()["id"]
    api.deliver()
    deleted, failed, waiting = (api.upload(picture(seed=seed))["id"] for seed in range(3))
    api("DELETE", f"/{deleted}")
    record = api.store.find(failed)
    assert record is not None
    api.store.finish(record, Failure("undecodable", "Broken."))
    monkeypatch.setattr(load, "SETTLE_SECONDS", 0)
    pictures = [Picture(ready), Picture(deleted, may_be_gone=True), Picture(failed), Picture(waiting)]
    pictures.append(Picture("00000000-0000-4000-8000-000000000000"))
    found: dict[str, str] = {}
    for one in pictures:
        found |= load.audit(f"{api.url}/api/v1/thumbnail", [one])
    assert list(found.values()) == ["ready", "deleted", "failed", "pending", "unknown"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--write", "x.md", "--profile", "burst"],
        ["--write", "x.md", "--users", "1"],
        ["--profile", "flood"],
        ["--users", "many"],
    ],
)
def test_the_document_holds_full_runs_only(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load.main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--base-url", "https://api.example.com"], "another machine"),
        (["--profile", "burst", "--users", "100000"], "users must be from 1 to"),
        (["--profile", "burst", "--seconds", "0"], "seconds must be from 1 to"),
    ],
)
def test_what_must_not_be_is_said_in_a_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit, match=f"^Stopped: .*{sentence}"):
        load.main(arguments)


def test_the_documentation_holds_a_run_of_every_profile_in_which_nothing_was_lost() -> None:
    begin, end = markers("load")
    section = (ROOT / "docs" / "reliability.md").read_text().partition(begin)[2].partition(end)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line]
    for name, own in PROFILES.items():
        endpoints = [row for row in rows if row[0] == name and row[1] in EXPECTED]
        assert [row[1] for row in endpoints] == list(EXPECTED)
        assert {row[-1] for row in endpoints} == {"0"}
        (summary,) = [row for row in rows if row[0] == name and row[1] not in EXPECTED]
        assert summary[1:3] == [str(own.users), str(own.seconds)], "run: make load"
        assert summary[8] == "0"


@pytest.mark.slow
@pytest.mark.skipif(not load.LOCUST.exists(), reason="Locust is installed by `make load` alone")
def test_a_small_run_from_beginning_to_end() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.service.load",
            "--profile",
            "steady",
            "--seconds",
            "3",
            "--users",
            "2",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| steady | upload | " in done.stdout
