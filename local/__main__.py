"""`python -m local`: the whole service on one machine, with one command."""

import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import boto3
from watchfiles import PythonFilter, watch

from chalicelib.settings import Settings, SettingsError
from deploy import UserError
from local.notifications import connect
from local.owners import with_trial_owners
from local.processes import ROOT, Child

CODE = (ROOT / "app.py", ROOT / "chalicelib", ROOT / "local")
START_SECONDS = 30
# Local servers take any; a real one refuses these, as it should.
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_LAST_PORT = 65535


def main() -> None:
    """Start everything, say where it is, and stop everything on SIGINT, SIGTERM or when a server dies."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with contextlib.ExitStack() as stack:
            _serve(stack)
    except KeyboardInterrupt:
        print("Stopped.")
    except (UserError, SettingsError) as error:
        sys.exit(f"thumbnails: {error}")


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
        raise UserError(
            f"the object store at {os.environ['AWS_ENDPOINT_URL']} cannot be used: {error}"
        ) from error
    children = [Child("local.worker", queue_url), Child("local.api", host, str(port))]
    for child in children:
        stack.callback(child.stop)
        child.start()
    if _answers(url, children[-1]):
        print(_banner(url, embedded=servers is not None), flush=True)
    for changed in _changes():
        if servers is not None and servers.died():
            raise UserError("the embedded servers have died, and the data with them; start again.")
        for child in children:
            if changed:
                child.stop()
                child.start()
            else:
                child.mind()
        if changed and _answers(url, children[-1]):
            print("Restarted with the changed code.", flush=True)


def _check_settings() -> None:
    """Let a bad setting stop the start, before anything else is started."""
    os.environ["BUCKET"] = os.environ.get("BUCKET", "") or "thumbnails"
    if os.environ.get("OWNERS"):
        os.environ.update(with_trial_owners(os.environ))
    Settings.from_env({"REDIS_URL": "redis://embedded"} | {k: v for k, v in os.environ.items() if v})


def _free_port(host: str) -> int:
    value = os.environ.get("PORT", "") or "8080"
    if not (value.isascii() and value.isdigit() and int(value) <= _LAST_PORT):
        raise UserError(f"PORT must be a whole number from 0 to {_LAST_PORT}, not {value!r}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(value)))
        except OSError as error:
            raise UserError(
                f"port {value} on {host} cannot be used ({error.strerror}); "
                "choose another, as in: make run PORT=8081"
            ) from error
        return int(probe.getsockname()[1])


def _start_servers(stack: contextlib.ExitStack) -> Child | None:
    """Start what the environment does not name, and put into the environment where it is."""
    wanted = [
        name
        for name, variable in (("redis", "REDIS_URL"), ("s3", "AWS_ENDPOINT_URL"))
        if not os.environ.get(variable)
    ]
    servers = Child("local.servers", *wanted) if wanted else None
    if servers is not None:
        stack.callback(servers.stop)
        servers.start()
        line = servers.first_line()
        if not line:
            raise UserError("the embedded servers did not come up; their message stands above.")
        os.environ.update(json.loads(line))
    session = boto3.Session()
    if session.get_credentials() is None:
        os.environ.update(NO_CREDENTIALS)
    if not session.region_name:
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    return servers


def _changes() -> Iterator[bool]:
    """Yield every half second whether the code has changed since."""
    for changed in watch(
        *CODE, watch_filter=PythonFilter(), rust_timeout=500, yield_on_timeout=True, raise_interrupt=True
    ):
        yield bool(changed)


def _answers(url: str, api: Child) -> bool:
    """Wait until the API answers; False when it died or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not api.died():
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/api/v1/system/pulse", timeout=1).close()  # noqa: S310 - our own
            return True
        time.sleep(0.05)
    return False


def _banner(url: str, *, embedded: bool) -> str:
    kept = (
        "Data lives in memory until this stops." if embedded else "Data lives in the servers that you named."
    )
    token = "$(make token SUB=alice)" if os.environ.get("AUTH_ALGORITHM") == "HS256" else "$TOKEN"
    header = f'-H "Authorization: Bearer {token}" ' if os.environ.get("AUTH_ISSUER") else ""
    return (
        f"Serving on {url}\n{kept} Press Ctrl-C to stop. Try:\n"
        f"  curl {header}-F image=@photo.jpg {url}/api/v1/thumbnail"
    )


if __name__ == "__main__":
    main()
