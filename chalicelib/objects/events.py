"""Events as they really come: S3's notifications, and Lambda's reports of those that failed each time."""

import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from chalicelib import naming

# An archived object that is restored can be read again, though nothing was written.
_KINDS = ("ObjectCreated:", "ObjectRestore:Completed")


class CreatedObject(NamedTuple):
    """A version of an object: key, ETag without quotes, and size in bytes; None if the event has none."""

    key: str
    etag: str | None = None
    size: int | None = None


def created_originals(event: Any, *, bucket: str) -> list[CreatedObject]:
    """List the versions of originals that the event reports as created or restored, each once, in order.

    What is not such a record of S3 (the test event that S3 sends when notifications are set up, records of
    other sources or kinds, other buckets or prefixes, the empty objects that consoles show as folders) is
    passed over: it is not for this function, and a retry would not change that.

    Args:
        event: the notification's JSON, format version 2.x; of any other JSON nothing is created.
        bucket: name of the bucket whose objects count.

    """
    found: dict[CreatedObject, None] = {}
    records = event.get("Records") if isinstance(event, Mapping) else None
    for record in records if isinstance(records, list) else []:
        try:
            kind = record["eventName"].removeprefix("s3:")
            source, where, item = (
                record["eventSource"],
                record["s3"]["bucket"]["name"],
                record["s3"]["object"],
            )
            key, size, etag = unquote_plus(item["key"]), item.get("size"), item.get("eTag")
            key.encode()  # S3's keys are UTF-8; what is not cannot be one
        except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
            continue
        is_folder = key.endswith("/") and not size
        if source != "aws:s3" or not kind.startswith(_KINDS) or where != bucket or is_folder:
            continue
        if naming.is_original(key):
            found[
                CreatedObject(
                    key,
                    etag.strip('"') if isinstance(etag, str) else None,
                    size if isinstance(size, int) and size >= 0 else None,
                )
            ] = None
    return list(found)


class FailureReason(StrEnum):
    """Why an asynchronous invocation has failed for good."""

    FAILED = "failed"
    """The function raised, each time."""
    TIMED_OUT = "timed out"
    """The function was stopped at its time limit."""
    OUT_OF_MEMORY = "out of memory"
    """The function's process was killed or died, as it does when it takes more memory than it has."""
    TOO_OLD = "too old"
    """There was no room for the function to run before the event had grown too old."""


class FailedEvent(NamedTuple):
    """A message of an on-failure queue: its id, the event that was given up, and why."""

    message_id: str
    event: Any
    reason: FailureReason


def failed_events(event: Mapping[str, Any]) -> Iterator[FailedEvent]:
    """Yield what each message in a batch from an on-failure queue reports.

    Lambda's report of an asynchronous invocation that failed too often, or grew too old, holds the
    event in `requestPayload`. Of a message that is no report the event is None: there is nothing to
    do for it.

    Args:
        event: what an SQS event source hands over.

    """
    for message in event["Records"]:
        try:
            report = json.loads(message["body"])
            payload = report["requestPayload"]
        except (KeyError, TypeError, ValueError):
            report, payload = {}, None
        yield FailedEvent(message["messageId"], payload, _failure_reason(report))


def _failure_reason(report: Mapping[str, Any]) -> FailureReason:
    context, answer = report.get("requestContext"), report.get("responsePayload")
    if isinstance(context, Mapping) and context.get("condition") == "EventAgeExceeded":
        return FailureReason.TOO_OLD
    if isinstance(answer, Mapping):
        kind, message = str(answer.get("errorType", "")), str(answer.get("errorMessage", ""))
        # Older runtimes say so in the message alone.
        if kind == "Sandbox.Timedout" or re.search(r"Task timed out after [0-9.]+ seconds", message):
            return FailureReason.TIMED_OUT
        if kind in {"Runtime.OutOfMemory", "Runtime.ExitError"}:
            return FailureReason.OUT_OF_MEMORY
    return FailureReason.FAILED
