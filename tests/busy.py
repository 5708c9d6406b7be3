"""Runs the tests several times beside a load that takes every core: none may depend on the machine's speed.

    python -m tests.busy [--times 3] [--minutes 180] [arguments of pytest]

The load ends with this process, and by itself when the minutes are over; so do the tests.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_LOAD = """
import os, sys, time
parent, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while os.getppid() == parent and time.monotonic() < end:
    sum(range(1_000_000))
"""


@contextmanager
def load(seconds: float) -> Iterator[None]:
    """Keep as many processes busy as there are cores, for so many seconds at most."""
    command = [sys.executable, "-c", _LOAD, str(os.getpid()), str(seconds)]
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests; return pytest's status of the first run that fails, else 0."""
    parser = argparse.ArgumentParser(description="Runs the tests beside a load that takes every core.")
    parser.add_argument("--times", type=int, default=3, help="how often; the first failure ends it")
    parser.add_argument("--minutes", type=float, default=180, help="after which everything ends")
    chosen, pytest_arguments = parser.parse_known_args(arguments)
    end = time.monotonic() + chosen.minutes * 60
    with load(chosen.minutes * 60):
        for number in range(1, chosen.times + 1):
            sys.stderr.write(f"run {number} of {chosen.times}, beside a load on {os.cpu_count()} cores\n")
            command = [sys.executable, "-m", "pytest", *pytest_arguments]
            try:
                ran = subprocess.run(command, timeout=max(0.0, end - time.monotonic()), check=False)
            except subprocess.TimeoutExpired:
                sys.stderr.write(f"not done after {chosen.minutes:g} minutes\n")
                return 1
            if ran.returncode:
                return ran.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
