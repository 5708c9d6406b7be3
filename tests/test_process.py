"""Processing on a real S3 and a real Valkey: what becomes of each kind of original, and of failures."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.errors import BucketUnavailable, OriginalChanging, RecordStoreUnavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED, State
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor
from tests.conftest import just_before, keys_in, picture
from tests.inside import s3_calls
from tests.processing import CLIENTS_KEY, assert_nothing_left, assert_ready, remove, uploaded
from tests.proxy import Mode, Proxy

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client


class TestPlain:
    def test_an_upload(self, processor: Processor, store: RecordStore, bucket: Bucket) -> None:
        record = uploaded(store, bucket)
        assert processor.process(record.object_key) is Outcome.READY
        assert_ready(store, bucket, record.id)

    def test_again_changes_nothing(self, processor: Processor, store: RecordStore, bucket: Bucket) -> None:
        record = uploaded(store, bucket)
        processor.process(record.object_key)
        before = store.get(record.id, UNRESTRICTED)
        assert processor.process(record.object_key) is Outcome.UNCHANGED
        assert store.get(record.id, UNRESTRICTED) == before
        assert_ready(store, bucket, record.id)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"text",
            picture()[:300],
            picture(image_format="PNG")[:100],
            b"\x89PNG\r\n\x1a\n",
        ],
        ids=["empty", "text", "cut JPEG", "cut PNG", "bare signature"],
    )
    def test_a_picture_that_cannot_be_used_ends_with_a_sentence(
        self, processor: Processor, store: RecordStore, bucket: Bucket, content: bytes
    ) -> None:
        record = uploaded(store, bucket, content)
        for outcome in (Outcome.FAILED, Outcome.UNCHANGED):
            assert processor.process(record.object_key) is outcome
            failed = store.get(record.id, UNRESTRICTED)
            assert failed is not None
            assert failed.state is State.FAILED
            assert str(failed.error).endswith(".")
        assert keys_in(bucket, "thumbnails/") == []

    def test_too_many_bytes_are_not_even_read(
        self, processor: Processor, store: RecordStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = uploaded(store, bucket, bytes(1_000_001))
        monkeypatch.setattr(
            "chalicelib.objects.bucket.StoredObject.read", lambda _: pytest.fail("it was read")
        )
        assert processor.process(record.object_key) is Outcome.FAILED


class TestPutStraightIntoTheBucket:
    @pytest.mark.parametrize(
        ("key", "filename"),
        [
            (CLIENTS_KEY, "red+flower & ü.jpg"),
            ("originals/x", "x"),
            ("originals/a//b.png", "b.png"),
            ("originals/deep/er/still/c", "c"),
            ("originals/00000000-0000-4000-8000-00000000000A", "00000000-0000-4000-8000-00000000000A"),
            ("originals/" + "ü" * 500, "ü" * 500),
        ],
    )
    def test_gets_a_record(
        self,
        processor: Processor,
        store: RecordStore,
        bucket: Bucket,
        s3: "S3Client",
        key: str,
        filename: str,
    ) -> None:
        s3.put_object(Bucket=bucket.name, Key=key, Body=picture())
        assert processor.process(key) is Outcome.READY
        assert processor.process(key) is Outcome.UNCHANGED
        record = assert_ready(store, bucket, naming.record_id(key))
        assert record.filename == filename
        assert store.page(10, None, UNRESTRICTED).records == [record]

    def test_metadata_that_looks_like_ours_is_not_believed(
        self, processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
    ) -> None:
        forged = {"filename": "Zm9yZ2Vk", "created": "1"}
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(), Metadata=forged)
        processor.process(CLIENTS_KEY)
        record = assert_ready(store, bucket, naming.record_id(CLIENTS_KEY))
        assert record.filename == "red+flower & ü.jpg"
        assert record.created_ms > 1

    def test_again_with_other_content_replaces_the_thumbnail(
        self, processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
    ) -> None:
        record_id = naming.record_id(CLIENTS_KEY)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        processor.process(CLIENTS_KEY)
        first = assert_ready(store, bucket, record_id)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(400, 400))
        assert processor.process(CLIENTS_KEY) is Outcome.READY
        second = assert_ready(store, bucket, record_id)
        assert (second.created_ms, second.original_size) == (first.created_ms, len(picture(400, 400)))
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=b"broken")
        assert processor.process(CLIENTS_KEY) is Outcome.FAILED
        assert keys_in(bucket, "thumbnails/") == []

    def test_again_after_a_removal_is_a_new_picture(
        self, processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
    ) -> None:
        record_id = naming.record_id(CLIENTS_KEY)
        for _ in range(3):
            s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
            assert processor.process(CLIENTS_KEY) is Outcome.READY
            assert_ready(store, bucket, record_id)
            assert remove(store, bucket, record_id)
            assert_nothing_left(store, bucket, record_id)


def test_an_original_that_was_taken_away_does_not_leave_its_record_pending(
    processor: Processor, store: RecordStore, bucket: Bucket
) -> None:
    record = uploaded(store, bucket)
    bucket.delete(record.object_key)
    assert processor.process(record.object_key) is Outcome.FAILED
    failed = store.get(record.id, UNRESTRICTED)
    assert failed is not None
    assert "removed" in str(failed.error)


def test_an_event_of_nothing(processor: Processor, redis_server: "redis.Redis") -> None:
    assert processor.process(CLIENTS_KEY) is Outcome.ABSENT
    assert redis_server.dbsize() == 0


@pytest.mark.parametrize(
    ("kind", "is_compared"), [("upload", False), ("presigned", True), ("client's", True), ("release 1", True)]
)
def test_only_a_key_that_may_be_written_twice_is_asked_for_again(
    processor: Processor, store: RecordStore, bucket: Bucket, kind: str, is_compared: bool
) -> None:
    key = CLIENTS_KEY if kind == "client's" else f"{naming.ORIGINALS}{naming.new_id()}"
    if kind in {"upload", "presigned"}:
        key = uploaded(store, bucket, presigned=kind == "presigned").object_key
    else:
        bucket.put(key, picture(), content_type="image/jpeg")
    sent = s3_calls(bucket)
    assert processor.process(key) is Outcome.READY
    assert sent == ["GetObject", "PutObject", *(["HeadObject"] if is_compared else [])]


def test_an_original_that_never_rests_is_left_for_a_retry(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
) -> None:
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
    for number in range(10):
        body = picture(seed=number + 1)
        just_before(
            bucket,
            "HeadObject",
            lambda body=body: s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=body),  # type: ignore[misc]
            skip=number,
        )
    with pytest.raises(OriginalChanging):
        processor.process(CLIENTS_KEY)


@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "HeadObject"])
def test_a_failure_of_s3_is_left_for_a_retry(
    processor: Processor, store: RecordStore, bucket: Bucket, operation: str
) -> None:
    record = uploaded(store, bucket, presigned=operation == "HeadObject")

    def fail() -> None:
        raise BucketUnavailable

    just_before(bucket, operation, fail)
    with pytest.raises(BucketUnavailable):
        processor.process(record.object_key)
    state = store.get(record.id, UNRESTRICTED)
    assert state is not None
    assert state.state is not State.FAILED
    processor.process(record.object_key)
    assert_ready(store, bucket, record.id)


@pytest.mark.parametrize("commands_before", range(3))
def test_a_failure_of_redis_is_left_for_a_retry(
    processor: Processor, store: RecordStore, bucket: Bucket, redis_url: str, commands_before: int
) -> None:
    record = uploaded(store, bucket)
    address = urlsplit(redis_url)
    with Proxy(str(address.hostname), int(address.port or 0)) as proxy:
        behind = RecordStore(redis_client(f"redis://127.0.0.1:{proxy.port}", timeout=1))
        behind.ping()
        proxy.become(Mode.CUT, after_requests=commands_before)
        shaky = Processor(behind, bucket, processor.spec, processor.max_bytes, processor.max_pixels)
        with pytest.raises(RecordStoreUnavailable):
            shaky.process(record.object_key)
        proxy.become(Mode.OPEN)
        assert shaky.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
    assert_ready(store, bucket, record.id)
