"""The environment of `make`: it survives what does not change it, and a failed change takes nothing away."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local import environment
from local.environment import CannotInstall, ensure
from tests.service import ROOT

PIN = re.compile(r"^([a-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE | re.IGNORECASE)


def pins(name: str) -> dict[str, str]:
    found = PIN.findall((ROOT / name).read_text())
    return {re.sub("[-_.]+", "-", package.lower()): version for package, version in found}


def test_each_lock_file_holds_the_one_before() -> None:
    shipped, run, everything = (
        pins(name) for name in ("requirements.txt", "requirements-run.txt", "requirements-dev.txt")
    )
    assert len(shipped) > 10
    assert shipped.items() <= run.items() <= everything.items()
    assert len(run) < 60 < len(everything)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose packages are one file on this disk: no network is asked."""
    package = tmp_path / "one"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "one"\nversion = "1"\n')
    for name in ("requirements-run.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("# nothing\n")
    return tmp_path


def make_without_pip(made_here: Path, _: Path, wanted: dict[str, str]) -> None:
    print("Installing")  # noqa: T201 - as the real one does
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made_here], check=True)
    (made_here / ".ready").write_text(json.dumps(wanted))


@pytest.fixture
def quick(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, without the seconds that it takes to put pip into an environment."""
    monkeypatch.setattr(environment, "_make", make_without_pip)
    return project


def made(project: Path) -> list[str]:
    return sorted(one.name for one in (project / ".venvs").iterdir() if one.is_dir())


def test_it_is_made_once_and_again_when_a_lock_file_has_other_content(quick: Path) -> None:
    first = ensure("run", quick).resolve()
    (quick / "requirements-run.txt").touch()
    (quick / "requirements-dev.txt").write_text("# something else\n")
    assert ensure("run", quick).resolve() == first
    (quick / "requirements-run.txt").write_text("# other\n")
    second = ensure("run", quick).resolve()
    assert second != first
    # What runs in the first one keeps its files, and the way back costs nothing.
    assert (first / "bin" / "python").exists()
    stamp = (first / ".ready").stat().st_mtime_ns
    (quick / "requirements-run.txt").write_text("# nothing\n")
    assert ensure("run", quick).resolve() == first
    assert (first / ".ready").stat().st_mtime_ns == stamp
    (quick / "requirements-run.txt").write_text("# third\n")
    ensure("run", quick)
    assert len(made(quick)) == 2


def test_one_with_more_in_it_does_for_less(quick: Path) -> None:
    everything = ensure("all", quick).resolve()
    assert ensure("run", quick).resolve() == everything
    assert len(made(quick)) == 1


@pytest.mark.slow
def test_a_failed_installation_takes_nothing_away(project: Path) -> None:
    first = ensure("run", project).resolve()
    (project / "requirements-run.txt").write_text("./there-is-no-such-package\n")
    with pytest.raises(CannotInstall, match="cannot be installed"):
        ensure("run", project)
    assert (project / ".venv").resolve() == first
    assert made(project) == [first.name]


def test_one_that_was_broken_is_made_again(quick: Path) -> None:
    first = ensure("run", quick).resolve()
    (first / "bin" / "python").unlink()
    assert ensure("run", quick).resolve() == first
    subprocess.run([first / "bin" / "python", "-c", ""], check=True)


def test_the_folder_of_an_older_release_is_replaced(quick: Path) -> None:
    (quick / ".venv" / "bin").mkdir(parents=True)
    assert ensure("run", quick).is_symlink()


def test_two_first_starts_make_one(quick: Path) -> None:
    script = shutil.copy(environment.__file__, quick / "environment.py")
    call = (
        "import environment, pathlib; from tests.test_environment import make_without_pip; "
        f"environment._make = make_without_pip; environment.ensure('run', pathlib.Path({str(quick)!r}))"
    )
    outputs: list[str] = []

    def start() -> None:
        done = subprocess.run(
            [sys.executable, "-c", call],
            cwd=Path(script).parent,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("Installing" in output for output in outputs) == 1
    assert len(made(quick)) == 1


def what_make_runs(folder: Path) -> str:
    """The first command of `make run`, as one sees it who is not within another make."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-n", "run"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[0]


def test_the_interpreter_is_remembered(quick: Path) -> None:
    ensure("run", quick)
    remembered = Path((quick / ".venvs" / "python").read_text())
    shutil.copy(ROOT / "Makefile", quick)
    assert what_make_runs(quick) == f"{remembered} local/environment.py run"
    (quick / ".venvs" / "python").write_text("/no/such/python")
    assert what_make_runs(quick) == "python3 local/environment.py run"


def test_an_old_interpreter_is_told_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    with pytest.raises(CannotInstall, match=r"Python 3\.11 or newer"):
        ensure("run", project)
    assert not (project / ".venv").exists()
