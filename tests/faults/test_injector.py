"""Each fault on each kind of step: what the server has done, and what the caller is told."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import redis
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from chalicelib import naming
from chalicelib.clients import redis_client, s3_client
from chalicelib.errors import BucketUnavailable, RecordStoreUnavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.records import codec
from chalicelib.records.record import UNRESTRICTED, Record, State
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remove import thumbnail_keys
from tests.conftest import keys_in, picture
from tests.faults.injector import Injector
from tests.faults.steps import Fault, Killed, Meanwhile, MeanwhileFailed

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ERRORS = (redis.ConnectionError, redis.TimeoutError, BotoCoreError)


@dataclass
class Target:
    """One kind of step: how to take it, which of the operation's steps it is, and how often it was done."""

    take: Callable[[], object]
    step: int
    done: Callable[[], int]
    behind: Callable[[], bool] = lambda: False
    """Whether what comes after the step in the same call has been done."""
    refused_late: bool = False


@pytest.fixture
def injector() -> Injector:
    return Injector()


@pytest.fixture
def client(injector: Injector, redis_url: str, redis_server: "redis.Redis") -> Iterator["redis.Redis"]:
    """What the service uses, watched."""
    watched = redis_client(redis_url, timeout=30)
    injector.watch_redis(watched)
    yield watched
    watched.close()


@pytest.fixture
def s3_watched(injector: Injector, bucket: Bucket) -> "S3Client":
    watched = s3_client(timeout=30, attempts=3)
    injector.watch_s3(watched)
    return watched


def command(client: "redis.Redis", server: "redis.Redis") -> Target:
    return Target(lambda: client.rpush("list", "x"), 0, lambda: server.llen("list"))


def pipelined(client: "redis.Redis", server: "redis.Redis") -> Target:
    def take() -> object:
        with client.pipeline(transaction=False) as pipe:
            pipe.sadd("before", "x")
            pipe.rpush("list", "x")
            pipe.set("behind", "x")
            return pipe.execute()

    return Target(take, 1, lambda: server.llen("list"), lambda: server.exists("behind") == 1)


def script(client: "redis.Redis", server: "redis.Redis") -> Target:
    push = client.register_script("return redis.call('RPUSH', KEYS[1], ARGV[1])")
    return Target(lambda: push(keys=["list"], args=["x"]), 0, lambda: server.llen("list"))


def unknown_script(client: "redis.Redis", server: "redis.Redis") -> Target:
    server.script_flush()
    return replace(script(client, server), refused_late=True)


REDIS_STEPS = [command, pipelined, script, unknown_script]


@pytest.fixture(params=[*REDIS_STEPS, "PutObject", "DeleteObjects"], ids=lambda p: getattr(p, "__name__", p))
def target(
    request: pytest.FixtureRequest,
    client: "redis.Redis",
    redis_server: "redis.Redis",
    s3_watched: "S3Client",
    s3: "S3Client",
    bucket: Bucket,
) -> Target:
    if callable(request.param):
        made: Target = request.param(client, redis_server)
        return made
    # A versioned bucket remembers how often something was written or removed.
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})

    def versions(kind: str) -> int:
        listed: dict[str, Any] = dict(s3.list_object_versions(Bucket=bucket.name))
        return len(listed.get(kind, []))

    if request.param == "PutObject":
        return Target(
            lambda: s3_watched.put_object(Bucket=bucket.name, Key="a/b", Body=b"content"),
            0,
            lambda: versions("Versions"),
        )
    s3.put_object(Bucket=bucket.name, Key="a/b", Body=b"content")
    return Target(
        lambda: s3_watched.delete_objects(Bucket=bucket.name, Delete={"Objects": [{"Key": "a/b"}]}),
        0,
        lambda: versions("DeleteMarkers"),
    )


