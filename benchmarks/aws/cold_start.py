"""How long the functions take to start, against one that only makes an S3 client.

    python -m benchmarks.aws.cold_start                       the source tree, as it would be packaged
    python -m benchmarks.aws.cold_start --artifact build.zip  what was packaged (several: one over the other)
    python -m benchmarks.aws.cold_start --quick               one round with what is installed here, for tests

Each figure is of a fresh process under Lambda's own runtime client, with a real Valkey and an S3 over HTTP
behind it. Initialisation is from the process's start until it asks for its first event. In each round
all functions take their turn, and a ratio is the median of the rounds' ratios, so that what else the
machine does falls on all alike. Exits with 1 when a target is missed.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import chalice.app
from PIL import Image

from benchmarks.aws.import_times import by_package, read_import_times
from benchmarks.aws.runtime_api import Cost, Function
from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.records.record import Record
from chalicelib.records.store import RecordStore
from deploy import UserError, interpreter
from local.processes import Child
from tests.lambda_events import http_event, s3_event, upload_event

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]
TARGET = 1.5
BUCKET = "cold-start"
# Lambda's Python brings these, whatever is in the package.
RUNTIME = ("awslambdaric", "boto3")
NOTHING = "def handler(event, context):\n    return None\n"
BASELINE = """\
import boto3

s3 = boto3.client("s3")


def handler(event, context):
    return len(s3.get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read())
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A function, the folder of its code, and where its events come from."""

    name: str
    handler: str
    folder: str
    event: Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Start:
    """What one process took until it was ready, for its first event, and for one more like it."""

    init: Cost
    first: Cost
    warm: Cost
    written: tuple[str, str]
    """Standard error, by the end of the initialisation and during the first event."""

    @property
    def once(self) -> float:
        """What a new environment costs in all: the initialisation, and what is left to the first event."""
        return self.init.cpu + self.first.cpu - self.warm.cpu


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run needs: interpreter, folders, the functions' variables, and something to work on."""

    python: Path
    work: Path
    environment: Mapping[str, str]
    s3: "S3Client"
    record_id: str
    picture: bytes

    def cases(self) -> list[Case]:
        """The functions, in the order of the report."""
        poll = f"/api/v1/thumbnail/{self.record_id}"
        return [
            Case("nothing", "function.handler", "nothing", dict),
            Case(
                "baseline",
                "function.handler",
                "baseline",
                lambda: {"bucket": BUCKET, "key": self._original()},
            ),
            Case(
                "API (a poll)",
                "app.app",
                "service",
                lambda: http_event("GET", poll, record_id=self.record_id),
            ),
            Case("API (an upload)", "app.app", "service", lambda: upload_event(self.picture)),
            Case("pipeline", "app.make_thumbnail", "service", lambda: s3_event(BUCKET, self._original())),
        ]

    def start(self, case: Case, *, compiled: bool, import_times: bool = False) -> Start:
        """Run a function in a new process, for two events."""
        folder = self.work / ("compiled" if compiled else "source") / case.folder
        stderr = self.work / "stderr"
        stderr.write_bytes(b"")
        path = [str(folder), self.environment["PYTHONPATH"]]
        environment = {**self.environment, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        if import_times:
            environment["PYTHONPROFILEIMPORTTIME"] = "1"
        with Function(self.python, case.handler, folder, environment, stderr) as function:
            init = function.initialise()
            at_init = stderr.read_text(errors="replace")
            first, answer = function.invoke(case.event())
            at_first = stderr.read_text(errors="replace")[len(at_init) :]
            warm, _ = function.invoke(case.event())
        if isinstance(answer, dict) and answer.get("statusCode") not in {200, 201}:
            raise SystemExit(f"{case.name}: unexpected answer {answer}")
        return Start(init, first, warm, (at_init, at_first))

    def _original(self) -> str:
        key = naming.original(naming.new_id())
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=self.picture)
        return key


# --- the folders that a function runs in ---


