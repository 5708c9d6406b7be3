"""`make deploy`: build/ -> a stack that has answered one upload."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy import BUILD, UserError, smoke
from deploy.cloud import Stack
from deploy.emulators import TARGETS
from deploy.package import CODE_ZIP, TEMPLATE

_DAY = 24 * 3600


def main() -> None:
    """Deploy, print the URL, and try it; exit with one sentence if anything fails."""
    parser = argparse.ArgumentParser(prog="python -m deploy.deploy", description=__doc__)
    parser.add_argument("--stage", required=True, help="names the deployment: its stack is thumbnails-STAGE")
    parser.add_argument("--parameters", default="", help='the stack\'s parameters: "Name=value Name=value"')
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    parser.add_argument("--build", type=Path, default=BUILD, help="what `make package` has made")
    parser.add_argument("--shown-at", help="the emulator's URL for others than this process")
    chosen = parser.parse_args()
    try:
        stack = deploy(chosen.stage, parameters_of(chosen.parameters), chosen.target, chosen.build)
        url = stack.url()
        if chosen.shown_at and stack.endpoint:
            url = chosen.shown_at + url.removeprefix(stack.endpoint)
        print(f"API: {url}/api/v1/thumbnail\nBucket: {stack.outputs()['BucketName']}", flush=True)
        took = smoke.test(
            stack.url(), os.environ.get("SMOKE_TOKEN") or None, os.environ.get("SMOKE_API_KEY") or None
        )
        if took is None:
            print(
                "It asks for a token or an API key, as it should; "
                "with them in SMOKE_TOKEN and SMOKE_API_KEY, it is tried with an upload."
            )
        else:
            print(f"Smoke test passed: a thumbnail was ready after {took:.1f} s.")
    except (UserError, BotoCoreError, ClientError) as error:
        sys.exit(f"deploy: {error}")


def stack_of(stage: str, target: str) -> Stack:
    """The stack of a stage.

    Raises:
        UserError: the stage has a name that a bucket's could not be made of.

    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?", stage):
        raise UserError(
            f"STAGE must be 1 to 16 lower-case letters, digits and hyphens, such as prod, not {stage!r}."
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
    if (target == "aws") != (endpoint is None):
        raise UserError("AWS_ENDPOINT_URL must be set for an emulator, and must not be set for AWS.")
    return Stack(f"thumbnails-{stage}", endpoint=endpoint)


def parameters_of(text: str) -> dict[str, str]:
    """Read `Name=value Name=value`; a value cannot hold spaces.

    Raises:
        UserError: a part is not of that form.

    """
    parts = [part.partition("=") for part in text.split()]
    for name, equals, _ in parts:
        if not (name and equals):
            raise UserError(f"PARAMETERS must be Name=value pairs with spaces between them, not {text!r}.")
    return {name: value for name, _, value in parts}


def with_backstop(parameters: dict[str, str]) -> dict[str, str]:
    """Let S3 itself remove what has ended a day before, if the parameters name a `Retention` and no days."""
    retention = parameters.get("Retention", "")
    if "ExpireAfterDays" in parameters or not retention.isdecimal():
        return parameters
    days = -(-int(retention) // _DAY) + 1 if int(retention) else 0
    return parameters | {"ExpireAfterDays": str(days)}


def deploy(stage: str, parameters: dict[str, str], target: str, build: Path) -> Stack:
    """Bring the stack of a stage up to what lies in `build`, and return it.

    Raises:
        UserError: nothing is built, a name is wrong, or CloudFormation failed.

    """
    stack = stack_of(stage, target)
    if not (build / TEMPLATE).exists():
        raise UserError("nothing is built; run `make package` first.")
    template = TARGETS[target](json.loads((build / TEMPLATE).read_text()))
    unknown = parameters.keys() - template["Parameters"].keys()
    if unknown:
        raise UserError(f"the stack has no such parameters: {', '.join(sorted(unknown))}.")
    if not stack.exists() and "CreateApiLogsRole" not in parameters and stack.gateway_may_log():
        parameters = parameters | {"CreateApiLogsRole": "false"}
    parameters = with_backstop(parameters)
    stack.deploy(template, build / CODE_ZIP, parameters)
    if target == "localstack":
        stack.redeploy()
    return stack


if __name__ == "__main__":
    main()
