"""Delete a record and its objects, leaving a tombstone. Idempotent and resumable."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.errors import BucketUnavailable, OriginalRefused, RecordUnreadable
from chalicelib.records import lifecycle
from chalicelib.records.record import Record, RemovalScope, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.spec import NamedSize

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket


def remove(  # noqa: PLR0913 - two adapters, what, which, who, and when
    store: RecordStore,
    bucket: "Bucket",
    record_id: str,
    scope: RemovalScope,
    viewer: Viewer,
    *,
    seen: Record | None = None,
) -> Record | None:
    """Remove a record, its original and all of its thumbnails.

    If it stops half-way, the record stays hidden; the same call, or the reconciler, does the rest.

    Args:
        store: the records.
        bucket: the objects.
        record_id: the record.
        scope: which records may be removed.
        viewer: who asks; records that this viewer does not see stay.
        seen: the record as it was when its removal was decided; one that has changed since stays.

    Returns:
        the record as it was; None when there is none in scope, or when it was just removed.

    Raises:
        Unavailable: Redis or S3 did not answer.

    """
    try:
        before = store.find(record_id, viewer)
    except RecordUnreadable:
        return None  # invisible to clients, and left to the release that knows it
    if before is None or not lifecycle.may_remove(before, scope, viewer, store.now_ms()):
        return None
    # Listed before the record is hidden: what is stored later is named by the record, or belongs to a later
    # life.
    try:
        stored = [item.key for page in bucket.pages(naming.thumbnails(record_id)) for item in page]
    except BucketUnavailable:
        # Hidden all the same: the reconciler does the rest.
        store.start_removal(before, scope, viewer, seen=seen)
        raise
    record = store.start_removal(before, scope, viewer, seen=seen)
    if record is None:
        return None
    if scope is RemovalScope.VISIBLE or naming.is_upload_key(record.object_key):
        bucket.delete(record.object_key, *thumbnail_keys(record), *stored)
    else:
        # No client has asked just now, and one may have put an object under its key again since.
        bucket.delete(*thumbnail_keys(record), *stored)
        if record.etag is not None and not _is_put_again(bucket, record):
            bucket.delete_version(record.object_key, record.etag)
    return record if store.finish_removal(record, tombstone=str(uuid.uuid4())) else None


def _is_put_again(bucket: "Bucket", record: Record) -> bool:
    """Tell whether the original was put there after the version that is to be removed."""
    try:
        original = bucket.head(record.object_key)
    except OriginalRefused:
        return False
    return original is not None and record.version_ms is not None and original.modified_ms > record.version_ms


def remove_objects(bucket: "Bucket", record: Record) -> None:
    """Delete a record's original and thumbnails from the bucket."""
    bucket.delete(record.object_key, *thumbnail_keys(record))


def thumbnail_keys(record: Record, sizes: Sequence[NamedSize] = ()) -> list[str]:
    """Object keys of all thumbnails of a record that are known to it.

    Args:
        record: the record; it knows its sizes once it is ready.
        sizes: those that may be stored besides.

    """
    names = lifecycle.thumbnails(record)
    keys = [naming.thumbnail(record.id, name) for name in names]
    keys += [
        naming.sized_thumbnail(record.id, record.thumbnail or "", size.name, size.extension)
        for size in record.sizes
    ]
    possible = [
        naming.sized_thumbnail(record.id, name, size.name, size.spec.format.extension)
        for name in names
        for size in sizes
    ]
    return list(dict.fromkeys([*keys, *possible]))
