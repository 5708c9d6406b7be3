"""`python -m local`: the whole service on one machine, with one command."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import boto3
from watchfiles import PythonFilter, watch

from chalicelib.settings import Settings, SettingsError
from local.notifications import connect

ROOT = Path(__file__).resolve().parent.parent
CODE = (ROOT / "app.py", ROOT / "chalicelib", ROOT / "local")
START_SECONDS = 30
STOP_SECONDS = 5
# Local servers take any; a real one refuses these, as it should.
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_LAST_PORT = 65535


class CannotStart(Exception):
    """One sentence for whoever typed the command."""


def main() -> None:
    """Start everything, say where it is, and stop everything on SIGINT, SIGTERM or when a server dies."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with contextlib.ExitStack() as stack:
            _serve(stack)
    except KeyboardInterrupt:
        print("Stopped.")
    except (CannotStart, SettingsError) as error:
        sys.exit(f"Cannot start: {error}")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _serve(stack: contextlib.ExitStack) -> None:
    host = os.environ.get("HOST", "") or "127.0.0.1"
    port = _free_port(host)
    url = f"http://{host}:{port}"
    _check_settings()
    servers = _start_servers(stack)
    try:
        queue_url = connect(os.environ["BUCKET"])
    except Exception as error:
        raise CannotStart(
            f"the object store at {os.environ['AWS_ENDPOINT_URL']} cannot be used: {error}"
        ) from error
    api = ("local.api", host, str(port))
    worker = ("local.worker", queue_url)
    changes = _changes()
    banner = _banner(url, embedded=servers is not None)
    while True:
        with _child(*worker) as worker_process, _child(*api) as api_process:
            if _answers(f"{url}/api/v1/system/pulse", api_process):
                print(banner, flush=True)
            banner = "Restarted with the changed code."
            while not next(changes):
                if servers is not None and servers.poll() is not None:
                    raise CannotStart("the embedded servers have died, and the data with them; start again.")
                if worker_process.poll() is not None or api_process.poll() is not None:
                    print("A process has died; starting it again ...", flush=True)
                    time.sleep(1)
                    break


def _check_settings() -> None:
    """Let a bad setting stop the start, before anything else is started."""
    os.environ["BUCKET"] = os.environ.get("BUCKET", "") or "thumbnails"
    Settings.from_env({"REDIS_URL": "redis://embedded"} | {k: v for k, v in os.environ.items() if v})


def _free_port(host: str) -> int:
    value = os.environ.get("PORT", "") or "8080"
    if not (value.isascii() and value.isdigit() and int(value) <= _LAST_PORT):
        raise CannotStart(f"PORT must be a whole number from 0 to {_LAST_PORT}, not {value!r}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(value)))
        except OSError as error:
            raise CannotStart(
                f"port {value} on {host} cannot be used ({error.strerror}); "
                "choose another, as in: make run PORT=8081"
            ) from error
        return int(probe.getsockname()[1])


def _start_servers(stack: contextlib.ExitStack) -> "subprocess.Popen[str] | None":
    """Start what the environment does not name, and put into the environment where it is."""
    wanted = [
        name
        for name, variable in (("redis", "REDIS_URL"), ("s3", "AWS_ENDPOINT_URL"))
        if not os.environ.get(variable)
    ]
    servers = stack.enter_context(_child("local.servers", *wanted)) if wanted else None
    if servers is not None:
        line = servers.stdout.readline() if servers.stdout else ""
        if not line:
            raise CannotStart("the embedded servers did not come up; their message stands above.")
        os.environ.update(json.loads(line))
    session = boto3.Session()
    if session.get_credentials() is None:
        os.environ.update(NO_CREDENTIALS)
    if not session.region_name:
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    return servers


@contextlib.contextmanager
def _child(module: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a module in a process of its own, out of reach of the terminal's Ctrl-C, and stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if module == "local.servers" else None,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _changes() -> Iterator[bool]:
    """Yield every half second whether the code has changed since."""
    for changed in watch(
        *CODE, watch_filter=PythonFilter(), rust_timeout=500, yield_on_timeout=True, raise_interrupt=True
    ):
        yield bool(changed)


def _answers(url: str, process: "subprocess.Popen[str]") -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - the URL is our own
            return True
        time.sleep(0.05)
    return False


def _banner(url: str, *, embedded: bool) -> str:
    kept = (
        "Data lives in memory until this stops." if embedded else "Data lives in the servers that you named."
    )
    return (
        f"Serving on {url}\n{kept} Press Ctrl-C to stop. Try:\n"
        f"  curl -F image=@photo.jpg {url}/api/v1/thumbnail"
    )


if __name__ == "__main__":
    main()
