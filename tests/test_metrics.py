"""Metrics and log lines: what is counted, in the form that CloudWatch reads; how a picture is followed."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import metrics
from chalicelib.imaging.sniffing import FORMATS, UNKNOWN
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.work.retry import MOST_ATTEMPTS
from tests.conftest import Api, SettableClock, picture, report
from tests.inside import formats_with_headers

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

OPERATIONS = (Path(__file__).parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def emitted(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The lines of the metrics, read as CloudWatch reads them."""
    found: list[dict[str, Any]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(record.getMessage()))

    collector = Collect()
    metrics.lines.addHandler(collector)
    yield found
    metrics.lines.removeHandler(collector)


def figures(line: dict[str, Any]) -> dict[str, Any]:
    """What a line says: its metrics, and its dimensions but for the deployment."""
    (told,) = line["_aws"]["CloudWatchMetrics"]
    assert told["Namespace"] == metrics.NAMESPACE
    names = [metric["Name"] for metric in told["Metrics"]]
    (dimensions,) = told["Dimensions"]
    assert line["service"] == "api-pictures"
    return {name: line[name][0] for name in names} | {
        name: line[name] for name in dimensions if name != "service"
    }


def test_an_upload_and_its_thumbnail(api: Api, emitted: list[dict[str, Any]]) -> None:
    record = api.upload()
    api.deliver()
    size = api("GET", f"/{record['id']}").json()["size"]
    uploaded, made = map(figures, emitted)
    assert uploaded == {"Uploads": 1, "UploadBytes": size["original"], "way": "multipart"}
    assert (made["Thumbnails"], made["ThumbnailBytes"]) == (1, size["thumbnail"])
    assert (made["format"], made["outcome"]) == ("JPEG", "ready")
    assert 0 <= made["DecodeTime"] < 5000
    assert made["DecodeTime"] <= made["QueueToReady"] < 60_000


def test_units_are_those_that_cloudwatch_knows(api: Api, emitted: list[dict[str, Any]]) -> None:
    api.upload()
    api.deliver()
    units = {
        metric["Name"]: metric["Unit"]
        for line in emitted
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }
    assert units == {
        "Uploads": "Count",
        "UploadBytes": "Bytes",
        "Thumbnails": "Count",
        "QueueToReady": "Milliseconds",
        "DecodeTime": "Milliseconds",
        "ThumbnailBytes": "Bytes",
    }


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_broken_picture_counts_by_its_outcome_and_its_format(
    api: Api, emitted: list[dict[str, Any]], image_format: str
) -> None:
    api.upload(picture(image_format=image_format)[:120])
    api.deliver()
    made = figures(emitted[-1])
    assert made.pop("QueueToReady") >= 0
    assert made == {"Thumbnails": 1, "outcome": "failed", "format": image_format}


def test_what_is_no_picture_has_no_format(api: Api, s3: "S3Client", emitted: list[dict[str, Any]]) -> None:
    s3.put_object(Bucket=api.bucket.name, Key="originals/a.txt", Body=b"text")
    api.deliver()
    assert (figures(emitted[0])["outcome"], figures(emitted[0])["format"]) == ("failed", "unknown")


def test_formats_are_a_closed_list_that_is_documented() -> None:
    (line,) = [line for line in OPERATIONS.splitlines() if line.startswith("| `Thumbnails` |")]
    assert re.findall(r"`([^`]+)`", line.split("|")[3])[:9] == [*FORMATS, UNKNOWN]
    assert formats_with_headers() == set(FORMATS)


def test_what_is_put_into_the_bucket_counts_as_an_upload(
    api: Api, s3: "S3Client", emitted: list[dict[str, Any]]
) -> None:
    s3.put_object(Bucket=api.bucket.name, Key="originals/a.png", Body=picture(image_format="PNG"))
    api.deliver()
    assert [line.get("way") for line in map(figures, emitted)] == [None, "bucket"]
    assert figures(emitted[0])["format"] == "PNG"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"image": ("a.txt", b"text")}, "UnsupportedFormat"),
        ({"other": ("a.jpg", picture())}, "MalformedUpload"),
        ({"image": ("a.bmp", bytes(4_600_000))}, "UploadTooLarge"),
    ],
)
def test_what_is_refused_counts_by_its_reason(
    api: Api, emitted: list[dict[str, Any]], files: dict[str, Any], reason: str
) -> None:
    api("POST", files=files)
    assert [figures(line) for line in emitted] == [{"Rejected": 1, "reason": reason}]


def test_what_is_asked_for_in_vain_is_no_rejection(api: Api, emitted: list[dict[str, Any]]) -> None:
    assert api("GET", "/nothing").status_code == 404
    assert emitted == []


def test_failed_events_and_repairs_are_counted(
    api: Api, clock: SettableClock, emitted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    api.upload()
    (event,) = api.events()
    with monkeypatch.context() as patch:
        patch.setattr("chalicelib.work.look.make_thumbnail", fail)
        for _ in range(MOST_ATTEMPTS):
            assert api.fail(report(event)) == ["0"]
    assert api.fail(report(event)) == []
    assert figures(emitted[-1])["reason"] == "failed"
    api.upload()
    emitted.clear()
    clock.advance(ms=IN_FLIGHT_MS + 1000)
    api.reconcile()
    told = [figures(line) for line in emitted]
    assert {"Reconciled": 1, "what": "retried: ready"} in told
    assert not [line for line in told if "seen" in str(line.get("what"))]


def test_presigned_uploads_are_counted(api: Api, emitted: list[dict[str, Any]]) -> None:
    api("POST", "/upload", json={"filename": "a.jpg"})
    assert [figures(line) for line in emitted] == [{"PresignedUploads": 1}]


def lines_of(caplog: pytest.LogCaptureFixture, message: str) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == message]


@pytest.mark.parametrize("way", ["multipart", "presigned"])
def test_a_picture_is_followed_from_its_request_to_its_thumbnail(
    api: Api, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    import requests

    with caplog.at_level(logging.INFO):
        if way == "multipart":
            api.upload()
        else:
            presigned = api("POST", "/upload", json={"filename": "a.jpg"}).json()
            form = requests.post(
                presigned["url"], data=presigned["fields"], files={"file": picture()}, timeout=60
            )
            assert form.ok
        api.deliver()
    (request,), (thumbnail,) = lines_of(caplog, "request"), lines_of(caplog, "thumbnail")
    assert request.request_id == thumbnail.correlation_id
    assert request.record_id == thumbnail.record_id
    assert thumbnail.request_id != request.request_id


def test_a_strangers_request_id_is_not_logged(
    api: Api, s3: "S3Client", caplog: pytest.LogCaptureFixture
) -> None:
    forged = {"request-id": 'x" injected="1'}
    s3.put_object(Bucket=api.bucket.name, Key="originals/a.jpg", Body=picture(), Metadata=forged)
    with caplog.at_level(logging.INFO):
        api.deliver()
    (line,) = lines_of(caplog, "thumbnail")
    assert line.correlation_id is None


def test_people_read_them_in_another_form() -> None:
    from local.log_format import ReadableFormatter

    record = logging.makeLogRecord(
        {"msg": "{}", "metrics": {"Uploads": 1, "UploadBytes": 5}, "dimensions": {"way": "multipart"}}
    )
    assert ReadableFormatter().format(record).endswith(" metrics Uploads=1 UploadBytes=5 way=multipart")
