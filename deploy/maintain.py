"""`make reconcile` and `make rebuild`: call the function of that name, of a deployment or in this process."""

import argparse
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.local import LambdaContext

from chalicelib.errors import ServiceError
from chalicelib.settings import SettingsError
from deploy import CannotGoOn
from deploy.emulators import TARGETS
from deploy.up import stack_of
from local import running

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

# Lambda's longest run, and some for the answer.
_READ_SECONDS = 15 * 60 + 30
_RUN_MS = 15 * 60 * 1000


def main() -> None:
    """Call the function until it is done, and print what it did; exit with one sentence if it fails."""
    parser = argparse.ArgumentParser(prog="python -m deploy.maintain", description=__doc__)
    parser.add_argument("function", choices=["reconcile", "rebuild"])
    parser.add_argument("--stage", default="", help="the deployment; without it, what the environment names")
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    chosen = parser.parse_args()
    counts: Counter[str] = Counter()
    if not chosen.stage and not os.environ.get("REDIS_URL"):
        # A service that `make run` has started in another terminal.
        os.environ.update(running.environment(int(os.environ.get("PORT", "") or 8080)))
    try:
        done = False
        while not done:
            answer = (
                of_stack(chosen.function, chosen.stage, chosen.target)
                if chosen.stage
                else in_this_process(chosen.function)
            )
            counts.update(answer["counts"])
            done = answer["done"]
    except (CannotGoOn, SettingsError, ServiceError, BotoCoreError, ClientError) as error:
        sys.exit(f"{chosen.function}: {error}")
    for what, often in sorted((+counts).items()):
        print(f"{often:10,}  {what}")
    print("Done.")


def of_stack(function: str, stage: str, target: str) -> dict[str, Any]:
    """Run a deployment's function once, and return what it answered.

    Raises:
        CannotGoOn: there is no such deployment, or the function failed.

    """
    stack = stack_of(stage, target)
    if not stack.exists():
        raise CannotGoOn(f"there is no deployment {stack.name} in this account and region.")
    client: LambdaClient = boto3.client(
        "lambda",
        endpoint_url=stack.endpoint,
        config=Config(read_timeout=_READ_SECONDS, retries={"total_max_attempts": 1}),
    )
    reply = client.invoke(FunctionName=f"{stack.name}-{function}", Payload=b"{}")
    answer: dict[str, Any] = json.loads(reply["Payload"].read())
    if reply.get("FunctionError"):
        raise CannotGoOn(f"the function failed; its log says why: {answer.get('errorMessage', answer)}")
    return answer


def in_this_process(function: str) -> dict[str, Any]:
    """Run a function once against the bucket and the Redis that the environment names.

    Raises:
        SettingsError: the environment names none.
        ServiceError: they did not answer.

    """
    import app
    from chalicelib import services

    services.settings()
    handler = {"reconcile": app.reconcile, "rebuild": app.rebuild}[function]
    answer: dict[str, Any] = handler({}, LambdaContext(function, memory_size=2048, max_runtime_ms=_RUN_MS))
    return answer


if __name__ == "__main__":
    main()
