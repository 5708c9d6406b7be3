"""The records, in Redis. Knows neither S3 nor Pillow.

Each record is one hash; one sorted set lists them all by creation. Every change of a record is one
Lua script on that record's key alone, so that it happens as a whole, and so that a cluster may keep
any two keys in different slots. The index is told before a record appears and after it has gone:
an index entry without a record is passed over, and in time removed by the reconciler.

A second sorted set, `due`, holds every record that has something ahead of it, by when to look: a
pending one when it should long have ended, one that is being removed likewise, one with an end at its
end. Steps add to it before or after the record changes, whichever leaves an entry too many when they die
between; only the reconciler takes entries away, and only those that nobody has moved since it looked.

Two fields of a hash are for the scripts alone: `touched_ms` is when an upload was last repeated under its
Idempotency-Key, `tries` how often the reconciler has driven the version.

Life of a record, and what each step does when it meets a state it did not expect:

    create ─> PENDING ─ finish ─> READY | FAILED ─ start_removal ─> DELETING ─ finish_removal ─> DELETED
                ^ ^                      │                                                          │
    expect ─> EXPECTED, begin            │                          (tombstone, forgotten after a time)
                  └─ begin, new version ─┘

A record that has an owner is listed twice: in the index of all, and in its owner's.

`begin` and `finish` never touch a record that is DELETING or DELETED, so that no late event brings
one back. The one exception is a client's own key in the bucket (`begin(revive=...)`).
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import redis

from chalicelib import keys
from chalicelib.clock import Clock, now_ms
from chalicelib.errors import BadParameter, CatalogueUnavailable
from chalicelib.record import GONE, Record, State

TOMBSTONE_SECONDS = 14 * 24 * 3600
"""How long a removal is remembered: no queue holds back an event for longer (SQS: 14 days at most)."""
IN_FLIGHT_MS = 15 * 60 * 1000
"""What is younger may still be in somebody's hands. Lambda's three tries of an event, with its pauses of one
and two minutes and a minute each to run, take six; a request takes twenty seconds at most."""

# create_once: now, then the fields. An upload that never came to its event is taken up again.
_CREATE_ONCE = """
local now = redis.call('HMGET', KEYS[1], 'state', 'etag')
local state, etag = now[1], now[2]
if not state then
  redis.call('HSET', KEYS[1], unpack(ARGV, 2))
elseif (state == 'pending' or state == 'failed') and not etag then
  redis.call('HSET', KEYS[1], 'state', 'pending', 'touched_ms', ARGV[1])
  redis.call('HDEL', KEYS[1], 'error', 'tries')
end
return redis.call('HGETALL', KEYS[1])
"""

# begin: revive, etag, size, thumbnail, end, then the fields of the record if it has to be made
_BEGIN = """
local now = redis.call('HMGET', KEYS[1],
  'state', 'etag', 'tombstone', 'thumbnail', 'former_thumbnails', 'expires_ms')
local state, etag, tombstone, thumbnail, former, ends = now[1], now[2], now[3], now[4], now[5], now[6]
if state == 'deleting' or (state == 'deleted' and tombstone ~= ARGV[1]) then
  return redis.call('HGETALL', KEYS[1])
end
if not state or state == 'deleted' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], unpack(ARGV, 6))
  return redis.call('HGETALL', KEYS[1])
end
if etag ~= ARGV[2] then
  if thumbnail then
    redis.call('HSET', KEYS[1], 'former_thumbnails', former and former .. ' ' .. thumbnail or thumbnail)
  end
  redis.call('HSET', KEYS[1],
    'state', 'pending', 'etag', ARGV[2], 'original_size', ARGV[3], 'thumbnail', ARGV[4])
  redis.call('HDEL', KEYS[1], 'thumbnail_size', 'error', 'download_expires_ms')
  if etag then
    redis.call('HDEL', KEYS[1], 'tries')
  end
  if ARGV[5] == '' then
    redis.call('HDEL', KEYS[1], 'expires_ms')
  else
    redis.call('HSET', KEYS[1], 'expires_ms', ARGV[5])
  end
elseif ends and ARGV[5] ~= '' and tonumber(ends) < tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], 'expires_ms', ARGV[5])
  redis.call('HDEL', KEYS[1], 'download_expires_ms')
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
  redis.call('HDEL', KEYS[1], 'error', 'former_thumbnails', 'tries')
  redis.call('HSET', KEYS[1], 'state', ARGV[2], ARGV[3], ARGV[4])
