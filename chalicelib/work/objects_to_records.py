"""The record of an object in the bucket, as far as the object tells."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.errors import OriginalRefused
from chalicelib.naming import ThumbnailKey
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.record import Record, State, expiry_of
from chalicelib.records.store import RecordStore

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket, ObjectInfo


@dataclass(frozen=True, slots=True)
class StoredThumbnail:
    """A thumbnail in the bucket: the object, what its key says, and what its metadata say."""

    object: "ObjectInfo"
    name: ThumbnailKey
    told: ObjectMetadata

    @property
    def age(self) -> tuple[int, int]:
        """When the thumbnail was stored, and the version that it shows: of two, the greater one is newer."""
        return self.object.modified_ms, self.told.version_ms or 0

    @property
    def original_key(self) -> str:
        """The original's object key."""
        return self.told.object_key or naming.original(self.name.record_id)


def record_of_original(original: "ObjectInfo", retention: int) -> Record:
    """The record of an original that waits for its thumbnail.

    Args:
        original: the object, with its metadata, which are believed only under a key that only the service
            writes; of others, only the focal point is taken.
        retention: how many seconds a picture that others put into the bucket is kept; 0 keeps it for ever.

    """
    modified_ms = original.modified_ms
    told = ObjectMetadata.parse(original.metadata)
    if not naming.is_upload_key(original.key):
        told = ObjectMetadata(expires_ms=expiry_of(modified_ms, retention), focus=told.focus)
    return Record(
        id=naming.record_id(original.key),
        object_key=original.key,
        filename=naming.filename(original.key) if told.filename is None else told.filename,
        created_ms=modified_ms if told.created_ms is None else told.created_ms,
        original_size=original.size,
        etag=original.etag,
        version_ms=modified_ms,
        thumbnail=naming.new_thumbnail(original.etag),
        expires_ms=told.expires_ms,
        body_hash=told.body_hash,
        focus=told.focus,
        watermark=told.watermark,
        owner=told.owner,
        presigned_until_ms=told.presigned_until_ms,
    )


def record_of_thumbnail(stored: StoredThumbnail) -> Record:
    """The record of a stored default thumbnail, which is ready."""
    thumbnail, told = stored.object, stored.told
    return Record(
        id=stored.name.record_id,
        object_key=stored.original_key,
        filename=naming.filename(stored.original_key) if told.filename is None else told.filename,
        created_ms=thumbnail.modified_ms if told.created_ms is None else told.created_ms,
        original_size=told.original_size,
        state=State.READY,
        etag=stored.name.etag,
        version_ms=told.version_ms,
        thumbnail=stored.name.name,
        thumbnail_size=thumbnail.size,
        sizes=told.sizes,
        thumbnail_pixels=told.thumbnail_pixels,
        image=told.image,
        expires_ms=told.expires_ms,
        body_hash=told.body_hash,
        focus=told.focus,
        watermark=told.watermark,
        owner=told.owner,
        presigned_until_ms=told.presigned_until_ms,
    )


def former_upload(store: RecordStore, object_key: str) -> Record | None:
    """The record of an upload that release 1 has stored under this key; None when it is no such upload."""
    record_id = naming.former_upload_id(object_key)
    record = None if record_id is None else store.find(record_id)
    return record if record is not None and record.object_key == object_key else None


def find_record(store: RecordStore, object_key: str) -> Record | None:
    """The record of an original in whatever state."""
    return former_upload(store, object_key) or store.find(naming.record_id(object_key))


def record_of_version(store: RecordStore, original: "ObjectInfo", retention: int) -> Record:
    """The record of an original; under its former id if it is an upload of release 1."""
    fresh, former = record_of_original(original, retention), former_upload(store, original.key)
    return fresh if former is None else replace(fresh, id=former.id, expires_ms=former.expires_ms)


def is_newer_than(original: "ObjectInfo", record: Record, retention: int) -> bool:
    """Tell whether an object is newer than what its record knows: another version, or a later expiry."""
    if record.etag != original.etag:
        return True
    if naming.is_upload_key(original.key) or record.expires_ms is None:
        return False
    return record.expires_ms < (expiry_of(original.modified_ms, retention) or 0)


def newest_alone(bucket: "Bucket", record_id: str) -> StoredThumbnail | None:
    """The newest default thumbnail of a record that was stored to stand alone, without an original.

    Such a thumbnail is the only copy of its picture. Costs one listing, and a HeadObject for each one. It
    tells of those of its sizes that are stored whole.
    """
    items = listed(bucket, record_id)
    found = [stored_thumbnail(bucket, item) for item in items]
    alone = [stored for stored in found if stored is not None and stored.told.stands_alone]
    newest = max(alone, key=lambda stored: stored.age, default=None)
    if newest is None or not newest.told.sizes:
        return newest
    lengths = {item.key: item.size for item in items}
    whole = tuple(
        size
        for size in newest.told.sizes
        if lengths.get(naming.sized_thumbnail(record_id, newest.name.name, size.name, size.extension))
        == size.bytes
    )
    return replace(newest, told=replace(newest.told, sizes=whole))


def listed(bucket: "Bucket", record_id: str) -> "list[ObjectInfo]":
    """All thumbnails of a record that are in the bucket, without their metadata."""
    return [item for page in bucket.pages(naming.thumbnails(record_id)) for item in page]


def stored_thumbnail(bucket: "Bucket", item: "ObjectInfo") -> StoredThumbnail | None:
    """A listed default thumbnail with its metadata; None when it is gone, refused, or another object."""
    name = naming.parse_thumbnail(item.key)
    if name is None or name.size is not None:
        return None
    try:
        stored = bucket.head(item.key)
    except OriginalRefused:
        stored = None
    if stored is None:
        return None
    return StoredThumbnail(stored, name, ObjectMetadata.parse(stored.metadata))
