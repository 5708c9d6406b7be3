"""A Redis that goes back in time: as after a failover that lost writes, or a restart from a snapshot."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis


class Snapshot:
    """All that Redis holds at the moment when this is made, or when `take` is called again."""

    def __init__(self, server: "redis.Redis") -> None:
        self._server: Any = server
        self._values: dict[bytes, tuple[bytes, int]] = {}
        self.take()

    def take(self) -> None:
        with self._binary() as server:
            self._values = {
                key: (server.dump(key), max(server.pttl(key), 0)) for key in server.scan_iter(count=1000)
            }

    def restore(self) -> None:
        """Put everything back; what was written since is gone."""
        with self._binary() as server:
            server.flushall()
            for key, (value, ttl) in self._values.items():
                server.restore(key, ttl, value)

    def _binary(self) -> Any:
        where = self._server.connection_pool.connection_kwargs
        return type(self._server)(host=where["host"], port=where["port"])
