"""Runs `python -m local`, the program behind `make run`, as its user does, and talks to it over HTTP."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120
_READ_BY_US = (
    *("HOST", "PORT", "S3_PORT", "BUCKET", "REDIS_URL", "OWNERS"),
    *("AWS_", "THUMBNAIL_", "MAX_", "ALLOWED_", "AUTH_", "EVENTS"),
)


class Service:
    """A running service; a context manager. `environment` is what its user has set, and nothing else."""

    def __init__(self, environment: Mapping[str, str] | None = None, *, root: Path = ROOT) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_READ_BY_US)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local"],
            cwd=root,
            env=inherited | {"PORT": "0", "S3_PORT": "0"} | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def __enter__(self) -> Self:
        self.says(r"Serving on (\S+)")
        self.url = re.search(r"Serving on (\S+)", self.output)[1]  # type: ignore[index]  # just seen
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def says(self, pattern: str) -> None:
        """Wait until it has printed something that matches."""
        eventually(lambda: re.search(pattern, self.output) is not None, START_SECONDS, lambda: self.output)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Stop it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        status = self.process.wait(START_SECONDS)
        self._reader.join(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def __call__(self, method: str, path: str = "", **kwargs: Any) -> requests.Response:
        return requests.request(method, f"{self.url}/api/v1/thumbnail{path}", timeout=60, **kwargs)

    def upload(self, content: bytes, filename: str = "photo.jpg") -> dict[str, Any]:
        reply = self("POST", files={"image": (filename, content)})
        assert reply.status_code == 201, reply.text
        record: dict[str, Any] = reply.json()
        return record

    def wait_for_end(self, record_id: str, seconds: float = 60) -> dict[str, Any]:
        """Poll a record, as clients do, until it is ready or failed."""
        return end_of(lambda: self("GET", f"/{record_id}"), seconds, lambda: self.output)


def end_of(
    poll: Callable[[], requests.Response], seconds: float, explain: Callable[[], str] = str
) -> dict[str, Any]:
    """Call `poll` until it answers with a record that is ready or failed; an unknown one may still come."""
    record: dict[str, Any] = {}

    def ended() -> bool:
        reply = poll()
        record.clear()
        record.update(reply.json() if reply.status_code == 200 else {})
        return record.get("ready", False) or ("filename" in record and "error" in record)

    eventually(ended, seconds, lambda: f"{record}\n{explain()}")
    return record


def eventually(condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = str) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {explain()}"
        time.sleep(0.05)


def processes_of(pid: int) -> list[psutil.Process]:
    """The process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended and only waits to be asked does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
