"""The index: sorted sets that list records by creation, one of all records and one for each owner.

A record is indexed before it is stored and removed from the index after it is gone: an entry without a record
is passed over, and removed by the reconciler in time.

So that no single key takes all writes, each set may be divided into partitions; a record's id says into which
of them it belongs. A page merges all partitions. Its entries and its cursor are the same for any number of
them, since each partition is ordered like the whole. When the number changes, entries stand where they do
not belong. They are listed nevertheless; those beyond the last partition after `move_home` has moved them.
"""

import base64
import binascii
import heapq
import re
from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib import naming
from chalicelib.errors import BadParameter
from chalicelib.records.record import Owner, Record, Viewer
from chalicelib.records.redis_errors import redis_errors

if TYPE_CHECKING:
    import redis


_MEMBER = re.compile(r"\d{13}:[0-9a-f-]{36}(:[0-9a-f]{32})?", re.ASCII)


class IndexEntry(NamedTuple):
    """A record's creation (milliseconds since the epoch), its id, and the hash of its owner, if any."""

    created_ms: int
    record_id: str
    owner_hash: str = ""


class IndexPage(NamedTuple):
    """A part of an index, newest first; `cursor` leads to the next part, None when there is none."""

    entries: list[IndexEntry]
    cursor: str | None


def entry_of(record: Record) -> IndexEntry:
    """The entry of a record."""
    owner_hash = "" if record.owner is None else naming.owner_hash(record.owner)
    return IndexEntry(record.created_ms, record.id, owner_hash)


def cursor_after(record: Record) -> str:
    """Make the cursor of a page that begins with what follows this record."""
    return _encode_cursor(_member(entry_of(record)))


class Index:
    """The index of one deployment. All methods raise `RecordStoreUnavailable` when Redis does not answer."""

    def __init__(self, client: "redis.Redis", partitions: int = 1) -> None:
        """Use `client`, which must decode responses to text; each index has so many partitions."""
        self._redis = client
        self._partitions = partitions

    def add_to(self, pipe: Any, entries: Iterable[IndexEntry]) -> None:
        """Queue commands that add entries to a pipeline of the client."""
        for key, members in self._by_key(entries).items():
            pipe.zadd(key, dict.fromkeys(members, 0))

    def add(self, records: Iterable[Record]) -> None:
        """Make sure that records are in the index."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            self.add_to(pipe, [entry_of(record) for record in records])
            pipe.execute()

    def remove(self, *entries: IndexEntry) -> None:
        """Remove entries from where they belong, if they are there."""
        self._remove(self._by_key(entries))

    def remove_everywhere(self, *entries: IndexEntry) -> None:
        """Remove entries also from where they belonged with another number of partitions."""
        everywhere = range(naming.MOST_PARTITIONS)
        self._remove({key: found for number in everywhere for key, found in _by_key(entries, number).items()})

    def _remove(self, by_key: dict[str, list[str]]) -> None:
        if by_key:
            with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
                for key, members in by_key.items():
                    pipe.zrem(key, *members)
                pipe.execute()

    def page(self, limit: int, cursor: str | None, viewer: Viewer) -> IndexPage:
        """Read a part of the viewer's index, newest first, in one round trip.

        Args:
            limit: the most entries to return, at least 1.
            cursor: where to go on, as a former page gave it; None for the newest.
            viewer: whose records to list.

        Raises:
            BadParameter: the cursor is not one that this class gave.

        """
        newest = "+" if cursor is None else "(" + _decode_cursor(cursor)
        key = naming.index(naming.owner_hash(viewer.subject)) if isinstance(viewer, Owner) else naming.INDEX
        members = self._read(key, newest, limit + 1)
        entries = _parse_members(members[:limit])
        return IndexPage(entries, _encode_cursor(members[limit - 1]) if len(members) > limit else None)

    def newest(self, limit: int, after: IndexEntry | None) -> Sequence[IndexEntry]:
        """Read the index of all records, newest first: what follows `after`, None for the beginning."""
        newest = "+" if after is None else "(" + _member(after)
        return _parse_members(self._read(naming.INDEX, newest, limit))

    def move_home(self, limit: int) -> int:
        """Move entries out of partitions that are not used any more; return how many, about `limit` at most.

        If it dies half-way, entries stand in both places, and are moved again.
        """
        unused = range(self._partitions, naming.MOST_PARTITIONS)
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for number in unused:
                pipe.zrange(naming.partition(naming.INDEX, number), 0, limit - 1)
            found = pipe.execute() if unused else []
        moved = 0
        for number, members in zip(unused, found, strict=True):
            if entries := _parse_members(members):
                with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
                    self.add_to(pipe, entries)
                    pipe.execute()
                self._remove(_by_key(entries, number))
                moved += len(entries)
        return moved

    def _read(self, key: str, newest: str, limit: int) -> list[str]:
        """The first members from `newest` on, of all partitions of an index, in one round trip."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for number in range(self._partitions):
                name = naming.partition(key, number)
                pipe.zrange(name, newest, "-", desc=True, bylex=True, offset=0, num=limit)
            found = pipe.execute()
        # A member stands twice if it was added again after the number of partitions has changed.
        merged = (member for member, _ in groupby(heapq.merge(*found, reverse=True)))
        return list(islice(merged, limit))

    def _by_key(self, entries: Iterable[IndexEntry]) -> dict[str, list[str]]:
        """Which members belong to which sorted set."""
        found: dict[str, list[str]] = {}
        for entry in entries:
            number = naming.partition_of(entry.record_id, self._partitions)
            for key, members in _by_key([entry], number).items():
                found.setdefault(key, []).extend(members)
        return found


def _member(entry: IndexEntry) -> str:
    # All scores are equal, so that the set is ordered by these bytes and a member is an exact cursor.
    return ":".join((f"{entry.created_ms:013d}", entry.record_id, *filter(None, [entry.owner_hash])))


def _parse_members(members: Iterable[str]) -> list[IndexEntry]:
    """Read what `_member` wrote; what another release may have written is passed over."""
    found = [member.split(":") for member in members if _MEMBER.fullmatch(member)]
    return [IndexEntry(int(created), *others) for created, *others in found]


def _by_key(entries: Iterable[IndexEntry], number: int) -> dict[str, list[str]]:
    """Which members of which sorted sets stand for entries in partition `number`."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for index in (naming.INDEX, *([naming.index(entry.owner_hash)] if entry.owner_hash else [])):
            found.setdefault(naming.partition(index, number), []).append(_member(entry))
    return found


def _encode_cursor(member: str) -> str:
    return base64.urlsafe_b64encode(member.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        member = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if not _MEMBER.fullmatch(member):
        raise _bad_cursor()
    return member


def _bad_cursor() -> BadParameter:
    return BadParameter("The cursor is not one that this service gave; start again without it.")
