"""A record and its objects -> a tombstone. Each step may be done twice, and the whole be taken up again."""

import uuid

from chalicelib import keys
from chalicelib.bucket import Bucket
from chalicelib.catalogue import Catalogue, Which
from chalicelib.record import Record


def remove(
    catalogue: Catalogue, bucket: Bucket, record_id: str, which: Which, owner: str | None = None
) -> Record | None:
    """Take a record, its original and its thumbnails away.

    If it stops half-way, the record is hidden for good; the same call, or the reconciler, does the rest.

    Returns:
        the record as it was; None when there is none of that kind and owner, or it was just removed.

    Raises:
        Unavailable: Redis or S3 did not answer.

    """
    record = catalogue.start_removal(record_id, which, owner)
    if record is None:
        return None
    if which is not Which.ALIVE and record.etag is not None and not keys.is_minted(record.object_key):
        # Nobody has asked just now, and the client may have put another object under its key since.
        bucket.delete_version(record.object_key, record.etag)
        bucket.delete(*record.thumbnail_keys())
    else:
        remove_objects(bucket, record)
    return record if catalogue.finish_removal(record_id, tombstone=str(uuid.uuid4())) else None


def remove_objects(bucket: Bucket, record: Record) -> None:
    """Take a record's original and thumbnails out of the bucket."""
    bucket.delete(record.object_key, *record.thumbnail_keys())
