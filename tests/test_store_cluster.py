"""Records on a real Redis cluster, whose servers work on one pipeline in no order."""

from collections.abc import Iterator

import pytest

from chalicelib import naming
from chalicelib.errors import RecordStoreUnavailable
from chalicelib.records.record import UNRESTRICTED
from tests.reliability import redis_cluster
from tests.reliability.local_redis import client
from tests.reliability.redis_cluster import Cluster, slot_of
from tests.test_store import new_record

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with redis_cluster.cluster() as made:
        yield made


def test_a_record_is_not_stored_before_its_entry_and_its_check(cluster: Cluster) -> None:
    owner = cluster.owner(slot_of(naming.DUE))
    elsewhere = (new_record(number) for number in range(1000))
    record = next(one for one in elsewhere if cluster.owner(slot_of(naming.record(one.id))) is not owner)
    with redis_cluster.records(cluster.url, timeout=1) as store:
        for number in range(30):  # it has connections to every server then
            store.create(new_record(number))
        cluster.flush()
        with client(owner) as plain:
            plain.client_pause(60_000, all=False)
            with pytest.raises(RecordStoreUnavailable):
                store.create(record)
            plain.client_unpause()
        assert [key for key in cluster.all_keys() if key.startswith("record:")] == []
        store.create(record)
        assert [one.id for one in store.page(100, None, UNRESTRICTED).records] == [record.id]