def build(python: Path, work: Path, artifacts: Sequence[Path], *, quick: bool) -> str:
    """Lay out every function with and without compiled code; returns where Lambda's own part lies."""
    source = work / "source"
    for name, code in (("nothing", NOTHING), ("baseline", BASELINE)):
        (source / name).mkdir(parents=True)
        (source / name / "function.py").write_text(code)
    service = source / "service"
    if artifacts:
        for artifact in artifacts:
            _unpack(artifact, service)
    else:
        _copy_source(service)
        if not quick:
            _install(python, service, ["-r", str(ROOT / "requirements.txt")])
    runtime = work / "runtime"
    if not quick:
        _install(python, runtime, ["-c", str(ROOT / "requirements-dev.txt"), *RUNTIME])
        _compile(python, runtime)
    # A layer's code is below python/; both lie on the path, as on Lambda.
    shutil.copytree(source, work / "compiled")
    for stale in [*source.rglob("*.pyc")]:
        stale.unlink()
    _compile(python, work / "compiled")
    return "" if quick else str(runtime)


def _copy_source(folder: Path) -> None:
    """What Chalice packages beside the requirements: the app, and two of its own modules."""
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "chalicelib", folder / "chalicelib", ignore=no_bytecode)
    shutil.copy(ROOT / "app.py", folder)
    (folder / "chalice").mkdir()
    for module in ("__init__.py", "app.py"):
        shutil.copy(Path(chalice.app.__file__).parent / module, folder / "chalice")


def _unpack(artifact: Path, folder: Path) -> None:
    if artifact.is_dir():
        shutil.copytree(artifact, folder, dirs_exist_ok=True)
    else:
        with zipfile.ZipFile(artifact) as archive:
            archive.extractall(folder)
    if (folder / "python").is_dir():  # a layer
        shutil.copytree(folder / "python", folder, dirs_exist_ok=True)
        shutil.rmtree(folder / "python")


