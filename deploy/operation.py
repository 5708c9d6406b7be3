"""One operation of CloudFormation on a stack: waits for its end, shows its progress, tells why it failed."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy import UserError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackEventTypeDef

# Resources that CloudFormation stopped because another one had failed; they are no cause.
_CANCELLED = ("Resource creation cancelled", "Resource update cancelled", "Resource deletion cancelled")
# States that CloudFormation leaves by itself, towards removing or restoring.
_PASSING = frozenset({"CREATE_FAILED", "UPDATE_FAILED"})
_PASSING_SECONDS = 60
# Without news, a line this often shows that the command is alive.
_QUIET_SECONDS = 60

_LEFT = {
    "DELETE_COMPLETE": "everything that it had made is removed again.",
    "UPDATE_ROLLBACK_COMPLETE": "the stack is as it was before.",
    "IMPORT_ROLLBACK_COMPLETE": "the stack is as it was before.",
    "ROLLBACK_COMPLETE": "what it had made is removed; `make destroy` removes the empty stack.",
    "ROLLBACK_FAILED": "some of what it had made is still there; `make destroy` removes it.",
    "UPDATE_ROLLBACK_FAILED": "it could not be put back either. Repair what is named, then run `aws "
    "cloudformation continue-update-rollback`.",
    "DELETE_FAILED": "what is named is still there. Repair it and run the same command again.",
}
"""How a stack is left when an operation has failed, by its final status."""


def events(client: "CloudFormationClient", stack_id: str, token: str) -> list["StackEventTypeDef"]:
    """All events of one operation, oldest first.

    Args:
        client: CloudFormation.
        stack_id: the stack's ARN; after a removal, the name finds nothing.
        token: the `ClientRequestToken` that the operation was started with. CloudFormation gives it to the
            events of the clean-up after a failure, too.

    """
    found: list[StackEventTypeDef] = []
    for page in client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        ours = [event for event in page["StackEvents"] if event.get("ClientRequestToken") == token]
        if found and not ours:
            break  # newest first: only older operations follow
        found += ours
    return found[::-1]


def reasons(happened: list["StackEventTypeDef"]) -> list[str]:
    """Why an operation failed: a line for each resource that did, the first failure first."""
    lines = (
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in happened
        if event["ResourceStatus"].endswith("_FAILED")
        and not event.get("ResourceStatusReason", _CANCELLED[0]).startswith(_CANCELLED)
    )
    return list(dict.fromkeys(lines))


def wait(client: "CloudFormationClient", stack_id: str, token: str, *, wanted: str, seconds: float) -> None:
    """Wait until an operation has ended.

    Args:
        client: CloudFormation.
        stack_id: the stack's ARN.
        token: the `ClientRequestToken` of the operation.
        wanted: the status of a stack on which it has succeeded, such as `UPDATE_COMPLETE`.
        seconds: pause between two looks.

    Raises:
        UserError: it failed; the message has the reasons and says how the stack is left.

    """
    shown = _Progress()
    passing = 0.0
    while True:
        (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
        status = stack["StackStatus"]
        passing = passing + seconds if status in _PASSING else 0.0
        if not status.endswith("_IN_PROGRESS") and not 0 < passing < _PASSING_SECONDS:
            break
        shown.update(events(client, stack_id, token))
        time.sleep(seconds)
    if status == wanted:
        return
    why = reasons(events(client, stack_id, token)) or [stack.get("StackStatusReason", f"it ended {status}")]
    left = _LEFT.get(status, f"the stack is {status}.")
    raise UserError("CloudFormation could not do it; {}\n  {}".format(left, "\n  ".join(why)))


class _Progress:
    """Prints a line when resources were finished or failed, and one a minute when nothing happens."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()
        self._last = ""
        self._failures = 0

    def update(self, happened: list["StackEventTypeDef"]) -> None:
        status = {
            event["LogicalResourceId"]: event["ResourceStatus"]
            for event in happened
            if event.get("PhysicalResourceId") != event["StackId"]
        }
        busy = sorted(name for name, now in status.items() if now.endswith("_IN_PROGRESS"))
        line = f"{len(status) - len(busy)} resources done"
        if busy:
            line += f", in progress: {', '.join(busy[:4])}{' ...' if len(busy) > 4 else ''}"  # noqa: PLR2004 - names that fit a line
        now = time.monotonic()
        if status and (line != self._last or now - self._said >= _QUIET_SECONDS):
            minutes, seconds = divmod(round(now - self._started), 60)
            print(f"  {minutes:2}:{seconds:02}  {line}", flush=True)
            self._last, self._said = line, now
        for failure in self._new_failures(happened):
            print(f"         failed: {failure}", flush=True)

    def _new_failures(self, happened: list["StackEventTypeDef"]) -> Iterator[str]:
        failed = reasons(happened)
        yield from failed[self._failures :]
        self._failures = len(failed)
