"""`make destroy`: removes a stack; pictures only when that is said."""

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError

from deploy import UserError
from deploy.deploy import stack_of
from deploy.emulators import TARGETS


def main() -> None:
    """Remove the stack; exit with one sentence if it holds pictures or cannot be removed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.destroy", description=__doc__)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    parser.add_argument("--force", action="store_true", help="remove all pictures, too")
    chosen = parser.parse_args()
    try:
        destroy(chosen.stage, chosen.target, force=chosen.force)
    except (UserError, BotoCoreError, ClientError) as error:
        sys.exit(f"destroy: {error}")


def destroy(stage: str, target: str, *, force: bool) -> None:
    """Remove the stack of a stage.

    Raises:
        UserError: there is none, it holds pictures and `force` is not set, or CloudFormation failed.

    """
    stack = stack_of(stage, target)
    if not stack.exists():
        raise UserError(f"there is no stack {stack.name} here.")
    if not stack.bucket_is_empty():
        bucket = stack.outputs()["BucketName"]
        if not force:
            raise UserError(
                f"the bucket {bucket} holds pictures. FORCE=1 removes them for good, together with the stack."
            )
        print(f"Removed {stack.empty_bucket():,} objects from {bucket}.", flush=True)
    stack.delete()
    print(f"Removed the stack {stack.name}.")


if __name__ == "__main__":
    main()
