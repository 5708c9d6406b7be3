"""The packaged stack on MiniStack: AWS's APIs on this machine, functions as processes, no Docker.

It runs with IAM enforced, so that a role which lacks something the code needs breaks the tests.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import requests

from deploy import BUILD, ROOT, interpreter, venvs
from tests.e2e.target import Storage, Target
from tests.service import eventually

ARTIFACT = BUILD / "e2e"
STAGE = "e2e"
VENV = ROOT / ".venv-ministack"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_SETTINGS = {
    "AUTH": "true",
    # AWS waits one and two minutes before it tries again.
    "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",
    "BIND_HOST": "127.0.0.1",
}


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs to use MiniStack, and nothing that leads to AWS."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # Of most types of resources, MiniStack says that they may be replaced.
    return inherited | _CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint, "YES": "1"}


def python() -> Path:
    """The interpreter that has MiniStack: the runtime's, since MiniStack runs the functions with its own."""
    return venvs.make(VENV, interpreter.find(), of=[_REQUIREMENTS], arguments=["-r", _REQUIREMENTS])


@contextlib.contextmanager
def server(log: Path) -> Iterator[str]:
    """Run MiniStack; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [python(), "-m", "ministack"],
            env=environment(endpoint) | _SETTINGS | {"GATEWAY_PORT": str(port)},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            eventually(lambda: _answers(endpoint, process), 60, log.read_text)
            yield endpoint
        finally:
            process.terminate()
            process.wait(60)


def _answers(endpoint: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "MiniStack has ended"
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"{endpoint}/_ministack/health", timeout=5).ok
    return False


def command(
    endpoint: str, module: str, *arguments: str, stage: str = STAGE, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command of `deploy` as its user does, against MiniStack; `variables` are in its environment."""
    return subprocess.run(
        [sys.executable, "-m", f"deploy.{module}", "--stage", stage, "--target", "ministack", *arguments],
        cwd=ROOT,
        env=environment(endpoint) | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def deployed(endpoint: str, redis_url: str) -> Target:
    """Deploy what `make e2e` has packaged."""
    done = command(endpoint, "deploy", "--build", str(ARTIFACT), "--parameters", f"RedisUrl={redis_url}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Smoke test passed" in done.stdout
    url, bucket = re.findall(r"^(?:API|Bucket): (\S+)$", done.stdout, re.MULTILINE)
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=_CREDENTIALS["AWS_DEFAULT_REGION"],
        aws_access_key_id=_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    return Target("ministack", url.removesuffix("/api/v1/thumbnail"), Storage(s3, bucket))
