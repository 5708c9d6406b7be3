"""What an update would replace or remove, shown before it is done."""

import os
import sys
from typing import TYPE_CHECKING

from deploy import UserError

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import ChangeTypeDef

DISPOSABLE = frozenset(
    {
        # SAM makes a new one, named by a hash, with each change of the API, and removes the former.
        "AWS::ApiGateway::Deployment",
        # They hold nothing, and follow the function that they refer to.
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Permission",
    }
)
"""Types of resources whose replacement loses nothing, so that no confirmation is needed."""


def losses(changes: list["ChangeTypeDef"]) -> list[str]:
    """A line for each resource that a change set removes or replaces, or may replace."""
    lines = []
    for change in changes:
        resource = change.get("ResourceChange", {})
        action, replacement = resource.get("Action"), resource.get("Replacement")
        if resource.get("ResourceType") in DISPOSABLE:
            continue
        if action == "Remove":
            kept = resource.get("PolicyAction") == "Retain"
            what = "leaves the stack and is kept" if kept else "is removed"
        elif replacement == "True":
            what = "is replaced by a new one"
        elif replacement == "Conditional":
            what = "may be replaced by a new one"
        else:
            continue
        lines.append(f"{resource.get('LogicalResourceId')} ({resource.get('ResourceType')}) {what}")
    return lines


def confirm(lines: list[str], *, question: str) -> None:
    """Show what would happen and ask the user; `YES=1` in the environment answers for scripts.

    Raises:
        UserError: the answer is not yes, or there is no terminal to ask.

    """
    print("\n".join(f"  {line}" for line in lines), flush=True)
    if os.environ.get("YES"):
        return
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nothing was done. Say yes with YES=1.")
    if input(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise UserError("nothing was done.")
