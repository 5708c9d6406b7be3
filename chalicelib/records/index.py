"""The index: sorted sets that list records by creation, one of all records and one for each owner.

A record is indexed before it is stored and removed from the index after it is gone: an entry without a record
is passed over, and removed by the reconciler in time.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
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


class Index:
    """The index of one deployment. All methods raise `RecordStoreUnavailable` when Redis does not answer."""

    def __init__(self, client: "redis.Redis") -> None:
        """Use `client`, which must decode responses to text."""
        self._redis = client

    def add_to(self, pipe: Any, entries: Iterable[IndexEntry]) -> None:
        """Queue commands that add entries to a pipeline of the client."""
        for key, members in _by_key(entries).items():
            pipe.zadd(key, dict.fromkeys(members, 0))

    def add(self, records: Iterable[Record]) -> None:
        """Make sure that records are in the index."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            self.add_to(pipe, [entry_of(record) for record in records])
            pipe.execute()

    def remove(self, *entries: IndexEntry) -> None:
        """Remove entries, if they are there."""
        if entries:
            with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
                for key, members in _by_key(entries).items():
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
        with redis_errors():
            members: Any = self._redis.zrange(
                key, newest, "-", desc=True, bylex=True, offset=0, num=limit + 1
            )
        entries = _parse_members(members[:limit])
        return IndexPage(entries, _encode_cursor(members[limit - 1]) if len(members) > limit else None)

    def newest(self, limit: int, after: IndexEntry | None) -> Sequence[IndexEntry]:
        """Read the index of all records, newest first: what follows `after`, None for the beginning."""
        newest = "+" if after is None else "(" + _member(after)
        with redis_errors():
            members: Any = self._redis.zrange(
                naming.INDEX, newest, "-", desc=True, bylex=True, offset=0, num=limit
            )
        return _parse_members(members)


def _member(entry: IndexEntry) -> str:
    # All scores are equal, so that the set is ordered by these bytes and a member is an exact cursor.
    return ":".join((f"{entry.created_ms:013d}", entry.record_id, *filter(None, [entry.owner_hash])))


def _parse_members(members: Iterable[str]) -> list[IndexEntry]:
    """Read what `_member` wrote; what another release may have written is passed over."""
    found = [member.split(":") for member in members if _MEMBER.fullmatch(member)]
    return [IndexEntry(int(created), *others) for created, *others in found]


def _by_key(entries: Iterable[IndexEntry]) -> dict[str, list[str]]:
    """Which members belong to which sorted set."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for key in (naming.INDEX, *([naming.index(entry.owner_hash)] if entry.owner_hash else [])):
            found.setdefault(key, []).append(_member(entry))
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
