"""The virtual environment of `make`: made of a lock file and an interpreter, kept while both stay the same.

    python3 local/environment.py run      what `make run` needs: requirements-run.txt
    python3 local/environment.py all      what contributors need beside: requirements-dev.txt

The standard library's only: it is run before anything is installed. Environments are made in `.venvs/`, named
for the content of what they are made of, and `.venv` is a link to the one in use, changed when a new one is
complete. So a failed installation, a changed time stamp or a lost network takes nothing away, and a running
service keeps its files: the environment before this one stays until the next is made.
"""

from __future__ import annotations  # older interpreters read this file, too, to be told so

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"run": ["requirements-run.txt"], "all": ["requirements-run.txt", "requirements-dev.txt"]}
"""Level -> lock files that its environment fits; the last one is installed, and holds the others."""
_OLDEST_PYTHON = (3, 11)
_STAMP = ".ready"


class CannotInstall(Exception):
    """One sentence for the user."""


def ensure(level: str, root: Path = ROOT) -> Path:
    """Let `.venv` lead to an environment that fits the lock files of a level; return where it is.

    Raises:
        CannotInstall: the interpreter is too old, or the packages cannot be installed; `.venv` is as it was.

    """
    if sys.version_info < _OLDEST_PYTHON:
        found = platform.python_version()
        raise CannotInstall(
            f"Python 3.11 or newer is needed, this is {found}; try: make PYTHON=python3.12 run"
        )
    folder, link = root / ".venvs", root / ".venv"
    folder.mkdir(exist_ok=True)
    wanted = _made_of(level, root)
    with _lock(folder / ".lock"):
        (folder / "python").write_text(_interpreter())
        if _fits(link, wanted):
            return link
        name = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
        environment = folder / f"{level}-{name}"
        if not _fits(environment, wanted):
            _make(environment, root / LOCKS[level][-1], wanted)
        _swap(link, environment)
        _remove_old(folder, keep=environment)
    return link


def _interpreter() -> str:
    """The interpreter that runs this, or that its virtual environment was made of."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return base if sys.prefix != sys.base_prefix else sys.executable


def _made_of(level: str, root: Path) -> dict[str, str]:
    """What an environment depends on: the content of its lock files, and the interpreter."""
    content = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in LOCKS[level]}
    runtime = " ".join((platform.python_version(), sys.base_prefix, platform.machine()))
    return content | {"python": runtime}


def _fits(environment: Path, wanted: dict[str, str]) -> bool:
    """Tell whether an environment is complete and made of this, and perhaps of more."""
    try:
        found = json.loads((environment / _STAMP).read_text())
    except (OSError, ValueError):
        return False
    return bool(wanted.items() <= found.items()) and (environment / "bin" / "python").exists()


def _make(environment: Path, lock: Path, wanted: dict[str, str]) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    print(f"Installing the packages of {lock.name} (the first time takes a minute) ...", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", environment], check=False).returncode:
        raise CannotInstall("Python's venv module is missing: on Debian and Ubuntu, install python3-venv.")
    pip = (
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    )
    if subprocess.run([*pip, "-r", str(lock)], check=False).returncode:
        shutil.rmtree(environment, ignore_errors=True)
        raise CannotInstall(
            "the packages cannot be installed; pip's message stands above. Nothing was changed."
        )
    (environment / _STAMP).write_text(json.dumps(wanted))


def _swap(link: Path, environment: Path) -> None:
    """Let the link lead to the environment, in one step; a folder of its name is one of an older release."""
    beside = link.with_name(f"{link.name}-{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(environment.relative_to(link.parent))
    if link.is_dir() and not link.is_symlink():
        link.rename(environment.parent / f"before-{int(time.time())}")
    beside.replace(link)


def _remove_old(folder: Path, keep: Path) -> None:
    """Remove environments but for the two newest: a service may still run in the one before."""
    made = [one for one in folder.iterdir() if one.is_dir() and one != keep]
    for old in sorted(made, key=lambda one: one.stat().st_mtime)[:-1]:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process at a time work on the environments; the kernel releases it when the process ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another make is installing packages; waiting for it ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        ensure(sys.argv[1])
    except CannotInstall as error:
        sys.exit(f"make: {error}")
