"""The record of an object in the bucket, as far as the object tells."""

from chalicelib import naming
from chalicelib.naming import ThumbnailKey
from chalicelib.objects.bucket import ObjectInfo
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.record import Record, State, expiry_of


def record_of_original(original: ObjectInfo, retention: int) -> Record:
    """The record of an original that waits for its thumbnail.

    Args:
        original: the object, with its metadata, which are believed only under a key that the service chose.
        retention: how many seconds a picture that others put into the bucket is kept; 0 keeps it for ever.

    """
    modified_ms = original.modified_ms
    told = ObjectMetadata(expires_ms=expiry_of(modified_ms, retention))
    if naming.is_upload_key(original.key):
        told = ObjectMetadata.parse(original.metadata)
    return Record(
        id=naming.record_id(original.key),
        object_key=original.key,
        filename=naming.filename(original.key) if told.filename is None else told.filename,
        created_ms=modified_ms if told.created_ms is None else told.created_ms,
        original_size=original.size,
        etag=original.etag,
        thumbnail=naming.new_thumbnail(original.etag),
        expires_ms=told.expires_ms,
        body_hash=told.body_hash,
        owner=told.owner,
        presigned_until_ms=told.presigned_until_ms,
    )


def record_of_thumbnail(
    thumbnail: ObjectInfo, name: ThumbnailKey, object_key: str, original_size: int
) -> Record:
    """The record of a thumbnail, which is ready.

    Args:
        thumbnail: the object, with its metadata.
        name: what its key says.
        object_key: the original's key.
        original_size: the original's size in bytes.

    """
    told = ObjectMetadata.parse(thumbnail.metadata)
    return Record(
        id=name.record_id,
        object_key=object_key,
        filename=naming.filename(object_key) if told.filename is None else told.filename,
        created_ms=thumbnail.modified_ms if told.created_ms is None else told.created_ms,
        original_size=original_size,
        state=State.READY,
        etag=name.etag,
        thumbnail=name.name,
        thumbnail_size=thumbnail.size,
        expires_ms=told.expires_ms,
        body_hash=told.body_hash,
        owner=told.owner,
        presigned_until_ms=told.presigned_until_ms,
    )


def is_newer_than(original: ObjectInfo, record: Record, retention: int) -> bool:
    """Tell whether an object is newer than what its record knows: another version, or a later expiry."""
    if record.etag != original.etag:
        return True
    if naming.is_upload_key(original.key) or record.expires_ms is None:
        return False
    return record.expires_ms < (expiry_of(original.modified_ms, retention) or 0)
