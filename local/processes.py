"""The processes of `python -m local`: how the parent keeps them, and what each child does for that."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 5
"""For a child that is stopped to be started again: it may finish what it does."""
END_SECONDS = 0.6
"""For all children together when the run ends: Ctrl-C is answered within a second."""
LONGEST_PAUSE_SECONDS = 10
MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
}
"""Settings of glibc, in bytes, the thresholds as in Lambda: else it gives the memory of each body and picture
back, and asks for it anew, which is a sixth of the processor time of a large photo. The threads of a process
share two heaps, of which each keeps what it has."""


class Child:
    """A module that runs in a process of its own, out of reach of the terminal's Ctrl-C."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[str] | None = None
        self._started = 0.0
        self._pause = 1.0

    def start(self) -> None:
        """Start it. It ends by itself when this process dies: its standard input closes then."""
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=MEMORY | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if "local.servers" in self._command else None,
            text=True,
            start_new_session=True,
        )
        self._started = time.monotonic()

    def first_line(self) -> str:
        """Wait for the first line that it prints; empty when it dies before."""
        return self._process.stdout.readline() if self._process and self._process.stdout else ""

    def died(self) -> bool:
        """Tell whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def mind(self) -> None:
        """Start it again if it died; ever later if it keeps dying, as it does while the code is broken."""
        lived = time.monotonic() - self._started
        if not self.died():
            self._pause = 1.0 if lived > LONGEST_PAUSE_SECONDS else self._pause
        elif lived > self._pause:
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            print(f"{self._command[2]} has died; starting it again.", flush=True)
            self.stop()
            self.start()

    def ask_to_stop(self) -> None:
        """Tell it to stop, and go on."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop it, with force if it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # What it has started would outlive it if it was killed: it leads a process group of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None


def stop_all(children: list[Child]) -> None:
    """Stop children at the end of the run, all at the same time."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + END_SECONDS
    for child in reversed(children):
        child.stop(max(0.05, deadline - time.monotonic()))


def end_with_parent() -> None:
    """Exit on SIGTERM, and when the other end of standard input closes, as it does when the parent dies."""
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_exit_on_end_of_input, daemon=True).start()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    # The parent asks, and then closes standard input: the second signal must not interrupt the end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


def _exit_on_end_of_input() -> NoReturn:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(5)
    os._exit(1)
