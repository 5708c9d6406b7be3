"""Brings to an end what stopped half-way, and makes the records again that Redis has lost.

    sweep    what has come due: pending records, half-done removals, pictures whose time is over
    audit    walks over every original and every thumbnail, once a day, and over every record, once a week
    rebuild  the day's walks, at once, from the beginning

Each may stop anywhere and run twice at once. What is looked at is first put off, so that whatever kills
one run does not meet the next one. A walk reads one page at a time and notes how far it has come, so that
the next run goes on there. What is younger than `IN_FLIGHT_MS` may be in somebody's hands and is left alone;
making a record that is missing is the exception, since that takes nothing out of anybody's hands.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain

from chalicelib import keys
from chalicelib.bucket import Bucket, ObjectInfo
from chalicelib.catalogue import IN_FLIGHT_MS, Catalogue, Due, IndexEntry, Which
from chalicelib.clock import Clock
from chalicelib.errors import TriedTooOften, Unavailable
from chalicelib.keys import ThumbnailKey
from chalicelib.pipeline import Observe, Pipeline, look_away, new_version
from chalicelib.record import GONE, Record, State, end_of_life, facts
from chalicelib.removal import remove

MOST_TRIES = 3
"""How often a pending record is driven before it gets an error: as often as Lambda tries an event."""
BUCKET_EVERY_MS = 24 * 3600 * 1000
"""Every object is looked at once in this time: a thousand for each request to S3."""
RECORDS_EVERY_MS = 7 * BUCKET_EVERY_MS
"""Every record is looked at once in this time: with a request to S3 for each, that it is whole there."""
_SWEPT_AT_ONCE = 500
# One object that S3 refuses holds up nothing; where all are refused, to go on is to wait for nothing.
_MOST_PUT_OFF = 5
_PAGE = 1000
_AT_ONCE = 16
_ENDED = frozenset({State.READY, State.FAILED})
_WAITING = frozenset({State.EXPECTED, State.PENDING, State.DELETING})


class Walk(StrEnum):
    """What an audit walks over."""

    ORIGINALS = "originals"
    THUMBNAILS = "thumbnails"
    INDEX = "index"


BUCKET = (Walk.ORIGINALS, Walk.THUMBNAILS)


Counts = Counter[str]
"""What was done -> how often."""
_Thumbnail = tuple[ObjectInfo, ThumbnailKey]


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Mends what it finds until `time_is_up`; an audit asks between pages, a sweep between records."""

    catalogue: Catalogue
    bucket: Bucket
    pipeline: Pipeline
    clock: Clock
    time_is_up: Callable[[], bool]
    observe: Observe = look_away

    # --- what has come due ---

    def sweep(self) -> Counts:
        """Deal with everything that has come due.

        Raises:
            Unavailable: S3 or Redis did not answer, for more than a few records. What was not dealt with
                comes due again.

        """
        counts: Counts = Counter()
        while not self.time_is_up() and (entries := self.catalogue.due(_SWEPT_AT_ONCE)):
            at_rest: list[tuple[Due, int | None]] = []
            found = self.catalogue.find_all([entry.record_id for entry in entries])
            for entry, record in zip(entries, found, strict=True):
                if record is None or record.state is State.DELETED:
                    at_rest.append((entry, None))
                elif self._is_at_rest(record):
                    at_rest.append((entry, record.ends_ms))
                elif not self.time_is_up():
                    self.catalogue.settle([(entry, self.clock() + IN_FLIGHT_MS)])
                    try:
                        counts[self._bring_to_an_end(record)] += 1
                    except Unavailable:
                        counts["put off"] += 1
                        if counts["put off"] >= _MOST_PUT_OFF:
                            raise
            self.catalogue.settle(at_rest)
        return counts

    def _is_at_rest(self, record: Record) -> bool:
        return record.state in _ENDED and not record.has_ended(self.clock())

    def _bring_to_an_end(self, record: Record) -> str:
        if record.state is State.DELETING:
            return "removals finished" if self._remove(record, Which.ANY) else "changed meanwhile"
        ended = record.state is not State.EXPECTED and record.has_ended(self.clock())
        if ended and not self._is_put_again(record):
            return "expired" if self._remove(record, Which.ENDED) else "changed meanwhile"
        if record.etag is None and self.bucket.head(record.object_key) is None:
            return "dead uploads forgotten" if self.catalogue.forget(record) else "changed meanwhile"
        if self.catalogue.count_try(record.id) > MOST_TRIES:
            return f"given up: {self.pipeline.give_up(record.object_key, None, TriedTooOften())}"
        return f"driven again: {self.pipeline.process(record.object_key, self.observe)}"

    def _is_put_again(self, record: Record) -> bool:
        """Tell whether a client has put its key there again, and the event has yet to say so."""
        if keys.is_minted(record.object_key):
            return False
        original = self.bucket.head(record.object_key)
        return original is not None and self._outlives(original, record)

    def _outlives(self, original: ObjectInfo, record: Record) -> bool:
        """Tell whether an object is newer than what its record knows of: another version, or a later end."""
        if record.etag != original.etag:
            return True
        if keys.is_minted(original.key) or record.expires_ms is None:
            return False
        return record.expires_ms < (end_of_life(original.modified_ms, self.pipeline.retention) or 0)

    def _remove(self, record: Record, which: Which) -> bool:
        return remove(self.catalogue, self.bucket, record.id, which) is not None

    # --- walks ---

    def audit(self) -> Counts:
        """Go on with the walks over bucket and index; nothing while those of the day or week are done.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        counts: Counts = Counter()
        for name, walks, every_ms in (
            ("bucket", BUCKET, BUCKET_EVERY_MS),
            ("records", (Walk.INDEX,), RECORDS_EVERY_MS),
        ):
            place = self.catalogue.bookmark(name)
            if place is not None and place["walk"] is None:
                if self.clock() - place["since"] < every_ms:
                    continue
                place = None
            counts += self._walk(name, place, walks)
            if self.time_is_up():
                break
        return counts

    def rebuild(self) -> tuple[Counts, bool]:
        """Make a record of every picture in the bucket that has none, or go on with that if it began today.

        Returns:
            what was done, and whether the end was reached; the next run then starts from the beginning.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        place = self.catalogue.bookmark("rebuild")
        if place is not None and (place["walk"] is None or self.clock() - place["since"] >= BUCKET_EVERY_MS):
            # Done, or left by somebody long ago, who knows nothing of what was lost since.
            place = None
        counts = self._walk("rebuild", place, BUCKET)
        place = self.catalogue.bookmark("rebuild")
        return counts, place is not None and place["walk"] is None

    def _walk(self, name: str, place: dict[str, object] | None, walks: tuple[Walk, ...]) -> Counts:
        counts: Counts = Counter()
        since = self.clock() if place is None else place["since"]
        first, after = (walks[0], "") if place is None else (Walk(str(place["walk"])), str(place["after"]))
        for walk in walks[walks.index(first) :]:
            for reached in self._pages(walk, after, counts):
                self.catalogue.set_bookmark(name, {"walk": walk.value, "after": reached, "since": since})
                if self.time_is_up():
                    return counts
            after = ""
        self.catalogue.set_bookmark(name, {"walk": None, "since": since})
        return counts

    def _pages(self, walk: Walk, after: str, counts: Counts) -> Iterator[str]:
        """Deal with a walk page by page; yield after each how far it has come."""
        if walk is Walk.INDEX:
            entry = IndexEntry(*json.loads(after)) if after else None
            while entries := self.catalogue.entries(_PAGE, entry):
                self._check_entries(entries, counts)
                entry = entries[-1]
                yield json.dumps(entry)
            return
        prefix, check = {
            Walk.ORIGINALS: (keys.ORIGINALS, self._check_originals),
            Walk.THUMBNAILS: (keys.THUMBNAILS, self._check_thumbnails),
        }[walk]
        for page in self.bucket.pages(prefix, after=after):
            check([item for item in page if not item.key.endswith("/") or item.size], counts)
            yield page[-1].key

    def _is_old(self, since_ms: int) -> bool:
        return since_ms <= self.clock() - IN_FLIGHT_MS

    def _check_originals(self, originals: list[ObjectInfo], counts: Counts) -> None:
        counts["originals seen"] += len(originals)
        records = self.catalogue.find_all([keys.record_id(original.key) for original in originals])
        self._list_and_watch(records)
        missing: list[ObjectInfo] = []
        for original, record in zip(originals, records, strict=True):
            if record is None:
                missing.append(original)
            elif not self._is_old(original.modified_ms) or record.state in _WAITING:
                continue  # in somebody's hands, or due
            elif record.state is State.DELETED and keys.is_minted(original.key):
                counts["originals removed"] += self.bucket.delete_version(original.key, original.etag)
            elif record.state is State.DELETED or self._outlives(original, record):
                counts["originals taken up"] += self._take_up(original.key, record)
            elif record.state is State.READY and not self.pipeline.keep_originals:
                counts["originals removed"] += self._drop_original(original, record)
        stored = self._stored_thumbnails([keys.record_id(original.key) for original in missing])
        counts["records restored"] += self._restore(
            lambda original: self._of_original(original, stored[keys.record_id(original.key)]),
            missing,
            counts,
        )

    def _stored_thumbnails(self, ids: list[str]) -> dict[str, list[_Thumbnail]]:
        """The thumbnails that are stored for these ids.

        Ids that follow from one page of originals follow one another in the listing of thumbnails, too: one
        listing from the first to the last serves all. Those of clients' own keys lie anywhere between.
        """
        found: dict[str, list[_Thumbnail]] = {record_id: [] for record_id in ids}
        dense = sorted(record_id for record_id in ids if keys.is_minted(keys.original(record_id)))
        pages = [self.bucket.pages(f"{keys.THUMBNAILS}{one}/") for one in found.keys() - set(dense)]
        if dense:
            after, end = f"{keys.THUMBNAILS}{dense[0]}", keys.thumbnail(dense[-1], "~")
            pages.append(self.bucket.pages(keys.THUMBNAILS, after=after, until=end))
        for item in chain.from_iterable(chain.from_iterable(pages)):
            name = keys.parse_thumbnail(item.key)
            if name is not None and name.record_id in found:
                found[name.record_id].append((item, name))
        return found

    def _list_and_watch(self, records: Iterable[Record | None]) -> None:
        """Index and due entries are keys of their own, which a cluster may lose by themselves."""
        alive = [record for record in records if record is not None and record.state is not State.DELETED]
        self.catalogue.list_again(
            [record for record in alive if record.state not in {State.DELETING, State.EXPECTED}]
        )
        looks = [Due(record.id, self.clock() + IN_FLIGHT_MS) for record in alive if record.state in _WAITING]
        looks += [
            Due(record.id, record.ends_ms)
            for record in alive
            if record.ends_ms is not None and record.state not in _WAITING
        ]
        self.catalogue.watch(looks)

    def _take_up(self, object_key: str, record: Record) -> bool:
        """Let an object have the record that its event should have made; the sweep then drives it."""
        # Looked at again: the listing may be older than the removal that the record tells of.
        original = self.bucket.head(object_key)
        if original is None:
            return False
        fresh = new_version(original, self.pipeline.retention)
        return self.catalogue.begin(fresh, revive=record.tombstone).state not in GONE

    def _drop_original(self, original: ObjectInfo, record: Record) -> bool:
        """Remove an original that is not to be kept, if its thumbnail carries what is needed without it."""
        thumbnail = self.bucket.head(keys.thumbnail(record.id, record.thumbnail or ""))
        if thumbnail is None or not facts(thumbnail.metadata).stands_alone:
            return False
        return self.bucket.delete_version(original.key, original.etag)

    def _restore(
        self, look: Callable[[ObjectInfo], Record | str], objects: list[ObjectInfo], counts: Counts
    ) -> int:
        """Look at objects whose records are missing, many at once, and store the records found."""
        if not objects:
            return 0
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(look, objects))
        counts.update(outcome for outcome in found if isinstance(outcome, str))
        return self.catalogue.restore([record for record in found if isinstance(record, Record)])

    def _of_original(self, listed: ObjectInfo, stored: list[_Thumbnail]) -> Record | str:
        """The record of an original, ready if a thumbnail of this version is stored."""
        for item, name in stored:
            if name.etag == listed.etag and (thumbnail := self.bucket.head(item.key)) is not None:
                record = _of_thumbnail(thumbnail, name, listed.key, listed.size)
                if not keys.is_minted(listed.key):
                    # The client may have put the same content there again since.
                    ends_ms = end_of_life(listed.modified_ms, self.pipeline.retention)
                    record = replace(record, expires_ms=ends_ms or record.expires_ms)
                return record
        original = self.bucket.head(listed.key)
        if original is None:
            return "changed meanwhile"
        # The pipeline removes the thumbnails of other versions, as it does with those that it knows.
        former = tuple(name.name for _, name in stored)
        return replace(new_version(original, self.pipeline.retention), former_thumbnails=former)

    def _check_thumbnails(self, thumbnails: list[ObjectInfo], counts: Counts) -> None:
        counts["thumbnails seen"] += len(thumbnails)
        named = [(item, name) for item in thumbnails if (name := keys.parse_thumbnail(item.key)) is not None]
        records = self.catalogue.find_all([name.record_id for _, name in named])
        self._list_and_watch(records)
        alone: list[ObjectInfo] = []
        for (item, _), record in zip(named, records, strict=True):
            if record is None:
                alone.append(item)
            elif self._is_old(item.modified_ms) and (
                record.state is State.DELETED or item.key not in record.thumbnail_keys()
            ):
                self.bucket.delete(item.key)
                counts["thumbnails removed"] += 1
        counts["records restored"] += self._restore(self._alone, alone, counts)

    def _alone(self, listed: ObjectInfo) -> Record | str:
        """The record of a thumbnail that may be all that is kept of a picture."""
        name = keys.parse_thumbnail(listed.key)
        thumbnail = self.bucket.head(listed.key)
        if name is None or thumbnail is None:
            return "changed meanwhile"
        told = facts(thumbnail.metadata)
        original_key = told.original_key or keys.original(name.record_id)
        if (original := self.bucket.head(original_key)) is not None:
            return self._of_original(original, self._stored_thumbnails([name.record_id])[name.record_id])
        if told.stands_alone:
            return _of_thumbnail(thumbnail, name, original_key, told.original_size or 0)
        if not self._is_old(listed.modified_ms):
            return "in flight"
        self.bucket.delete(listed.key)
        return "thumbnails removed"

    def _check_entries(self, entries: list[IndexEntry], counts: Counts) -> None:
        counts["records seen"] += len(entries)
        records = self.catalogue.find_all([entry.record_id for entry in entries])
        old = [
            (entry, record)
            for entry, record in zip(entries, records, strict=True)
            if self._is_old(entry.created_ms)
        ]
        stale = [
            entry
            for entry, record in old
            if record is None or record.state in GONE or record.created_ms != entry.created_ms
        ]
        self._list_and_watch(records)
        self.catalogue.unlist(*stale)
        counts["index entries removed"] += len(stale)
        ended = [record for _, record in old if record is not None and record.state in _ENDED]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counts.update(filter(None, pool.map(self._mend_without_object, ended)))

    def _mend_without_object(self, record: Record) -> str | None:
        """Mend a record whose thumbnail, or whose original where it failed, is not in the bucket."""
        if record.state is State.READY:
            if self.bucket.head(keys.thumbnail(record.id, record.thumbnail or "")) is not None:
                return None
            if self.bucket.head(record.object_key) is not None:
                return "thumbnails to be made again" if self.catalogue.redo(record) else "changed meanwhile"
        elif self.bucket.head(record.object_key) is not None:
            return None
        # S3 is the truth, and nothing of this picture is left there.
        return "records removed" if self._remove(record, Which.ALIVE) else "changed meanwhile"


def _of_thumbnail(thumbnail: ObjectInfo, name: ThumbnailKey, original_key: str, original_size: int) -> Record:
    """The record that a stored thumbnail's metadata tell of."""
    told = facts(thumbnail.metadata)
    return Record(
        id=name.record_id,
        object_key=original_key,
        filename=keys.filename(original_key) if told.filename is None else told.filename,
        created_ms=thumbnail.modified_ms if told.created_ms is None else told.created_ms,
        original_size=original_size,
        state=State.READY,
        etag=name.etag,
        thumbnail=name.name,
        thumbnail_size=thumbnail.size,
        expires_ms=told.expires_ms,
        fingerprint=told.fingerprint,
        owner=told.owner,
        ticket_ends_ms=told.ticket_ends_ms,
    )
