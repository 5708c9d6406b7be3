"""The engines as this process sees them: which are installed, and their long-lived worker processes."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chalicelib.spec import ThumbnailSpec

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".bench"
"""What `make` installs for the benchmarks; ignored by git."""

LABELS = {
    "service": "this service",
    "plain": "plain Pillow",
    "thumbor": "thumbor",
    "pyvips": "pyvips",
    "sharp": "sharp",
    "floor": "decoder alone",
}


class RefusedError(Exception):
    """The engine raised an error; `str` is what it said."""


@dataclass(frozen=True, slots=True)
class Made:
    """One answer of a worker: seconds that passed and that were computed per thumbnail, and the thumbnail."""

    seconds: float
    cpu_seconds: float
    thumbnail: bytes


def command(name: str) -> list[str] | None:
    """How to start an engine's worker, or None when the engine is not installed."""
    if name == "thumbor":
        python = INSTALLED / "thumbor" / "bin" / "python"
        return [str(python), "-m", "benchmarks.imaging.worker", name] if python.exists() else None
    if name.startswith("sharp"):
        node = shutil.which("node")
        if node is None or not (INSTALLED / "node_modules" / "sharp").exists():
            return None
        return [node, str(ROOT / "benchmarks" / "imaging" / "sharp_worker.mjs"), str(INSTALLED), name]
    return [sys.executable, "-m", "benchmarks.imaging.worker", name]


@cache
def available(name: str) -> bool:
    """Whether an engine is installed and starts."""
    arguments = command(name)
    if arguments is None:
        return False
    try:
        Worker(name).close()
    except RefusedError:
        return False
    return True


def version(name: str) -> str:
    """The version of what an engine runs on; empty for this service."""
    probes = {
        "plain": "import PIL; print('Pillow', PIL.__version__)",
        "pyvips": "import pyvips as v; print('pyvips', v.__version__, 'on libvips', "
        "'.'.join(str(v.version(part)) for part in range(3)))",
        "thumbor": "import thumbor, PIL; print('thumbor', thumbor.__version__, 'on Pillow', PIL.__version__)",
    }
    arguments = command(name)
    if name == "sharp" and arguments is not None:
        script = (
            "const { versions: v } = require('sharp'); console.log('sharp', v.sharp, 'on libvips', v.vips)"
        )
        probe = [arguments[0], "-e", script]
    elif name in probes and arguments is not None:
        probe = [arguments[0], "-c", probes[name]]
    else:
        return ""
    return subprocess.run(probe, cwd=INSTALLED, capture_output=True, text=True, check=True).stdout.strip()


class Worker:
    """An engine's process, pinned to one processor where the system can do that."""

    def __init__(self, name: str, cpu: int | None = 0) -> None:
        arguments = command(name)
        if arguments is None:
            raise RefusedError(f"{name} is not installed")
        environment = {**os.environ, "VIPS_CONCURRENCY": "1", "PYTHONPATH": str(ROOT)}
        with _pinned(cpu):
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        self._receive()

    def make(self, path: Path, spec: ThumbnailSpec, *, repeat: int = 1, threads: int = 1) -> Made:
        """Have a thumbnail made.

        Args:
            path: of the picture.
            spec: box, fit and quality.
            repeat: how many times in a row, in each thread; the time is that of one.
            threads: how many run simultaneously; only Python's engines have them.

        Raises:
            RefusedError: the engine raised, or its process died.

        """
        self.send(path, spec, repeat=repeat, threads=threads)
        return self.receive()

    def send(self, path: Path, spec: ThumbnailSpec, *, repeat: int = 1, threads: int = 1) -> None:
        """Start what `make` does, without waiting."""
        request = {
            "path": str(path),
            "width": spec.width,
            "height": spec.height,
            "fit": spec.fit.value,
            "quality": spec.quality,
            "repeat": repeat,
            "threads": threads,
        }
        assert self._process.stdin  # noqa: S101 - a pipe by construction
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Made:
        """Wait for what `send` started; raises as `make` does."""
        reply = self._receive()
        if "error" in reply:
            raise RefusedError(reply["error"])
        return Made(reply["seconds"], reply["cpu_seconds"], b64decode(reply["thumbnail"]))

    def peak_megabytes(self) -> float | None:
        """The most resident memory the process ever held, in 10^6 bytes; None where there is no /proc."""
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return None
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - pipes by construction
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101 - a pipe by construction
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RefusedError("the process died")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def _pinned(cpu: int | None) -> Iterator[None]:
    """Let processes that start meanwhile run on one of this process's processors."""
    if cpu is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[cpu % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