def test_a_connection_that_fails_before_the_effect(injector: Injector, target: Target) -> None:
    with (
        injector.inject(target.step, Fault.ERROR_BEFORE),
        pytest.raises((redis.ConnectionError, EndpointConnectionError)),
    ):
        target.take()
    assert (target.done(), target.behind()) == (0, False)


def test_a_connection_that_fails_after_the_effect(injector: Injector, target: Target) -> None:
    with (
        injector.inject(target.step, Fault.ERROR_AFTER),
        pytest.raises((redis.ConnectionError, ConnectionClosedError)),
    ):
        target.take()
    assert (target.done(), target.behind()) == (1, False)


def test_a_repeat_by_the_client_itself_does_it_twice(injector: Injector, target: Target) -> None:
    with injector.inject(target.step, Fault.ERROR_ONCE_AFTER_EFFECT) as steps:
        target.take()
    assert target.done() == 2
    assert len(steps) == (3 if target.step else 1), "a repeat is no step of its own"


def test_what_timed_out_lands_later(injector: Injector, target: Target) -> None:
    if target.refused_late:
        pytest.skip("the dead process cannot load the script")
    with (
        injector.inject(target.step, Fault.TIMEOUT),
        pytest.raises((redis.TimeoutError, ReadTimeoutError)),
    ):
        target.take()
    assert (target.done(), target.behind()) == (0, False)
    injector.land()
    assert (target.done(), target.behind()) == (1, target.step == 1)
    injector.land()
    assert target.done() == 1


@pytest.mark.parametrize(("fault", "done"), [(Fault.KILLED_BEFORE, 0), (Fault.KILLED_AFTER, 1)])
def test_a_killed_process_does_nothing_more(
    injector: Injector,
    target: Target,
    client: "redis.Redis",
    s3_watched: "S3Client",
    fault: Fault,
    done: int,
) -> None:
    with injector.inject(target.step, fault), pytest.raises(Killed):
        target.take()
    assert (target.done(), target.behind()) == (done, False)
    for call in (target.take, client.ping, lambda: client.script_load("return 1"), s3_watched.list_buckets):
        with pytest.raises(Killed):
            call()
    assert target.done() == done
    injector.revive()
    target.take()
    assert target.done() == done + 1


@pytest.mark.parametrize("after", [False, True])
def test_what_others_do_meanwhile_is_done_once_and_is_no_step(
    injector: Injector, target: Target, client: "redis.Redis", after: bool
) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(target.done())
        client.set("others", "x")

    with injector.inject(target.step, Meanwhile(look, after=after)) as steps:
        target.take()
    assert seen == [int(after)]
    assert not [step for step in steps if "others" in step]
    assert target.done() == 1


def test_what_fails_meanwhile_fails_the_test(injector: Injector, target: Target) -> None:
    def fail() -> None:
        raise BucketUnavailable

    with injector.inject(target.step, Meanwhile(fail)), pytest.raises(MeanwhileFailed):
        target.take()


