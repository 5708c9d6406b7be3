"""Reads the Redis hashes of records."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib import naming
from chalicelib.records.record import Owner, Viewer
from chalicelib.records.redis_errors import redis_errors

if TYPE_CHECKING:
    import redis

_SCRIPT = Path(__file__).with_name("read_owned.lua").read_text(encoding="utf-8")


class Hashes:
    """The hashes of one deployment. All methods raise `RecordStoreUnavailable` when Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client
        self._read_owned = client.register_script("#!lua flags=no-writes\n" + _SCRIPT)

    def read(self, record_id: str, viewer: Viewer) -> dict[str, str]:
        """The fields of a record; none when there is no such record, or when it is not this owner's."""
        key = naming.record(record_id)
        with redis_errors():
            if isinstance(viewer, Owner):
                return as_fields(self._read_owned(keys=[key], args=[viewer.subject]))
            return as_fields(self._redis.hgetall(key))

    def read_all(self, ids: Sequence[str]) -> list[dict[str, str]]:
        """The fields of each record, in one round trip."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for record_id in ids:
                pipe.hgetall(naming.record(record_id))
            return pipe.execute()


def as_fields(reply: Any) -> dict[str, str]:
    """Read a reply to HGETALL: a script's comes as a flat list in RESP2 and as a dict in RESP3."""
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
