"""A Redis whose memory is full refuses what needs more of it, and still gives back what is removed."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.clock import now_ms
from chalicelib.errors import RecordStoreUnavailable
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.record import (
    UNRESTRICTED,
    EventKind,
    Failure,
    Finished,
    FinishResult,
    Record,
    RemovalScope,
)
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore
from chalicelib.work.relay import relay
from local import valkey
from tests.conftest import found

# Enough that what they free is more than the buffers of a connection, which count as memory too.
MANY = 2000


def new_record() -> Record:
    """As large as real ones are."""
    record_id, etag = naming.new_id(), uuid.uuid4().hex
    return Record(
        id=record_id,
        object_key=naming.original(record_id),
        filename="IMG_8932.jpg",
        created_ms=1_800_000_000_000,
        original_size=1_000_000,
        etag=etag,
        thumbnail=naming.new_thumbnail(etag),
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with valkey.running() as server:  # of its own, as its limit is changed
        yield server.connection_url


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.flushall()
        yield client


@pytest.fixture
def store(url: str, server: Any) -> RecordStore:
    return RecordStore(redis_client(url, timeout=30))


def fill(server: Any) -> None:
    # Far below what is used: buffers of connections, which count as memory too, come and go.
    server.config_set("maxmemory", 1)


def test_new_records_are_refused_as_if_redis_were_away(server: Any, store: RecordStore) -> None:
    known = new_record()
    store.create(known)
    fill(server)
    with pytest.raises(RecordStoreUnavailable):
        store.create(new_record())
    with pytest.raises(RecordStoreUnavailable):
        store.claim_version(new_record())
    stored = store.get(known.id, UNRESTRICTED)
    assert stored is not None
    assert replace(stored, revision="") == known
    assert store.page(10, None, UNRESTRICTED).records == [stored]


@pytest.mark.parametrize("result", [Finished(1), Failure("undecodable", "It is damaged. Upload it again.")])
def test_a_claimed_version_can_be_finished(
    server: Any, store: RecordStore, result: Finished | Failure
) -> None:
    record = store.claim_version(new_record())
    fill(server)
    assert store.finish(record, result) is FinishResult.DONE


def test_attempts_can_be_counted_and_abandoned_uploads_discarded(server: Any, store: RecordStore) -> None:
    claimed, abandoned = store.claim_version(new_record()), replace(new_record(), etag=None, created_ms=0)
    store.create(abandoned)
    fill(server)
    assert store.record_attempt(claimed) == 1
    assert store.discard_abandoned(store.find(abandoned.id) or abandoned)
    assert store.find(abandoned.id) is None


def test_an_attempt_that_ended_in_an_outage_does_not_count(server: Any, store: RecordStore) -> None:
    """However long Redis is full and S3 away: it says nothing about the picture."""
    claimed = store.claim_version(new_record())
    fill(server)
    for _ in range(5):
        assert store.record_attempt(found(store, claimed.id)) == 1
        store.withdraw_attempt(claimed)
        assert found(store, claimed.id).attempts == 0


def test_a_version_that_replaces_another_is_refused(server: Any, store: RecordStore) -> None:
    record = store.claim_version(new_record())
    fill(server)
    with pytest.raises(RecordStoreUnavailable):
        store.claim_version(replace(record, etag="another", thumbnail="another-run"))
    assert store.find(record.id) == record


def test_checks_can_be_moved_and_removed_and_checkpoints_saved(server: Any, store: RecordStore) -> None:
    at = now_ms() - 1
    checks = [ScheduledCheck(naming.new_id(), at), ScheduledCheck(naming.new_id(), at)]
    store.schedule.set_if_earlier(checks)
    fill(server)
    store.schedule.reschedule([(checks[0], None), (checks[1], at - 1)])
    assert store.schedule.due(10) == [ScheduledCheck(checks[1].record_id, at - 1)]
    assert store.checkpoints.save(Checkpoint("bucket", 1, "originals", "a")) is not None


@pytest.mark.slow
def test_records_can_be_removed_which_makes_room_for_others(server: Any, store: RecordStore) -> None:
    records = [new_record() for _ in range(MANY)]
    for record in map(store.claim_version, records):
        store.finish(record, Finished(3609))
    server.config_set("maxmemory", server.info("memory")["used_memory"] - 1)
    for record in records:
        removing = store.start_removal(found(store, record.id), RemovalScope.ANY, UNRESTRICTED)
        assert removing is not None
        assert store.finish_removal(removing, tombstone="x")
    store.create(new_record())


# --- what `health` says of servers that answer, and do not take an upload ---


def refuses_all(url: str) -> None:
    store = RecordStore(redis_client(url, timeout=30))
    with pytest.raises(RecordStoreUnavailable):
        store.create(new_record())
    with pytest.raises(RecordStoreUnavailable):
        store.ping()


def test_a_full_server_is_not_up(server: Any, url: str, store: RecordStore) -> None:
    store.ping()
    fill(server)
    assert server.ping()
    refuses_all(url)
    server.config_set("maxmemory", 0)
    store.ping()


def test_a_read_only_replica_is_not_up(url: str) -> None:
    with valkey.running() as replica, redis.Redis.from_url(replica.connection_url) as client:
        RecordStore(redis_client(replica.connection_url, timeout=30)).ping()
        primary = urlsplit(url)
        client.execute_command("REPLICAOF", str(primary.hostname), str(primary.port))
        assert client.ping()
        refuses_all(replica.connection_url)
        client.execute_command("REPLICAOF", "NO", "ONE")
        RecordStore(redis_client(replica.connection_url, timeout=30)).ping()


def test_a_node_of_a_cluster_that_does_not_serve_is_not_up() -> None:
    with valkey.running({"cluster-enabled": "yes"}) as node:
        with redis.Redis.from_url(node.connection_url) as client:
            assert client.ping()
        refuses_all(node.connection_url)


def test_what_health_writes_goes_by_itself(server: Any, store: RecordStore) -> None:
    store.ping()
    assert 0 < server.ttl(naming.HEALTH) <= 60
    assert server.dbsize() == 1


def test_what_ends_is_noted_and_published(url: str, server: Any) -> None:
    store = RecordStore(redis_client(url, timeout=30), publishes=True)
    claimed = store.claim_version(new_record())
    fill(server)
    assert store.finish(claimed, Finished(1)) is FinishResult.DONE
    assert store.start_removal(found(store, claimed.id), RemovalScope.ANY, UNRESTRICTED) is not None
    (ready,) = relay(store, "publisher", [])
    (deleted,) = relay(store, "publisher", [ready.receipt])
    assert [ready.event.kind, deleted.event.kind] == [EventKind.READY, EventKind.DELETED]
    assert relay(store, "publisher", [deleted.receipt]) == []
