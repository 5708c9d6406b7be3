"""Thumbnails that other settings have made are made again: once, resumably, and never to a client's loss."""

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from chalicelib import naming
from chalicelib.errors import BucketUnavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import Record, State
from chalicelib.records.store import RecordStore
from chalicelib.spec import Crop, Fit, ThumbnailSpec, digest, parse_sizes
from chalicelib.work.audit import BUCKET_EVERY_MS
from chalicelib.work.contradiction import stored_lengths
from chalicelib.work.process import Processor
from chalicelib.work.remake import Remake
from chalicelib.work.sweep import Counts
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_after, just_before, keys_in, picture
from tests.inside import small_pages
from tests.processing import remove
from tests.reconciler import CLIENTS_KEY, Died, Reconciler, put, stored

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

SIZES = parse_sizes("card=40x30:contain 2x=20x20:webp", ThumbnailSpec())


@pytest.fixture
def changed(processor: Processor) -> Processor:
    """The processor after the settings have changed."""
    return replace(processor, spec=ThumbnailSpec(50, 40), sizes=SIZES)


def run(
    processor: Processor, *, stops_after: int | None = None, per_second: float = 1000
) -> tuple[Counts, bool]:
    asked = iter(range(1_000_000))
    up = (lambda: False) if stops_after is None else (lambda: next(asked) >= stops_after)
    return Remake(processor, processor.clock, up, lambda _: None).run(per_second)


def ready(uploader: Uploader, processor: Processor, count: int = 1) -> list[Record]:
    records = [stored(uploader, picture(seed=number)) for number in range(count)]
    for record in records:
        processor.process(record.object_key)
    return [found(uploader.store, record.id) for record in records]


def assert_made(
    store: RecordStore, bucket: Bucket, record_id: str, size: tuple[int, int] = (50, 40)
) -> Record:
    record = found(store, record_id)
    assert record.state is State.READY
    lengths = {item.key: item.size for page in bucket.pages(naming.thumbnails(record_id)) for item in page}
    assert stored_lengths(record).items() <= lengths.items()
    content = bucket.get(naming.thumbnail(record.id, str(record.thumbnail)))
    assert content is not None
    with content, Image.open(BytesIO(content.read())) as image:
        assert image.size == size == record.thumbnail_pixels
    return record


def test_a_changed_setting_makes_them_again_and_a_second_run_makes_none(
    uploader: Uploader, processor: Processor, changed: Processor, clock: SettableClock
) -> None:
    before = ready(uploader, processor, 3)
    counts, done = run(changed)
    assert done
    assert counts == {"thumbnails made again": 3, "records seen": 3}
    for record in before:
        after = assert_made(uploader.store, uploader.bucket, record.id)
        assert [size.name for size in after.sizes] == ["2x", "card"]
        assert after.thumbnail != record.thumbnail
        told = ("filename", "created_ms", "original_size", "etag", "version_ms", "expires_ms", "object_key")
        assert [getattr(after, name) for name in told] == [getattr(record, name) for name in told]
    keys = keys_in(uploader.bucket)
    for _ in range(2):
        assert run(changed) == ({"records seen": 3}, True)
        assert keys_in(uploader.bucket) == keys
    # Those that were replaced go with the next walk; nothing else does.
    clock.advance(ms=BUCKET_EVERY_MS)
    counts = Reconciler(changed, clock).audit()
    assert counts["thumbnails removed"] == 3
    assert len(keys_in(uploader.bucket)) == 3 * 4
    for record in before:
        assert_made(uploader.store, uploader.bucket, record.id)


def test_settings_that_did_not_change_make_none(uploader: Uploader, processor: Processor) -> None:
    ready(uploader, processor)
    assert run(processor) == ({"records seen": 1}, True)


@pytest.mark.parametrize(
    "other",
    [
        ThumbnailSpec(99),
        ThumbnailSpec(fit=Fit.CONTAIN),
        ThumbnailSpec(quality=84),
        ThumbnailSpec(background=(0, 0, 0)),
        ThumbnailSpec(crop=Crop.ATTENTION),
    ],
)
def test_the_digest_tells_settings_apart(other: ThumbnailSpec) -> None:
    known = {digest(ThumbnailSpec(), ()), digest(ThumbnailSpec(), SIZES), digest(ThumbnailSpec(), SIZES[:1])}
    assert len(known | {digest(other, ()), digest(other, SIZES)}) == 5
    assert digest(ThumbnailSpec(), ()) == "dee36ace772e", "or every thumbnail of every deployment is outdated"


def test_what_an_earlier_release_has_made_is_made_again(
    uploader: Uploader, processor: Processor, s3: "S3Client"
) -> None:
    [record] = ready(uploader, processor)
    key = naming.thumbnail(record.id, str(record.thumbnail))
    head = s3.head_object(Bucket=uploader.bucket.name, Key=key)
    metadata = {name: value for name, value in head["Metadata"].items() if name != "settings"}
    content = s3.get_object(Bucket=uploader.bucket.name, Key=key)["Body"].read()
    uploader.bucket.put(key, content, content_type="image/jpeg", metadata=metadata)
    assert run(processor)[0]["thumbnails made again"] == 1
    assert run(processor)[0]["thumbnails made again"] == 0


