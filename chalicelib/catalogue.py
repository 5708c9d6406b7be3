"""The records, in Redis. Knows neither S3 nor Pillow.

Each record is one hash; one sorted set lists them all by creation. Every change of a record is one
Lua script on that record's key alone, so that it happens as a whole, and so that a cluster may keep
any two keys in different slots. The index is told before a record appears and after it has gone:
an index entry without a record is passed over, a record without an index entry does not occur.

Life of a record, and what each step does when it meets a state it did not expect:

    create ─> PENDING ─ finish ─> READY | FAILED ─ start_removal ─> DELETING ─ finish_removal ─> DELETED
                  ^                      │                                                          │
                  └─ begin, new version ─┘                          (tombstone, forgotten after a time)

`begin` and `finish` never touch a record that is DELETING or DELETED, so that no late event brings
one back. The one exception is a client's own key in the bucket (`begin(revive=...)`).
"""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from chalicelib import keys
from chalicelib.errors import BadParameter, CatalogueUnavailable
from chalicelib.record import GONE, Record, State

TOMBSTONE_SECONDS = 14 * 24 * 3600
"""How long a removal is remembered: no queue holds back an event for longer (SQS: 14 days at most)."""

# begin: revive, etag, size, thumbnail, then the fields of the record if it has to be made
_BEGIN = """
local now = redis.call('HMGET', KEYS[1], 'state', 'etag', 'tombstone', 'thumbnail', 'former_thumbnails')
local state, etag, tombstone, thumbnail, former = now[1], now[2], now[3], now[4], now[5]
if state == 'deleting' or (state == 'deleted' and tombstone ~= ARGV[1]) then
  return redis.call('HGETALL', KEYS[1])
end
if not state or state == 'deleted' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], unpack(ARGV, 5))
elseif etag ~= ARGV[2] then
  if thumbnail then
    redis.call('HSET', KEYS[1], 'former_thumbnails', former and former .. ' ' .. thumbnail or thumbnail)
  end
  redis.call('HSET', KEYS[1],
    'state', 'pending', 'etag', ARGV[2], 'original_size', ARGV[3], 'thumbnail', ARGV[4])
  redis.call('HDEL', KEYS[1], 'thumbnail_size', 'error')
end
return redis.call('HGETALL', KEYS[1])
"""

# finish: thumbnail, state, field, value
_FINISH = """
local now = redis.call('HMGET', KEYS[1], 'state', 'thumbnail')
local state, thumbnail = now[1], now[2]
if not state then
  return 'unknown'
elseif state == 'deleting' or state == 'deleted' then
  return 'deleted'
elseif (thumbnail or '') ~= ARGV[1] then
  return 'superseded'
elseif state ~= 'ready' then
  redis.call('HDEL', KEYS[1], 'error', 'former_thumbnails')
  redis.call('HSET', KEYS[1], 'state', ARGV[2], ARGV[3], ARGV[4])
end
return 'done'
"""

# start_removal: seconds to live. Allowed when the memory is full: else nothing could ever be removed then.
_START_REMOVAL = """#!lua flags=allow-oom
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'deleted' then
  return {}
end
redis.call('HSET', KEYS[1], 'state', 'deleting')
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
"""

# finish_removal: tombstone, seconds to live
_FINISH_REMOVAL = """
local now = redis.call('HMGET', KEYS[1], 'state', 'tombstone')
local state, tombstone = now[1], now[2]
if state == 'deleting' then
  redis.call('HDEL', KEYS[1],
    'object_key', 'filename', 'created_ms', 'original_size', 'etag', 'thumbnail_size', 'error')
  redis.call('HSET', KEYS[1], 'state', 'deleted', 'tombstone', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  return 1
end
return tombstone == ARGV[1] and 1 or 0
"""


class Finish(StrEnum):
    """What became of `Catalogue.finish`."""

    DONE = "done"
    """The record holds the result."""
    SUPERSEDED = "superseded"
    """The original has been replaced meanwhile: the result is of a version that no longer counts."""
    DELETED = "deleted"
    """The record was deleted meanwhile."""
    UNKNOWN = "unknown"
    """There is no record: Redis has lost it since `begin`."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, newest first; `cursor` leads to the next part, None when there is none.

    A page may hold fewer records than were asked for when some vanished while it was read.
    """

    records: list[Record]
    cursor: str | None


