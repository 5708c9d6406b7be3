"""How far a walk over bucket or index has come, so that the next run goes on there.

A checkpoint is compare-and-set like a record: a walk whose checkpoint was lost or taken over in the meantime
is told so, and does not report an end that it has not reached.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chalicelib import naming
from chalicelib.records.redis_errors import redis_errors
from chalicelib.records.replace import Replace

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a walk.

    `part` is what is walked over, None when the walk has finished; `after` is the last name that was checked
    there; `since_ms` is when the walk began, in milliseconds since the epoch. A walk that was never made has
    finished at 0. `revision` is None where none is stored.
    """

    name: str
    since_ms: int = 0
    part: str | None = None
    after: str = ""
    revision: str | None = None


class Checkpoints:
    """The checkpoints of one deployment.

    All methods raise `RecordStoreUnavailable` when Redis does not answer.
    """

    def __init__(self, client: "redis.Redis") -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client
        self._replace = Replace(client)

    def get(self, name: str) -> Checkpoint:
        """The checkpoint of a walk.

        One that this release cannot read is one of a walk that was never made.
        """
        with redis_errors():
            fields: Any = self._redis.hgetall(naming.checkpoint(name))
        return _decode(name, fields)

    def save(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """Store a checkpoint in place of the one whose revision it has.

        Returns:
            the checkpoint as stored; None when another one is there by now, or none.

        """
        saved = replace(checkpoint, revision=secrets.token_hex(6))
        stored = self._replace(
            naming.checkpoint(checkpoint.name), checkpoint.revision, _encode(saved), allowed_when_full=True
        )
        return saved if stored is None or stored.get("revision") == saved.revision else None


def _encode(checkpoint: Checkpoint) -> dict[str, str]:
    return {
        "revision": checkpoint.revision or "",
        "since_ms": str(checkpoint.since_ms),
        "part": checkpoint.part or "",
        "after": checkpoint.after,
    }


def _decode(name: str, fields: Mapping[str, str]) -> Checkpoint:
    revision = fields.get("revision", "") if fields else None
    try:
        return Checkpoint(name, int(fields["since_ms"]), fields["part"] or None, fields["after"], revision)
    except (KeyError, ValueError):
        return Checkpoint(name, revision=revision)
