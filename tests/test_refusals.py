"""Objects that S3 has and does not hand out: where that lasts it is a failure, where not an outage."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.errors import (
    BucketUnavailable,
    OriginalArchived,
    OriginalDenied,
    OriginalEncrypted,
    OriginalRefused,
)
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED, State
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor, SeenVersion
from chalicelib.work.upload import Uploader
from tests.conftest import Api, SettableClock, found, picture, report
from tests.inside import s3_of
from tests.reconciler import LATE, Reconciler, put, state_of, stored
from tests.refusing import Answer, Refusals

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

KEY = "originals/refused/a.jpg"
KMS = "User: arn:aws:sts::1:x is not authorized to perform: kms:Decrypt on the resource"
LASTING: dict[str, tuple[str, Answer, type[OriginalRefused]]] = {
    "archived": ("GetObject", Answer(403, "InvalidObjectState"), OriginalArchived),
    "SSE-C, GET": ("GetObject", Answer(400, "InvalidRequest"), OriginalEncrypted),
    "SSE-C, HEAD": ("HeadObject", Answer(400, ""), OriginalEncrypted),
    "KMS key disabled": ("GetObject", Answer(400, "KMS.DisabledException"), OriginalEncrypted),
    "KMS key not allowed": ("GetObject", Answer(403, "AccessDenied", KMS), OriginalEncrypted),
    "denied, GET": ("GetObject", Answer(403, "AccessDenied"), OriginalDenied),
    "denied, HEAD": ("HeadObject", Answer(403, ""), OriginalDenied),
    "delete marker": ("GetObject", Answer(405, "MethodNotAllowed"), OriginalDenied),
}
PASSING = [
    Answer(400, "ExpiredToken"),
    Answer(400, "RequestTimeout"),
    Answer(403, "RequestTimeTooSkewed"),
    Answer(403, "InvalidAccessKeyId"),
    Answer(403, "SignatureDoesNotMatch"),
    Answer(404, "NoSuchBucket"),
    Answer(408, "RequestTimeout"),
    Answer(429, "TooManyRequests"),
    Answer(500, "InternalError"),
    Answer(503, "SlowDown"),
]


@pytest.fixture
def refusals(bucket: Bucket) -> Refusals:
    return Refusals(bucket)


def read(bucket: Bucket, operation: str) -> object:
    return bucket.get(KEY) if operation == "GetObject" else bucket.head(KEY)


@pytest.mark.parametrize(("operation", "answer", "error"), LASTING.values(), ids=LASTING)
def test_a_lasting_refusal_of_one_object_is_told_by_its_reason(
    bucket: Bucket, refusals: Refusals, operation: str, answer: Answer, error: type[OriginalRefused]
) -> None:
    put(bucket, KEY, picture())
    refusals.add(KEY, answer)
    with pytest.raises(error):
        read(bucket, operation)
    assert bucket.exists(KEY)


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
@pytest.mark.parametrize("answer", [Answer(403, "AccessDenied"), Answer(400, "InvalidRequest")], ids=str)
def test_a_refusal_of_the_whole_bucket_is_an_outage(
    bucket: Bucket, refusals: Refusals, operation: str, answer: Answer
) -> None:
    """Such as a role that was changed; a reply to HEAD does not say that a token has expired."""
    put(bucket, KEY, picture())
    refusals.add(KEY, answer)
    refusals.add(bucket.name, answer, "HeadBucket")
    with pytest.raises(BucketUnavailable):
        read(bucket, operation)


@pytest.mark.parametrize("answer", PASSING, ids=str)
def test_what_is_not_about_the_object_is_an_outage(
    bucket: Bucket, refusals: Refusals, answer: Answer
) -> None:
    put(bucket, KEY, picture())
    refusals.add(KEY, answer)
    with pytest.raises(BucketUnavailable):
        bucket.get(KEY)


@pytest.mark.parametrize(
    ("operation", "answer"), [("GetObject", Answer(404, "NoSuchKey")), ("HeadObject", Answer(404, ""))]
)
def test_what_is_missing_is_no_refusal(
    bucket: Bucket, refusals: Refusals, operation: str, answer: Answer
) -> None:
    refusals.add(KEY, answer)
    assert read(bucket, operation) is None
    assert not bucket.exists(KEY)


class TestProcessing:
    @pytest.mark.parametrize(("operation", "answer", "error"), LASTING.values(), ids=LASTING)
    @pytest.mark.parametrize("is_upload", [False, True], ids=["bucket", "API"])
    def test_the_record_fails_with_code_and_sentence(
        self,
        processor: Processor,
        uploader: Uploader,
        refusals: Refusals,
        is_upload: bool,
        operation: str,
        answer: Answer,
        error: type[OriginalRefused],
    ) -> None:
        store, bucket = processor.store, processor.bucket
        key = stored(uploader).object_key if is_upload else KEY
        put(bucket, key, picture())
        info = bucket.head(key)
        assert info is not None
        refusals.add(key, answer, "GetObject" if operation == "GetObject" else "HeadObject", "GetObject")
        if operation == "HeadObject":
            answer = Answer(answer.status, "InvalidRequest" if answer.status == 400 else "AccessDenied")
            refusals.add(key, answer, "GetObject")
        seen = SeenVersion(info.etag, info.size)
        assert processor.process(key, seen=seen) is Outcome.FAILED
        record = found(store, naming.record_id(key))
        assert (record.state, record.error_code, record.error) == (State.FAILED, error.code, str(error()))
        assert (record.etag, record.original_size) == (info.etag, len(picture()))
        for _ in range(2):
            assert processor.process(key, seen=seen) is Outcome.UNCHANGED
        assert found(store, record.id) == record

    def test_without_a_known_version_the_record_tells_that_there_is_one(
        self, processor: Processor, uploader: Uploader, refusals: Refusals
    ) -> None:
        """As of a check that no event came for; an upload that was never stored has no version."""
        waiting = stored(uploader)
        refusals.add(waiting.object_key, Answer(403, "InvalidObjectState"))
        assert waiting.etag is None
        assert processor.process(waiting.object_key) is Outcome.FAILED
        assert found(processor.store, waiting.id).etag is not None

    def test_an_outage_leaves_the_record_as_it_is(
        self, processor: Processor, uploader: Uploader, refusals: Refusals
    ) -> None:
        record = stored(uploader)
        refusals.add(record.object_key, Answer(503, "SlowDown"))
        with pytest.raises(BucketUnavailable):
            processor.process(record.object_key)
        assert state_of(processor.store, record.id) is State.PENDING

    def test_a_removal_of_a_refused_picture_takes_it_along(self, api: Api, s3: "S3Client") -> None:
        s3.put_object(Bucket=api.bucket.name, Key=KEY, Body=picture(), StorageClass="GLACIER")
        api.deliver()
        record = api("GET").json()[0]
        assert "archived" in record["error"]
        assert api("GET", f"/{record['id']}/download").status_code == 422
        assert api("DELETE", f"/{record['id']}").json() == record
        assert s3.list_objects_v2(Bucket=api.bucket.name, Prefix="originals/").get("KeyCount") == 0

    def test_an_event_that_was_given_up_ends_as_well(self, api: Api, s3: "S3Client") -> None:
        s3.put_object(Bucket=api.bucket.name, Key=KEY, Body=picture(), StorageClass="GLACIER")
        assert api.fail(*map(report, api.events())) == []
        assert "archived" in api("GET").json()[0]["error"]


class TestReadableAgain:
    """An archived object is restored, or stored again."""

    @pytest.fixture
    def failed(self, processor: Processor, s3: "S3Client") -> str:
        s3.put_object(Bucket=processor.bucket.name, Key=KEY, Body=picture(), StorageClass="GLACIER")
        info = processor.bucket.head(KEY)
        assert info is not None
        assert processor.process(KEY, seen=SeenVersion(info.etag, info.size)) is Outcome.FAILED
        return naming.record_id(KEY)

    def restore(self, bucket: Bucket, s3: "S3Client", way: str) -> None:
        if way == "restored":
            s3.restore_object(Bucket=bucket.name, Key=KEY, RestoreRequest={"Days": 1})
        else:
            s3.put_object(Bucket=bucket.name, Key=KEY, Body=picture())

    @pytest.mark.parametrize("way", ["restored", "stored again"])
    def test_by_its_event(self, processor: Processor, failed: str, s3: "S3Client", way: str) -> None:
        self.restore(processor.bucket, s3, way)
        assert processor.process(KEY) is Outcome.READY
        record = found(processor.store, failed)
        assert (record.error, record.error_code) == (None, None)

    @pytest.mark.parametrize("way", ["restored", "stored again"])
    def test_by_the_audit(
        self, reconciler: Reconciler, failed: str, s3: "S3Client", clock: SettableClock, way: str
    ) -> None:
        clock.advance(**LATE)
        reconciler.audit()
        assert state_of(reconciler.processor.store, failed) is State.FAILED, "it is archived still"
        self.restore(reconciler.bucket, s3, way)
        clock.advance(seconds=24 * 3600 + 1000)
        assert reconciler.audit()["originals claimed"] == 1
        clock.advance(**LATE)
        assert reconciler.sweep() == {"retried: ready": 1}


@pytest.mark.parametrize(("operation", "answer", "error"), LASTING.values(), ids=LASTING)
class TestWalks:
    """One such object among others: the walk does its page, counts the object, and goes on."""

    def fill(
        self, bucket: Bucket, uploader: Uploader, refusals: Refusals, operation: str, answer: Answer
    ) -> None:
        put(bucket, KEY, picture())
        put(bucket, "originals/good.jpg", picture(seed=1))
        upload, good = stored(uploader), stored(uploader)
        assert good
        for key in (KEY, upload.object_key):
            refusals.add(key, answer, *({operation, "GetObject"}))
        if operation == "HeadObject":
            bodied = Answer(answer.status, "InvalidRequest" if answer.status == 400 else "AccessDenied")
            for key in (KEY, upload.object_key):
                refusals.add(key, bodied, "GetObject")

    def assert_ended(self, store: RecordStore, error: type[OriginalRefused]) -> None:
        records = store.page(10, None, UNRESTRICTED).records
        assert len(records) == 4
        assert sorted(str(record.error_code) for record in records) == sorted(
            ["None", "None", error.code, error.code]
        )
        assert sum(record.state is State.READY for record in records) == 2

    def test_audit_and_sweep(
        self,
        reconciler: Reconciler,
        uploader: Uploader,
        refusals: Refusals,
        clock: SettableClock,
        operation: str,
        answer: Answer,
        error: type[OriginalRefused],
    ) -> None:
        self.fill(reconciler.bucket, uploader, refusals, operation, answer)
        assert reconciler.audit()["originals seen"] == 4
        clock.advance(**LATE)
        reconciler.sweep()
        self.assert_ended(uploader.store, error)
        assert reconciler.sweep() == {}, "nothing comes again"

    def test_rebuild(
        self,
        reconciler: Reconciler,
        uploader: Uploader,
        refusals: Refusals,
        clock: SettableClock,
        redis_server: "redis.Redis",
        operation: str,
        answer: Answer,
        error: type[OriginalRefused],
    ) -> None:
        self.fill(reconciler.bucket, uploader, refusals, operation, answer)
        redis_server.flushall()
        _, done = reconciler.rebuild()
        assert done
        clock.advance(**LATE)
        reconciler.sweep()
        self.assert_ended(uploader.store, error)


def test_dozens_of_archived_objects_keep_no_other_waiting(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, s3: "S3Client"
) -> None:
    for number in range(40):
        key = f"originals/{number:02}.jpg"
        s3.put_object(Bucket=uploader.bucket.name, Key=key, Body=picture(), StorageClass="GLACIER")
    reconciler.audit()
    good = stored(uploader)
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: failed": 40, "retried: ready": 1}
    assert state_of(uploader.store, good.id) is State.READY


def test_a_thumbnail_that_s3_does_not_hand_out_is_not_taken_for_a_lost_one(
    processor: Processor, reconciler: Reconciler, clock: SettableClock, uploader: Uploader, refusals: Refusals
) -> None:
    record = stored(uploader)
    replace(processor, keep_originals=False).process(record.object_key)
    refusals.add(naming.thumbnails(record.id), Answer(403, "InvalidObjectState"))
    clock.advance(seconds=8 * 24 * 3600)
    reconciler.audit()
    assert state_of(uploader.store, record.id) is State.READY


def test_an_expired_picture_whose_original_s3_refuses_is_removed(
    processor: Processor, reconciler: Reconciler, clock: SettableClock, bucket: Bucket, refusals: Refusals
) -> None:
    s3_of(bucket).put_object(Bucket=bucket.name, Key=KEY, Body=picture())
    assert replace(processor, retention=1000).process(KEY) is Outcome.READY
    refusals.add(KEY, Answer(403, "InvalidObjectState"), "HeadObject")
    clock.advance(seconds=1010)
    assert reconciler.sweep() == {"expired": 1}
    assert state_of(processor.store, naming.record_id(KEY)) is State.TOMBSTONE
