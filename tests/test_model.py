"""The whole service against a model of what it has promised, in whatever order things happen."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)
from moto.s3 import models as moto_s3

from chalicelib import naming
from chalicelib.clients import redis_client, s3_client
from chalicelib.objects.bucket import Bucket
from chalicelib.records.heartbeat import Heartbeat
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work import repair
from chalicelib.work.audit import BUCKET_EVERY_MS
from chalicelib.work.remove import remove
from tests.conftest import just_before
from tests.faults.injector import Injector
from tests.faults.steps import Fault, Killed
from tests.model import AFTER_DOWNLOAD, CLIENTS_KEYS, DAY_MS, RETENTION, Service, World
from tests.model_machine import Machine
from tests.reconciler import Died

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client


@pytest.fixture
def world(
    redis_url: str, redis_server: "redis.Redis", s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    client = redis_client(redis_url, timeout=30)
    injector = Injector()
    raw = redis_py.Redis.from_url(redis_url)
    made = World(client, s3_client(timeout=30, attempts=1), s3, injector, raw)
    monkeypatch.setattr(Heartbeat, "server", lambda _: made.server)
    injector.watch(RecordStore(client), Bucket(made.s3, ""))
    # One clock for all, S3's server included; ids by number and one thread, so that a run can be repeated.
    monkeypatch.setattr(moto_s3, "utcnow", lambda: datetime.fromtimestamp(made.now_ms / 1000, UTC))
    monkeypatch.setattr(naming, "new_id", made.new_id)
    monkeypatch.setattr(repair, "_THREADS", 1)
    yield made
    client.close()
    raw.close()


@pytest.mark.slow
@pytest.mark.parametrize("keep_originals", [True, False], ids=["originals kept", "originals removed"])
def test_any_history_keeps_the_promises(world: World, keep_originals: bool) -> None:
    class ThisMachine(Machine):
        def __init__(self) -> None:
            super().__init__(world, keep_originals=keep_originals)

    run_state_machine_as_test(
        ThisMachine,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "25")),
            stateful_step_count=int(os.environ.get("MODEL_STEPS", "20")),
            deadline=None,
            database=None,
            derandomize="MODEL_EXAMPLES" not in os.environ,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- what the machine has found in the service, shrunk; all of it is mended ---

KEY = CLIENTS_KEYS[0]
ID = naming.record_id(KEY)


def kill(service: Service, step: int, action: Callable[[], object]) -> None:
    """The process that does this is gone before this call of S3 or Redis."""
    with service.world.injector.inject(step, Fault.KILLED_BEFORE), pytest.raises(Killed):
        action()
    service.world.injector.revive()


def redis_is_lost(service: Service) -> None:
    service.world.client.flushall()
    assert service.reconciler.rebuild()[1]


@pytest.fixture
def ending(world: World) -> Service:
    """A deployment where pictures end, holding a client's own object that has its thumbnail."""
    service = Service(world, keep_originals=True, retention=RETENTION)
    service.put(KEY, 0)
    service.processor.process(KEY)
    return service


def test_what_is_put_after_an_expiry_that_stopped_half_way_is_kept(ending: Service) -> None:
    """No client has deleted anything: the old picture has ended, and the new one is lost."""
    ending.world.now_ms += RETENTION * 1000 + 1000
    just_before(ending.bucket, "DeleteObjects", die := Died())
    with pytest.raises(Died):
        ending.reconciler.sweep()
    assert die.raised
    halfway = ending.store.find(ID)
    assert halfway is not None
    assert halfway.state is State.DELETING
    ending.put(KEY, 1)
    ending.world.now_ms += IN_FLIGHT_MS
    ending.reconciler.sweep()
    assert KEY in ending.objects()


def test_what_is_put_after_a_delete_that_stopped_half_way_is_kept(ending: Service) -> None:
    kill(ending, 4, lambda: remove(ending.store, ending.bucket, ID, RemovalScope.VISIBLE, UNRESTRICTED))
    ending.put(KEY, 1)
    ending.world.now_ms += IN_FLIGHT_MS + 1000
    ending.reconciler.sweep()
    assert KEY in ending.objects()


def test_what_is_put_after_the_end_of_a_restored_record_is_kept(world: World) -> None:
    service = Service(world, keep_originals=True, retention=RETENTION)
    service.put(KEY, 0)
    redis_is_lost(service)
    world.now_ms += RETENTION * 1000 + 1000
    service.put(KEY, 1)
    service.reconciler.sweep()
    assert KEY in service.objects()


def test_the_same_content_put_again_after_its_end_is_kept(ending: Service) -> None:
    ending.world.now_ms += RETENTION * 1000 + 1000
    ending.put(KEY, 0)
    ending.reconciler.sweep()
    assert KEY in ending.objects()


def test_a_new_version_of_a_restored_record_has_its_own_end(world: World) -> None:
    service = Service(world, keep_originals=True, retention=RETENTION)
    service.put(KEY, 0)
    redis_is_lost(service)
    world.now_ms += DAY_MS
    put = service.put(KEY, 1)
    service.processor.process(KEY)
    record = service.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms == put.end_ms


def test_the_same_content_put_again_keeps_its_end_when_redis_is_lost(ending: Service) -> None:
    ending.world.now_ms += DAY_MS
    put = ending.put(KEY, 0)
    ending.processor.process(KEY)
    redis_is_lost(ending)
    record = ending.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms == put.end_ms


def test_the_same_content_put_again_has_its_own_end_without_its_event(ending: Service) -> None:
    ending.world.now_ms += DAY_MS
    put = ending.put(KEY, 0)
    ending.world.now_ms += BUCKET_EVERY_MS
    ending.reconciler.audit()
    record = ending.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms == put.end_ms


def test_the_end_of_a_download_is_not_that_of_a_new_version(world: World) -> None:
    service = Service(world, keep_originals=True)
    service.put(KEY, 0)
    service.processor.process(KEY)
    downloaded = service.store.get(ID, UNRESTRICTED)
    assert downloaded is not None
    service.store.expire_after_download(downloaded, AFTER_DOWNLOAD)
    service.put(KEY, 1)
    service.processor.process(KEY)
    record = service.store.get(ID, UNRESTRICTED)
    assert record is not None
    assert record.ends_ms is None


def test_a_record_whose_event_died_is_listed_and_due(world: World) -> None:
    service = Service(world, keep_originals=True)
    service.put(KEY, 0)
    for step in range(5):
        kill(service, step, lambda: service.processor.process(KEY))
        assert (service.store.get(ID, UNRESTRICTED) is None) == (service.stored().listed == [])
