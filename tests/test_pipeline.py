"""The pipeline on a real S3 and a real Valkey, with every race forced at the step where it hurts."""

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from chalicelib import keys
from chalicelib.bucket import Bucket
from chalicelib.catalogue import Catalogue, Which
from chalicelib.clients import redis_client, s3_client
from chalicelib.errors import BucketUnavailable, CatalogueUnavailable, OriginalUnsettled
from chalicelib.pipeline import Outcome, Pipeline
from chalicelib.record import Record, State
from tests.conftest import just_after, just_before, keys_in, picture
from tests.proxy import Mode, Proxy

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

CLIENTS_KEY = "originals/holiday 2026/red+flower & ü.jpg"


def uploaded(catalogue: Catalogue, bucket: Bucket, content: bytes | None = None) -> Record:
    """What the API's upload leaves behind."""
    content = picture() if content is None else content
    record_id = keys.new_id()
    record = Record(record_id, keys.original(record_id), "a.jpg", 1_700_000_000_000, len(content))
    catalogue.create(record)
    bucket.put(record.object_key, content, content_type="x/x", metadata=record.original_metadata())
    return record


def remove(catalogue: Catalogue, bucket: Bucket, record_id: str) -> bool:
    """What the API's delete does."""
    record = catalogue.start_removal(record_id, Which.ANY)
    if record is None:
        return False
    bucket.delete(record.object_key, *record.thumbnail_keys())
    return catalogue.finish_removal(record_id, keys.new_id())


def assert_ready(catalogue: Catalogue, bucket: Bucket, record_id: str, *, abandoned: int = 0) -> Record:
    """Invariant 2, and that no thumbnails lie about but those `abandoned`."""
    record = catalogue.get(record_id)
    assert record is not None
    assert record.state is State.READY
    original = bucket.head(record.object_key)
    assert original is not None
    assert record.etag == original.etag
    thumbnail_key = keys.thumbnail(record_id, str(record.thumbnail))
    assert thumbnail_key.startswith(f"thumbnails/{record_id}/{record.etag}-")
    lying_about = set(keys_in(bucket, f"thumbnails/{record_id}/")) - {thumbnail_key}
    assert len(lying_about) <= abandoned
    stored = bucket.get(thumbnail_key)
    assert stored is not None
    with stored, Image.open(BytesIO(stored.read())) as image:
        assert image.format == "JPEG"
        assert stored.info.size == record.thumbnail_size
    assert record.as_json()["ready"] is True
    return record


def assert_nothing_left(catalogue: Catalogue, bucket: Bucket, record_id: str) -> None:
    assert catalogue.get(record_id) is None
    assert catalogue.page(10, None).records == []
    assert keys_in(bucket) == []


@pytest.fixture
def other(pipeline: Pipeline, catalogue: Catalogue) -> Pipeline:
    """A second run of the same function, with an S3 client of its own."""
    bucket = Bucket(s3_client(timeout=5, attempts=1), pipeline.bucket.name)
    return Pipeline(catalogue, bucket, pipeline.spec, pipeline.max_bytes, pipeline.max_pixels)


