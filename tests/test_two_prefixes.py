"""Who may write where decides what is believed: uploads of the API, others' objects, release 1's uploads."""

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.errors import OriginalChanging
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import as_json, original_metadata
from chalicelib.records.record import UNRESTRICTED, Owner, Record, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import Uploader
from tests.conftest import Api, SettableClock, found, keys_in, picture
from tests.inside import s3_calls
from tests.processing import assert_ready, remove_and_die
from tests.reconciler import CLIENTS_KEY, LATE, Reconciler, put, state_of, stored

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

MINTED = "4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10"
LOOKS_LIKE_OURS = naming.ORIGINALS + MINTED


def text(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode()


FORGED = {
    "owner": text("alice"),
    "filename": text("invoice.png"),
    "created": "9999999999999",
    "expires": "9999999999000",
    "ticket-ends": "9999999999000",
    "fingerprint": "0" * 64,
    "version": "9999999999999",
}


@pytest.mark.parametrize("key", [CLIENTS_KEY, LOOKS_LIKE_OURS])
@pytest.mark.parametrize("way", ["event", "rebuild", "audit"])
def test_forged_metadata_are_not_believed(
    reconciler: Reconciler, s3: "S3Client", clock: SettableClock, key: str, way: str
) -> None:
    reconciler = replace(reconciler, processor=replace(reconciler.processor, retention=3600))
    store, before = reconciler.processor.store, clock()
    s3.put_object(Bucket=reconciler.bucket.name, Key=key, Body=picture(), Metadata=FORGED)
    if way == "event":
        assert reconciler.processor.process(key) is Outcome.READY
    else:
        assert (reconciler.audit() if way == "audit" else reconciler.rebuild()[0])["records restored"] == 1
    record = found(store, naming.record_id(key))
    assert (record.owner, record.filename) == (None, naming.filename(key))
    assert (record.presigned_until_ms, record.body_hash) == (None, None)
    assert abs(record.created_ms - before) < 60_000
    assert record.expires_ms is not None
    assert record.expires_ms - before < 3_660_000
    assert (record.version_ms or 0) - before < 60_000
    assert store.page(10, None, Owner("alice")).records == []
    assert record.id != MINTED


def test_an_object_named_like_an_upload_may_be_put_again_after_its_removal(
    processor: Processor, store: RecordStore, bucket: Bucket
) -> None:
    for _ in range(3):
        put(bucket, LOOKS_LIKE_OURS, picture())
        assert processor.process(LOOKS_LIKE_OURS) is Outcome.READY
        record_id = naming.record_id(LOOKS_LIKE_OURS)
        assert_ready(store, bucket, record_id)
        assert remove(store, bucket, record_id, RemovalScope.VISIBLE, UNRESTRICTED)
        assert keys_in(bucket) == []


def test_an_object_named_like_an_upload_of_another_is_not_taken_for_it(
    processor: Processor, uploader: Uploader
) -> None:
    """A stranger puts another picture where release 1 kept the uploads of a client."""
    record = stored(uploader)
    processor.process(record.object_key)
    before = found(uploader.store, record.id)
    put(uploader.bucket, naming.ORIGINALS + record.id, picture(seed=9))
    assert processor.process(naming.ORIGINALS + record.id) is Outcome.READY
    assert found(uploader.store, record.id) == before
    assert uploader.store.find(naming.record_id(naming.ORIGINALS + record.id)) is not None


# --- uploads of release 1 ---


def former(uploader: Uploader, redis_server: "redis.Redis") -> Record:
    """An upload as release 1 has left it, waiting for its thumbnail."""
    record = stored(uploader, name="holiday.jpg")
    moved = replace(record, object_key=naming.ORIGINALS + record.id)
    uploader.bucket.copy(record.object_key, moved.object_key)
    uploader.bucket.delete(record.object_key)
    redis_server.hset(naming.record(record.id), "object_key", moved.object_key)
    redis_server.hdel(naming.record(record.id), "format", "revision")
    return found(uploader.store, record.id)


def test_an_upload_of_release_1_is_processed_downloaded_and_deleted(
    processor: Processor, uploader: Uploader, redis_server: "redis.Redis"
) -> None:
    record = former(uploader, redis_server)
    assert processor.process(record.object_key) is Outcome.READY
    assert processor.process(record.object_key) is Outcome.UNCHANGED
    shown = as_json(assert_ready(uploader.store, uploader.bucket, record.id))
    assert (shown["filename"], shown["ready"]) == ("holiday.jpg", True)
    assert len(uploader.store.page(10, None, UNRESTRICTED).records) == 1
    assert remove(uploader.store, uploader.bucket, record.id, RemovalScope.VISIBLE, UNRESTRICTED)
    assert keys_in(uploader.bucket) == []


def test_the_audit_moves_uploads_of_release_1(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = former(uploader, redis_server)
    reconciler.processor.process(record.object_key)
    shown = as_json(found(uploader.store, record.id))
    clock.advance(**LATE)
    assert reconciler.audit()["uploads moved"] == 1
    moved = assert_ready(uploader.store, uploader.bucket, record.id)
    assert moved.object_key == naming.original(record.id)
    assert as_json(moved) == shown
    assert keys_in(uploader.bucket, naming.ORIGINALS) == []
    copied = uploader.bucket.head(moved.object_key)
    assert copied is not None
    assert copied.metadata == original_metadata(record)
    clock.advance(seconds=25 * 3600)
    assert reconciler.audit()["uploads moved"] == 0
    assert reconciler.processor.process(moved.object_key) is Outcome.UNCHANGED, "the event of the copy"
    redis_server.flushall()
    reconciler.rebuild()
    assert as_json(found(uploader.store, record.id)) == shown


# --- put again while a removal is half-done ---


@pytest.mark.parametrize("content", [picture(), picture(seed=7)], ids=["same bytes", "other bytes"])
def test_a_file_that_is_put_again_during_its_removal_is_not_swallowed(
    reconciler: Reconciler, s3_clock: SettableClock, content: bytes
) -> None:
    processor, store, bucket = reconciler.processor, reconciler.processor.store, reconciler.bucket
    record_id = naming.record_id(CLIENTS_KEY)
    put(bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    remove_and_die(store, bucket, record_id)
    s3_clock.advance(seconds=1)
    put(bucket, CLIENTS_KEY, content)
    with pytest.raises(OriginalChanging):
        processor.process(CLIENTS_KEY)
    s3_clock.advance(**LATE)
    assert reconciler.sweep() == {"removals finished": 1}
    assert state_of(store, record_id) is State.TOMBSTONE
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    assert_ready(store, bucket, record_id)


# --- what one request cannot do ---


@pytest.mark.slow
def test_more_than_a_thousand_thumbnails_are_deleted(
    api: Api, s3: "S3Client", redis_server: "redis.Redis"
) -> None:
    from moto.s3.models import s3_backends

    record = api.upload()
    api.deliver()
    backend: Any = s3_backends["123456789012"]["aws"]
    for number in range(2001):
        backend.put_object(api.bucket.name, naming.thumbnail(record["id"], f"e-{number:016x}"), b"x")
    names = " ".join(f"e-{number:016x}" for number in range(1500))
    redis_server.hset(naming.record(record["id"]), "former_thumbnails", names)
    assert api("DELETE", f"/{record['id']}").status_code == 200
    assert keys_in(api.bucket) == []


def test_a_record_of_a_thousand_versions_keeps_the_last_few_names(
    processor: Processor, store: RecordStore, bucket: Bucket
) -> None:
    put(bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    record = found(store, naming.record_id(CLIENTS_KEY))
    for number in range(50):
        record = store.claim_version(
            replace(record, etag=f"v{number}", version_ms=None, thumbnail=f"v{number}-{number:016x}")
        )
    assert len(record.stale_thumbnails) == 16
    assert record.stale_thumbnails[-1] == f"v48-{48:016x}"


@pytest.mark.parametrize("character", ["\x01", "\x0b", "\x1f", "\ufffe", "\r", "\t", "&", "<"])
def test_a_key_with_any_character_can_be_deleted(
    processor: Processor, store: RecordStore, bucket: Bucket, character: str
) -> None:
    key = f"originals/a{character}b.jpg"
    put(bucket, key, picture())
    processor.process(key)
    sent = s3_calls(bucket)
    assert remove(store, bucket, naming.record_id(key), RemovalScope.VISIBLE, UNRESTRICTED)
    assert bucket.head(key) is None
    assert ("DeleteObject" in sent) == (character in "\x01\x0b\x1f\ufffe")


@pytest.mark.slow
def test_a_rebuild_lists_once_for_each_thousand_whatever_the_keys(
    reconciler: Reconciler, uploader: Uploader, processor: Processor, redis_server: "redis.Redis"
) -> None:
    for number in range(20):
        processor.process(stored(uploader).object_key)
        put(uploader.bucket, f"originals/holiday/{number}.jpg", picture())
        processor.process(f"originals/holiday/{number}.jpg")
    redis_server.flushall()
    sent = s3_calls(uploader.bucket)
    counts, done = reconciler.rebuild()
    assert done
    assert counts["records restored"] == 40
    assert sent.count("ListObjectsV2") == 3, "one for thumbnails, uploads and originals each"
    assert sent.count("HeadObject") == 80, "a thumbnail and its original, for each picture"
