"""What log and metrics say of a run: how long a picture has waited, and which one was given up."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming, services
from chalicelib.errors import BucketUnavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, ProcessingResult, Processor
from chalicelib.work.retry import MOST_ATTEMPTS
from tests.conftest import Api, SettableClock, found, just_before, picture, report
from tests.reconciler import CLIENTS_KEY, put, stored

if TYPE_CHECKING:
    from chalicelib.work.upload import Uploader


@pytest.fixture
def observed(processor: Processor, s3_clock: SettableClock) -> Callable[[str], ProcessingResult]:
    """Processes an original and gives what is said of the run."""

    def run(object_key: str) -> ProcessingResult:
        seen: list[ProcessingResult] = []
        replace(processor, clock=s3_clock).process(object_key, seen.append)
        (result,) = seen
        return result

    return run


def test_a_picture_has_waited_since_it_was_put_there(
    observed: Callable[[str], ProcessingResult], bucket: Bucket, s3_clock: SettableClock
) -> None:
    put(bucket, CLIENTS_KEY, picture())
    s3_clock.advance(seconds=7)
    first = observed(CLIENTS_KEY)
    assert (first.waited_ms, first.way, first.outcome) == (7000, "bucket", Outcome.READY)


@pytest.mark.parametrize("content", [picture(64, 64), picture(64, 64)[:300]], ids=["ready", "failed"])
def test_a_picture_that_is_put_again_has_waited_since_then(
    observed: Callable[[str], ProcessingResult], bucket: Bucket, s3_clock: SettableClock, content: bytes
) -> None:
    """Not since the first one came: an alarm on the waiting time would ring for every old key."""
    put(bucket, CLIENTS_KEY, picture())
    observed(CLIENTS_KEY)
    s3_clock.advance(seconds=3600)
    put(bucket, CLIENTS_KEY, content)
    s3_clock.advance(seconds=3)
    again = observed(CLIENTS_KEY)
    assert (again.waited_ms, again.original_size) == (3000, len(content))


def test_an_upload_has_waited_since_its_request_where_s3_tells_whole_seconds(
    observed: Callable[[str], ProcessingResult], uploader: "Uploader", s3_clock: SettableClock
) -> None:
    s3_clock.advance(ms=900)
    record = stored(uploader)
    s3_clock.advance(ms=500)
    result = observed(record.object_key)
    assert (result.waited_ms, result.way) == (500, "multipart")


def test_time_to_decode_is_that_of_making_the_thumbnail(
    processor: Processor, bucket: Bucket, s3_clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib.imaging import make_thumbnail

    def slow(*args: Any, **kwargs: Any) -> Any:
        s3_clock.advance(ms=40)
        return make_thumbnail(*args, **kwargs)

    monkeypatch.setattr("chalicelib.work.look.make_thumbnail", slow)
    put(bucket, CLIENTS_KEY, picture())
    seen: list[ProcessingResult] = []
    replace(processor, clock=s3_clock).process(CLIENTS_KEY, seen.append)
    assert [(one.decode_ms, one.waited_ms) for one in seen] == [(40, 40)]


def test_what_a_run_says_of_a_picture_that_cannot_be_decoded(
    observed: Callable[[str], ProcessingResult], bucket: Bucket, store: RecordStore
) -> None:
    put(bucket, CLIENTS_KEY, picture()[:300])
    assert observed(CLIENTS_KEY) == ProcessingResult(
        record_id=naming.record_id(CLIENTS_KEY),
        way="bucket",
        outcome=Outcome.FAILED,
        image_format="JPEG",
        original_size=300,
        thumbnail_size=None,
        waited_ms=0,
        decode_ms=0,
        request_id=None,
    )
    assert found(store, naming.record_id(CLIENTS_KEY)).error_code == "undecodable"


# --- a picture that was given up ---

_STANDARD = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}


def said(caplog: pytest.LogCaptureFixture, message: str) -> list[tuple[str, dict[str, Any]]]:
    """The lines with this message: their levels, and what each says beside it."""
    return [
        (
            line.levelname,
            {name: value for name, value in line.__dict__.items() if name not in _STANDARD},
        )
        for line in caplog.records
        if line.getMessage() == message
    ]


@pytest.mark.parametrize(
    ("payload", "reason", "most"),
    [
        ({"errorType": "KeyError"}, "failed", MOST_ATTEMPTS),
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}, "timed out", 1),
        ({"errorType": "Runtime.OutOfMemory"}, "out of memory", 1),
    ],
)
def test_a_picture_that_was_given_up_is_an_error_line_with_what_is_needed_to_find_it(
    api: Api,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    payload: dict[str, str],
    reason: str,
    most: int,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("of a decoder")

    monkeypatch.setattr("chalicelib.work.look.make_thumbnail", fail)
    record = api.upload()
    (event,) = api.events()
    failed = report(event) | {"responsePayload": payload}
    with caplog.at_level(logging.INFO):
        for _ in range(most):
            assert api.fail(failed) == ["0"]
        assert said(caplog, "failed for good") == []
        assert api.fail(failed) == []
    ((level, facts),) = said(caplog, "failed for good")
    request_id = facts.pop("request_id")
    assert (level, facts) == (
        "ERROR",
        {"record_id": record["id"], "reason": reason, "outcome": "failed"},
    )
    tries = said(caplog, "event to be retried")
    assert [level for level, _ in tries] == ["ERROR"] * most, "a bug, each time"
    assert all(facts.keys() == {"request_id"} for _, facts in tries)
    assert request_id not in {facts["request_id"] for _, facts in tries}
    assert said(caplog, "retried") == []


def test_a_retry_that_helps_is_an_info_line_that_tells_how_long_the_picture_waited(
    api: Api, caplog: pytest.LogCaptureFixture, clock: SettableClock
) -> None:
    with caplog.at_level(logging.INFO):
        record = api.upload()
        (event,) = api.events()
        clock.advance(seconds=1800)
        assert api.fail(report(event)) == []
    ((level, facts),) = said(caplog, "retried")
    ((_, request),) = said(caplog, "request")
    assert level == "INFO"
    assert facts["record_id"] == record["id"]
    assert facts["outcome"] == "ready"
    assert facts["correlation_id"] == request["request_id"]
    assert said(caplog, "failed for good") == []


def test_an_outage_is_a_warning(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise BucketUnavailable

    record = api.upload()
    (event,) = api.events()
    with caplog.at_level(logging.INFO):
        just_before(services.processor().bucket, "GetObject", fail)
        assert api.fail(report(event)) == ["0"]
        just_before(services.processor().bucket, "GetObject", fail)
        with pytest.raises(BucketUnavailable):
            api.deliver([event])
    assert [level for level, _ in said(caplog, "event to be retried")] == ["WARNING"]
    ((level, facts),) = said(caplog, "thumbnail to be retried")
    assert (level, facts["record_id"]) == ("WARNING", record["id"])


def test_what_the_sweep_gives_up_is_told_by_its_record(
    api: Api, caplog: pytest.LogCaptureFixture, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BaseException  # noqa: TRY002 - the process is killed

    record = api.upload()
    with monkeypatch.context() as patch:
        patch.setattr("chalicelib.work.look.make_thumbnail", fail)
        for _ in range(MOST_ATTEMPTS):
            clock.advance(ms=IN_FLIGHT_MS + 1000)
            with pytest.raises(BaseException):  # noqa: B017, PT011
                api.reconcile()
    clock.advance(ms=IN_FLIGHT_MS + 1000)
    with caplog.at_level(logging.INFO):
        assert api.reconcile()["failed for good: failed"] == 1
    ((level, facts),) = said(caplog, "repaired")
    assert (level, facts["record_id"], facts["done"]) == ("INFO", record["id"], "failed for good: failed")
