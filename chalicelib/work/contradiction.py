"""Repair a record that says more than the bucket holds."""

from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.errors import OriginalRefused
from chalicelib.records import lifecycle
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope
from chalicelib.records.store import RecordStore
from chalicelib.work.objects_to_records import listed, newest_alone, record_of_thumbnail
from chalicelib.work.remove import remove

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket


def repair_contradiction(store: RecordStore, bucket: "Bucket", record: Record) -> str | None:
    """Repair a record whose thumbnails, or whose original where it has none, are not in the bucket.

    Args:
        store: the records.
        bucket: the objects.
        record: a record that is READY or FAILED, or PENDING for longer than a version may be in flight, as it
            was just read.

    Returns:
        what was done; None when the bucket has what the record says.

    Raises:
        Unavailable: Redis or S3 did not answer.

    """
    is_ready = lifecycle.is_ready(record)
    if is_ready and is_stored(bucket, record):
        return None
    if bucket.exists(record.object_key):
        if not is_ready:
            return None
        marked = store.mark_thumbnail_lost(record)
        return "thumbnails to be made again" if marked else "changed meanwhile"
    if is_ready or lifecycle.needs_thumbnail(record):
        alone = newest_alone(bucket, record.id)
        if alone is not None:
            adopted = store.adopt(record_of_thumbnail(alone), seen=record)
            return "thumbnails adopted" if adopted else "changed meanwhile"
    # S3 is the truth, and nothing of this picture is left there. What a client puts there meanwhile stays.
    removed = remove(store, bucket, record.id, RemovalScope.ANY, UNRESTRICTED, seen=record)
    return "changed meanwhile" if removed is None else "records removed"


def stored_lengths(record: Record) -> dict[str, int]:
    """The objects that a ready record tells of, and how many bytes each has."""
    name = record.thumbnail or ""
    lengths = {naming.thumbnail(record.id, name): record.thumbnail_size or 0}
    for size in record.sizes:
        lengths[naming.sized_thumbnail(record.id, name, size.name, size.extension)] = size.bytes
    return lengths


def is_stored(bucket: "Bucket", record: Record) -> bool:
    """Tell whether the bucket has all thumbnails of a ready record, whole, in one request."""
    told = stored_lengths(record)
    if not record.sizes:
        return _has(bucket, *told.items())
    found = {item.key: item.size for item in listed(bucket, record.id)}
    return all(found.get(key) == length for key, length in told.items())


def _has(bucket: "Bucket", told: tuple[str, int]) -> bool:
    try:
        stored = bucket.head(told[0])
    except OriginalRefused:
        return True  # it is there
    return stored is not None and stored.size == told[1]
