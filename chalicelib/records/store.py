"""The records, in Redis: every change is a transition of `lifecycle`, stored by compare-and-set.

A change reads a record's hash, applies the transition, and replaces the hash if its revision is still the one
that was read; if another writer came first, the transition is applied to what that one has stored. Each
script touches one key: a cluster may keep any two keys in different slots.

Order of writes, so that a crash in between leaves nothing wrong for long: the schedule, then the index, then
the outbox, then the record; a record that is gone is removed from the index afterwards.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Concatenate, NamedTuple, ParamSpec

from chalicelib import naming
from chalicelib.clock import Clock, now_ms
from chalicelib.errors import RecordUnreadable
from chalicelib.records import codec, events, lifecycle
from chalicelib.records.checkpoints import Checkpoints
from chalicelib.records.cluster import is_cluster, to_each_primary
from chalicelib.records.hashes import Hashes
from chalicelib.records.heartbeat import Heartbeat
from chalicelib.records.index import Index, entry_of
from chalicelib.records.outbox import Outbox
from chalicelib.records.record import (
    UNRESTRICTED,
    Failure,
    Finished,
    FinishResult,
    Record,
    RemovalScope,
    UnreadableRecord,
    Viewer,
)
from chalicelib.records.redis_errors import redis_errors
from chalicelib.records.replace import Replace
from chalicelib.records.schedule import Schedule, ScheduledCheck

if TYPE_CHECKING:
    import redis

Found = Record | UnreadableRecord | None
"""What is stored under an id."""
_Arguments = ParamSpec("_Arguments")
_Transition = Callable[Concatenate[Record | None, _Arguments], Record | None]


class Change(NamedTuple):
    """A record before and after a transition; equal where the transition changed nothing."""

    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, newest first; `cursor` leads to the next part, None when there is none.

    A page may hold fewer records than were asked for when some were removed while it was read.
    """

    records: list[Record]
    cursor: str | None


