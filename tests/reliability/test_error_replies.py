"""What each error that a Redis answers during a failover or a resize means to a request.

READONLY, LOADING and MASTERDOWN say that the connection leads to a server that is not, or not yet, the
primary: the connection is closed, and the request is tried once more on a new one. NOSCRIPT says that the
server does not know a script: it is sent. CLUSTERDOWN, TRYAGAIN and MISCONF say that the primary itself takes
no write for now: 503, and nothing is left on the connection that would harm the next request.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chalicelib.clients import redis_client
from chalicelib.errors import RecordStoreUnavailable
from chalicelib.records.record import UNRESTRICTED, Finished
from chalicelib.records.store import RecordStore
from local import valkey
from tests.reliability.local_redis import Address, client
from tests.service import eventually
from tests.test_store import new_record, version

pytestmark = pytest.mark.slow

_COMMANDS = re.compile(rb"\*\d+\r\n\$\d+\r\n([a-zA-Z]+)\r\n")
_OF_THE_CONNECTION = {b"HELLO", b"CLIENT", b"AUTH", b"SELECT"}
MOVES_ON = [
    "READONLY You can't write against a read only replica.",
    "LOADING Valkey is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOSCRIPT No matching script.",
]
STAYS = [
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.",
]


class Refusing(Address):
    """Answers so many pieces of commands with an error, in place of the server."""

    error = ""
    pieces = 0

    def _copy(self, source: socket.socket, sink: socket.socket, are_requests: bool) -> None:
        if not are_requests:
            return super()._copy(source, sink, are_requests)
        try:
            while piece := source.recv(1 << 16):
                names = [name.upper() for name in _COMMANDS.findall(piece)]
                if self.pieces and names and not _OF_THE_CONNECTION & set(names) and self._concerns(names):
                    self.pieces -= 1
                    source.sendall(f"-{self.error}\r\n".encode() * len(names))
                else:
                    sink.sendall(piece)
        except OSError:
            pass
        return super()._copy(source, sink, are_requests)  # closes both

    def _concerns(self, names: list[bytes]) -> bool:
        return names == [b"EVALSHA"] if self.error.startswith("NOSCRIPT") else True


def create(store: RecordStore) -> None:
    store.create(new_record())


def process(store: RecordStore) -> None:
    store.finish(store.claim_version(version(new_record(), "v1")), Finished(9))


def listing(store: RecordStore) -> None:
    store.page(10, None, UNRESTRICTED)


def due(store: RecordStore) -> None:
    store.schedule.due(10)


CALLS: list[Callable[[RecordStore], object]] = [RecordStore.ping, create, process, listing, due]


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    with ExitStack() as stack:
        server = stack.enter_context(valkey.running())
        yield stack.enter_context(Refusing("127.0.0.1", server.port))


@pytest.fixture
def store(refusing: Refusing) -> Iterator[RecordStore]:
    with redis_client(f"redis://127.0.0.1:{refusing.port}", timeout=30) as using:
        made = RecordStore(using)
        process(made)
        yield made


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", MOVES_ON, ids=lambda error: error.split()[0])
def test_it_is_tried_again_on_a_new_connection(
    refusing: Refusing, store: RecordStore, error: str, call: Callable[[RecordStore], object]
) -> None:
    refusing.error, refusing.pieces = error, 1
    call(store)
    if not error.startswith("NOSCRIPT") or call is process:
        assert refusing.pieces == 0


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", [*MOVES_ON[:3], *STAYS], ids=lambda error: error.split()[0])
def test_what_lasts_is_an_outage_and_ends_with_it(
    refusing: Refusing, store: RecordStore, error: str, call: Callable[[RecordStore], object]
) -> None:
    refusing.error, refusing.pieces = error, 2 if error in MOVES_ON else 1
    with pytest.raises(RecordStoreUnavailable):
        call(store)
    assert refusing.pieces == 0
    for each in CALLS:
        each(store)


def test_a_primary_that_cannot_save_its_snapshot() -> None:
    """MISCONF of a real server: no picture is taken, what is there is still shown."""
    with valkey.running({"save": "3600 1"}) as server, client(server) as plain:
        (Path(server.data_dir) / "dump.rdb").mkdir()
        with redis_client(server.connection_url, timeout=30) as using:
            store = RecordStore(using)
            record = new_record()
            store.create(record)
            plain.bgsave()
            eventually(lambda: plain.info("persistence")["rdb_last_bgsave_status"] == "err", 120)
            for write in (RecordStore.ping, create, process):
                with pytest.raises(RecordStoreUnavailable):
                    write(store)
            assert [one.id for one in store.page(10, None, UNRESTRICTED).records] == [record.id]
            plain.config_set("stop-writes-on-bgsave-error", "no")
            for call in CALLS:
                call(store)


def test_a_replica_whose_primary_is_gone_is_left_for_the_new_one() -> None:
    """MASTERDOWN of a real server, which does not even answer reads."""
    with ExitStack() as stack:
        new = stack.enter_context(valkey.running())
        stale = stack.enter_context(valkey.running({"replica-serve-stale-data": "no"}))
        with client(stale) as plain:
            plain.replicaof("127.0.0.1", "1")
        address = stack.enter_context(Address("127.0.0.1", stale.port))
        store = RecordStore(
            stack.enter_context(redis_client(f"redis://127.0.0.1:{address.port}", timeout=30))
        )
        for call in CALLS:
            with pytest.raises(RecordStoreUnavailable):
                call(store)
        address.target = ("127.0.0.1", new.port)  # connections to the replica stay open
        for call in CALLS:
            call(store)


def test_a_server_that_is_still_loading() -> None:
    """LOADING of a real server that was restarted: an outage as long as it takes, and no longer."""
    with ExitStack() as stack:
        config = {"loading-process-events-interval-bytes": "1024", "enable-debug-command": "yes"}
        server = stack.enter_context(valkey.running(config))
        plain = stack.enter_context(client(server))
        store = RecordStore(stack.enter_context(redis_client(server.connection_url, timeout=30)))
        record = new_record()
        store.create(record)
        with plain.pipeline(transaction=False) as pipe:
            for number in range(2000):
                pipe.set(f"filler:{number}", "x" * 100)
            pipe.execute()
        plain.config_set("key-load-delay", 500)
        reload = threading.Thread(target=lambda: plain.execute_command("DEBUG", "RELOAD"))
        reload.start()
        seen = []

        def is_back() -> bool:
            try:
                store.ping()
            except RecordStoreUnavailable as error:
                seen.append(type(error.__cause__).__name__)
                return False
            return bool(seen)

        eventually(is_back, 120)
        reload.join()
        assert set(seen) == {"BusyLoadingError"}
        assert [one.id for one in store.page(10, None, UNRESTRICTED).records] == [record.id]
