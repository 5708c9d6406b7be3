"""`make reconcile`, `rebuild`, `redrive`, `remake`: call the function of a deployment, or of this process."""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, HTTPClientError
from chalice.local import LambdaContext

from chalicelib.errors import ServiceError
from chalicelib.settings import SettingsError
from deploy import UserError
from deploy.emulators import TARGETS
from deploy.stack import Stack, stack_of

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

# The longest run of either function, and some for the answer. A NAT gateway forgets a connection that is
# silent for 350 seconds (VPC User Guide, "NAT gateway basics"), so that no run may take as long.
_READ_SECONDS = 290 + 30
_RUN_MS = 150 * 1000
# A run whose answer was lost has done its work all the same; the next one goes on where it stopped.
_LOST_ANSWERS = 3
_PAUSE_SECONDS = 5
Event = dict[str, str]


def main() -> None:
    """Call the function until it is done, and print what it did; exit with one sentence if it fails."""
    parser = argparse.ArgumentParser(prog="python -m deploy.maintain", description=__doc__)
    parser.add_argument("function", choices=["reconcile", "rebuild", "redrive", "remake"])
    parser.add_argument("--code", help="for redrive: which failures; else FAILED; without it, all")
    parser.add_argument("--rate", help="for remake: the most pictures in a second; else RATE; without it, 5")
    parser.add_argument("--stage", help="the deployment; else STAGE; without it, what the environment names")
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    chosen = parser.parse_args()
    stage = os.environ.get("STAGE", "") if chosen.stage is None else chosen.stage
    if not stage and not os.environ.get("REDIS_URL"):
        # Only here: where LocalStack's container deploys, there is no folder `local`.
        from local import running

        # A service that `make run` has started in another terminal.
        os.environ.update(running.environment(int(os.environ.get("PORT", "") or 8080)))
    try:
        function, event = chosen.function, {}
        if function == "redrive":
            code = os.environ.get("FAILED", "") if chosen.code is None else chosen.code
            function, event = "rebuild", {"redrive": code}
        if function == "remake":
            function, event = "reconcile", {"remake": _rate(chosen.rate or os.environ.get("RATE") or "5")}
        counts = run(function, stack_of(stage, chosen.target) if stage else None, event)
    except (UserError, SettingsError, ServiceError, BotoCoreError, ClientError) as error:
        sys.exit(f"{chosen.function}: {error}")
    print(_told(counts) + "Done.")


def _rate(given: str) -> str:
    if not re.fullmatch(r"(?!0*(\.0*)?$)[0-9]{1,3}(\.[0-9]{1,3})?", given):
        raise UserError(f"RATE must be pictures a second, such as 5 or 0.5, not {given!r}.")
    return given


def run(function: str, stack: Stack | None, event: Event) -> Counter[str]:
    """Call a function in slices until it is done, with a line of progress for each.

    Args:
        function: `reconcile` or `rebuild`.
        stack: the deployment; None for this process.
        event: what the function is called with.

    Returns:
        what was done -> how often.

    Raises:
        UserError: there is no such deployment, or the function failed.

    """
    counts: Counter[str] = Counter()
    started = time.monotonic()
    while True:
        answer = in_this_process(function, event) if stack is None else of_stack(function, stack, event)
        counts.update(answer["counts"])
        if answer["done"]:
            return counts
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        print(f"After {minutes}:{seconds:02}:\n{_told(counts)}", end="", flush=True)


def _told(counts: Counter[str]) -> str:
    return "".join(f"{often:10,}  {what}\n" for what, often in sorted((+counts).items()))


def client_of(stack: Stack) -> "LambdaClient":
    """A client of Lambda that waits as long as the functions run, and starts no second run by itself."""
    client: LambdaClient = boto3.client(
        "lambda",
        endpoint_url=stack.endpoint,
        config=Config(
            read_timeout=_READ_SECONDS,
            tcp_keepalive=True,
            retries={"total_max_attempts": 1, "mode": "standard"},
        ),
    )
    return client


def of_stack(function: str, stack: Stack, event: Event) -> dict[str, Any]:
    """Run a deployment's function once, and return what it answered.

    Raises:
        UserError: there is no such deployment, or the function failed.

    """
    if not stack.exists():
        raise UserError(f"there is no deployment {stack.name} in this account and region.")
    client = client_of(stack)
    for tried in range(_LOST_ANSWERS + 1):
        try:
            reply = client.invoke(FunctionName=f"{stack.name}-{function}", Payload=json.dumps(event))
            break
        except (ConnectionClosedError, HTTPClientError) as error:
            if tried == _LOST_ANSWERS:
                raise
            print(f"The answer was lost ({error}); going on.", file=sys.stderr, flush=True)
            time.sleep(_PAUSE_SECONDS)
    answer: dict[str, Any] = json.loads(reply["Payload"].read())
    if reply.get("FunctionError"):
        raise UserError(f"the function failed; its log says why: {answer.get('errorMessage', answer)}")
    return answer


def in_this_process(function: str, event: Event) -> dict[str, Any]:
    """Run a function once against the bucket and the Redis that the environment names.

    Raises:
        SettingsError: the environment names none.
        ServiceError: they did not answer.

    """
    import app
    from chalicelib import services

    services.settings()
    handler = {"reconcile": app.reconcile, "rebuild": app.rebuild}[function]
    answer: dict[str, Any] = handler(event, LambdaContext(function, memory_size=2048, max_runtime_ms=_RUN_MS))
    return answer


if __name__ == "__main__":
    main()
