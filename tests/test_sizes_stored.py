"""Named sizes in the bucket: stored before a record is ready, removed, found again and repaired with it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.errors import BucketUnavailable, ThumbnailNotReady, Unavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED, Record, State
from chalicelib.records.store import RecordStore
from chalicelib.spec import ThumbnailSpec, parse_sizes
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.contradiction import stored_lengths
from chalicelib.work.download import Downloader, stored_picture
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_after, just_before, keys_in, picture
from tests.processing import remove
from tests.reconciler import CLIENTS_KEY, LATE, Died, Reconciler, put, stored

if TYPE_CHECKING:
    import redis

SIZES = parse_sizes("card=40x30:contain 2x=20x20:webp hero=60x60:png", ThumbnailSpec())
NAMES = ["2x", "card", "hero"]


@pytest.fixture
def processor(processor: Processor) -> Processor:
    return replace(processor, sizes=SIZES)


@pytest.fixture
def downloader(store: RecordStore, bucket: Bucket) -> Downloader:
    return Downloader(store, lambda: bucket, UNRESTRICTED, None, SIZES)


def ready(uploader: Uploader, processor: Processor) -> Record:
    record = stored(uploader)
    assert processor.process(record.object_key) is Outcome.READY
    return found(uploader.store, record.id)


def lengths_in(bucket: Bucket, record: Record) -> dict[str, int]:
    return {item.key: item.size for page in bucket.pages(naming.thumbnails(record.id)) for item in page}


def assert_whole(bucket: Bucket, record: Record) -> None:
    assert record.state is State.READY
    assert [size.name for size in record.sizes] == NAMES
    assert stored_lengths(record) == lengths_in(bucket, record)


def test_ready_means_that_all_are_stored(uploader: Uploader, processor: Processor, bucket: Bucket) -> None:
    record = ready(uploader, processor)
    assert_whole(bucket, record)
    assert [(size.width, size.height, size.extension) for size in record.sizes] == [
        (20, 20, "webp"),
        (40, 27, "jpg"),
        (60, 60, "png"),
    ]
    for size in record.sizes:
        info = bucket.get(stored_picture(record, size.name).key)
        assert info is not None
        with info:
            assert len(info.read()) == size.bytes


@pytest.mark.parametrize("passed", range(4))
def test_a_run_that_dies_after_any_of_them_leaves_a_pending_record_that_is_finished_later(
    uploader: Uploader, processor: Processor, bucket: Bucket, passed: int
) -> None:
    record = stored(uploader)
    just_after(bucket, "PutObject", Died(), skip=passed)
    with pytest.raises(Died):
        processor.process(record.object_key)
    pending = found(uploader.store, record.id)
    assert (pending.state, pending.sizes) == (State.PENDING, ())
    assert len(lengths_in(bucket, record)) == passed + 1
    assert processor.process(record.object_key) is Outcome.READY
    assert_whole(bucket, found(uploader.store, record.id))


@pytest.mark.parametrize("passed", range(4))
def test_a_delete_while_they_are_made_leaves_none(
    uploader: Uploader, processor: Processor, bucket: Bucket, passed: int
) -> None:
    record = stored(uploader)
    just_before(bucket, "PutObject", lambda: remove(uploader.store, bucket, record.id), skip=passed)
    assert processor.process(record.object_key) is Outcome.DELETED
    assert keys_in(bucket) == []


@pytest.mark.parametrize("passed", range(4))
def test_a_delete_of_what_a_dead_run_has_left_leaves_none(
    uploader: Uploader, processor: Processor, bucket: Bucket, passed: int
) -> None:
    record = stored(uploader)

    def removed_and_died() -> None:
        remove(uploader.store, bucket, record.id)
        raise Died

    just_before(bucket, "PutObject", removed_and_died, skip=passed)
    with pytest.raises(Died):
        processor.process(record.object_key)
    # The next one stores nothing more, and deletes what the dead one could have stored after the removal.
    for size in SIZES:
        gone = found(uploader.store, record.id)
        name = str(gone.thumbnail)
        key = naming.sized_thumbnail(record.id, name, size.name, size.spec.format.extension)
        put(bucket, key, b"late")
    assert processor.process(record.object_key) is Outcome.DELETED
    assert keys_in(bucket) == []


def test_another_version_replaces_all_of_them(
    store: RecordStore, processor: Processor, bucket: Bucket
) -> None:
    put(bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    put(bucket, CLIENTS_KEY, picture(80, 64))
    processor.process(CLIENTS_KEY)
    assert_whole(bucket, found(store, naming.record_id(CLIENTS_KEY)))


def test_of_a_version_that_was_overtaken_nothing_stays(
    store: RecordStore, processor: Processor, bucket: Bucket
) -> None:
    put(bucket, CLIENTS_KEY, picture())

    def overtake() -> None:
        put(bucket, CLIENTS_KEY, picture(80, 64))
        processor.process(CLIENTS_KEY)

    just_before(bucket, "PutObject", overtake, skip=2)
    processor.process(CLIENTS_KEY)
    assert_whole(bucket, found(store, naming.record_id(CLIENTS_KEY)))


def test_while_s3_refuses_one_the_record_stays_pending(
    uploader: Uploader, processor: Processor, bucket: Bucket
) -> None:
    record = stored(uploader)
    just_before(bucket, "PutObject", Died(BucketUnavailable), skip=2)
    with pytest.raises(Unavailable):
        processor.process(record.object_key)
    assert found(uploader.store, record.id).state is State.PENDING


# --- rebuilt ---


@pytest.mark.parametrize("keep_originals", [True, False])
def test_a_rebuild_from_the_bucket_alone_gives_equal_records(
    uploader: Uploader,
    processor: Processor,
    bucket: Bucket,
    redis_server: "redis.Redis",
    clock: SettableClock,
    keep_originals: bool,
) -> None:
    processor = replace(processor, keep_originals=keep_originals)
    put(bucket, CLIENTS_KEY, picture(seed=3))
    processor.process(CLIENTS_KEY)
    before = [ready(uploader, processor), found(uploader.store, naming.record_id(CLIENTS_KEY))]
    redis_server.flushall()
    counts, done = Reconciler(processor, clock).rebuild()
    assert done
    assert counts["records restored"] == 2
    for record in before:
        assert replace(found(uploader.store, record.id), revision=record.revision) == record
        assert_whole(bucket, record)


def test_an_audit_deletes_nothing_of_a_whole_picture(
    uploader: Uploader,
    processor: Processor,
    bucket: Bucket,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 3)  # the sizes of a picture lie on several pages
    record = ready(uploader, processor)
    clock.advance(ms=RECORDS_EVERY_MS)
    counts = Reconciler(processor, clock).audit()
    assert {one: counts[one] for one in counts if not one.endswith(" seen")} == {}
    assert_whole(bucket, record)


def test_sizes_without_a_default_thumbnail_go_when_they_are_old(
    uploader: Uploader,
    processor: Processor,
    bucket: Bucket,
    redis_server: "redis.Redis",
    clock: SettableClock,
) -> None:
    record = ready(uploader, processor)
    bucket.delete(naming.thumbnail(record.id, str(record.thumbnail)), record.object_key)
    redis_server.flushall()
    assert Reconciler(processor, clock).audit()["thumbnails removed"] == 0
    clock.advance(ms=RECORDS_EVERY_MS)
    assert Reconciler(processor, clock).audit()["thumbnails removed"] == 3
    assert keys_in(bucket) == []


def test_sizes_that_are_no_longer_made_go_with_the_thumbnail_that_is_replaced(
    store: RecordStore, processor: Processor, bucket: Bucket, clock: SettableClock
) -> None:
    put(bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    put(bucket, CLIENTS_KEY, picture(80, 64))
    fewer = replace(processor, sizes=SIZES[:1])
    fewer.process(CLIENTS_KEY)
    assert len(lengths_in(bucket, found(store, naming.record_id(CLIENTS_KEY)))) == 4
    clock.advance(ms=RECORDS_EVERY_MS)
    assert Reconciler(fewer, clock).audit()["thumbnails removed"] == 2
    record = found(store, naming.record_id(CLIENTS_KEY))
    assert stored_lengths(record) == lengths_in(bucket, record)


def test_no_audit_takes_what_a_run_is_storing(
    uploader: Uploader, processor: Processor, bucket: Bucket, clock: SettableClock
) -> None:
    record = stored(uploader)
    just_after(bucket, "PutObject", Died(), skip=1)
    with pytest.raises(Died):
        processor.process(record.object_key)
    clock.advance(ms=RECORDS_EVERY_MS)
    assert Reconciler(processor, clock).audit()["thumbnails removed"] == 0
    assert len(lengths_in(bucket, record)) == 2


# --- lost or truncated ---

DAMAGE: dict[str, Callable[[Bucket, str], None]] = {
    "lost": lambda bucket, key: bucket.delete(key),
    "truncated": lambda bucket, key: bucket.put(key, b"short", content_type="image/jpeg"),
}
KEYS: dict[str, Callable[[Record], str]] = {
    name: (lambda record, name=name: stored_picture(record, name).key)  # type: ignore[misc]  # a default
    for name in NAMES
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("who", ["download", "audit of the bucket", "audit of records"])
def test_it_is_noticed_and_repaired(
    uploader: Uploader,
    processor: Processor,
    downloader: Downloader,
    clock: SettableClock,
    key: Callable[[Record], str],
    damage: Callable[[Bucket, str], None],
    who: str,
) -> None:
    record = ready(uploader, processor)
    damage(uploader.bucket, key(record))
    reconciler = Reconciler(processor, clock)
    if who == "download":
        name = str(naming.parse_thumbnail(key(record)).size)  # type: ignore[union-attr]  # it is one
        with pytest.raises(ThumbnailNotReady):
            downloader.read(record, name, is_download=True)
    else:
        clock.advance(ms=RECORDS_EVERY_MS)
        if who == "audit of records":
            uploader.bucket.delete(naming.thumbnail(record.id, str(record.thumbnail)))
        assert reconciler.audit()["thumbnails to be made again"] == 1
    assert found(uploader.store, record.id).sizes == ()
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: ready": 1}
    assert_whole(uploader.bucket, found(uploader.store, record.id))


def test_a_lost_size_of_a_picture_whose_original_is_gone_is_no_longer_shown(
    uploader: Uploader, processor: Processor, downloader: Downloader, clock: SettableClock
) -> None:
    record = ready(uploader, replace(processor, keep_originals=False))
    downloader.bucket().delete(stored_picture(record, "card").key)
    with pytest.raises(ThumbnailNotReady):
        downloader.read(record, "card", is_download=True)
    after = found(uploader.store, record.id)
    assert after.state is State.READY
    assert [size.name for size in after.sizes] == ["2x", "hero"]
    assert downloader.read(after, "hero", is_download=True)
