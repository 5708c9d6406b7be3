"""What the reconciler mends, what it leaves alone, and that it goes on where it stopped."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import keys, reconcile
from chalicelib.bucket import Bucket
from chalicelib.catalogue import IN_FLIGHT_MS, TOMBSTONE_SECONDS, Catalogue, Due, Which
from chalicelib.clients import s3_client
from chalicelib.errors import BucketUnavailable, TriedTooOften
from chalicelib.intake import Intake
from chalicelib.pipeline import Outcome, Pipeline
from chalicelib.reconcile import BUCKET_EVERY_MS, MOST_TRIES, RECORDS_EVERY_MS, Reconciler
from chalicelib.record import Record, State
from chalicelib.removal import remove
from chalicelib.upload import Upload
from tests.conftest import SettableClock, just_before, keys_in, picture

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

CLIENTS_KEY = "originals/holiday 2026/red+flower & ü.jpg"
LATE = {"ms": IN_FLIGHT_MS + 1000}


@pytest.fixture
def intake(catalogue: Catalogue, bucket: Bucket, clock: SettableClock) -> Intake:
    return Intake(catalogue, bucket, clock, retention=0)


@pytest.fixture
def reconciler(pipeline: Pipeline, clock: SettableClock) -> Reconciler:
    return Reconciler(pipeline.catalogue, pipeline.bucket, pipeline, clock, time_is_up=lambda: False)


def stored(intake: Intake, content: bytes | None = None, name: str = "a.jpg") -> Record:
    return intake.store(Upload(name, picture() if content is None else content))


def put(bucket: Bucket, key: str, content: bytes) -> None:
    bucket.put(key, content, content_type="image/jpeg")


def state_of(catalogue: Catalogue, record_id: str) -> State | None:
    record = catalogue.find(record_id)
    return None if record is None else record.state


def due(redis_server: "redis.Redis") -> dict[str, float]:
    found: Any = redis_server.zrange(keys.DUE, 0, -1, withscores=True)
    return dict(found)


class TestSweep:
    def test_a_lost_event_is_made_up_for(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock, redis_server: "redis.Redis"
    ) -> None:
        record = stored(intake)
        assert reconciler.sweep() == {}, "it may still be in flight"
        clock.advance(**LATE)
        assert reconciler.sweep() == {"driven again: ready": 1}
        assert state_of(intake.catalogue, record.id) is State.READY
        clock.advance(**LATE)
        assert reconciler.sweep() == {}
        assert due(redis_server) == {}

    def test_a_picture_that_kills_whoever_takes_it_up_ends_with_an_error(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Killed(BaseException):
            pass

        def die(*_: object, **__: object) -> None:
            raise Killed

        poison, good = stored(intake), stored(intake)
        tries = 0
        clock.advance(**LATE)
        with monkeypatch.context() as patch:
            patch.setattr("chalicelib.pipeline.make_thumbnail", die)
            while state_of(intake.catalogue, poison.id) is State.PENDING:
                for _ in range(2):
                    try:
                        reconciler.sweep()
                    except Killed:
                        tries += 1
                clock.advance(**LATE)
        assert tries == 2 * MOST_TRIES
        for record in (poison, good):
            failed = intake.catalogue.get(record.id)
            assert failed is not None
            assert failed.error == str(TriedTooOften())

    def test_one_that_kills_does_not_keep_others_waiting(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock
    ) -> None:
        poison = stored(intake)
        clock.advance(ms=10)
        good = stored(intake)
        clock.advance(**LATE)

        class Killed(BaseException):
            pass

        def die() -> None:
            raise Killed

        just_before(reconciler.bucket, "GetObject", die)
        with pytest.raises(Killed):
            reconciler.sweep()
        assert reconciler.sweep() == {"driven again: ready": 1}
        assert state_of(intake.catalogue, good.id) is State.READY
        assert state_of(intake.catalogue, poison.id) is State.PENDING

    def test_an_upload_that_died_before_its_original_came_is_forgotten(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock, redis_server: "redis.Redis"
    ) -> None:
        just_before(intake.bucket, "PutObject", die := _Died())
        with pytest.raises(_Died):
            stored(intake)
        assert die.raised
        clock.advance(**LATE)
        assert reconciler.sweep() == {"dead uploads forgotten": 1}
        assert intake.catalogue.page(10, None).records == []
        clock.advance(**LATE)
        reconciler.sweep()
        assert redis_server.keys() == []

    def test_a_removal_that_stopped_half_way_is_finished(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock, pipeline: Pipeline
    ) -> None:
        record = stored(intake)
        pipeline.process(record.object_key)
        just_before(intake.bucket, "DeleteObjects", _Died())
        with pytest.raises(_Died):
            remove(intake.catalogue, intake.bucket, record.id, Which.ALIVE)
        assert reconciler.sweep() == {}, "the request may still be running"
        clock.advance(**LATE)
        assert reconciler.sweep() == {"removals finished": 1}
        assert keys_in(intake.bucket) == []
        assert state_of(intake.catalogue, record.id) is State.DELETED

    @pytest.mark.parametrize(
        "content", [picture(), picture()[:300], None], ids=["ready", "failed", "pending"]
    )
    def test_a_picture_whose_time_is_over_goes(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        pipeline: Pipeline,
        content: bytes | None,
    ) -> None:
        record = stored(replace(intake, retention=100), content)
        if content is not None:
            pipeline.process(record.object_key)
        assert record.expires_ms is not None
        clock.advance(ms=record.expires_ms - clock() - 500)
        assert intake.catalogue.get(record.id) is not None
        assert reconciler.sweep() == {}
        clock.advance(ms=500)
        assert intake.catalogue.get(record.id) is None
        assert reconciler.sweep() == {"expired": 1}
        assert keys_in(intake.bucket) == []
        assert pipeline.process(record.object_key) is Outcome.DELETED, "a late event changes nothing"

    def test_a_long_retention_is_looked_at_once_in_between(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        pipeline: Pipeline,
        redis_server: "redis.Redis",
    ) -> None:
        record = stored(replace(intake, retention=100_000))
        pipeline.process(record.object_key)
        clock.advance(**LATE)
        reconciler.sweep()
        assert due(redis_server) == {record.id: record.expires_ms}

    def test_a_clients_new_object_outlives_the_end_of_the_old_one(
        self, reconciler: Reconciler, clock: SettableClock, pipeline: Pipeline, s3: "S3Client"
    ) -> None:
        short = replace(pipeline, retention=1)
        reconciler = replace(reconciler, pipeline=short)
        put(pipeline.bucket, CLIENTS_KEY, picture())
        short.process(CLIENTS_KEY)
        clock.advance(seconds=10)
        other = picture(64, 64)
        just_before(
            pipeline.bucket,
            "DeleteObject",
            lambda: s3.put_object(Bucket=pipeline.bucket.name, Key=CLIENTS_KEY, Body=other),
        )
        assert reconciler.sweep() == {"expired": 1}
        assert keys_in(pipeline.bucket) == [CLIENTS_KEY]
        assert replace(pipeline, retention=1000).process(CLIENTS_KEY) is Outcome.READY

    def test_an_entry_that_somebody_has_moved_meanwhile_stays(
        self, catalogue: Catalogue, clock: SettableClock, redis_server: "redis.Redis"
    ) -> None:
        redis_server.zadd(keys.DUE, {"a": 1, "b": 2})
        seen = catalogue.due(10)
        assert seen == [Due("a", 1), Due("b", 2)]
        redis_server.zadd(keys.DUE, {"a": 5})
        catalogue.settle([(seen[0], None), (seen[1], 7)])
        assert due(redis_server) == {"a": 5, "b": 7}

    def test_many_are_dealt_with_in_one_run(
        self, reconciler: Reconciler, clock: SettableClock, redis_server: "redis.Redis"
    ) -> None:
        redis_server.zadd(keys.DUE, {keys.new_id(): number for number in range(1, 2000)})
        reconciler.sweep()
        assert due(redis_server) == {}

    def test_it_stops_when_its_time_is_up(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock
    ) -> None:
        for _ in range(3):
            stored(intake)
        clock.advance(**LATE)
        asked: Iterator[bool] = iter([False, False, True, True, True])
        assert replace(reconciler, time_is_up=lambda: next(asked)).sweep() == {"driven again: ready": 1}
        assert reconciler.sweep() == {"driven again: ready": 2}

    def test_one_object_that_s3_refuses_holds_up_nothing(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock
    ) -> None:
        for _ in range(3):
            stored(intake)
        clock.advance(**LATE)
        just_before(reconciler.bucket, "GetObject", _Died(BucketUnavailable))
        assert reconciler.sweep() == {"put off": 1, "driven again: ready": 2}
        clock.advance(**LATE)
        assert reconciler.sweep() == {"driven again: ready": 1}

    def test_when_s3_is_away_it_gives_up_soon_and_loses_nothing(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock
    ) -> None:
        records = [stored(intake) for _ in range(8)]
        clock.advance(**LATE)
        for skip in range(8):
            just_before(reconciler.bucket, "HeadObject", _Died(BucketUnavailable), skip=skip)
        with pytest.raises(BucketUnavailable):
            reconciler.sweep()
        clock.advance(**LATE)
        for _ in range(2):
            try:
                reconciler.sweep()
            except BucketUnavailable:
                clock.advance(**LATE)
        assert {state_of(intake.catalogue, record.id) for record in records} == {State.READY}


class _Died(BaseException):
    """An action that raises: itself, or an error of the product."""

    def __init__(self, error: Callable[[], Exception] | None = None) -> None:
        super().__init__()
        self._error = error
        self.raised = False

    def __call__(self) -> None:
        self.raised = True
        raise self._error() if self._error else self


class TestAudit:
    def test_an_object_whose_event_was_lost_gets_its_record(
        self, reconciler: Reconciler, clock: SettableClock, catalogue: Catalogue
    ) -> None:
        put(reconciler.bucket, CLIENTS_KEY, picture())
        assert reconciler.audit()["records restored"] == 1
        assert state_of(catalogue, keys.record_id(CLIENTS_KEY)) is State.PENDING
        clock.advance(**LATE)
        assert reconciler.sweep() == {"driven again: ready": 1}

    def test_a_new_version_whose_event_was_lost_is_taken_up(
        self, reconciler: Reconciler, clock: SettableClock, catalogue: Catalogue, pipeline: Pipeline
    ) -> None:
        put(reconciler.bucket, CLIENTS_KEY, picture())
        pipeline.process(CLIENTS_KEY)
        put(reconciler.bucket, CLIENTS_KEY, picture(64, 64))
        clock.advance(**LATE)
        assert reconciler.audit()["originals taken up"] == 1
        clock.advance(**LATE)
        assert reconciler.sweep() == {"driven again: ready": 1}
        record = catalogue.get(keys.record_id(CLIENTS_KEY))
        assert record is not None
        assert record.original_size == len(picture(64, 64))
        assert len(keys_in(reconciler.bucket)) == 2

    def test_a_clients_key_that_came_back_after_its_removal_is_taken_up(
        self, reconciler: Reconciler, clock: SettableClock, catalogue: Catalogue, pipeline: Pipeline
    ) -> None:
        put(reconciler.bucket, CLIENTS_KEY, picture())
        pipeline.process(CLIENTS_KEY)
        remove(catalogue, reconciler.bucket, keys.record_id(CLIENTS_KEY), Which.ALIVE)
        put(reconciler.bucket, CLIENTS_KEY, picture())
        clock.advance(**LATE)
        assert reconciler.audit()["originals taken up"] == 1
        clock.advance(**LATE)
        reconciler.sweep()
        assert state_of(catalogue, keys.record_id(CLIENTS_KEY)) is State.READY

    def test_an_upload_that_landed_after_its_removal_goes(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock
    ) -> None:
        record = stored(intake)
        remove(intake.catalogue, intake.bucket, record.id, Which.ALIVE)
        intake.bucket.put(
            record.object_key, picture(), content_type="x/x", metadata=record.original_metadata()
        )
        assert reconciler.audit()["originals removed"] == 0
        clock.advance(ms=RECORDS_EVERY_MS)
        assert reconciler.audit()["originals removed"] == 1
        assert keys_in(intake.bucket) == []
        assert state_of(intake.catalogue, record.id) is State.DELETED

    def test_thumbnails_that_no_record_names_go_when_they_are_old(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock, pipeline: Pipeline
    ) -> None:
        record = stored(intake)
        pipeline.process(record.object_key)
        lost = keys.thumbnail(record.id, keys.new_thumbnail("of-another-version"))
        nobodys = keys.thumbnail(keys.new_id(), keys.new_thumbnail("e"))
        others = "thumbnails/readme.txt"
        for key in (lost, nobodys, others):
            put(intake.bucket, key, b"x")
        before = keys_in(intake.bucket)
        counts = reconciler.audit()
        assert (counts["thumbnails removed"], counts["in flight"]) == (0, 1)
        assert keys_in(intake.bucket) == before
        clock.advance(ms=RECORDS_EVERY_MS)
        assert reconciler.audit()["thumbnails removed"] == 2
        assert keys_in(intake.bucket) == sorted(set(before) - {lost, nobodys})

    @pytest.mark.parametrize("content", [picture(), picture()[:300]], ids=["ready", "failed"])
    def test_a_record_of_which_nothing_is_left_goes(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        pipeline: Pipeline,
        content: bytes,
    ) -> None:
        record = stored(intake, content)
        pipeline.process(record.object_key)
        intake.bucket.delete(*keys_in(intake.bucket))
        assert reconciler.audit()["records removed"] == 0
        clock.advance(ms=RECORDS_EVERY_MS)
        assert reconciler.audit()["records removed"] == 1
        assert intake.catalogue.page(10, None).records == []

    def test_a_lost_thumbnail_is_made_again(
        self, reconciler: Reconciler, intake: Intake, clock: SettableClock, pipeline: Pipeline
    ) -> None:
        record = stored(intake)
        pipeline.process(record.object_key)
        before = intake.catalogue.get(record.id)
        intake.bucket.delete(*keys_in(intake.bucket, "thumbnails/"))
        clock.advance(**LATE)
        assert reconciler.audit()["thumbnails to be made again"] == 1
        assert reconciler.sweep() == {"driven again: ready": 1}
        assert intake.catalogue.get(record.id) == before

    def test_a_picture_that_is_whole_stays_as_it_is(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        pipeline: Pipeline,
        redis_server: "redis.Redis",
    ) -> None:
        record = stored(intake)
        pipeline.process(record.object_key)
        clock.advance(**LATE)
        reconciler.sweep()
        before, objects = redis_server.hgetall(keys.record(record.id)), keys_in(intake.bucket)
        seen = {"originals seen": 1, "thumbnails seen": 1, "records seen": 1}
        assert reconciler.audit() == seen
        assert redis_server.hgetall(keys.record(record.id)) == before
        assert keys_in(intake.bucket) == objects
        assert due(redis_server) == {}

    def test_what_index_and_due_have_lost_they_get_back(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        pipeline: Pipeline,
        redis_server: "redis.Redis",
    ) -> None:
        """In a cluster each of the two is a key of its own, on a node of its own."""
        ready, pending = stored(intake), stored(intake)
        pipeline.process(ready.object_key)
        expected = intake.catalogue.page(10, None)
        redis_server.delete(keys.INDEX, keys.DUE)
        reconciler.audit()
        assert intake.catalogue.page(10, None) == expected
        assert set(due(redis_server)) == {pending.id}

    def test_index_entries_without_a_record_go_when_they_are_old(
        self, reconciler: Reconciler, catalogue: Catalogue, clock: SettableClock, redis_server: "redis.Redis"
    ) -> None:
        redis_server.zadd(keys.INDEX, {f"{clock():013d}:{keys.new_id()}": 0})
        assert reconciler.audit()["index entries removed"] == 0
        clock.advance(ms=RECORDS_EVERY_MS)
        assert reconciler.audit()["index entries removed"] == 1
        assert redis_server.zcard(keys.INDEX) == 0

    def test_it_walks_when_it_is_time_and_goes_on_where_it_stopped(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("chalicelib.bucket.PAGE", 2)
        monkeypatch.setattr(reconcile, "_PAGE", 2)
        for _ in range(5):
            stored(intake)
        stopping = replace(reconciler, time_is_up=lambda: True)
        seen = [stopping.audit() for _ in range(8)]
        assert [counts["originals seen"] for counts in seen] == [2, 2, 1, 0, 0, 0, 0, 0]
        assert [counts["records seen"] for counts in seen] == [0, 0, 0, 0, 2, 2, 1, 0]
        assert reconciler.audit() == {}, "the walks are done"
        clock.advance(ms=BUCKET_EVERY_MS)
        day = reconciler.audit()
        assert (day["originals seen"], day["records seen"]) == (5, 0)
        clock.advance(ms=RECORDS_EVERY_MS)
        week = reconciler.audit()
        assert (week["originals seen"], week["records seen"]) == (5, 5)

    def test_the_index_is_walked_once_where_a_page_is_full(
        self, reconciler: Reconciler, intake: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reconcile, "_PAGE", 2)
        for _ in range(4):
            stored(intake)
        assert reconciler.audit()["records seen"] == 4


class TestOriginalsAreNotKept:
    @pytest.fixture
    def pipeline(self, pipeline: Pipeline) -> Pipeline:
        return replace(pipeline, keep_originals=False)

    def test_the_original_goes_last(self, intake: Intake, pipeline: Pipeline) -> None:
        record = stored(intake)
        assert pipeline.process(record.object_key) is Outcome.READY
        (left,) = keys_in(intake.bucket)
        assert left.startswith("thumbnails/")
        assert pipeline.process(record.object_key) is Outcome.ABSENT
        assert state_of(intake.catalogue, record.id) is State.READY
        assert remove(intake.catalogue, intake.bucket, record.id, Which.ALIVE) is not None
        assert keys_in(intake.bucket) == []

    def test_that_of_a_picture_that_failed_stays(self, intake: Intake, pipeline: Pipeline) -> None:
        record = stored(intake, picture()[:300])
        assert pipeline.process(record.object_key) is Outcome.FAILED
        assert keys_in(intake.bucket) == [record.object_key]

    def test_a_version_that_came_meanwhile_is_not_removed_unseen(
        self, pipeline: Pipeline, s3: "S3Client", catalogue: Catalogue
    ) -> None:
        put(pipeline.bucket, CLIENTS_KEY, picture())
        newer = picture(64, 64)
        just_before(
            pipeline.bucket,
            "DeleteObject",
            lambda: s3.put_object(Bucket=pipeline.bucket.name, Key=CLIENTS_KEY, Body=newer),
        )
        assert pipeline.process(CLIENTS_KEY) is Outcome.READY
        record = catalogue.get(keys.record_id(CLIENTS_KEY))
        assert record is not None
        assert record.original_size == len(newer)
        assert len(keys_in(pipeline.bucket)) == 1

    def test_one_that_was_left_by_a_run_that_died_goes_with_the_audit(
        self, reconciler: Reconciler, intake: Intake, pipeline: Pipeline, clock: SettableClock
    ) -> None:
        record = stored(intake)
        just_before(pipeline.bucket, "DeleteObject", _Died())
        with pytest.raises(_Died):
            pipeline.process(record.object_key)
        clock.advance(**LATE)
        assert reconciler.audit()["originals removed"] == 1
        assert state_of(intake.catalogue, record.id) is State.READY

    def test_originals_of_before_the_change_stay(
        self, reconciler: Reconciler, intake: Intake, pipeline: Pipeline, clock: SettableClock
    ) -> None:
        """Their thumbnails do not say that they stand alone, so a rebuild would take them for nobody's."""
        record = stored(intake)
        replace(pipeline, keep_originals=True).process(record.object_key)
        clock.advance(**LATE)
        assert reconciler.audit()["originals removed"] == 0
        assert len(keys_in(intake.bucket)) == 2


