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
from local import running
from local.events import Webhook
from local.hosts import own_origins
from local.notifications import connect
from local.owners import with_trial_owners
from local.processes import ROOT, Child, stop_all

CODE = (ROOT / "app.py", ROOT / "chalicelib", ROOT / "local")
START_SECONDS = 30
S3_PORT = 8090
# Local servers take any; a real one refuses these, as it should.
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_LAST_PORT = 65535


def main() -> None:
    """Start everything, say where it is, and stop everything on SIGINT, SIGTERM or when a server dies."""
    signal.signal(signal.SIGTERM, _interrupt)
    children: list[Child] = []
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(stop_all, children)
            _serve(stack, children)
    except KeyboardInterrupt:
        print("Stopped.")
    except (UserError, SettingsError) as error:
        sys.exit(f"thumbnails: {error}")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _serve(stack: contextlib.ExitStack, children: list[Child]) -> None:
    host = os.environ.get("HOST", "") or "127.0.0.1"
    port = _free_port("PORT", host, 8080)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _check_settings(host, port)
    servers = _start_servers(children)
    try:
        queue_url = connect(os.environ["BUCKET"])
    except Exception as error:
        raise UserError(
            f"the object store at {os.environ['AWS_ENDPOINT_URL']} cannot be used: {error}"
        ) from error
    changes = _changes()
    next(changes)  # It watches from here on, so that no change is missed while the children read the code.
    worker, api = Child("local.worker", queue_url), Child("local.api", host, str(port))
    for child in (worker, api):
        children.append(child)
        child.start()
    stack.callback(running.forget, port)
    running.note(port, os.environ)
    if _answers(url, api):
        print(_banner(url, embedded=servers is not None), flush=True)
    for changed in changes:
        if servers is not None and servers.died():
            raise UserError("an embedded server has died, and all pictures with it; start again.")
        for child in (worker, api):
            if changed:
                child.stop()
                child.start()
            else:
                child.mind()
        if changed and _answers(url, api):
            print("Restarted with the changed code.", flush=True)


def _check_settings(host: str, port: int) -> None:
    """Let a bad setting stop the start, before anything else is started."""
    os.environ["BUCKET"] = os.environ.get("BUCKET", "") or "thumbnails"
    # A page of another site that is open in the same browser must not read or delete pictures.
    os.environ["ALLOWED_ORIGINS"] = os.environ.get("ALLOWED_ORIGINS", "") or own_origins(host, port)
    os.environ["EVENTS"] = os.environ.get("EVENTS", "") or "true"
    Webhook.from_env(os.environ)
    if os.environ.get("OWNERS"):
        os.environ.update(with_trial_owners(os.environ))
    Settings.from_env({"REDIS_URL": "redis://embedded"} | {k: v for k, v in os.environ.items() if v})


def _free_port(variable: str, host: str, usual: int) -> int:
    value = os.environ.get(variable, "") or str(usual)
    if not (value.isascii() and value.isdigit() and int(value) <= _LAST_PORT):
        raise UserError(f"{variable} must be a whole number from 0 to {_LAST_PORT}, not {value!r}.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, int(value), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise UserError(
            f"port {value} on {host} cannot be used ({error.strerror}); "
            f"choose another, as in: make run {variable}={usual + 1}"
        ) from error


def _start_servers(children: list[Child]) -> Child | None:
    """Start what the environment does not name, and put into the environment where it is."""
    wanted = [
        name
        for name, variable in (("redis", "REDIS_URL"), ("s3", "AWS_ENDPOINT_URL"))
        if not os.environ.get(variable)
    ]
    servers = Child("local.servers", *wanted) if wanted else None
    if servers is not None:
        if "s3" in wanted:
            os.environ["S3_PORT"] = str(_free_port("S3_PORT", "127.0.0.1", S3_PORT))
        children.append(servers)
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
    """Yield five times a second whether the code has changed since the time before."""
    for changed in watch(
        *CODE, watch_filter=PythonFilter(), rust_timeout=200, yield_on_timeout=True, raise_interrupt=True
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
    lines = [
        f"Serving on {url}",
        f"{kept} Press Ctrl-C to stop. Try:",
        f"  curl {header}-F image=@docs/photo.jpg {url}/api/v1/thumbnail",
    ]
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        lines += _bucket_lines(endpoint, os.environ["BUCKET"])
    return "\n".join(lines)


def _bucket_lines(endpoint: str, bucket: str) -> list[str]:
    """Say how to put a picture straight into the bucket, with the AWS CLI and with boto3."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    is_ours = os.environ.get("AWS_ACCESS_KEY_ID") == NO_CREDENTIALS["AWS_ACCESS_KEY_ID"]
    keys = "".join(f"{name}={os.environ[name]} " for name in names if os.environ.get(name)) if is_ours else ""
    put = f'upload_file("docs/photo.jpg", "{bucket}", "originals/by-hand.jpg")'
    return [
        f"The bucket {bucket} is at {endpoint}; what comes below originals/ gets a thumbnail, too:",
        f"  {keys}aws --endpoint-url {endpoint} s3 cp docs/photo.jpg s3://{bucket}/originals/",
        f"  {keys}AWS_ENDPOINT_URL={endpoint} .venv/bin/python -c "
        f"""'import boto3; boto3.client("s3").{put}'""",
    ]


if __name__ == "__main__":
    main()
