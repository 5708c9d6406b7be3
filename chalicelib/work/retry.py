"""Process an original again on which processing has failed before, until it is clear whose fault it is."""

from typing import NamedTuple

from chalicelib.errors import PictureError, Unavailable
from chalicelib.records import lifecycle
from chalicelib.records.record import Record
from chalicelib.work.objects_to_records import find_record
from chalicelib.work.process import Observe, Outcome, Processor, SeenVersion

MOST_ATTEMPTS = 3
"""How often processing may die on a picture before its record fails: as often as Lambda tries an event."""


class Retried(NamedTuple):
    """What became of the original, and whether its record was failed because processing died each time."""

    outcome: Outcome
    gave_up: bool


def retry_record(  # noqa: PLR0913 - what to process, how, and how often
    processor: Processor,
    record: Record,
    observe: Observe,
    error: PictureError,
    *,
    most_attempts: int = MOST_ATTEMPTS,
    seen: SeenVersion | None = None,
) -> Retried:
    """Process the original of a record once more, or fail it when processing has died too often.

    An attempt that ends in an outage does not count: only a process that died, or a bug, uses up attempts.

    Args:
        processor: processes the original.
        record: its record, as it was just read.
        observe: is told of a run that finished the record.
        error: why the record fails when the attempts are used up.
        most_attempts: how many may be used up.
        seen: the version that an event has named.

    Raises:
        Unavailable: S3 or Redis did not answer. Worth a retry, however often.

    """
    if processor.store.record_attempt(record) > most_attempts:
        outcome = processor.fail(record.object_key, record.etag, error)
        if outcome is not Outcome.UNCHANGED:
            return Retried(outcome, gave_up=True)
        # Another version is there by now, which has not been tried.
    try:
        outcome = processor.process(record.object_key, observe, seen or SeenVersion())
    except Unavailable:
        processor.store.withdraw_attempt(record)
        raise
    return Retried(outcome, gave_up=False)


def retry_original(  # noqa: PLR0913 - likewise
    processor: Processor,
    object_key: str,
    seen: SeenVersion,
    observe: Observe,
    error: PictureError,
    *,
    most_attempts: int,
) -> Retried:
    """Process an original once more, of which an event has failed each time; see `retry_record`."""
    record = find_record(processor.store, object_key)
    if record is None or not lifecycle.needs_thumbnail(record):
        # There is nothing to count attempts on; processing makes the record, or finds out that nothing is to
        # do.
        return Retried(processor.process(object_key, observe, seen), gave_up=False)
    return retry_record(processor, record, observe, error, most_attempts=most_attempts, seen=seen)