def test_it_goes_on_where_it_stopped(
    uploader: Uploader, processor: Processor, changed: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch, "remake", 2)
    records = ready(uploader, processor, 5)
    made, runs = Counts(), 0
    done = False
    while not done:
        counts, done = run(changed, stops_after=1)
        made += counts
        runs += 1
        assert runs < 12
    assert made["thumbnails made again"] == 5
    assert runs >= 5
    for record in records:
        assert_made(uploader.store, uploader.bucket, record.id)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "HeadObject"])
@pytest.mark.parametrize("passed", range(3))
def test_killed_anywhere_it_serves_the_old_one_and_goes_on(
    uploader: Uploader, processor: Processor, changed: Processor, operation: str, passed: int
) -> None:
    records = ready(uploader, processor, 3)
    just_after(uploader.bucket, operation, Died(), skip=passed)
    with pytest.raises(Died):
        run(changed)
    for record in records:
        now = found(uploader.store, record.id)
        assert_made(uploader.store, uploader.bucket, record.id, (100, 100) if now == record else (50, 40))
    assert run(changed)[1]
    for record in records:
        assert_made(uploader.store, uploader.bucket, record.id)


def test_it_makes_no_more_than_it_may_in_a_second(
    uploader: Uploader, processor: Processor, changed: Processor, s3_clock: SettableClock
) -> None:
    *_, lost = ready(uploader, processor, 4)
    uploader.bucket.delete(lost.object_key)
    waited: list[float] = []
    Remake(changed, s3_clock, lambda: False, waited.append).run(0.5)
    assert waited == [2.0] * 3, "of what cannot be made, none"


@pytest.mark.parametrize(
    ("why", "seen"), [("other settings", 5), ("a day later", 5), ("hours later, twice", 2)]
)
def test_a_run_that_cannot_be_resumed_begins_anew(
    uploader: Uploader,
    processor: Processor,
    changed: Processor,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    seen: int,
) -> None:
    small_pages(monkeypatch, "remake", 2)
    ready(uploader, processor, 5)
    assert not run(changed, stops_after=2)[1]
    other = changed
    if why == "other settings":
        other = replace(changed, spec=ThumbnailSpec(30, 40))
    elif why == "a day later":
        clock.advance(seconds=24 * 3600)
    else:
        clock.advance(seconds=20 * 3600)
        assert not Remake(changed, clock, iter([False, True]).__next__, lambda _: None).run(1000)[1]
        clock.advance(seconds=20 * 3600)
    counts, _ = Remake(other, clock, lambda: False, lambda _: None).run(1000)
    assert counts["records seen"] == seen


def test_what_cannot_be_made_again_stays(
    uploader: Uploader, processor: Processor, changed: Processor
) -> None:
    [kept, lost, refused] = ready(uploader, processor, 3)
    uploader.bucket.delete(lost.object_key)
    assert run(replace(changed, max_bytes=1))[0]["left as they are"] == 2
    counts, _ = run(changed)
    assert (counts["originals not kept"], counts["thumbnails made again"]) == (1, 2)
    assert found(uploader.store, lost.id) == lost
    for record in (kept, refused):
        assert_made(uploader.store, uploader.bucket, record.id)


def test_failed_pending_and_removed_records_are_passed_over(
    uploader: Uploader, processor: Processor, changed: Processor
) -> None:
    failed, pending = stored(uploader, picture()[:200]), stored(uploader)
    processor.process(failed.object_key)
    [gone] = ready(uploader, processor)
    remove(uploader.store, uploader.bucket, gone.id)
    assert run(changed) == ({"records seen": 2}, True)
    assert found(uploader.store, pending.id).state is State.PENDING


@pytest.mark.parametrize("passed", range(3))
def test_a_delete_meanwhile_leaves_nothing(
    uploader: Uploader, processor: Processor, changed: Processor, passed: int
) -> None:
    [record] = ready(uploader, processor)
    just_before(
        uploader.bucket, "PutObject", lambda: remove(uploader.store, uploader.bucket, record.id), skip=passed
    )
    assert run(changed)[0]["changed meanwhile"] == 1
    assert keys_in(uploader.bucket) == []


def test_a_new_version_meanwhile_wins(store: RecordStore, processor: Processor, changed: Processor) -> None:
    bucket = processor.bucket
    put(bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)

    def overtake() -> None:
        put(bucket, CLIENTS_KEY, picture(80, 64))
        changed.process(CLIENTS_KEY)

    just_before(bucket, "PutObject", overtake, skip=1)
    run(changed)
    record = assert_made(store, bucket, naming.record_id(CLIENTS_KEY))
    assert record.original_size == len(picture(80, 64))
    assert len(keys_in(bucket)) == 4


def test_an_outage_ends_the_run_and_the_next_one_goes_on(
    uploader: Uploader, processor: Processor, changed: Processor
) -> None:
    ready(uploader, processor, 2)
    just_before(uploader.bucket, "PutObject", Died(BucketUnavailable), skip=4)
    with pytest.raises(BucketUnavailable):
        run(changed)
    assert run(changed)[0]["thumbnails made again"] == 1


def test_a_rebuild_afterwards_gives_equal_records(
    uploader: Uploader,
    processor: Processor,
    changed: Processor,
    clock: SettableClock,
    redis_server: "redis.Redis",
) -> None:
    [record] = ready(uploader, processor)
    run(changed)
    clock.advance(ms=BUCKET_EVERY_MS)
    Reconciler(changed, clock).audit()
    before = found(uploader.store, record.id)
    redis_server.flushall()
    assert Reconciler(changed, clock).rebuild()[1]
    assert replace(found(uploader.store, record.id), revision=before.revision, outbox=before.outbox) == before