end
return 'done'
"""

# redo: the thumbnail that is lost
_REDO = """
local now = redis.call('HMGET', KEYS[1], 'state', 'thumbnail')
if now[1] == 'ready' and now[2] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'state', 'pending')
  redis.call('HDEL', KEYS[1], 'thumbnail_size')
  return 1
end
return 0
"""

_COUNT_TRY = """#!lua flags=allow-oom
if redis.call('HGET', KEYS[1], 'state') == 'pending' then
  return redis.call('HINCRBY', KEYS[1], 'tries', 1)
end
return 0
"""

# end_after_download: thumbnail, end
_END_AFTER_DOWNLOAD = """
local now = redis.call('HMGET', KEYS[1], 'state', 'thumbnail', 'download_expires_ms')
if now[1] == 'ready' and now[2] == ARGV[1] and not now[3] then
  redis.call('HSET', KEYS[1], 'download_expires_ms', ARGV[2])
end
"""

# restore: the fields
_RESTORE = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""

# forget: the moment before which an upload has to have begun. Only what no event has ever been about.
_FORGET = """
local now = redis.call('HMGET', KEYS[1], 'state', 'etag', 'created_ms', 'touched_ms')
if (now[1] == 'pending' or now[1] == 'expected') and not now[2]
    and math.max(tonumber(now[3]), tonumber(now[4] or 0)) <= tonumber(ARGV[1]) then
  return redis.call('DEL', KEYS[1])
end
return 0
"""

# start_removal: which, now, owner or empty. Allowed when the memory is full: else nothing could be removed.
_START_REMOVAL = """#!lua flags=allow-oom
local now = redis.call('HMGET', KEYS[1], 'state', 'expires_ms', 'download_expires_ms', 'owner')
local state, owner = now[1], now[4]
if not state or state == 'deleted' or (ARGV[3] ~= '' and owner ~= ARGV[3]) then
  return {}
end
if state ~= 'deleting' and ARGV[1] ~= 'any' then
  local ended = false
  for i = 2, 3 do
    ended = ended or (now[i] and tonumber(now[i]) <= tonumber(ARGV[2]))
  end
  if ended ~= (ARGV[1] == 'ended') then
    return {}
  end
