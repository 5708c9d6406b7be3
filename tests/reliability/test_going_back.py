"""A Redis that went back in time: which run of the reconciler heals what; nothing good is destroyed.

A real primary and its replica, or a server and its snapshot, lose what was answered. Pictures that are older
than the in-flight time (15 minutes) heal with the next run of the reconciler, five minutes later at most;
what is younger is left alone until a change of it can no longer be in progress.
"""

from collections.abc import Iterator

import pytest
import redis as redis_py

from chalicelib import naming, services, triggers
from chalicelib.records.record import State
from chalicelib.work.audit import Audit
from chalicelib.work.heartbeat import HeartbeatCheck
from chalicelib.work.objects_to_records import record_of_original
from chalicelib.work.recover import Recovery
from tests.conftest import picture
from tests.reliability import local_redis
from tests.reliability.deployment import DAY_MS, LATE_MS, MINUTE_MS, Deployment, deployed
from tests.reliability.local_redis import GoesBack

pytestmark = pytest.mark.slow

MANY = 2500


@pytest.fixture(params=["failover", "snapshot"])
def loses(request: pytest.FixtureRequest) -> Iterator[GoesBack]:
    with local_redis.failover() if request.param == "failover" else local_redis.snapshot() as made:
        yield made


@pytest.fixture(params=["kept", "not kept"])
def deployment(
    request: pytest.FixtureRequest, loses: GoesBack, s3_endpoint: str, api_server: tuple[str, str]
) -> Iterator[Deployment]:
    settings = {"KEEP_ORIGINALS": "true" if request.param == "kept" else "false"}
    url = f"redis://127.0.0.1:{loses.address.port}"
    with deployed(api_server[0], url, s3_endpoint, environment=settings) as made:
        made.reconcile()
        made.reconcile()
        yield made


def small(seed: int) -> bytes:
    return picture(16, 12, seed=seed)


def ready(deployment: Deployment, *seeds: int) -> list[str]:
    """Upload pictures and make their thumbnails."""
    ids = [deployment.upload(small(seed)) for seed in seeds]
    deployment.process_upload(*ids)
    assert {deployment.shown(one) for one in ids} == {"ready"}
    return ids


def downloads(deployment: Deployment, record_id: str) -> bool:
    return deployment("GET", f"/{record_id}/download").status_code == 200


def assert_gone(deployment: Deployment, *ids: str) -> None:
    listed = deployment.listed()
    for one in ids:
        assert deployment.shown(one) == "404"
        assert not downloads(deployment, one)
        assert one not in listed
        assert deployment.objects_of(one) == set()


def assert_ready(deployment: Deployment, *ids: str) -> None:
    listed = deployment.listed()
    for one in ids:
        assert deployment.shown(one) == "ready"
        assert downloads(deployment, one)
        assert one in listed


def assert_agrees(deployment: Deployment) -> None:
    """Everything listed is ready, and the bucket holds what the records name and nothing else."""
    named: set[str] = set()
    keeps = services.settings().keep_originals
    for one in deployment.listed():
        record = deployment.record(one)
        assert record is not None
        assert record.thumbnail_size is not None
        named.add(naming.thumbnail(one, record.thumbnail or ""))
        named |= {record.object_key} if keeps else set()
    assert deployment.keys() == named


def test_what_was_older_than_the_in_flight_time_heals_with_the_next_run(
    deployment: Deployment, loses: GoesBack
) -> None:
    kept, deleted = ready(deployment, 1, 2), ready(deployment, 3, 4)
    pending = [deployment.upload(small(seed)) for seed in (5, 6)]
    pending_deleted = deployment.upload(small(7))
    replaced = deployment.put("originals/replaced.jpg", small(8))
    deployment.process(deployment.event("originals/replaced.jpg"))
    again = deployment.put("originals/again.jpg", small(9))
    deployment.process(deployment.event("originals/again.jpg"))
    deployment.clock.ms += LATE_MS
    loses.keep()
    # All of this is answered, and forgotten.
    deployment.clock.ms += 1000
    new = ready(deployment, 20, 21, 22)
    new_pending = [deployment.upload(small(seed)) for seed in (23, 24)]
    for one in (*deleted, pending_deleted):
        deployment.delete(one)
    deployment.process_upload(*pending)
    deployment.put("originals/replaced.jpg", small(30))
    deployment.process(deployment.event("originals/replaced.jpg"))
    deployment.delete(again)
    deployment.put("originals/again.jpg", small(31))
    deployment.process(deployment.event("originals/again.jpg"))
    shown_etags = {one: _etag(deployment, one) for one in (replaced, again)}
    late_events = [deployment.event(naming.original(one)) for one in new_pending]
    loses.lose()
    for event in late_events:
        deployment.process(event)
    assert_ready(deployment, *kept, *new_pending)
    # A client that asks for what is gone heals that itself.
    assert not downloads(deployment, deleted[0])
    assert deployment.shown(deleted[0]) == "404"

    # The first run, five minutes later at most.
    assert deployment.reconcile()["losses noticed"] == 1
    assert_ready(deployment, *kept, *new, *new_pending)
    assert_gone(deployment, *deleted)
    # The second one: what had no thumbnail when Redis went back.
    deployment.reconcile()
    assert_ready(deployment, *kept, *new, *new_pending, *pending)
    assert_gone(deployment, *deleted, pending_deleted)

    # What was overwritten, and thumbnails that are not needed any more: the walk that follows in 15 minutes.
    for _ in range(3):
        deployment.reconcile()
    assert_ready(deployment, replaced, again)
    assert {one: _etag(deployment, one) for one in (replaced, again)} == shown_etags
    assert_agrees(deployment)
    _nothing_changes(deployment)