class TestPlain:
    def test_an_upload(self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket) -> None:
        record = uploaded(catalogue, bucket)
        assert pipeline.process(record.object_key) is Outcome.READY
        assert_ready(catalogue, bucket, record.id)

    def test_again_changes_nothing(self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket) -> None:
        record = uploaded(catalogue, bucket)
        pipeline.process(record.object_key)
        before = catalogue.get(record.id)
        assert pipeline.process(record.object_key) is Outcome.UNCHANGED
        assert catalogue.get(record.id) == before
        assert_ready(catalogue, bucket, record.id)

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
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, content: bytes
    ) -> None:
        record = uploaded(catalogue, bucket, content)
        for outcome in (Outcome.FAILED, Outcome.UNCHANGED):
            assert pipeline.process(record.object_key) is outcome
            failed = catalogue.get(record.id)
            assert failed is not None
            assert failed.state is State.FAILED
            assert str(failed.error).endswith(".")
        assert keys_in(bucket, "thumbnails/") == []

    def test_too_many_bytes_are_not_even_read(
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = uploaded(catalogue, bucket, bytes(1_000_001))
        monkeypatch.setattr("chalicelib.bucket.StoredObject.read", lambda _: pytest.fail("it was read"))
        assert pipeline.process(record.object_key) is Outcome.FAILED


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
        pipeline: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        s3: "S3Client",
        key: str,
        filename: str,
    ) -> None:
        s3.put_object(Bucket=bucket.name, Key=key, Body=picture())
        assert pipeline.process(key) is Outcome.READY
        assert pipeline.process(key) is Outcome.UNCHANGED
        record = assert_ready(catalogue, bucket, keys.record_id(key))
        assert record.filename == filename
        assert catalogue.page(10, None).records == [record]

    def test_metadata_that_looks_like_ours_is_not_believed(
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, s3: "S3Client"
    ) -> None:
        forged = {"filename": "Zm9yZ2Vk", "created": "1"}
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(), Metadata=forged)
        pipeline.process(CLIENTS_KEY)
        record = assert_ready(catalogue, bucket, keys.record_id(CLIENTS_KEY))
        assert record.filename == "red+flower & ü.jpg"
        assert record.created_ms > 1

    def test_again_with_other_content_replaces_the_thumbnail(
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, s3: "S3Client"
    ) -> None:
        record_id = keys.record_id(CLIENTS_KEY)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        pipeline.process(CLIENTS_KEY)
        first = assert_ready(catalogue, bucket, record_id)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(400, 400))
        assert pipeline.process(CLIENTS_KEY) is Outcome.READY
        second = assert_ready(catalogue, bucket, record_id)
        assert (second.created_ms, second.original_size) == (first.created_ms, len(picture(400, 400)))
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=b"broken")
        assert pipeline.process(CLIENTS_KEY) is Outcome.FAILED
        assert keys_in(bucket, "thumbnails/") == []

    def test_again_after_a_removal_is_a_new_picture(
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, s3: "S3Client"
    ) -> None:
        record_id = keys.record_id(CLIENTS_KEY)
        for _ in range(3):
            s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
            assert pipeline.process(CLIENTS_KEY) is Outcome.READY
            assert_ready(catalogue, bucket, record_id)
            assert remove(catalogue, bucket, record_id)
            assert_nothing_left(catalogue, bucket, record_id)


STEPS = [("GetObject", just_before), ("GetObject", just_after), ("PutObject", just_before)]
STEPS += [("PutObject", just_after), ("HeadObject", just_before), ("HeadObject", just_after)]
STEP_NAMES = ["before read", "after read", "before store", "after store", "before check", "after check"]
Hook = Callable[[Bucket, str, Callable[[], object]], None]


@pytest.mark.parametrize(("operation", "hook"), STEPS, ids=STEP_NAMES)
class TestMeanwhile:
    """At each step of a run, something else happens."""

    @pytest.mark.parametrize("key", [None, CLIENTS_KEY], ids=["upload", "client's key"])
    @pytest.mark.parametrize("content", [picture(), picture()[:300]], ids=["good", "broken"])
    def test_it_is_deleted(
        self,
        pipeline: Pipeline,
        other: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
        key: str | None,
        content: bytes,
    ) -> None:
        if key is None:
            key = uploaded(catalogue, bucket, content).object_key
        else:
            s3.put_object(Bucket=bucket.name, Key=key, Body=content)
        record_id = keys.record_id(key)
        was_there: list[bool] = []
        hook(bucket, operation, lambda: was_there.append(remove(catalogue, other.bucket, record_id)))
        pipeline.process(key)
        if was_there != [True]:
            # Before a client's object has been read, there is no record that could be deleted; and a
            # broken picture has no store step.
            assert key == CLIENTS_KEY or content != picture()
            assert remove(catalogue, bucket, record_id)
        for _ in range(2):  # and the event comes again, late
            assert pipeline.process(key) in {Outcome.DELETED, Outcome.ABSENT}
            assert_nothing_left(catalogue, bucket, record_id)

    def test_the_same_event_is_handled_as_well(
        self,
        pipeline: Pipeline,
        other: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        operation: str,
        hook: Hook,
    ) -> None:
        record = uploaded(catalogue, bucket)
        hook(bucket, operation, lambda: other.process(record.object_key))
        assert pipeline.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
        assert_ready(catalogue, bucket, record.id)

    def test_the_object_is_replaced(
        self,
        pipeline: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
    ) -> None:
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        newer = picture(500, 100)
        hook(bucket, operation, lambda: s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=newer))
        pipeline.process(CLIENTS_KEY)
        if (operation, hook) == ("HeadObject", just_after):
            pipeline.process(CLIENTS_KEY)  # too late for this run; the replacement has an event of its own
        assert assert_ready(catalogue, bucket, keys.record_id(CLIENTS_KEY)).original_size == len(newer)

    def test_the_object_is_replaced_and_the_newer_event_overtakes(
        self,
        pipeline: Pipeline,
        other: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
    ) -> None:
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        newer = picture(500, 100)

        def overtake() -> None:
            s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=newer)
            other.process(CLIENTS_KEY)

        hook(bucket, operation, overtake)
        pipeline.process(CLIENTS_KEY)
        assert assert_ready(catalogue, bucket, keys.record_id(CLIENTS_KEY)).original_size == len(newer)

    def test_it_is_deleted_and_put_again(
        self,
        pipeline: Pipeline,
        other: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
    ) -> None:
        newer = picture(500, 100)
        record_id = keys.record_id(CLIENTS_KEY)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        pipeline.process(CLIENTS_KEY)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(200, 100))

        def swap() -> None:
            assert remove(catalogue, other.bucket, record_id)
            s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=newer)

        hook(bucket, operation, swap)
        pipeline.process(CLIENTS_KEY)
        pipeline.process(CLIENTS_KEY)  # the event of the object that was put again
        assert assert_ready(catalogue, bucket, record_id).original_size == len(newer)

    def test_redis_forgets_everything(
        self,
        pipeline: Pipeline,
        catalogue: Catalogue,
        bucket: Bucket,
        redis_server: "redis.Redis",
        operation: str,
        hook: Hook,
    ) -> None:
        record = uploaded(catalogue, bucket)
        hook(bucket, operation, redis_server.flushall)
        pipeline.process(record.object_key)
        if operation == "HeadObject":
            assert catalogue.find(record.id) is None  # the run had ended: this is for a rebuild to mend
            pipeline.process(record.object_key)
        # What Redis has forgotten, nobody can name: a thumbnail of before is for a sweep to find.
        mended = assert_ready(catalogue, bucket, record.id, abandoned=1)
        assert (mended.filename, mended.created_ms) == (record.filename, record.created_ms)

    def test_it_dies_there_and_the_event_comes_again(
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, operation: str, hook: Hook
    ) -> None:
        record = uploaded(catalogue, bucket)

        def die() -> None:
            raise KeyboardInterrupt

        hook(bucket, operation, die)
        with pytest.raises(KeyboardInterrupt):
            pipeline.process(record.object_key)
        assert pipeline.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
        assert_ready(catalogue, bucket, record.id)

    def test_it_dies_there_and_is_deleted_before_the_event_comes_again(
        self, pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, operation: str, hook: Hook
    ) -> None:
        record = uploaded(catalogue, bucket)

        def die() -> None:
            raise KeyboardInterrupt

        hook(bucket, operation, die)
        with pytest.raises(KeyboardInterrupt):
            pipeline.process(record.object_key)
        assert remove(catalogue, bucket, record.id)
        pipeline.process(record.object_key)
        assert_nothing_left(catalogue, bucket, record.id)


