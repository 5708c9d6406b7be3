"""`make rollback`: back to the last version of a stack that passed its smoke test."""

import argparse
import os
import sys

from botocore.exceptions import BotoCoreError, ClientError

from deploy import UserError, parameters, smoke
from deploy.account import Account
from deploy.artifacts import Artifacts
from deploy.emulators import TARGETS
from deploy.stack import Stack, stack_of


def main() -> None:
    """Go back, and try the API; exit with one sentence if anything fails."""
    parser = argparse.ArgumentParser(prog="python -m deploy.rollback", description=__doc__)
    parser.add_argument("--stage", help="the deployment; else STAGE")
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    chosen = parser.parse_args()
    try:
        stack = stack_of(os.environ.get("STAGE", "") if chosen.stage is None else chosen.stage, chosen.target)
        artifacts = Artifacts(Account.find(stack.endpoint).number, endpoint=stack.endpoint)
        roll_back(stack, artifacts)
    except (UserError, BotoCoreError, ClientError) as error:
        sys.exit(f"rollback: {error}")


def roll_back(stack: Stack, artifacts: Artifacts) -> None:
    """Deploy the last good version again as it was, but for secrets, which stay as they are now; then try it.

    Raises:
        UserError: there is none, or CloudFormation or the smoke test failed.

    """
    if not stack.exists():
        raise UserError(f"there is no stack {stack.name} here.")
    good = artifacts.remembered(stack.name)
    if good is None:
        raise UserError(f"no version of {stack.name} has passed its smoke test yet.")
    url = artifacts.put_template(good.template)
    current = stack.parameters()
    changed = {name: value for name, value in good.parameters.items() if current.get(name) != value}
    for step in parameters.steps(changed, current, own_redis=stack.has_own_redis()):
        stack.update(good.template, url, step)
    smoke.run(stack)


if __name__ == "__main__":
    main()
