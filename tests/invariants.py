"""What has to hold of everything that is stored: shared by the fault matrix and the model test.

`broken_now` holds at any moment, `broken_for_good` once events, retries and the reconciler have done their
work. Both are pure: they compare what is stored (`Stored`) with what clients were promised (`Promises`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chalicelib import naming
from chalicelib.records import lifecycle
from chalicelib.records.record import Record, State
from chalicelib.work.contradiction import stored_lengths
from chalicelib.work.remove import thumbnail_keys


@dataclass(frozen=True, slots=True)
class Stored:
    """All that Redis and S3 hold. `objects` gives ETag and size of each key, `listed` the ids of the list.

    `index` has the members of the index of all, and those of owners' indexes with the index's name before.
    """

    now_ms: int
    records: Mapping[str, Record]
    index: Collection[str]
    due: Mapping[str, int]
    objects: Mapping[str, tuple[str, int]]
    listed: Sequence[str] = ()

    def visible(self) -> list[Record]:
        """The records that exist for clients."""
        return [record for record in self.records.values() if lifecycle.exists(record, self.now_ms)]


@dataclass(slots=True)
class Promises:
    """What clients were told, by the ids of records."""

    keep_originals: bool = True
    answered: set[str] = field(default_factory=set)
    """Uploads that were answered with success: record and original are there from then on."""
    accepted: set[str] = field(default_factory=set)
    """Those, and what was put into the bucket: all of them come to an end."""
    removed: set[str] = field(default_factory=set)
    """Gone for good: deletes that were answered, and what has ended."""
    refused: set[str] = field(default_factory=set)
    """Object keys of originals that S3 has and does not hand out any more."""


def broken_now(stored: Stored, promised: Promises) -> list[str]:
    """What does not hold that has to hold at any moment."""
    visible = {record.id: record for record in stored.visible()}
    broken = [f"{one}: is removed, and visible" for one in sorted(promised.removed & visible.keys())]
    for one in sorted(promised.answered - promised.removed):
        record = visible.get(one)
        if record is None:
            broken.append(f"{one}: the upload was answered, and there is no record")
        elif record.object_key not in stored.objects and (
            promised.keep_originals or record.state is not State.READY
        ):
            broken.append(f"{one}: the upload was answered, and there is no original")
    for one, record in visible.items():
        broken += [f"{one}: {said}" for said in _broken_thumbnail(record, stored)]
        if stored.listed.count(one) != (record.state is not State.AWAITING_UPLOAD):
            broken.append(f"{one}: is visible, and {stored.listed.count(one)} times in the list")
    broken += [f"{one}: is listed, and not visible" for one in stored.listed if one not in visible]
    newest_first = sorted(visible.values(), key=lambda one: (one.created_ms, one.id), reverse=True)
    places = {record.id: place for place, record in enumerate(newest_first)}
    listed = [one for one in stored.listed if one in places]
    broken += [
        f"{later}: is listed after {one}, which is older"
        for one, later in pairwise(listed)
        if places[later] < places[one]
    ]
    return broken


def _broken_thumbnail(record: Record, stored: Stored) -> list[str]:
    if record.state is not State.READY:
        return []
    broken = []
    for key, length in stored_lengths(record).items():
        if key not in stored.objects:
            broken.append("is ready, and has no thumbnail")
        elif stored.objects[key][1] != length:
            broken.append(f"says {length} bytes, and has {stored.objects[key][1]}")
    return broken


def _entries(record: Record) -> list[str]:
    member = f"{record.created_ms:013d}:{record.id}"
    if record.owner is None:
        return [member]
    owner = naming.owner_hash(record.owner)
    return [f"{member}:{owner}", f"{naming.index(owner)} {member}:{owner}"]


def broken_in_minutes(stored: Stored, promised: Promises) -> list[str]:
    """What does not hold that has to hold a few runs of the reconciler later: clients see what is true."""
    broken = broken_now(stored, promised)
    visible = {record.id for record in stored.visible()}
    lost = promised.accepted - promised.removed - visible
    return broken + [f"{one}: was accepted, and has no record" for one in sorted(lost)]


def broken_for_good(stored: Stored, promised: Promises) -> list[str]:
    """What does not hold that has to hold when all is over."""
    broken = broken_in_minutes(stored, promised)
    visible = {record.id: record for record in stored.visible()}
    named: set[str] = set()
    for one, record in stored.records.items():
        if record.state in {State.AWAITING_UPLOAD, State.PENDING, State.DELETING}:
            broken.append(f"{one}: is {record.state.value} for ever")
        elif one not in visible and record.state is not State.TOMBSTONE:
            broken.append(f"{one}: is not visible, and stays")
    for one, record in visible.items():
        named.update(thumbnail_keys(record) if record.state is State.READY else [])
        if record.state is State.FAILED and not promised.keep_originals:
            # Of an earlier version, which may be the only one of which there is anything to see.
            named.update(key for key in stored.objects if key.startswith(naming.thumbnails(one)))
        if record.state is State.READY and not promised.keep_originals:
            continue
        named.add(record.object_key)
        etag = stored.objects.get(record.object_key, ("", 0))[0]
        if not etag:
            broken.append(f"{one}: is {record.state.value}, and has no original")
        elif etag != record.etag and record.object_key not in promised.refused:
            broken.append(f"{one}: shows another version than the one that is stored")
    broken += [f"{key}: is stored, and no record names it" for key in sorted(stored.objects.keys() - named)]
    entries = {entry for record in visible.values() for entry in _entries(record)}
    broken += [f"{entry}: is in the index, and not visible" for entry in sorted(set(stored.index) - entries)]
    broken += [f"{entry}: is visible, and not in the index" for entry in sorted(entries - set(stored.index))]
    ends = {one for one, record in visible.items() if record.ends_ms is not None}
    # One too many may wait for its moment; then it has to go.
    overdue = {one for one, at_ms in stored.due.items() if at_ms <= stored.now_ms}
    broken += [f"{one}: has come due, and stays" for one in sorted(overdue)]
    broken += [f"{one}: has an end, and never comes due" for one in sorted(ends - stored.due.keys())]
    return broken
