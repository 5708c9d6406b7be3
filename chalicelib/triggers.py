"""What Lambda's triggers run: which failures are tried again, and what logs and metrics say.

Pillow and what repairs are imported here by the functions that need them.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chalicelib import naming
from chalicelib.clock import now_ms
from chalicelib.errors import (
    ExpiredInQueue,
    OutOfMemory,
    PictureError,
    ProcessingTimedOut,
    RetriesExhausted,
    Unavailable,
)
from chalicelib.objects.events import CreatedObject, FailureReason, created_originals, failed_events
from chalicelib.services import bus, log, metrics, outbox, processor, settings, store, walker

if TYPE_CHECKING:
    from chalicelib.records.record import Record
    from chalicelib.work.process import ProcessingResult, SeenVersion
    from chalicelib.work.sweep import Counts

ERROR_BY_REASON: dict[FailureReason, type[PictureError]] = {
    FailureReason.FAILED: RetriesExhausted,
    FailureReason.TIMED_OUT: ProcessingTimedOut,
    FailureReason.OUT_OF_MEMORY: OutOfMemory,
    FailureReason.TOO_OLD: ExpiredInQueue,
}
# Lambda has seen the function killed three times: once more may tell an outage from the picture.
_ATTEMPTS = {FailureReason.TIMED_OUT: 1, FailureReason.OUT_OF_MEMORY: 1}


def make_thumbnails(event: dict[str, Any], request_id: str) -> None:
    """Process the originals that an S3 notification names.

    Raises:
        Exception: one of them has to be tried again.

    """
    failures: list[Exception] = []
    for created in created_originals(event, bucket=settings().bucket):
        facts: dict[str, object] = {"request_id": request_id, "record_id": naming.record_id(created.key)}
        started = time.perf_counter()
        try:
            outcome = processor().process(created.key, run_observer(facts), _seen(created))
        except Exception as error:  # noqa: BLE001 - it is logged, and tried again
            # One object's failure must not keep the others waiting.
            _log_failure("thumbnail to be retried", error, facts)
            failures.append(error)
        else:
            took = round((time.perf_counter() - started) * 1000)
            log.info("thumbnail", extra=facts | {"outcome": outcome.value, "milliseconds": took})
    if failures:
        raise failures[0]


def retry_failed(event: dict[str, Any], request_id: str) -> dict[str, list[dict[str, str]]]:
    """Retry events that have failed each time: Lambda's queued reports, each with its notification.

    An event that fails for an outage comes again until the outage is over, or its ten days in the queue are.

    Returns:
        the messages that have to come again, as SQS event sources want it.

    """
    from chalicelib.work.retry import MOST_ATTEMPTS, retry_original

    again: list[dict[str, str]] = []
    for failed in failed_events(event):
        try:
            for created in created_originals(failed.event, bucket=settings().bucket):
                reason = failed.reason.value
                facts: dict[str, object] = {
                    "request_id": request_id,
                    "record_id": naming.record_id(created.key),
                    "reason": reason,
                }
                outcome, gave_up = retry_original(
                    processor(),
                    created.key,
                    _seen(created),
                    run_observer(facts),
                    ERROR_BY_REASON[failed.reason](),
                    most_attempts=_ATTEMPTS.get(failed.reason, MOST_ATTEMPTS),
                )
                facts["outcome"] = outcome.value
                if gave_up:
                    log.error("failed for good", extra=facts)
                    metrics().event_failed(reason)
                else:
                    log.info("retried", extra=facts)
        except Exception as error:  # noqa: BLE001 - it is logged, and tried again
            _log_failure("event to be retried", error, {"request_id": request_id})
            again.append({"itemIdentifier": failed.message_id})
    return {"batchItemFailures": again}


def reconcile(event: Any, time_is_up: Callable[[], bool], request_id: str) -> dict[str, object]:
    """Repair what has stopped, remove what has expired, and go on with checking everything.

    An event `{"remake": <pictures a second>}` makes thumbnails again instead. To be called until it is done.

    Returns:
        `{"done": <whether that is all>, "counts": {<what was done>: <how often>}}`

    Raises:
        Unavailable: S3 or Redis did not answer. What could be done is done.

    """
    if isinstance(event, dict) and "remake" in event:
        return remake(float(event["remake"]), time_is_up, request_id)
    from chalicelib.work.audit import Audit
    from chalicelib.work.heartbeat import HeartbeatCheck
    from chalicelib.work.recover import Recovery
    from chalicelib.work.sweep import Counts, Sweep

    def tell(record: "Record", done: str) -> None:
        log.info("repaired", extra={"request_id": request_id, "record_id": record.id, "done": done})

    walking, using = walker(time_is_up), processor()
    steps: list[Callable[[], Counts]] = [
        Recovery(walking, HeartbeatCheck(using.store, using.bucket)).run,
        Sweep(using, now_ms, time_is_up, run_observer({"request_id": request_id}), tell).run,
        Audit(walking).run,
    ]
    counts, outage = Counts(), None
    for step in steps:
        try:
            counts += step()
        except Unavailable as error:
            # What one step cannot do keeps no other from running.
            _log_failure("to be repaired later", error, {"request_id": request_id})
            outage = error
    answer = _answer("reconciled", counts, request_id, done=True)
    if outage is not None:
        raise outage
    return answer


def remake(per_second: float, time_is_up: Callable[[], bool], request_id: str) -> dict[str, object]:
    """Make thumbnails again that other settings made. To be called until it is done.

    Args:
        per_second: the most pictures that are made in a second.
        time_is_up: whether to stop.
        request_id: for the log.

    Returns:
        as `rebuild`.

    """
    from chalicelib.work.remake import Remake

    counts, done = Remake(processor(), now_ms, time_is_up, time.sleep).run(per_second)
    return _answer("remade", counts, request_id, done=done)


def rebuild(time_is_up: Callable[[], bool], request_id: str) -> dict[str, object]:
    """Make the records agree with the bucket again. To be called until it is done.

    Returns:
        `{"done": <whether everything was checked>, "counts": {<what was done>: <how often>}}`

    """
    from chalicelib.work.rebuild import Rebuild

    counts, done = Rebuild(walker(time_is_up)).run()
    return _answer("rebuilt", counts, request_id, done=done)


def redrive(code: str | None, time_is_up: Callable[[], bool], request_id: str) -> dict[str, object]:
    """Make failed records pending again, so that the next sweeps process them. To be called until it is done.

    Args:
        code: a `PictureError.code`; None for whatever the records failed for.
        time_is_up: whether to stop.
        request_id: for the log.

    Returns:
        as `rebuild`.

    """
    from chalicelib.work.redrive import Redrive

    counts, done = Redrive(processor().store, now_ms, time_is_up).run(code)
    return _answer("redriven", counts, request_id, done=done)


def read_outbox(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Note which events were published, and hand out those that come next; see `work.relay`.

    Args:
        request: `publisher`, the `receipts` of what it has published, and whether this is its `last` request.

    Returns:
        of each event its `receipt`, `detail_type`, `time_ms` and `detail`.

    """
    from chalicelib.work.relay import DETAIL_TYPE, Receipt, detail, relay

    receipts = [Receipt(*receipt) for receipt in request["receipts"]]
    waiting = relay(store(), request["publisher"], receipts, last=request["last"])
    return [
        {
            "receipt": receipt,
            "detail_type": DETAIL_TYPE[event.kind],
            "time_ms": event.time_ms,
            "detail": detail(event, settings().bucket),
        }
        for receipt, event in waiting
    ]