end
redis.call('HSET', KEYS[1], 'state', 'deleting')
return redis.call('HGETALL', KEYS[1])
"""

# finish_removal: tombstone, seconds to live
_FINISH_REMOVAL = """
local now = redis.call('HMGET', KEYS[1], 'state', 'tombstone')
local state, tombstone = now[1], now[2]
if state == 'deleting' then
  redis.call('HDEL', KEYS[1],
    'object_key', 'filename', 'created_ms', 'original_size', 'etag', 'thumbnail_size', 'error',
    'expires_ms', 'download_expires_ms', 'fingerprint', 'touched_ms', 'tries', 'owner', 'ticket_ends_ms')
  redis.call('HSET', KEYS[1], 'state', 'deleted', 'tombstone', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  return 1
end
return tombstone == ARGV[1] and 1 or 0
"""

# look_later: score, id. Allowed when the memory is full, as the removal that it belongs to.
_LOOK_LATER = """#!lua flags=allow-oom
return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
"""

# settle: id, score as it was seen, score to have or empty, and so on. Likewise allowed.
_SETTLE = """#!lua flags=allow-oom
local moved = 0
for i = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    if ARGV[i + 2] == '' then
      redis.call('ZREM', KEYS[1], ARGV[i])
    else
      redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
    end
    moved = moved + 1
  end
end
return moved
"""


class Which(StrEnum):
    """Which records `Catalogue.start_removal` may take."""

    ALIVE = "alive"
    """Those that clients see, and those whose removal has stopped half-way."""
    ENDED = "ended"
    """Those whose time is over, and those whose removal has stopped half-way."""
    ANY = "any"
    """All that are not removed."""


class Due(NamedTuple):
    """Something ahead of a record: look at it at `at_ms`, milliseconds since the epoch."""

    record_id: str
    at_ms: int


class IndexEntry(NamedTuple):
    """An entry of the index: a record's creation (milliseconds since the epoch), its id, its owner's hash."""

    created_ms: int
    record_id: str
    owner_hash: str = ""


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

    def __init__(self, client: "redis.Redis", clock: Clock = now_ms) -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client
        self._clock = clock
        self._create_once = client.register_script(_CREATE_ONCE)
        self._begin = client.register_script(_BEGIN)
        self._finish = client.register_script(_FINISH)
        self._redo = client.register_script(_REDO)
        self._count_try = client.register_script(_COUNT_TRY)
        self._end_after_download = client.register_script(_END_AFTER_DOWNLOAD)
        self._restore = client.register_script(_RESTORE)
        self._forget = client.register_script(_FORGET)
        self._start_removal = client.register_script(_START_REMOVAL)
        self._finish_removal = client.register_script(_FINISH_REMOVAL)
        self._look_later = client.register_script(_LOOK_LATER)
        self._settle = client.register_script(_SETTLE)

    def ping(self) -> None:
        """Ask Redis for a sign of life."""
        with _redis_errors():
            self._redis.ping()

    # --- uploads ---

    def create(self, record: Record) -> None:
        """Store a new record under its new id, and list it."""
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            self._announce(pipe, record)
            pipe.hset(keys.record(record.id), items=_flat(record))
            pipe.execute()

    def create_once(self, record: Record) -> Record:
        """Store a record under an id that an earlier upload may have used, unless there is one.

        Returns:
            the record as it stands now, whoever made it; a tombstone if it has been removed.

        """
        with _redis_errors():
            with self._redis.pipeline(transaction=False) as pipe:
                self._announce(pipe, record)
                pipe.execute()
            reply = self._create_once(
                keys=[keys.record(record.id)], args=[str(self._clock()), *_flat(record)]
            )
            stored = Record.from_hash(record.id, _pairs(reply))
            self._unlist_unless(record, stored)
            return stored

    def _unlist_unless(self, announced: Record, stored: Record) -> None:
        """Take an entry off the index that was made for a record which turned out to be there already."""
        if stored.state in GONE or _entry(stored) != _entry(announced):
            self._unlist([_entry(announced)])

    def expect(self, record: Record) -> None:
        """Store the record of an original that may be sent straight to S3 until its ticket ends.

        It is not listed until then.
        """
        look_ms = (record.ticket_ends_ms or self._clock()) + IN_FLIGHT_MS
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(keys.DUE, {record.id: look_ms})
            pipe.hset(keys.record(record.id), items=_flat(record))
            pipe.execute()

    def _announce(self, pipe: Any, record: Record) -> None:
        pipe.zadd(keys.DUE, {record.id: self._first_look(record)})
        _list(pipe, [_entry(record)])

    def _first_look(self, record: Record) -> int:
        soon = self._clock() + IN_FLIGHT_MS
        return soon if record.ends_ms is None else min(soon, record.ends_ms)

    # --- requests ---

    def get(self, record_id: str, owner: str | None = None) -> Record | None:
        """The record as clients may see it: None when there is none, it is deleted or its time is over.

        Args:
            record_id: the record.
            owner: who asks: of anybody else's record the answer is None, too. None may see all.

        """
        record = self.find(record_id)
        if record is None or not record.is_visible(self._clock()):
            return None
        return record if owner in {None, record.owner} else None

    def find(self, record_id: str) -> Record | None:
        """The record in whatever state, tombstones included."""
        with _redis_errors():
            return _record(record_id, self._redis.hgetall(keys.record(record_id)))

    def find_all(self, ids: Sequence[str]) -> list[Record | None]:
        """The records with these ids, in their order and in whatever state, in one round trip."""
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for record_id in ids:
                pipe.hgetall(keys.record(record_id))
            hashes = pipe.execute()
        return [_record(record_id, fields) for record_id, fields in zip(ids, hashes, strict=True)]

    def page(self, limit: int, cursor: str | None, owner: str | None = None) -> Page:
        """Read a part of the list, newest first, in two round trips whatever the number of records.

        Args:
            limit: the most records to return, at least 1.
            cursor: where to go on, as a former page gave it; None for the newest.
            owner: whose records to list; None lists all.

        Raises:
            BadParameter: the cursor is none of ours.

        """
        newest = "+" if cursor is None else "(" + _decode_cursor(cursor)
        with _redis_errors():
            index = keys.INDEX if owner is None else keys.index(keys.owner_hash(owner))
            members: Any = self._redis.zrange(
                index, newest, "-", desc=True, bylex=True, offset=0, num=limit + 1
            )
        here = [_parse_member(member) for member in members[:limit]]
        found = self.find_all([entry.record_id for entry in here])
        now = self._clock()
        return Page(
            # Two entries of one record can only stand there when an upload died; its own one counts.
            records=[
                record
                for entry, record in zip(here, found, strict=True)
                if record is not None
                and record.is_visible(now)
                and record.state is not State.EXPECTED
                and _entry(record) == entry
            ],
            cursor=_encode_cursor(members[limit - 1]) if len(members) > limit else None,
        )

    def end_after_download(self, record: Record, seconds: int) -> None:
        """Give a ready record an end in `seconds`, unless an earlier download has given it one."""
        ends_ms = -(-self._clock() // 1000) * 1000 + seconds * 1000
        with _redis_errors():
            self._redis.zadd(keys.DUE, {record.id: ends_ms}, lt=True)
            self._end_after_download(
                keys=[keys.record(record.id)], args=[record.thumbnail or "", str(ends_ms)]
            )

    # --- the pipeline ---

    def begin(self, fresh: Record, *, revive: str | None = None) -> Record:
        """Take up the version `fresh.etag` of an original, making its record if there is none.

        Args:
            fresh: the record to store if there is none. Of an existing one that knows another version,
                `etag`, `original_size`, `thumbnail` and `expires_ms` are replaced, and its result and the
                end that a download gave it no longer count. One of this version that has an end lives as
                long as `fresh` if that is longer: the client has put the object there again.
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
            args = [revive or "", fresh.etag, str(fresh.original_size), fresh.thumbnail]
            args += ["" if fresh.expires_ms is None else str(fresh.expires_ms), *_flat(fresh)]
            with self._redis.pipeline(transaction=False) as pipe:
                self._announce(pipe, fresh)
                pipe.execute()
            reply = self._begin(keys=[keys.record(fresh.id)], args=args)
            record = Record.from_hash(fresh.id, _pairs(reply))
            self._unlist_unless(fresh, record)
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

    # --- removals ---

    def start_removal(self, record_id: str, which: Which, owner: str | None = None) -> Record | None:
        """Hide a record for ever, so that its objects can be removed; also if an earlier removal stopped.

        Args:
            record_id: the record.
            which: what kind of record it has to be.
            owner: who asks: anybody else's record stays. None may remove all.

        Returns:
            the record, with all that is needed to find its objects; None when there is none of that kind.

        """
        with _redis_errors():
            reply = self._start_removal(
                keys=[keys.record(record_id)], args=[which.value, self._clock(), owner or ""]
            )
            record = _record(record_id, _pairs(reply))
            if record is not None:
                self._look_later(keys=[keys.DUE], args=[self._clock() + IN_FLIGHT_MS, record_id])
                self._unlist([_entry(record)])
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

    def unlist(self, *entries: Record | IndexEntry) -> None:
        """Take entries off the index whose records are gone, in case an event has listed them again."""
        with _redis_errors():
            self._unlist([_entry(entry) if isinstance(entry, Record) else entry for entry in entries])

    def _unlist(self, entries: Sequence[IndexEntry]) -> None:
        if entries:
            with self._redis.pipeline(transaction=False) as pipe:
                for index, members in _indexes(entries).items():
                    pipe.zrem(index, *members)
                pipe.execute()

    # --- the reconciler ---

    def due(self, limit: int) -> list[Due]:
        """What has come due by now, longest ago first; at most `limit`."""
        with _redis_errors():
            found: Any = self._redis.zrange(
                keys.DUE, "-inf", self._clock(), byscore=True, withscores=True, offset=0, num=limit
            )
        return [Due(record_id, int(score)) for record_id, score in found]

    def settle(self, entries: Iterable[tuple[Due, int | None]]) -> None:
        """Take entries away from what is due, or put them off to a later moment.

        Args:
            entries: what `due` gave, each with the moment at which to look again, None for never. One that
                somebody has moved since stays where it is.

        """
        args = [
            part
            for due, at_ms in entries
            for part in (due.record_id, due.at_ms, "" if at_ms is None else at_ms)
        ]
        if args:
            with _redis_errors():
                self._settle(keys=[keys.DUE], args=args)

    def watch(self, looks: Iterable[Due]) -> None:
        """Make sure that records are looked at: at these moments, unless another is set already."""
        at = {look.record_id: look.at_ms for look in looks}
        if at:
            with _redis_errors():
                self._redis.zadd(keys.DUE, at, nx=True)

    def list_again(self, records: Iterable[Record]) -> None:
        """Make sure that records are in the index."""
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            _list(pipe, [_entry(record) for record in records])
            pipe.execute()

    def count_try(self, record_id: str) -> int:
        """Count that a pending record is driven once more; 0 when it is not pending."""
        with _redis_errors():
            return int(self._count_try(keys=[keys.record(record_id)]))

    def redo(self, record: Record) -> bool:
        """Turn a ready record whose thumbnail is lost back into a pending one; False if it has changed."""
        with _redis_errors():
            self._redis.zadd(keys.DUE, {record.id: self._clock()}, lt=True)
            return bool(self._redo(keys=[keys.record(record.id)], args=[record.thumbnail or ""]))

    def forget(self, record: Record) -> bool:
        """Drop the record of an upload that died long ago; False if it lives or is not old enough.

        No tombstone is left, so that the client may repeat the upload under its Idempotency-Key.
        """
        with _redis_errors():
            args = [str(self._clock() - IN_FLIGHT_MS)]
            if not self._forget(keys=[keys.record(record.id)], args=args):
                return False
            self._unlist([_entry(record)])
            return True

    def restore(self, records: Sequence[Record]) -> int:
        """Store and list records made of what the bucket holds, where there are none; return how many.

        One that is pending comes due when it should have been ended, which may be at once.
        """
        looks = {record.id: look for record in records if (look := _look_after_restoring(record)) is not None}
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            if looks:
                pipe.zadd(keys.DUE, looks, nx=True)
            _list(pipe, [_entry(record) for record in records])
            for record in records:
                self._restore(keys=[keys.record(record.id)], args=_flat(record), client=pipe)
            replies: list[Any] = pipe.execute()
        return sum(int(reply) for reply in replies[len(replies) - len(records) :])

    def entries(self, limit: int, after: IndexEntry | None) -> list[IndexEntry]:
        """A part of the index, oldest first: what follows `after`, None for the beginning."""
        oldest = "-" if after is None else "(" + _member(after)
        with _redis_errors():
            members: Any = self._redis.zrange(keys.INDEX, oldest, "+", bylex=True, offset=0, num=limit)
        return [_parse_member(member) for member in members]

    def bookmark(self, walk: str) -> dict[str, Any] | None:
        """Where a walk was left, as `set_bookmark` was told; None at its first."""
        with _redis_errors():
            text: Any = self._redis.hget(keys.WALKS, walk)
        return None if text is None else json.loads(text)

    def set_bookmark(self, walk: str, place: dict[str, Any]) -> None:
        """Note where a walk is left."""
        with _redis_errors():
            self._redis.hset(keys.WALKS, walk, json.dumps(place))


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


def _look_after_restoring(record: Record) -> int | None:
    late = record.created_ms + IN_FLIGHT_MS if record.state is State.PENDING else None
    return min((at for at in (late, record.ends_ms) if at is not None), default=None)


def _entry(record: Record) -> IndexEntry:
    return IndexEntry(
        record.created_ms, record.id, "" if record.owner is None else keys.owner_hash(record.owner)
    )


def _member(entry: IndexEntry) -> str:
    # All scores are equal, so that the set is ordered by these bytes and a member is an exact cursor.
    return ":".join((f"{entry.created_ms:013d}", entry.record_id, *filter(None, [entry.owner_hash])))


def _parse_member(member: str) -> IndexEntry:
    created, *others = member.split(":")
    return IndexEntry(int(created), *others)


def _indexes(entries: Iterable[IndexEntry]) -> dict[str, list[str]]:
    """Which members belong to which index."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for index in (keys.INDEX, *([keys.index(entry.owner_hash)] if entry.owner_hash else [])):
            found.setdefault(index, []).append(_member(entry))
    return found


def _list(pipe: Any, entries: Iterable[IndexEntry]) -> None:
    for index, members in _indexes(entries).items():
        pipe.zadd(index, dict.fromkeys(members, 0))


def _encode_cursor(member: str) -> str:
    return base64.urlsafe_b64encode(member.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        member = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if not re.fullmatch(r"\d{13}:[0-9a-f-]{36}(:[0-9a-f]{32})?", member, re.ASCII):
        raise _bad_cursor()
    return member


def _bad_cursor() -> BadParameter:
    return BadParameter("The cursor is not one that this service gave; start again without it.")