def _etag(deployment: Deployment, record_id: str) -> str | None:
    record = deployment.record(record_id)
    assert record is not None
    return record.etag


def _nothing_changes(deployment: Deployment) -> None:
    """Neither a rebuild nor the walks of the day and the week find anything to do."""
    before, records = deployment.keys(), deployment.listed()
    deployment.rebuild()
    deployment.reconcile(after_ms=8 * DAY_MS)
    deployment.reconcile(after_ms=LATE_MS)
    assert (deployment.keys(), deployment.listed()) == (before, records)


def test_what_was_younger_heals_after_the_in_flight_time(deployment: Deployment, loses: GoesBack) -> None:
    kept, deleted = ready(deployment, 1, 2), ready(deployment, 3, 4)
    pending = [deployment.upload(small(5))]
    pending_deleted = deployment.upload(small(6))
    presigned = deployment.presign()
    claimed = deployment.upload(small(7))
    _claim(deployment, claimed)
    keyed = deployment.upload(small(8), key="one")
    loses.keep()
    deployment.clock.ms += 1000
    for one in (*deleted, pending_deleted):
        deployment.delete(one)
    deployment.send(presigned, small(9))
    deployment.process_upload(*pending, presigned["id"], claimed, keyed)
    loses.lose()
    # The event is delivered once more; where originals are not kept, the thumbnail is all that there is.
    deployment.clock.ms += 60_000
    if services.settings().keep_originals:
        deployment.process_upload(claimed)
    else:
        claimed_event = {"Records": [{**_upload_event(deployment, claimed)}]}
        deployment.process(claimed_event)
    assert_ready(deployment, *kept, claimed)
    # The same upload again under its key makes no second picture.
    assert deployment.upload(small(8), key="one") == keyed
    for _ in range(2):
        deployment.reconcile()
    assert_ready(deployment, *kept, claimed)
    for _ in range(3):
        deployment.reconcile()
    assert_ready(deployment, *kept, *pending, claimed, keyed)
    assert_gone(deployment, *deleted, pending_deleted)
    # A presigned upload is waited for: its form may be sent for 15 minutes, and be in flight for as long.
    for _ in range(2):
        deployment.reconcile()
    assert_ready(deployment, *kept, *pending, claimed, keyed, presigned["id"])
    assert_gone(deployment, *deleted, pending_deleted)
    assert_agrees(deployment)
    _nothing_changes(deployment)


@pytest.mark.parametrize("minutes", [1, 4, 5, 9])
def test_a_picture_of_a_clients_key_that_was_being_processed_stays_deleted(
    deployment: Deployment, loses: GoesBack, minutes: int
) -> None:
    mine = deployment.put("originals/mine.jpg", small(1))
    _claim(deployment, mine, "originals/mine.jpg")
    loses.keep()
    deployment.clock.ms += 1000
    deployment.process(deployment.event("originals/mine.jpg"))
    deployment.delete(mine)
    loses.lose()
    assert deployment.reconcile(after_ms=minutes * MINUTE_MS)["losses noticed"] == 1
    for _ in range(3):
        deployment.reconcile()
    assert_gone(deployment, mine)
    _nothing_changes(deployment)


def _claim(deployment: Deployment, record_id: str, object_key: str | None = None) -> None:
    """What a run of the pipeline has done by the time it stores the thumbnail."""
    original = services.bucket().head(object_key or naming.original(record_id))
    assert original is not None
    claimed = deployment.store.claim_version(record_of_original(original, 0))
    assert (claimed.id, claimed.state) == (record_id, State.PENDING)


def _upload_event(deployment: Deployment, record_id: str) -> dict[str, object]:
    """The late event of an original that is gone by now."""
    where = {"bucket": {"name": deployment.bucket}, "object": {"key": naming.original(record_id), "size": 1}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": where}


@pytest.fixture
def many(
    redis_url: str, redis_server: "redis_py.Redis", s3_endpoint: str, api_server: tuple[str, str]
) -> Iterator[Deployment]:
    """A bucket with 2,500 originals, half of them uploads, and an empty Redis."""
    with deployed(api_server[0], redis_url, s3_endpoint) as made:
        for number in range(MANY):
            key = f"originals/{number:05}.jpg" if number % 2 else naming.original(naming.new_id())
            made.put(key, b"no picture")
        yield made


def records_in(redis_server: "redis_py.Redis") -> int:
    return sum(1 for _ in redis_server.scan_iter("record:*", count=1000))


@pytest.mark.parametrize("page", [2, 4])
def test_redis_is_lost_during_a_rebuild(many: Deployment, redis_server: "redis_py.Redis", page: int) -> None:
    pages = 0

    def lose_after_a_page() -> bool:
        nonlocal pages
        pages += 1
        if pages == page:
            redis_server.flushall()
        return False

    answers: list[dict[str, object]] = []
    while not answers or not answers[-1]["done"]:
        assert len(answers) < 5
        answers.append(triggers.rebuild(lose_after_a_page, "a request"))
    assert pages > page
    assert records_in(redis_server) == MANY


def test_redis_is_lost_during_the_daily_walk(many: Deployment, redis_server: "redis_py.Redis") -> None:
    many.rebuild()
    HeartbeatCheck(many.store, services.bucket()).beat(many.store.heartbeat.server())
    many.clock.ms += DAY_MS
    pages = 0

    def lose_after_the_second_page() -> bool:
        nonlocal pages
        pages += 1
        if pages == 2:
            redis_server.flushall()
        return False

    Audit(services.walker(lose_after_the_second_page)).run()
    assert records_in(redis_server) < MANY
    # What the next run of the reconciler begins with.
    heartbeat = HeartbeatCheck(many.store, services.bucket())
    assert Recovery(services.walker(lambda: False), heartbeat).run()["losses noticed"] == 1
    assert records_in(redis_server) == MANY
