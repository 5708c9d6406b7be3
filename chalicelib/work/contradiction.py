"""Repair a record that says more than the bucket holds."""

from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.records import lifecycle
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope
from chalicelib.records.store import RecordStore
from chalicelib.work.objects_to_records import newest_alone, record_of_thumbnail
from chalicelib.work.remove import remove

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket


def repair_contradiction(store: RecordStore, bucket: "Bucket", record: Record) -> str | None:
    """Repair a final record whose thumbnail, or whose original where it failed, is not in the bucket.

    Args:
        store: the records.
        bucket: the objects.
        record: a record that is READY or FAILED, as it was just read.

    Returns:
        what was done; None when the bucket has what the record says.

    Raises:
        Unavailable: Redis or S3 did not answer.

    """
    if lifecycle.is_ready(record):
        if bucket.exists(naming.thumbnail(record.id, record.thumbnail or "")):
            return None
        if bucket.exists(record.object_key):
            marked = store.mark_thumbnail_lost(record)
            return "thumbnails to be made again" if marked else "changed meanwhile"
        alone = newest_alone(bucket, record.id)
        if alone is not None:
            adopted = store.adopt(record_of_thumbnail(alone), seen=record)
            return "thumbnails adopted" if adopted else "changed meanwhile"
    elif bucket.exists(record.object_key):
        return None
    # S3 is the truth, and nothing of this picture is left there.
    removed = remove(store, bucket, record.id, RemovalScope.VISIBLE, UNRESTRICTED, seen=record)
    return "changed meanwhile" if removed is None else "records removed"