def test_each_fault_ends_without_waiting(
    injector: Injector, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own pauses between its tries would make a matrix of faults slow."""
    here, sleep = threading.get_ident(), time.sleep
    slept: list[float] = []

    def note(seconds: float) -> None:
        if threading.get_ident() == here:
            slept.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", note)
    for fault in (Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT):
        with injector.inject(target.step, fault), pytest.raises(ERRORS):
            target.take()
    assert sum(slept) < 0.1
    target.take()


def test_a_fault_that_does_not_happen_is_an_error(injector: Injector, client: "redis.Redis") -> None:
    with (
        pytest.raises(AssertionError, match=r"no step 1 .*'PING'"),
        injector.inject(1, Fault.ERROR_BEFORE),
    ):
        client.ping()


def test_a_fault_is_not_taken_for_another(injector: Injector, client: "redis.Redis") -> None:
    with (
        pytest.raises(AssertionError, match="no step 1"),
        injector.inject(1, Fault.KILLED_BEFORE),
        injector.inject(0, Fault.ERROR_BEFORE),
    ):
        client.ping()


def test_several_faults_in_one_operation(injector: Injector, client: "redis.Redis") -> None:
    with injector.inject(0, Fault.ERROR_AFTER), injector.inject(2, Fault.TIMEOUT) as steps:
        with pytest.raises(redis.ConnectionError):
            client.set("a", "x")
        client.set("b", "x")
        with pytest.raises(redis.TimeoutError):
            client.set("c", "x")
    assert steps == ["SET a", "SET b", "SET c"]
    assert [client.get(key) for key in "abc"] == ["x", "x", None]


def test_a_transaction_is_refused(client: "redis.Redis") -> None:
    with client.pipeline() as pipe:
        pipe.set("a", "x")
        with pytest.raises(NotImplementedError):
            pipe.execute()


def test_a_body_that_does_not_arrive(injector: Injector, bucket: Bucket) -> None:
    bucket.put("a/b", b"content", content_type="text/plain")
    injector.watch(bucket)
    for fault in (Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT):
        with injector.inject(1, fault) as steps:
            stored = bucket.get("a/b")
            assert stored is not None
            with stored, pytest.raises(BucketUnavailable):
                stored.read()
        assert steps == ["S3 GetObject a/", "S3 GetObject a/ body"]
    stored = bucket.get("a/b")
    assert stored is not None
    with stored:
        assert stored.read() == b"content"


# --- the service itself ---

STEPS = [
    "S3 GetObject uploads/",
    "ZADD due",
    "ZADD records",
    "HGETALL record:",
    "EVALSHA replace record:",
    "S3 DeleteObjects thumbnails/",
    "S3 GetObject uploads/ body",
    "S3 PutObject thumbnails/",
    "EVALSHA replace when full record:",
]


def uploaded(store: RecordStore, bucket: Bucket) -> Record:
    record_id = naming.new_id()
    record = Record(record_id, naming.original(record_id), "a.jpg", 1_700_000_000_000, len(picture()))
    store.create(record)
    bucket.put(
        record.object_key, picture(), content_type="image/jpeg", metadata=codec.original_metadata(record)
    )
    return record


@pytest.mark.parametrize("known", [True, False], ids=["scripts known", "scripts unknown"])
def test_the_steps_of_an_operation(
    injector: Injector,
    processor: Processor,
    store: RecordStore,
    bucket: Bucket,
    redis_server: "redis.Redis",
    known: bool,
) -> None:
    injector.watch(store, bucket)
    with injector.record() as steps:
        record = uploaded(store, bucket)
    assert steps == ["ZADD due", "ZADD records", "HSET record:", "S3 PutObject uploads/"]
    if not known:
        redis_server.script_flush()
    with injector.record() as steps:
        processor.process(record.object_key)
    assert steps == [step for step in STEPS if step != "S3 DeleteObjects thumbnails/"]
    assert store.get(record.id, UNRESTRICTED) is not None
    with injector.record() as steps:
        store.page(10, None, UNRESTRICTED)
    assert steps == ["ZRANGE records", "HGETALL record:"]


CELLS = list(itertools.product(range(len(STEPS) - 1), [fault for fault in Fault if "once" not in fault]))


@pytest.mark.parametrize(("step", "fault"), CELLS, ids=str)
def test_an_event_that_is_delivered_until_it_is_done(
    injector: Injector, processor: Processor, store: RecordStore, bucket: Bucket, step: int, fault: Fault
) -> None:
    """How a matrix is made of this, and the smallest one there is."""
    record = uploaded(store, bucket)
    injector.watch(store, bucket)
    with (
        injector.inject(step, fault),
        pytest.raises((Killed, RecordStoreUnavailable, BucketUnavailable)),
    ):
        processor.process(record.object_key)
    injector.revive()
    assert processor.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
    injector.land()
    found = store.get(record.id, UNRESTRICTED)
    assert found is not None
    assert found.state is State.READY
    assert thumbnail_keys(found) == keys_in(bucket, "thumbnails/")
