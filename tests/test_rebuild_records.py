"""A rebuild gives back whole records: every field that objects tell, and none that they do not."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.record import UNRESTRICTED, Owner, Record, State
from chalicelib.work.process import Processor
from chalicelib.work.upload import OPAQUE, PresignedUploadRequest, Upload, Uploader
from tests.conftest import SettableClock, found, picture
from tests.reconciler import CLIENTS_KEY, LATE, Reconciler, put, stored

if TYPE_CHECKING:
    import redis

    from chalicelib.records.store import RecordStore

BROKEN = picture()[:300]
RETENTION = 2000


def upload(uploader: Uploader) -> str:
    return stored(uploader, name="é🌍.png").object_key


def lasting(uploader: Uploader) -> str:
    return stored(replace(uploader, retention=1000)).object_key


def an_owners(uploader: Uploader) -> str:
    return stored(replace(uploader, client=Owner("alice"))).object_key


def once(uploader: Uploader) -> str:
    return uploader.upload_idempotently(Upload("once.jpg", picture(seed=5)), "key").object_key


def presigned(uploader: Uploader) -> str:
    record, post = uploader.presign(PresignedUploadRequest("large.tif", OPAQUE), max_bytes=10_000_000)
    named = {name: value for name, value in post.fields.items() if name.startswith("x-amz-meta-")}
    metadata = {name.removeprefix("x-amz-meta-"): value for name, value in named.items()}
    uploader.bucket.put(record.object_key, picture(seed=6), content_type=OPAQUE, metadata=metadata)
    return record.object_key


def clients_key(uploader: Uploader) -> str:
    put(uploader.bucket, CLIENTS_KEY, picture(seed=1))
    return CLIENTS_KEY


def broken(uploader: Uploader) -> str:
    return stored(uploader, BROKEN).object_key


def broken_clients_key(uploader: Uploader) -> str:
    put(uploader.bucket, CLIENTS_KEY, BROKEN)
    return CLIENTS_KEY


KINDS: dict[str, Callable[[Uploader], str]] = {
    "an upload": upload,
    "one that expires": lasting,
    "an owner's": an_owners,
    "one with an Idempotency-Key": once,
    "a presigned upload": presigned,
    "a client's key": clients_key,
    "a broken upload": broken,
    "a broken picture of a client's key": broken_clients_key,
}


def record_at(store: "RecordStore", object_key: str) -> Record:
    return found(store, naming.record_id(object_key))


@pytest.mark.parametrize("keep_originals", [True, False], ids=["originals kept", "originals removed"])
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_processed_record_is_as_it_was(
    reconciler: Reconciler,
    uploader: Uploader,
    processor: Processor,
    redis_server: "redis.Redis",
    make: Callable[[Uploader], str],
    keep_originals: bool,
) -> None:
    processor = replace(processor, keep_originals=keep_originals, retention=RETENTION)
    reconciler = replace(reconciler, processor=processor)
    object_key = make(uploader)
    processor.process(object_key)
    before = record_at(uploader.store, object_key)
    redis_server.flushall()
    reconciler.rebuild()
    after = record_at(uploader.store, object_key)
    if before.state is State.READY:
        assert after == replace(before, revision=after.revision)
    else:
        # That it failed, no object tells: it is processed again, and fails again.
        assert after.thumbnail is not None
        assert after.thumbnail.startswith(f"{before.etag}-")
        assert after == replace(
            before,
            state=State.PENDING,
            error=None,
            error_code=None,
            thumbnail=after.thumbnail,
            revision=after.revision,
        )
    assert after.revision != before.revision
    assert uploader.store.page(10, None, UNRESTRICTED).records == [after]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_record_that_was_never_processed_is_as_its_event_would_make_it(
    reconciler: Reconciler,
    uploader: Uploader,
    redis_server: "redis.Redis",
    make: Callable[[Uploader], str],
) -> None:
    processor = replace(reconciler.processor, retention=RETENTION)
    object_key = make(uploader)
    redis_server.flushall()
    replace(reconciler, processor=processor).rebuild()
    restored = record_at(uploader.store, object_key)
    processor.process(object_key)
    processed = record_at(uploader.store, object_key)
    assert processed == replace(
        restored,
        state=processed.state,
        thumbnail_size=processed.thumbnail_size,
        thumbnail_pixels=processed.thumbnail_pixels,
        image=processed.image,
        error=processed.error,
        error_code=processed.error_code,
        revision=processed.revision,
    )
    assert processed.state is (State.FAILED if "broken" in make.__name__ else State.READY)


def test_what_redis_alone_knows_is_forgotten(
    reconciler: Reconciler, uploader: Uploader, processor: Processor, redis_server: "redis.Redis"
) -> None:
    record = stored(replace(uploader, retention=1000))
    processor.process(record.object_key)
    ready = found(uploader.store, record.id)
    uploader.store.expire_after_download(ready, 60)
    redis_server.flushall()
    reconciler.rebuild()
    after = found(uploader.store, record.id)
    assert after == replace(ready, download_expires_ms=None, revision=after.revision)


def metadata_of_thumbnail(bucket: Bucket, record: Record) -> ObjectMetadata:
    thumbnail = bucket.head(naming.thumbnail(record.id, record.thumbnail or ""))
    assert thumbnail is not None
    return ObjectMetadata.parse(thumbnail.metadata)


@pytest.mark.parametrize("keep_originals", [True, False], ids=["originals kept", "originals removed"])
def test_a_thumbnail_of_a_clients_key_names_it(
    uploader: Uploader, processor: Processor, keep_originals: bool
) -> None:
    """Its record's id is a hash of the key: nothing else could say which object the picture was."""
    put(uploader.bucket, CLIENTS_KEY, picture())
    replace(processor, keep_originals=keep_originals).process(CLIENTS_KEY)
    told = metadata_of_thumbnail(uploader.bucket, record_at(uploader.store, CLIENTS_KEY))
    assert (told.object_key, told.stands_alone) == (CLIENTS_KEY, not keep_originals)


def test_a_picture_whose_thumbnail_alone_is_kept_can_be_put_again_after_a_rebuild(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", clock: SettableClock
) -> None:
    """The restored record is that of the same key: the new version replaces it, and no second one appears."""
    processor = replace(reconciler.processor, keep_originals=False)
    reconciler = replace(reconciler, processor=processor)
    put(uploader.bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    redis_server.flushall()
    reconciler.rebuild()
    put(uploader.bucket, CLIENTS_KEY, picture(64, 64))
    clock.advance(**LATE)
    reconciler.audit()
    clock.advance(**LATE)
    reconciler.sweep()
    (record,) = uploader.store.page(10, None, UNRESTRICTED).records
    assert (record.object_key, record.original_size) == (CLIENTS_KEY, len(picture(64, 64)))