def test_a_stored_thumbnail_of_a_deleted_record_goes_with_the_repeated_event(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket
) -> None:
    """Deleted while the thumbnail was on its way, and the run died before it could notice."""
    record = uploaded(catalogue, bucket)

    def die() -> None:
        raise KeyboardInterrupt

    just_before(bucket, "PutObject", lambda: remove(catalogue, bucket, record.id))
    just_after(bucket, "PutObject", die)
    with pytest.raises(KeyboardInterrupt):
        pipeline.process(record.object_key)
    assert keys_in(bucket) != []
    assert pipeline.process(record.object_key) is Outcome.DELETED
    assert_nothing_left(catalogue, bucket, record.id)


@pytest.mark.parametrize("first", [True, False], ids=["over a ready one", "over a pending one"])
@pytest.mark.parametrize("operation", ["DeleteObjects", "PutObject"])
def test_an_earlier_version_that_comes_back_keeps_its_thumbnail(
    pipeline: Pipeline,
    other: Pipeline,
    catalogue: Catalogue,
    bucket: Bucket,
    s3: "S3Client",
    operation: str,
    first: bool,
) -> None:
    """A slow run must not take away what belongs to the same content, put again."""
    versions = [picture(seed=1), picture(seed=2)]

    def put(number: int) -> None:
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=versions[number])

    def put_and_process(number: int) -> None:
        put(number)
        other.process(CLIENTS_KEY)

    put(0)
    if first:
        pipeline.process(CLIENTS_KEY)
        put(1)
        just_before(bucket, operation, lambda: put_and_process(0))
    else:
        just_before(bucket, "PutObject", lambda: put_and_process(1))
        just_before(bucket, "DeleteObjects", lambda: put_and_process(0))
    pipeline.process(CLIENTS_KEY)
    assert_ready(catalogue, bucket, keys.record_id(CLIENTS_KEY))


def test_a_version_that_came_while_another_was_half_stored(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, s3: "S3Client"
) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=1))
    just_after(bucket, "PutObject", die)
    with pytest.raises(KeyboardInterrupt):
        pipeline.process(CLIENTS_KEY)
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=2))
    assert pipeline.process(CLIENTS_KEY) is Outcome.READY
    record_id = keys.record_id(CLIENTS_KEY)
    assert_ready(catalogue, bucket, record_id)
    assert remove(catalogue, bucket, record_id)
    assert_nothing_left(catalogue, bucket, record_id)