class RecordStore:
    """The records of one deployment.

    Methods raise `RecordStoreUnavailable` when Redis does not answer; those that change a record
    `RecordUnreadable` when another release has written it.
    """

    def __init__(
        self, client: "redis.Redis", clock: Clock = now_ms, partitions: int = 1, *, publishes: bool = False
    ) -> None:
        """Use `client`, which must decode responses; index and schedule have so many `partitions`."""
        self._redis = client
        self._is_cluster = is_cluster(client)
        self._clock = clock
        self._hashes = Hashes(client)
        self._replace = Replace(client)
        self.index = Index(client, partitions)
        self.schedule = Schedule(client, clock, partitions)
        self.outbox = Outbox(client, clock, partitions, publishes=publishes)
        self.checkpoints = Checkpoints(client)
        self.heartbeat = Heartbeat(client)

    def now_ms(self) -> int:
        """The time by which records expire, in milliseconds since the epoch."""
        return self._clock()

    def ping(self) -> None:
        """Write to Redis, as an upload does: a full server and a read-only replica refuse it."""
        with redis_errors():
            self._redis.set(naming.HEALTH, "1", ex=60)
            if self._is_cluster:  # one of its servers got the write
                self._redis.ping(**to_each_primary(self._redis))

    # --- reading ---

    def get(self, record_id: str, viewer: Viewer) -> Record | None:
        """The record as the viewer sees it; None when it does not exist for that viewer, by the same work."""
        record = self._find(record_id, viewer)
        if isinstance(record, Record) and lifecycle.is_visible(record, viewer, self._clock()):
            return record
        return None

    def find(self, record_id: str, viewer: Viewer = UNRESTRICTED) -> Record | None:
        """The record in whatever state, tombstones included; of an owner's, only what is still theirs.

        Raises:
            RecordUnreadable: another release has written it.

        """
        return self._readable(self._find(record_id, viewer))

    def _find(self, record_id: str, viewer: Viewer) -> Found:
        return codec.decode(record_id, self._hashes.read(record_id, viewer))

    def find_all(self, ids: Sequence[str]) -> list[Found]:
        """The records with these ids, in their order and in whatever state, in one round trip."""
        hashes = self._hashes.read_all(ids)
        return [codec.decode(record_id, fields) for record_id, fields in zip(ids, hashes, strict=True)]

    def page(self, limit: int, cursor: str | None, viewer: Viewer) -> Page:
        """Read a part of the list, newest first, in two round trips whatever the number of records.

        Args:
            limit: the most records to return, at least 1.
            cursor: where to go on, as a former page gave it; None for the newest.
            viewer: whose records to list.

        Raises:
            BadParameter: the cursor is not one that this service gave.

        """
        entries, next_cursor = self.index.page(limit, cursor, viewer)
        found = self.find_all([entry.record_id for entry in entries])
        now = self._clock()
        # Two entries of one record stand there only when an upload died; the one that the record has counts.
        records = [
            record
            for entry, record in zip(entries, found, strict=True)
            if isinstance(record, Record)
            and lifecycle.is_visible(record, viewer, now)
            and lifecycle.is_listed(record)
            and entry_of(record) == entry
        ]
        return Page(records, next_cursor)

    # --- changes ---

    def change(
        self,
        record_id: str,
        transition: _Transition[_Arguments],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> Change:
        """Apply a transition of `lifecycle` to a record, whatever it is by now."""
        return self._change(self.find(record_id), record_id, transition, *args, **kwargs)

    def _change(
        self,
        before: Record | None,
        record_id: str,
        transition: _Transition[_Arguments],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> Change:
        """Apply a transition to a record that was just read; `before` may be out of date."""
        while True:
            after = self.outbox.note(before, transition(before, *args, **kwargs))
            if after == before:
                return Change(before, before)
            revision = secrets.token_hex(6)
            after = None if after is None else replace(after, revision=revision)
            self._schedule_check(before, after)
            self.outbox.announce(before, after)
            stored = self._replace(
                naming.record(record_id),
                None if before is None else before.revision,
                {} if after is None else codec.encode(after),
                allowed_when_full=transition in events.ALLOWED_WHEN_FULL,
                seconds_to_live=events.seconds_to_live(before, after),
            )
            # The client sends the script again when a reply is lost: the revision is this one's own then, or
            # the record is dropped.
            if stored is None or (after is None and not stored) or stored.get("revision") == revision:
                return Change(before, after)
            before = self._readable(codec.decode(record_id, stored))

    def _schedule_check(self, before: Record | None, after: Record | None) -> None:
        """Schedule the check that a change needs, unless the record as it was has an earlier one.

        The check of a record that is created was scheduled when it was announced.
        """
        if before is None or after is None:
            return
        now = self._clock()
        needed, scheduled = lifecycle.next_check(after, now), lifecycle.next_check(before, now)
        if needed is not None and (scheduled is None or needed < scheduled):
            self.schedule.set(ScheduledCheck(after.id, needed))

    def _announce(self, record: Record) -> Record | None:
        """Schedule and index a record that is about to be stored; return what is stored now.

        One round trip.
        """
        check = lifecycle.next_check(record, self._clock())
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            if check is not None:
                self.schedule.set_in(pipe, ScheduledCheck(record.id, check))
            self.index.add_to(pipe, [entry_of(record)])
            pipe.hgetall(naming.record(record.id))
            *_, fields = pipe.execute()
        return self._readable(codec.decode(record.id, fields))

    def _readable(self, found: Found) -> Record | None:
        if isinstance(found, UnreadableRecord):
            raise RecordUnreadable(found.reason)
        return found

    # --- uploads ---

    def create(self, record: Record) -> None:
        """Store a new record under its new random id, in one round trip; in two to a cluster."""
        check = lifecycle.next_check(record, self._clock())
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            if check is not None:
                self.schedule.set_in(pipe, ScheduledCheck(record.id, check))
            if lifecycle.is_listed(record):
                self.index.add_to(pipe, [entry_of(record)])
            if self._is_cluster:
                pipe.execute()  # its servers keep no order among them
            fields = codec.encode(replace(record, revision=secrets.token_hex(6)))
            key = naming.record(record.id)
            pipe.hset(key, items=[part for field in fields.items() for part in field])
            if seconds := lifecycle.seconds_to_live(None, record):
                pipe.expire(key, seconds)
            pipe.execute()

    def create_if_absent(self, fresh: Record) -> Record:
        """Insert the record of an upload with an Idempotency-Key unless one with this id exists.

        Returns:
            the record as it stands now; a tombstone if it has been removed.

        """
        before = self._announce(fresh)
        _, record = self._change(before, fresh.id, lifecycle.create_if_absent, fresh, self._clock())
        assert record is not None, "the transition always gives a record"  # noqa: S101 - for the type checker
        self._remove_spurious_entry(fresh, record)
        return record

    def _remove_spurious_entry(self, announced: Record, stored: Record) -> None:
        """Remove an entry of the index that was made for a record which turned out to be there already."""
        if not lifecycle.is_listed(stored) or entry_of(stored) != entry_of(announced):
            self.index.remove(entry_of(announced))

    # --- processing ---

    def claim_version(self, fresh: Record, *, revive: str | None = None, is_current: bool = False) -> Record:
        """Claim the version `fresh.etag` of an original, making its record if there is none.

        Args:
            fresh: the record to store if there is none; it names its version and the thumbnail to be.
            revive: the tombstone which the object has outlived, if any; see `lifecycle.claim_version`.
            is_current: the object was read again, and is still there.

        Returns:
            the record as it stands now. If it needs a thumbnail, that is to be stored as `thumbnail`. If it
            is final, this version has been processed. If it is gone, nothing was changed.

        """
        if fresh.etag is None or fresh.thumbnail is None:
            raise ValueError("only a version of an original can be claimed")
        before = self._announce(fresh)
        _, record = self._change(
            before, fresh.id, lifecycle.claim_version, fresh, revive, is_current=is_current
        )
        assert record is not None, "the transition always gives a record"  # noqa: S101 - for the type checker
        self._remove_spurious_entry(fresh, record)
        return record

    def finish(self, claimed: Record, result: Finished | Failure) -> FinishResult:
        """Store the result of a claimed version. A record that is READY stays so."""
        _, record = self._change(claimed, claimed.id, lifecycle.finish, claimed.thumbnail, result)
        return lifecycle.finish_result(record, claimed.thumbnail)

    def expire_after_download(self, record: Record, seconds: int) -> None:
        """Let a ready record expire in `seconds`, unless an earlier download has given it an expiry."""
        expires_ms = -(-self._clock() // 1000) * 1000 + seconds * 1000
        self._change(record, record.id, lifecycle.expire_after_download, record.thumbnail, expires_ms)

    # --- removals ---

    def start_removal(
        self, before: Record, scope: RemovalScope, viewer: Viewer, *, seen: Record | None = None
    ) -> Record | None:
        """Hide a record for good, so that its objects can be removed; also if an earlier removal has stopped.

        Args:
            before: the record, as it was just read.
            scope: which records may be removed.
            viewer: who asks.
            seen: the record as it was when its removal was decided; one that has changed since stays.

        Returns:
            the record, with all that is needed to find its objects; None when there is none in scope that
            this viewer may remove.

        """
        now = self._clock()
        _, record = self._change(before, before.id, lifecycle.start_removal, scope, viewer, now, seen)
        if record is None or not lifecycle.is_being_removed(record):
            return None
        if not lifecycle.may_remove(record, scope, viewer, now):
            return None
        self.index.remove(entry_of(record))
        return record

    def finish_removal(self, removing: Record, tombstone: str) -> bool:
        """Leave a tombstone in place of a record whose objects are gone.

        Args:
            removing: the record as `start_removal` gave it.
            tombstone: unique to this removal.

        Returns:
            True for one removal only, however many ran at the same time.

        """
        _, record = self._change(removing, removing.id, lifecycle.finish_removal, tombstone)
        return record is not None and record.tombstone == tombstone

    # --- the reconciler ---

    def record_attempt(self, record: Record) -> int:
        """Count that a pending record is retried once more; 0 when it is not pending any more."""
        _, after = self._change(record, record.id, lifecycle.record_attempt, record.attempts + 1, record.etag)
        return after.attempts if after is not None and lifecycle.needs_thumbnail(after) else 0

    def withdraw_attempt(self, record: Record) -> None:
        """Take back the last attempt: it ended in an outage, which says nothing about the picture."""
        self.change(record.id, lifecycle.withdraw_attempt, record.attempts + 1)

    def move_original(self, record: Record, object_key: str) -> None:
        """Note the new object key of an upload that release 1 has stored."""
        self._change(record, record.id, lifecycle.move_original, object_key)

    def adopt(self, found: Record, *, seen: Record | None) -> bool:
        """Make ready what a thumbnail that stands alone tells of; False if the record is not `seen` now."""
        if seen is None:
            return self.restore([found]) == 1
        if not lifecycle.is_gone(seen):
            self.index.add([seen])  # one that awaited its upload is not there yet
        before, after = self._change(seen, found.id, lifecycle.adopt_thumbnail, found, seen)
        return after != before

    def reopen(self, record: Record, error_code: str | None) -> bool:
        """Make a failed record pending again, to be checked now; False if it did not fail for that."""
        before, after = self._change(record, record.id, lifecycle.reopen, error_code)
        if after == before:
            return False
        self.schedule.set(ScheduledCheck(record.id, self._clock()))
        return True

    def mark_thumbnail_lost(self, record: Record) -> bool:
        """Make a ready record pending whose thumbnail is lost, to be checked now; False if it has changed."""
        before, after = self._change(record, record.id, lifecycle.mark_thumbnail_lost, record.thumbnail)
        self.schedule.set(ScheduledCheck(record.id, self._clock()))
        return after != before

    def discard_abandoned(self, record: Record) -> bool:
        """Drop the record of an upload that was abandoned long ago; False if it was not."""
        before, after = self._change(record, record.id, lifecycle.discard_abandoned, self._clock())
        if before is None or after is not None:
            return False
        self.index.remove(entry_of(record))
        return True

    def restore(self, records: Iterable[Record]) -> int:
        """Store and index records made of what the bucket holds, where there are none; return how many.

        A pending one is checked 15 minutes after the picture was uploaded, which may be now.
        """
        found = list(records)
        checks = [(record.id, lifecycle.next_check(record, record.created_ms)) for record in found]
        # A record that came in the meantime keeps its check.
        self.schedule.set_if_earlier([ScheduledCheck(one, at) for one, at in checks if at is not None])
        self.index.add(found)
        return sum(self._restore(record) for record in found)

    def _restore(self, record: Record) -> bool:
        try:
            return self._change(None, record.id, lifecycle.create, record).before is None
        except RecordUnreadable:
            return False