class TestRebuild:
    def make_some(self, intake: Intake, pipeline: Pipeline, clock: SettableClock) -> list[Record]:
        """Pictures of every kind, each a moment after the other."""
        lasting = replace(intake, retention=1000)
        records = [stored(intake, name="é🌍.png"), stored(lasting), stored(intake, picture()[:300])]
        records += [lasting.store_once(Upload("once.jpg", picture(seed=5)), "key")]
        for record in records:
            pipeline.process(record.object_key)
        put(intake.bucket, CLIENTS_KEY, picture(seed=1))
        replace(pipeline, retention=2000).process(CLIENTS_KEY)
        clock.advance(ms=5)
        stored(intake)
        return intake.catalogue.page(100, None).records

    @pytest.mark.parametrize("keep_originals", [True, False])
    def test_everything_is_as_it_was(
        self,
        reconciler: Reconciler,
        intake: Intake,
        pipeline: Pipeline,
        clock: SettableClock,
        redis_server: "redis.Redis",
        keep_originals: bool,
    ) -> None:
        pipeline = replace(pipeline, keep_originals=keep_originals)
        reconciler = replace(reconciler, pipeline=pipeline)
        before = self.make_some(intake, pipeline, clock)
        assert len(before) == 6
        redis_server.flushall()
        counts, done = reconciler.rebuild()
        assert done
        assert counts["records restored"] == 6
        after = intake.catalogue.page(100, None).records
        assert [record.id for record in after] == [record.id for record in before]
        for was, now in zip(before, after, strict=True):
            if was.state is State.FAILED:
                assert now.state is State.PENDING, "it fails again when it is driven"
            else:
                assert now.as_json() == was.as_json()
                assert now.fingerprint == was.fingerprint
        clock.advance(**LATE)
        reconciler.sweep()
        shown = {record.id: record.as_json() for record in before}
        pending = next(record.id for record in before if record.state is State.PENDING)
        for record in intake.catalogue.page(100, None).records:
            if record.id != pending:
                assert record.as_json() == shown[record.id]
            else:
                assert record.state is State.READY
        # Ends are known again, too.
        clock.advance(seconds=3000)
        assert reconciler.sweep()["expired"] == 3

    def test_it_goes_on_where_it_stopped_and_starts_again_when_it_is_done(
        self,
        reconciler: Reconciler,
        intake: Intake,
        redis_server: "redis.Redis",
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("chalicelib.bucket.PAGE", 2)
        for _ in range(5):
            stored(intake)
        redis_server.flushall()
        stopping = replace(reconciler, time_is_up=lambda: True)
        runs = [stopping.rebuild() for _ in range(4)]
        assert [counts["records restored"] for counts, _ in runs] == [2, 2, 1, 0]
        assert [done for _, done in runs] == [False, False, False, True]
        redis_server.flushall()
        assert reconciler.rebuild()[0]["records restored"] == 5

    def test_what_was_left_long_ago_is_begun_anew(
        self,
        reconciler: Reconciler,
        intake: Intake,
        clock: SettableClock,
        redis_server: "redis.Redis",
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("chalicelib.bucket.PAGE", 2)
        lost = [stored(intake) for _ in range(5)]
        replace(reconciler, time_is_up=lambda: True).rebuild()
        clock.advance(ms=BUCKET_EVERY_MS)
        redis_server.delete(*(keys.record(record.id) for record in lost))
        assert reconciler.rebuild()[0]["records restored"] == 5

    def test_new_records_come_and_go_while_it_runs(
        self, reconciler: Reconciler, intake: Intake, pipeline: Pipeline, redis_server: "redis.Redis"
    ) -> None:
        old = [stored(intake) for _ in range(3)]
        for record in old:
            pipeline.process(record.object_key)
        redis_server.flushall()
        made: list[Record] = []

        def work() -> None:
            other = replace(intake, bucket=Bucket(s3_client(timeout=5, attempts=1), intake.bucket.name))
            made.extend(stored(other) for _ in range(2))
            pipeline.process(made[0].object_key)
            remove(intake.catalogue, other.bucket, made[1].id, Which.ALIVE)

        just_before(intake.bucket, "ListObjectsV2", work, skip=1)
        _, done = reconciler.rebuild()
        assert done
        assert {record.id for record in intake.catalogue.page(10, None).records} == {
            *(record.id for record in old),
            made[0].id,
        }

    def test_a_picture_that_is_deleted_while_it_runs_stays_deleted(
        self, reconciler: Reconciler, intake: Intake, pipeline: Pipeline, redis_server: "redis.Redis"
    ) -> None:
        record = stored(intake)
        pipeline.process(record.object_key)
        # The listing has been read, with the record there; then it is deleted, tombstone and all.
        other = Bucket(s3_client(timeout=5, attempts=1), intake.bucket.name)
        just_before(
            intake.bucket,
            "HeadObject",
            lambda: (
                intake.catalogue.begin(replace(record, etag="e", thumbnail="e-1")),
                remove(intake.catalogue, other, record.id, Which.ALIVE),
            ),
        )
        redis_server.flushall()
        reconciler.rebuild()
        assert intake.catalogue.get(record.id) is None
        assert state_of(intake.catalogue, record.id) is State.DELETED
        assert redis_server.ttl(keys.record(record.id)) > TOMBSTONE_SECONDS - 60

    def test_a_thumbnail_of_an_older_version_is_not_taken_for_the_new_one(
        self,
        reconciler: Reconciler,
        intake: Intake,
        pipeline: Pipeline,
        redis_server: "redis.Redis",
        clock: SettableClock,
    ) -> None:
        put(intake.bucket, CLIENTS_KEY, picture())
        pipeline.process(CLIENTS_KEY)
        put(intake.bucket, CLIENTS_KEY, picture(64, 64))
        redis_server.flushall()
        reconciler.rebuild()
        assert state_of(intake.catalogue, keys.record_id(CLIENTS_KEY)) is State.PENDING
        assert pipeline.process(CLIENTS_KEY) is Outcome.READY
        assert len(keys_in(intake.bucket)) == 2