def test_a_clients_object_that_came_after_a_removal_that_stopped_half_way_is_kept(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, s3: "S3Client"
) -> None:
    record_id = keys.record_id(CLIENTS_KEY)
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=1))
    pipeline.process(CLIENTS_KEY)
    half_removed = catalogue.start_removal(record_id, Which.ANY)
    assert half_removed is not None
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=2))
    with pytest.raises(OriginalUnsettled):
        pipeline.process(CLIENTS_KEY)
    assert keys_in(bucket, "originals/") == [CLIENTS_KEY]
    assert catalogue.finish_removal(record_id, "tombstone")
    assert pipeline.process(CLIENTS_KEY) is Outcome.READY
    assert_ready(catalogue, bucket, record_id, abandoned=1)


def test_an_index_entry_that_came_after_the_removal_goes(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, redis_server: "redis.Redis"
) -> None:
    """A run lists its record again, in case whoever made it died before that; a removal may come between."""
    record = uploaded(catalogue, bucket)
    entries: Any = redis_server.zrange(keys.INDEX, 0, -1)

    def remove_and_list_again() -> None:
        assert remove(catalogue, bucket, record.id)
        redis_server.zadd(keys.INDEX, dict.fromkeys(entries, 0))

    just_before(bucket, "PutObject", remove_and_list_again)
    pipeline.process(record.object_key)
    assert redis_server.zcard(keys.INDEX) == 0
    assert_nothing_left(catalogue, bucket, record.id)


def test_a_removal_that_stopped_half_way_is_finished_by_the_event(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket
) -> None:
    record = uploaded(catalogue, bucket)
    pipeline.process(record.object_key)
    catalogue.start_removal(record.id, Which.ANY)
    assert pipeline.process(record.object_key) is Outcome.DELETED
    assert_nothing_left(catalogue, bucket, record.id)
    assert remove(catalogue, bucket, record.id), "the client may still finish its own removal"


def test_an_upload_comes_back_by_no_event_however_often_it_is_put(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket
) -> None:
    record = uploaded(catalogue, bucket)
    assert remove(catalogue, bucket, record.id)
    bucket.put(record.object_key, picture(), content_type="x/x", metadata=record.original_metadata())
    assert pipeline.process(record.object_key) is Outcome.DELETED
    assert_nothing_left(catalogue, bucket, record.id)


def test_an_original_that_was_taken_away_does_not_leave_its_record_pending(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket
) -> None:
    record = uploaded(catalogue, bucket)
    bucket.delete(record.object_key)
    assert pipeline.process(record.object_key) is Outcome.FAILED
    failed = catalogue.get(record.id)
    assert failed is not None
    assert "removed" in str(failed.error)


def test_an_event_of_nothing(pipeline: Pipeline, redis_server: "redis.Redis") -> None:
    assert pipeline.process(CLIENTS_KEY) is Outcome.ABSENT
    assert redis_server.dbsize() == 0


def test_an_original_that_never_rests_is_left_for_a_retry(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, s3: "S3Client"
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
    with pytest.raises(OriginalUnsettled):
        pipeline.process(CLIENTS_KEY)


@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "HeadObject"])
def test_a_failure_of_s3_is_left_for_a_retry(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, operation: str
) -> None:
    record = uploaded(catalogue, bucket)

    def fail() -> None:
        raise BucketUnavailable

    just_before(bucket, operation, fail)
    with pytest.raises(BucketUnavailable):
        pipeline.process(record.object_key)
    state = catalogue.get(record.id)
    assert state is not None
    assert state.state is not State.FAILED
    pipeline.process(record.object_key)
    assert_ready(catalogue, bucket, record.id)


@pytest.mark.parametrize("commands_before", range(3))
def test_a_failure_of_redis_is_left_for_a_retry(
    pipeline: Pipeline, catalogue: Catalogue, bucket: Bucket, redis_url: str, commands_before: int
) -> None:
    record = uploaded(catalogue, bucket)
    address = urlsplit(redis_url)
    with Proxy(str(address.hostname), int(address.port or 0)) as proxy:
        behind = Catalogue(redis_client(f"redis://127.0.0.1:{proxy.port}", timeout=1))
        behind.ping()
        proxy.become(Mode.CUT, after_requests=commands_before)
        shaky = Pipeline(behind, bucket, pipeline.spec, pipeline.max_bytes, pipeline.max_pixels)
        with pytest.raises(CatalogueUnavailable):
            shaky.process(record.object_key)
        proxy.become(Mode.OPEN)
        assert shaky.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
    assert_ready(catalogue, bucket, record.id)
