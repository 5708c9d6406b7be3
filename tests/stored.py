"""Looks at all that Redis and S3 hold, for tests/invariants.py."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib import naming
from chalicelib.records import codec, lifecycle
from chalicelib.records.record import UNRESTRICTED, Record
from chalicelib.records.store import RecordStore
from tests.invariants import Stored

if TYPE_CHECKING:
    import redis

_UNCHANGED = {naming.HEARTBEAT, naming.HEALTH}
_SETS = {naming.INDEX, naming.DUE, naming.OUTBOX}


class RedisContent(NamedTuple):
    """The hashes and sorted sets of Redis, by their names, without what is of no picture."""

    hashes: dict[str, dict[str, str]]
    sets: dict[str, dict[str, float]]


def redis_content(client: "redis.Redis") -> RedisContent:
    """All that a Redis of one partition holds."""
    names: Any = [name for name in client.keys("*") if name not in _UNCHANGED]
    sets = [name for name in names if name in _SETS or name.startswith(naming.index(""))]
    hashes = [name for name in names if name not in sets]
    with client.pipeline(transaction=False) as pipe:
        for name in hashes:
            pipe.hgetall(name)
        for name in sets:
            pipe.zrange(name, 0, -1, withscores=True)
        found = pipe.execute()
    return RedisContent(
        dict(zip(hashes, found, strict=False)),
        {name: dict(pairs) for name, pairs in zip(sets, found[len(hashes) :], strict=True)},
    )


def look_at(
    client: "redis.Redis",
    store: RecordStore,
    objects: Mapping[str, tuple[str, int]],
    now_ms: int,
    *,
    page: int = 1000,
) -> Stored:
    """Look at everything.

    Args:
        client: a client of Redis that decodes what it reads.
        store: lists records as clients see them.
        objects: ETag and size in bytes of all objects, by their keys.
        now_ms: the time, in milliseconds since the epoch.
        page: how many records are listed at a time.

    """
    hashes, sets = redis_content(client)
    prefix = naming.record("")
    held = {name.removeprefix(prefix): fields for name, fields in hashes.items() if name.startswith(prefix)}
    return Stored(
        now_ms=now_ms,
        records={
            one: record
            for one, fields in held.items()
            if isinstance(record := codec.decode(one, fields), Record) and not _is_dropped(record, now_ms)
        },
        index=[
            member if name == naming.INDEX else f"{name} {member}"
            for name, members in sets.items()
            if name not in {naming.DUE, naming.OUTBOX}
            for member in members
        ],
        due={one: int(at) for one, at in sets.get(naming.DUE, {}).items()},
        objects={key: one for key, one in objects.items() if key != naming.HEARTBEAT_OBJECT},
        listed=[record.id for record in walk(store, page)],
    )


def walk(store: RecordStore, page: int) -> list[Record]:
    """The whole list, so many records at a time."""
    listed = store.page(page, None, UNRESTRICTED)
    records = listed.records
    while listed.cursor is not None:
        listed = store.page(page, listed.cursor, UNRESTRICTED)
        records += listed.records
    return records


def _is_dropped(record: Record, now_ms: int) -> bool:
    """Tell whether Redis would have dropped a record by now, if its clock were the test's."""
    until_ms = record.presigned_until_ms or now_ms
    return record.etag is None and until_ms + lifecycle.AWAITING_SECONDS * 1000 < now_ms