class Catalogue:
    """The records of one deployment. All methods raise `CatalogueUnavailable` when Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client
        self._begin = client.register_script(_BEGIN)
        self._finish = client.register_script(_FINISH)
        self._start_removal = client.register_script(_START_REMOVAL)
        self._finish_removal = client.register_script(_FINISH_REMOVAL)

    def ping(self) -> None:
        """Ask Redis for a sign of life."""
        with _redis_errors():
            self._redis.ping()

    def create(self, record: Record) -> None:
        """Store a new record under its new id, and list it."""
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(keys.INDEX, {_member(record): 0})
            pipe.hset(keys.record(record.id), items=_flat(record))
            pipe.execute()

    def get(self, record_id: str) -> Record | None:
        """The record as clients may see it: None when there is none or it is deleted."""
        record = self.find(record_id)
        return None if record is None or record.state in GONE else record

    def find(self, record_id: str) -> Record | None:
        """The record in whatever state, tombstones included."""
        with _redis_errors():
            return _record(record_id, self._redis.hgetall(keys.record(record_id)))

    def page(self, limit: int, cursor: str | None) -> Page:
        """Read a part of the list, newest first, in two round trips whatever the number of records.

        Args:
            limit: the most records to return, at least 1.
            cursor: where to go on, as a former page gave it; None for the newest.

        Raises:
            BadParameter: the cursor is none of ours.

        """
        newest = "+" if cursor is None else "(" + _decode_cursor(cursor)
        with _redis_errors():
            members: Any = self._redis.zrange(
                keys.INDEX, newest, "-", desc=True, bylex=True, offset=0, num=limit + 1
            )
            here = members[:limit]
            ids = [member.partition(":")[2] for member in here]
            with self._redis.pipeline(transaction=False) as pipe:
                for record_id in ids:
                    pipe.hgetall(keys.record(record_id))
                hashes = pipe.execute()
        found = [_record(record_id, fields) for record_id, fields in zip(ids, hashes, strict=True)]
        return Page(
            records=[record for record in found if record is not None and record.state not in GONE],
            cursor=_encode_cursor(here[-1]) if len(members) > limit else None,
        )

    def begin(self, fresh: Record, *, revive: str | None = None) -> Record:
        """Take up the version `fresh.etag` of an original, making its record if there is none.

        Args:
            fresh: the record to store if there is none. Of an existing one that knows another version,
                `etag`, `original_size` and `thumbnail` are replaced, and its result no longer counts.
            revive: the tombstone that this original has outlived, if the caller knows that it was put
                into the bucket after that removal had ended.

        Returns:
            the record as it stands now. PENDING: this version waits for its thumbnail, which is to be
            stored as `thumbnail`. READY or FAILED: this version has been dealt with. DELETING or
            DELETED: nothing was changed.

        """
        with _redis_errors():
            if fresh.etag is None or fresh.thumbnail is None:
                raise ValueError("only a version of an original can be taken up")
            reply = self._begin(
                keys=[keys.record(fresh.id)],
                args=[revive or "", fresh.etag, str(fresh.original_size), fresh.thumbnail, *_flat(fresh)],
            )
            record = Record.from_hash(fresh.id, _pairs(reply))
            if record.state is State.PENDING:
                # Also when the record was there: whoever made it may have died before this line.
                self._redis.zadd(keys.INDEX, {_member(record): 0})
            return record

    def finish_ready(self, record_id: str, thumbnail: str, size: int) -> Finish:
        """Say that the thumbnail which `begin` has named is stored and has `size` bytes."""
        return self._end(record_id, thumbnail, State.READY, "thumbnail_size", str(size))

    def finish_failed(self, record_id: str, thumbnail: str | None, error: str) -> Finish:
        """Say why there will be no thumbnail of that name. A record that is READY stays so."""
        return self._end(record_id, thumbnail, State.FAILED, "error", error)

    def _end(self, record_id: str, thumbnail: str | None, state: State, field: str, value: str) -> Finish:
        with _redis_errors():
            reply = self._finish(
                keys=[keys.record(record_id)], args=[thumbnail or "", state.value, field, value]
            )
        return Finish(reply)

    def start_removal(self, record_id: str) -> Record | None:
        """Hide a record for ever, so that its objects can be removed; also if an earlier removal stopped.

        Returns:
            the record, with all that is needed to find its objects; None when there is none.

        """
        with _redis_errors():
            reply = self._start_removal(keys=[keys.record(record_id)], args=[TOMBSTONE_SECONDS])
            record = _record(record_id, _pairs(reply))
            if record is not None:
                self._redis.zrem(keys.INDEX, _member(record))
            return record

    def finish_removal(self, record_id: str, tombstone: str) -> bool:
        """Say that the objects of a record are gone.

        Args:
            record_id: the record, which `start_removal` has hidden.
            tombstone: unique to this removal.

        Returns:
            True for one removal only, however many ran at once.

        """
        with _redis_errors():
            reply = self._finish_removal(keys=[keys.record(record_id)], args=[tombstone, TOMBSTONE_SECONDS])
        return bool(reply)

    def unlist(self, record: Record) -> None:
        """Take a record that is gone off the index, in case it was listed again by an event."""
        with _redis_errors():
            self._redis.zrem(keys.INDEX, _member(record))


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise CatalogueUnavailable from error


def _pairs(reply: Any) -> dict[str, str]:
    # A script's HGETALL comes as a flat list in RESP2 and as a dict in RESP3.
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _flat(record: Record) -> list[Any]:
    return [part for field in record.to_hash().items() for part in field]


def _record(record_id: str, fields: Any) -> Record | None:
    return Record.from_hash(record_id, fields) if fields else None


def _member(record: Record) -> str:
    # All scores are equal, so that the set is ordered by these bytes and a member is an exact cursor.
    return f"{record.created_ms:013d}:{record.id}"


def _encode_cursor(member: str) -> str:
    return base64.urlsafe_b64encode(member.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        member = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if not re.fullmatch(r"\d{13}:[0-9a-f-]{36}", member, re.ASCII):
        raise _bad_cursor()
    return member


def _bad_cursor() -> BadParameter:
    return BadParameter("The cursor is not one that this service gave; start again without it.")
