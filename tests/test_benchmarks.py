"""One run of each measuring tool, as small as it goes: that it runs, and prints what its page holds."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from benchmarks import documents
from benchmarks.imaging import scorecard
from benchmarks.service import load, load_plan, rebuild, throughput
from benchmarks.service.load_plan import EXPECTED, PROFILES, Picture
from benchmarks.service.processes import service_processes
from tests.conftest import Api, picture
from tests.samples.cases import GROUPS
from tests.service import ROOT

slow = pytest.mark.slow
BENCH = ROOT / ".bench" / "python" / "bin" / "python"


def printed(module: str, *arguments: str, python: Path = Path(sys.executable)) -> str:
    """What a benchmark prints; fails with what it complains of."""
    command = [str(python), "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, headers included."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and "---" not in line and "--:" not in line
    ]


def test_a_table_goes_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "x.md"
    begin, end = documents.markers("measure")
    document.write_text(f"above\n{begin}old\n{end}below\n")
    documents.write(document, "measure", "new\n")
    documents.write(document, "measure", "newer\n")
    assert document.read_text() == f"above\n{begin}\nnewer\n\n{end}below\n"


def test_each_page_that_a_command_writes_into_has_its_markers() -> None:
    written = re.findall(
        r"^([a-z-]+):.*\n(?:\t.*\n)*?\t.*--write (docs/[a-z]+\.md)", (ROOT / "Makefile").read_text(), re.M
    )
    assert {"bench", "bench-list", "bench-rebuild", "load", "mutants"} <= {command for command, _ in written}
    for command, page in written:
        for marker in documents.markers(command):
            assert marker in (ROOT / page).read_text(), (command, page)


@slow
def test_imaging() -> None:
    text = printed("imaging.speed", "--quick", "--rounds", "1")
    for title in ("Time", "Memory", "Similarity and size", "Several sizes", "Throughput"):
        assert f"### {title}\n" in text
    assert text.count("\n| JPEG 2 MP |") == 4


@slow
@pytest.mark.skipif(
    not BENCH.exists(), reason="the judges of colour are installed by `make bench-quality` alone"
)
def test_quality() -> None:
    text = printed("imaging.quality", python=BENCH)
    document = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    pictures = [row for row in rows(text) if ": " in row[1]]
    assert len(pictures) == 9
    for name, ours, half, *_ in pictures:
        assert f"| {name} | {ours} | {half} |" in document, "run: make bench-quality"


@slow
def test_crop() -> None:
    found = rows(printed("imaging.crop", "--quick"))
    kept = {row[0]: row[2:] for row in found if row[0].startswith("drawn")}
    assert len(kept) == 2
    for middle, attention, *_ in kept.values():
        assert int(middle.removesuffix(" %")) < 70
        assert int(attention.removesuffix(" %")) >= 90
    assert {"JPEG 300 x 362", "JPEG 2 MP"} <= {row[0] for row in found}


@pytest.mark.slow
def test_scorecard() -> None:
    group, cases = next(iter(GROUPS.items()))
    page = scorecard.page({group: cases[:1]})
    assert "| right, of 1 cases | 1 | " in page
    assert f"\n| {cases[0].name} | {cases[0].expected} | " in page


@slow
def test_throughput_of_two_services_in_turns() -> None:
    with throughput.local_service() as url:
        listens_and_started = [" ".join(one.cmdline()) for one in service_processes(url)]
        for part in ("-m local", "local.api", "local.worker", "local.servers", "valkey"):
            assert any(part in command for command in listens_and_started)
        found = rows(printed("service.throughput", "--quick", "--against", url))[1:]
        assert requests.get(f"{url}/api/v1/thumbnail", timeout=60).json() == []
    assert service_processes(url) == service_processes("https://abc.execute-api.amazonaws.com") == []
    assert [row[0] for row in found[::3]] == list(throughput.KINDS)
    for first, second, ratio in zip(found[::3], found[1::3], found[2::3], strict=True):
        for _, kilobytes, rate, processor, p50, p95, imaging, _ in (first, second):
            assert float(kilobytes.replace(",", "")) > 1
            assert float(rate) > 0
            assert float(imaging) > 0
            assert 0 < float(p50) <= float(p95)
            assert float(processor) > 0
        for column in (2, 3):
            expected = float(first[column]) / float(second[column])
            assert float(ratio[column]) == pytest.approx(expected, rel=0.1)


def test_times_are_written_with_how_busy_the_machine_was() -> None:
    assert "quiet" in documents.conditions(documents.MOST_LOAD)
    assert "busy" in documents.conditions(documents.MOST_LOAD + 0.1)
    assert documents.load_average() >= 0


@slow
def test_list_pages() -> None:
    found = rows(printed("service.list_pages", "--quick"))
    pages = [[page, limit] for limit in ("10", "100") for page in ("first", "middle", "last")]
    assert [row[:2] for row in found[1:]] == [*pages, ["first, over HTTP", "100"]]


@slow
def test_rebuild() -> None:
    run = rebuild.measure(1100)
    assert run.restored == 1100
    # Nine in ten have a thumbnail: its metadata, and whether the original still has its version.
    assert run.s3["HeadObject"] == 2 * 990 + 110
    # Thumbnails in a page, uploads in two, clients' own keys in one, whatever the keys.
    assert run.s3["ListObjectsV2"] <= 1 + 2 + 1
    assert "| 1,100 |" in rebuild.table([run])


def test_the_load_tests_audit_notices_a_lost_upload(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = api.upload()["id"]
    api.deliver()
    deleted, waiting = (api.upload(picture(seed=seed))["id"] for seed in range(2))
    api("DELETE", f"/{deleted}")
    monkeypatch.setattr(load, "SETTLE_SECONDS", 0)
    pictures = [Picture(ready), Picture(deleted, may_be_gone=True), Picture(deleted), Picture(waiting)]
    ends = [load.audit(f"{api.url}/api/v1/thumbnail", [one])[one.id] for one in pictures]
    assert ends == ["ready", "deleted", "unknown", "pending"]


@slow
@pytest.mark.skipif(not load.LOCUST.exists(), reason="Locust is installed by `make load` alone")
def test_load() -> None:
    text = printed("service.load", "--profile", "steady", "--seconds", "3", "--users", "2")
    assert "| steady | upload | " in text


def test_the_documentation_holds_a_run_of_every_load_in_which_nothing_was_lost() -> None:
    begin, end = documents.markers("load")
    section = (ROOT / "docs" / "reliability.md").read_text().partition(begin)[2].partition(end)[0]
    for name, profile in PROFILES.items():
        found = [row for row in rows(section) if row[0] == name]
        endpoints = [row for row in found if row[1] in EXPECTED]
        assert [row[1] for row in endpoints] == list(EXPECTED)
        assert {row[-1] for row in endpoints} == {"0"}
        (summary,) = [row for row in found if row not in endpoints]
        assert summary[1:3] == [str(profile.users), str(profile.seconds)], "run: make load"
        assert summary[8] == "0"


@slow
@pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is made for Linux only"
)
def test_cold_start() -> None:
    _, compiled, not_compiled, modules = printed("aws.cold_start", "--quick").split("\n\n")
    for table in (compiled, not_compiled):
        found = rows(table)[1:]
        assert [row[0] for row in found] == [
            "nothing",
            "baseline",
            "API (a poll)",
            "API (an upload)",
            "pipeline",
        ]
        assert found[1][2] == "1.00"
    (redis,) = [row for row in rows(modules) if row[0] == "redis"]
    assert [bool(cell) for cell in redis[1:6]] == [False, False, True, True, True]


@slow
def test_redis_cost_is_what_the_documentation_says() -> None:
    document = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    requests, records, poll = printed("aws.redis_cost", "--quick").strip().split("\n\n")
    assert len(requests.splitlines()) == 11
    assert f"\n{requests}\n" in document, "put the tables of benchmarks.aws.redis_cost into docs/scaling.md"
    found = rows(records)[1:]
    assert len(found) == 5
    for name, size, *_ in found:
        (documented,) = re.findall(rf"^\| {re.escape(name)} \| ([\d,]+) ", document, re.MULTILINE)
        # Hash tables double at times, so that the share of one record depends on how many there are.
        assert int(size.replace(",", "")) == pytest.approx(int(documented.replace(",", "")), rel=0.15)
    assert poll.startswith("A poll takes ")


def test_a_load_stays_within_its_bounds_and_on_this_machine() -> None:
    assert load_plan.checked_url("http://127.0.0.1:1/", allow_remote=False) == "http://127.0.0.1:1"
    for url in ("http://10.0.0.1", "http://localhost.example.com"):
        with pytest.raises(load_plan.BadPlan):
            load_plan.checked_url(url, allow_remote=False)
    for name in ("users", "seconds", "requests"):
        for value in (0, 10**9):
            with pytest.raises(load_plan.BadPlan):
                load_plan.profile("steady", **{name: value})


@pytest.mark.parametrize("end", ["pending", "unknown"])
def test_a_load_complains_of_what_was_lost_or_came_back(end: str) -> None:
    seen = load_plan.Seen([load_plan.Sample("upload", 500, 1)], [Picture("a"), Picture("b", deleted=True)])
    text = "\n".join(load_plan.Result(PROFILES["steady"], seen, {"a": end, "b": "ready"}).complaints())
    for part in ("upload: status 500", "lost: a", "there again: b"):
        assert part in text
