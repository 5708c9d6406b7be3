"""The measurement of cold starts measures what it says, under Lambda's own runtime client."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.aws.cold_start import ROOT, Start, build, ratio, report
from benchmarks.aws.import_times import by_package, read_import_times
from benchmarks.aws.runtime_api import Cost, Function, FunctionFailed

needs_the_runtime_client = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is made for Linux only"
)


def function(folder: Path, code: str) -> Function:
    (folder / "f.py").write_text(code)
    environment: Mapping[str, str] = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)}
    return Function(Path(sys.executable), "f.handler", folder, environment, folder / "stderr")


@needs_the_runtime_client
def test_a_function_gets_its_events_and_its_answers_come_back(tmp_path: Path) -> None:
    code = "def handler(event, context): return {'got': event, 'id': context.aws_request_id}"
    with function(tmp_path, code) as running:
        assert running.initialise().wall > 0
        answers: list[Any] = [running.invoke({"n": n, "text": "ü" * 100_000})[1] for n in (1, 2)]
    assert [answer["got"] for answer in answers] == [{"n": n, "text": "ü" * 100_000} for n in (1, 2)]
    assert answers[0]["id"] != answers[1]["id"]


@needs_the_runtime_client
def test_time_is_put_down_to_the_phase_that_took_it(tmp_path: Path) -> None:
    busy = "end = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
    code = f"import time\n{busy.format(0.3)}def handler(event, context): time.sleep(event['sleep'])\n"
    with function(tmp_path, code) as running:
        init = running.initialise()
        asleep, _ = running.invoke({"sleep": 0.3})
        idle, _ = running.invoke({"sleep": 0})
    assert init.cpu >= 300
    assert asleep.wall >= 300
    assert asleep.cpu < 150
    assert idle.cpu < 150


@needs_the_runtime_client
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_module", "no_such_module"),
        ("def handler(event, context): raise ValueError('broken')", "broken"),
        ("import os\ndef handler(event, context):\n  print('bye', flush=True)\n  os._exit(3)", "bye"),
    ],
    ids=["import", "event", "death"],
)
def test_a_function_that_fails_stops_the_measurement_with_its_own_words(
    tmp_path: Path, code: str, says: str
) -> None:
    def run() -> None:
        running.initialise()
        running.invoke({})

    with function(tmp_path, code) as running, pytest.raises(FunctionFailed, match=says):
        run()


def started(init: float) -> Start:
    return Start(Cost(init, init), Cost(10, 10), Cost(4, 4), ("", ""))


def test_a_ratio_is_of_the_same_round() -> None:
    # The machine became ten times slower half-way.
    assert ratio([10, 100, 110], [5, 50, 55]) == 2


@pytest.mark.parametrize(("ours", "met"), [(149, True), (151, False)])
def test_a_missed_target_is_told(ours: float, met: bool) -> None:
    lines, good = report({"baseline": [started(100)] * 3, "API": [started(ours)] * 3}, "compiled")
    assert good is met
    assert lines[-1] == f"| API | {ours} | {ours / 100:.2f} | 10 | 4 | {(ours + 6) / 106:.2f} |"


def test_import_times_are_summed_by_package() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1500 |       1500 |   redis.client\n"
        "import time:       500 |       2000 | redis\n"
        "noise\n"
        "import time:       250 |        250 |     _json\n"
        "import time:       750 |       1000 |   json.decoder\n"
    )
    assert by_package(read_import_times(text)) == {"redis": 2.0, "standard library": 1.0}


def test_an_artifact_is_laid_out_with_and_without_compiled_code(tmp_path: Path) -> None:
    code, layer = tmp_path / "code.zip", tmp_path / "layer.zip"
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "x = 1")
        archive.writestr("__pycache__/app.cpython-313.pyc", b"stale")
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("python/lib.py", "y = 1")
    build(Path(sys.executable), tmp_path / "work", [code, layer], quick=True)
    source, compiled = (tmp_path / "work" / name / "service" for name in ("source", "compiled"))
    assert {path.name for path in source.rglob("*") if path.is_file()} == {"app.py", "lib.py"}
    assert len([*compiled.rglob(f"*.{sys.implementation.cache_tag}.pyc")]) == 2


@pytest.mark.slow
@needs_the_runtime_client
def test_the_program_prints_its_tables() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.aws.cold_start", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, compiled, not_compiled, modules = done.stdout.split("\n\n")
    for table in (compiled, not_compiled):
        rows = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
        assert rows == ["nothing", "baseline", "API (a poll)", "API (an upload)", "pipeline"]
        assert "| baseline |" in table
        assert table.splitlines()[3].split("|")[3].strip() == "1.00"
    redis = next(row for row in modules.splitlines() if row.startswith("| redis |")).split("|")
    assert [bool(cell.strip()) for cell in redis[2:7]] == [False, False, True, True, True]
