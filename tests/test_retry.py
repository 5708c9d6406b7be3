"""What uses up attempts: processing that dies or meets a bug. An outage does not, however long it lasts."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.errors import BucketUnavailable, OutOfMemory, PictureError, RetriesExhausted
from chalicelib.records.record import State
from chalicelib.work.process import UNSEEN, Outcome, Processor, ignore
from chalicelib.work.retry import MOST_ATTEMPTS, Retried, retry_original, retry_record
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_before, picture
from tests.inside import small_pages
from tests.reconciler import LATE, Died, Reconciler, state_of, stored

if TYPE_CHECKING:
    import redis


class Killed(BaseException):
    """The process is killed: no code of it runs any more."""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[BaseException]], None]:
    """Let processing end with this, until the test is over."""

    def make(error: type[BaseException]) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("chalicelib.work.look.make_thumbnail", fail)

    return make


@pytest.mark.parametrize("error", [Killed, KeyError])
@pytest.mark.parametrize("most", [1, MOST_ATTEMPTS])
def test_what_dies_each_time_fails(
    processor: Processor,
    uploader: Uploader,
    deadly: Callable[[type[BaseException]], None],
    error: type[BaseException],
    most: int,
) -> None:
    record = stored(uploader)
    deadly(error)
    for attempt in range(most):
        pending = found(processor.store, record.id)
        assert pending.attempts == attempt
        with pytest.raises(error):
            retry_record(processor, pending, ignore, OutOfMemory(), most_attempts=most)
    last = found(processor.store, record.id)
    retried = retry_record(processor, last, ignore, OutOfMemory(), most_attempts=most)
    assert retried == Retried(Outcome.FAILED, gave_up=True)
    failed = found(processor.store, record.id)
    assert (failed.error_code, failed.error) == (OutOfMemory.code, str(OutOfMemory()))


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_an_outage_uses_up_nothing(processor: Processor, uploader: Uploader, operation: str) -> None:
    record = stored(uploader)
    for _ in range(3 * MOST_ATTEMPTS):
        just_before(processor.bucket, operation, Died(BucketUnavailable))
        with pytest.raises(BucketUnavailable):
            retry_record(processor, found(processor.store, record.id), ignore, RetriesExhausted())
        now = found(processor.store, record.id)
        assert (now.attempts, now.error) == (0, None)
    retried = retry_record(processor, found(processor.store, record.id), ignore, RetriesExhausted())
    assert retried == Retried(Outcome.READY, gave_up=False)


def test_deaths_before_and_after_an_outage_add_up(
    processor: Processor, uploader: Uploader, deadly: Callable[[type[BaseException]], None]
) -> None:
    record = stored(uploader)

    def retry() -> Retried:
        return retry_record(processor, found(processor.store, record.id), ignore, RetriesExhausted())

    deadly(Killed)
    for death in range(MOST_ATTEMPTS):
        with pytest.raises(Killed):
            retry()
        if death + 1 < MOST_ATTEMPTS:
            just_before(processor.bucket, "GetObject", Died(BucketUnavailable))
            with pytest.raises(BucketUnavailable):
                retry()
    assert retry().gave_up


@pytest.mark.parametrize(
    ("content", "outcome"), [(picture(), Outcome.READY), (b"no picture", Outcome.FAILED)]
)
def test_an_event_of_a_picture_without_a_record_makes_it(
    processor: Processor, content: bytes, outcome: Outcome
) -> None:
    processor.bucket.put("originals/a.jpg", content, content_type="image/jpeg")
    error = RetriesExhausted()
    again = retry_original(processor, "originals/a.jpg", UNSEEN, ignore, error, most_attempts=0)
    assert again == Retried(outcome, gave_up=False)


def test_a_picture_that_was_given_up_stays_failed_until_it_is_redriven(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trying again each day would kill the reconciler each day."""
    record = stored(uploader)
    processor = reconciler.processor
    processor.fail(record.object_key, None, RetriesExhausted())
    for _ in range(3):
        clock.advance(seconds=25 * 3600)
        reconciler.audit()
        reconciler.sweep()
        assert processor.process(record.object_key) is Outcome.UNCHANGED
        assert state_of(uploader.store, record.id) is State.FAILED


CODES: list[type[PictureError]] = [RetriesExhausted, OutOfMemory]


@pytest.mark.parametrize("code", [RetriesExhausted.code, None])
def test_a_redrive_processes_again_what_failed_for_this_reason(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, code: str | None
) -> None:
    records = [stored(uploader) for _ in CODES]
    bad = stored(uploader, picture()[:300])
    for record, error in zip(records, CODES, strict=True):
        reconciler.processor.fail(record.object_key, None, error())
    reconciler.processor.process(bad.object_key)
    counts, done = reconciler.redrive(code)
    assert done
    assert counts["redriven"] == (3 if code is None else 1)
    reconciler.sweep()
    expected = [State.READY, State.READY if code is None else State.FAILED]
    assert [state_of(uploader.store, record.id) for record in records] == expected
    assert state_of(uploader.store, bad.id) is State.FAILED, "it is the picture's own fault"
    assert reconciler.redrive(code)[0]["redriven"] == (1 if code is None else 0)


def test_a_redrive_goes_on_where_it_stopped_and_tells_when_it_is_done(
    reconciler: Reconciler, uploader: Uploader, monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    small_pages(monkeypatch, "redrive", 2)
    for _ in range(5):
        reconciler.processor.fail(stored(uploader).object_key, None, RetriesExhausted())
        clock.advance(ms=5)
    stopping = replace(reconciler, time_is_up=lambda: True)
    runs = [stopping.redrive() for _ in range(4)]
    assert [counts["redriven"] for counts, _ in runs] == [2, 2, 1, 0]
    assert [done for _, done in runs] == [False, False, False, True]


def test_a_redrive_leaves_alone_what_did_not_fail(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    pending, ready = stored(uploader), stored(uploader)
    reconciler.processor.process(ready.object_key)
    before = [redis_server.hgetall(naming.record(one.id)) for one in (pending, ready)]
    assert reconciler.redrive()[0] == {}
    assert [redis_server.hgetall(naming.record(one.id)) for one in (pending, ready)] == before
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: ready": 1}
