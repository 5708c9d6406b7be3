"""Notice that Redis has lost writes: by a failover, a restart from a snapshot, or altogether.

Each run of the reconciler stores a new nonce in S3 and in Redis, with the identity of the Redis server. If
Redis has another nonce than S3 by the next run, it went back in time; if it is another server, it may have:
replication is asynchronous, so that a failover loses the last writes.
"""

import json
import secrets
from dataclasses import dataclass

from chalicelib import naming
from chalicelib.objects.bucket import Bucket
from chalicelib.records.store import RecordStore


@dataclass(frozen=True, slots=True)
class HeartbeatCheck:
    """Compares what S3 and Redis say was written last."""

    store: RecordStore
    bucket: Bucket

    def has_lost_writes(self, server: str) -> bool:
        """Tell whether Redis may have lost writes since the last `beat`; a first run has nothing to compare.

        Args:
            server: the identity of Redis's server, read once for this and for `beat`: if it is replaced in
                between, the next run notices.

        Raises:
            Unavailable: S3 or Redis did not answer.

        """
        stored = self.bucket.get(naming.HEARTBEAT_OBJECT)
        if stored is None:
            return False
        with stored:
            written = stored.read().decode("utf-8", "replace")
        return written != self.store.heartbeat.read() or self._server_of(written) != server

    def beat(self, server: str) -> None:
        """Store a new nonce in S3 and in Redis. If it dies in between, the next run takes it for a loss.

        Args:
            server: the identity of Redis's server, as `has_lost_writes` got it.

        Raises:
            Unavailable: S3 or Redis did not answer.

        """
        text = json.dumps({"nonce": secrets.token_hex(16), "server": server})
        self.bucket.put(naming.HEARTBEAT_OBJECT, text.encode(), content_type="application/json")
        self.store.heartbeat.write(text)

    @staticmethod
    def _server_of(written: str) -> str:
        try:
            return str(json.loads(written)["server"])
        except (KeyError, TypeError, ValueError):
            return ""