def _install(python: Path, folder: Path, what: list[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    only_wheels = ["--only-binary", ":all:", "--target", str(folder)]
    subprocess.run([*command, *only_wheels, *what], check=True)


def _compile(python: Path, folder: Path) -> None:
    # Unchecked, as unpacking sets other times than those that the compiled code remembers.
    mode = ["--invalidation-mode", "unchecked-hash"]
    subprocess.run([str(python), "-m", "compileall", "-q", "-f", *mode, str(folder)], check=True)


def find_python() -> Path:
    """The interpreter of the functions' runtime if there is one; else this one."""
    try:
        return interpreter.find()
    except UserError:
        return Path(sys.executable)


# --- what is behind the functions ---


@contextlib.contextmanager
def bench(python: Path, artifacts: Sequence[Path], *, quick: bool) -> Iterator[Bench]:
    """Start Valkey and S3, build the functions, and put into both what they will ask for."""
    servers = Child("local.servers", "redis", "s3")
    with tempfile.TemporaryDirectory() as folder:
        servers.start()
        try:
            behind: dict[str, str] = json.loads(servers.first_line())
            runtime = build(python, Path(folder), artifacts, quick=quick)
            s3: S3Client = boto3.client(
                "s3",
                endpoint_url=behind["AWS_ENDPOINT_URL"],
                region_name=behind["AWS_DEFAULT_REGION"],
                aws_access_key_id=behind["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=behind["AWS_SECRET_ACCESS_KEY"],
            )
            s3.create_bucket(Bucket=BUCKET)
            record_id = naming.new_id()
            RecordStore(redis_client(behind["REDIS_URL"], timeout=5)).create(
                Record(record_id, naming.original(record_id), "IMG_8932.jpg", created_ms=1, original_size=1)
            )
            picture = BytesIO()
            Image.linear_gradient("L").resize((1600, 1200)).convert("RGB").save(picture, "JPEG")
            environment = {
                **behind,
                "BUCKET": BUCKET,
                "PATH": os.environ["PATH"],
                "PYTHONPATH": runtime,
                # Lambda's code folder cannot be written to.
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            yield Bench(python, Path(folder), environment, s3, record_id, picture.getvalue())
        finally:
            servers.stop()


# --- the report ---


def ratio(ours: Sequence[float], baseline: Sequence[float]) -> float:
    """Median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(ours, baseline, strict=True))


def report(measured: Mapping[str, Sequence[Start]], title: str) -> tuple[list[str], bool]:
    """Make a Markdown table of milliseconds of processor time; also tells whether the targets are met."""
    lines = [
        f"| {title} | initialisation | ratio | first event | warm event | ratio of all that happens once |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    met = True
    baseline = measured["baseline"]
    for name, starts in measured.items():
        init = ratio([start.init.cpu for start in starts], [start.init.cpu for start in baseline])
        once = ratio([start.once for start in starts], [start.once for start in baseline])
        phases = [
            statistics.median(getattr(start, phase).cpu for start in starts)
            for phase in ("init", "first", "warm")
        ]
        lines.append(
            f"| {name} | {phases[0]:.0f} | {init:.2f} | {phases[1]:.0f} | {phases[2]:.0f} | {once:.2f} |"
        )
        met = met and init <= TARGET
    return lines, met


def imports(starts: Sequence[Start], phase: int) -> dict[str, float]:
    """Milliseconds for each package in one of the two phases: the median of all starts."""
    found = [by_package(read_import_times(start.written[phase])) for start in starts]
    return {
        package: statistics.median(one.get(package, 0.0) for one in found)
        for package in {name for one in found for name in one}
    }


def report_modules(measured: Mapping[str, Sequence[Start]], shown: int = 10) -> list[str]:
    """Make a Markdown table of what is imported: milliseconds by package, at init + for the first event."""
    split = {name: [imports(starts, phase) for phase in (0, 1)] for name, starts in measured.items()}
    total: dict[str, float] = {}
    for phases in split.values():
        for phase in phases:
            for package, milliseconds in phase.items():
                total[package] = max(total.get(package, 0.0), milliseconds)
    packages = sorted(total, key=lambda package: -total[package])[:shown]
    lines = [f"| imports | {' | '.join(split)} |", "|---|" + "--:|" * len(split)]
    for package in packages:
        cells = []
        for at_init, at_first in split.values():
            now, later = at_init.get(package, 0.0), at_first.get(package, 0.0)
            cells.append(f"{now:.0f}" + (f" + {later:.0f}" if later >= 1 else "") if now + later else "")
        lines.append(f"| {package} | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Measures the functions' cold start.")
    parser.add_argument("--artifact", type=Path, action="append", default=[], help="folder, or zip")
    parser.add_argument("--python", type=Path, help="interpreter to run the functions with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="one round, nothing installed, no targets")
    options = parser.parse_args(arguments)
    python = Path(sys.executable) if options.quick else options.python or find_python()
    version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    rounds = 1 if options.quick else options.rounds
    met = True
    with bench(python, options.artifact, quick=options.quick) as ready:
        print(f"{version}, {platform.machine()}, {rounds} rounds")
        measured: dict[bool, dict[str, list[Start]]] = {
            compiled: {case.name: [] for case in ready.cases()} for compiled in (True, False)
        }
        for _ in range(rounds):
            for compiled, starts in measured.items():
                for case in ready.cases():
                    starts[case.name].append(ready.start(case, compiled=compiled))
        for compiled, starts in measured.items():
            lines, good = report(starts, "compiled" if compiled else "not compiled")
            met = met and (good or not compiled)
            print("", *lines, sep="\n")
        modules: dict[str, list[Start]] = {case.name: [] for case in ready.cases()}
        for _ in range(rounds):
            for case in ready.cases():
                modules[case.name].append(ready.start(case, compiled=True, import_times=True))
        print("", *report_modules(modules), sep="\n")
    if not met and not options.quick:
        sys.exit(f"An initialisation takes more than {TARGET} times the baseline's.")


if __name__ == "__main__":
    main()
