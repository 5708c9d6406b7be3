"""What the reconciler has written last, and which server it was.

So a Redis that went back in time is noticed.
"""

from typing import TYPE_CHECKING, Any

import redis as redis_py

from chalicelib import naming
from chalicelib.records.cluster import is_cluster, to_each_primary
from chalicelib.records.redis_errors import redis_errors

if TYPE_CHECKING:
    import redis


class Heartbeat:
    """The heartbeat of one deployment.

    All methods raise `RecordStoreUnavailable` when Redis does not answer.
    """

    def __init__(self, client: "redis.Redis") -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client

    def read(self) -> str | None:
        """What was written last, as far as this server knows; None when it knows nothing."""
        with redis_errors():
            text: Any = self._redis.get(naming.HEARTBEAT)
        return None if text is None else str(text)

    def write(self, text: str) -> None:
        """Store what `read` shall give."""
        with redis_errors():
            self._redis.set(naming.HEARTBEAT, text)

    def server(self) -> str:
        """The identity of the server process: another one after a failover and after a restart.

        Of a cluster, those of all primaries. Empty where the server does not tell it (INFO may be forbidden).
        """
        with redis_errors():
            try:
                found: Any = self._redis.info("server", **to_each_primary(self._redis))
            except redis_py.ResponseError:
                return ""
        # Of several primaries, the client gives a dict by node.
        servers = found.values() if is_cluster(self._redis) and "run_id" not in found else [found]
        return ",".join(sorted(str(info.get("run_id", "")) for info in servers))