def publish_events(time_is_up: Callable[[], bool], request_id: str) -> dict[str, int]:
    """Publish what the outbox holds.

    Returns:
        `{"published": <how many events>}`

    Raises:
        Unavailable: the bus has refused some, or the outbox cannot be read. The next run publishes them.

    """
    from chalicelib.bus import BusEvent
    from chalicelib.work.publish import publish

    def relay(published: Sequence[dict[str, Any]], *, last: bool = False) -> list[dict[str, Any]]:
        receipts = [event["receipt"] for event in published]
        events: list[dict[str, Any]] = outbox()({"publisher": request_id, "receipts": receipts, "last": last})
        return events

    def put(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        refused = bus().put(
            [BusEvent(one["detail_type"], json.dumps(one["detail"]), one["time_ms"]) for one in events]
        )
        if reasons := sorted({reason for reason in refused if reason is not None}):
            log.warning("events refused", extra={"request_id": request_id, "reasons": reasons[:5]})
        return [event for event, reason in zip(events, refused, strict=True) if reason is None]

    try:
        count = publish(relay, put, time_is_up)
    except Unavailable as error:
        _log_failure("events to be published later", error, {"request_id": request_id})
        raise
    if count:
        log.info("published", extra={"request_id": request_id, "events": count})
    return {"published": count}


def run_observer(facts: dict[str, object]) -> Callable[["ProcessingResult"], None]:
    """Count each run that finished a record in the metrics; add to `facts` what the log should say of it."""

    def observe(run: "ProcessingResult") -> None:
        # The request that uploaded the picture: the log lines of that have the same id.
        facts["correlation_id"] = run.request_id
        facts["waited_milliseconds"] = run.waited_ms
        metrics().thumbnail_finished(
            outcome=run.outcome.value,
            image_format=run.image_format,
            waited_ms=run.waited_ms,
            decode_ms=run.decode_ms,
            size=run.thumbnail_size,
        )
        if run.way != "multipart":  # those are counted when they are uploaded
            metrics().uploaded(run.original_size, run.way)

    return observe


def _seen(created: CreatedObject) -> "SeenVersion":
    from chalicelib.work.process import SeenVersion

    return SeenVersion(created.etag, created.size)


def _log_failure(message: str, error: Exception, facts: dict[str, object]) -> None:
    # An outage is no bug: it is told apart by the level.
    if isinstance(error, Unavailable):
        log.warning(message, exc_info=error, extra=facts)
    else:
        log.exception(message, extra=facts)


def _answer(message: str, counts: "Counts", request_id: str, *, done: bool) -> dict[str, object]:
    answer: dict[str, object] = {"done": done, "counts": dict(counts)}
    metrics().reconciled(counts)
    log.info(message, extra={"request_id": request_id, **answer})
    return answer
