"""Delete a record and its objects, leaving a tombstone. Idempotent and resumable."""

import uuid

from chalicelib import naming
from chalicelib.errors import RecordUnreadable
from chalicelib.objects.bucket import Bucket
from chalicelib.records import lifecycle
from chalicelib.records.lifecycle import RemovalScope
from chalicelib.records.record import Record, Viewer
from chalicelib.records.store import RecordStore


def remove(
    store: RecordStore, bucket: Bucket, record_id: str, scope: RemovalScope, viewer: Viewer
) -> Record | None:
    """Remove a record, its original and its thumbnails.

    If it stops half-way, the record stays hidden; the same call, or the reconciler, does the rest.

    Args:
        store: the records.
        bucket: the objects.
        record_id: the record.
        scope: which records may be removed.
        viewer: who asks; records that this viewer does not see stay.

    Returns:
        the record as it was; None when there is none in scope, or when it was just removed.

    Raises:
        Unavailable: Redis or S3 did not answer.

    """
    try:
        record = store.start_removal(record_id, scope, viewer)
    except RecordUnreadable:
        return None
    if record is None:
        return None
    if (
        scope is not RemovalScope.VISIBLE
        and record.etag is not None
        and not naming.is_upload_key(record.object_key)
    ):
        # No client has asked just now, and one may have put another object under its key since.
        bucket.delete_version(record.object_key, record.etag)
        bucket.delete(*thumbnail_keys(record))
    else:
        remove_objects(bucket, record)
    return record if store.finish_removal(record, tombstone=str(uuid.uuid4())) else None


def remove_objects(bucket: Bucket, record: Record) -> None:
    """Delete a record's original and thumbnails from the bucket."""
    bucket.delete(record.object_key, *thumbnail_keys(record))


def thumbnail_keys(record: Record) -> list[str]:
    """Object keys of all thumbnails of a record that may be stored."""
    return [naming.thumbnail(record.id, name) for name in lifecycle.thumbnails(record)]
