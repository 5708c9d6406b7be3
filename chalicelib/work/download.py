"""Read the thumbnail of a record, or say why there is none."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from chalicelib import naming
from chalicelib.errors import (
    BucketUnavailable,
    ExpiresAfterDownload,
    OriginalRefused,
    SizeNotMade,
    ThumbnailFailed,
    ThumbnailNotReady,
    UnknownSize,
    UnknownThumbnail,
)
from chalicelib.records import lifecycle
from chalicelib.records.record import Record, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.spec import ImageFormat, NamedSize
from chalicelib.work.contradiction import repair_contradiction

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket
    from chalicelib.objects.signing import PresignedUrl


class StoredPicture(NamedTuple):
    """A thumbnail of a ready record: its object key, length in bytes, entity tag and format."""

    key: str
    length: int
    tag: str
    format: ImageFormat


def stored_picture(record: Record, size: str | None) -> StoredPicture:
    """The thumbnail of a named size that a ready record has, or the default one.

    Raises:
        SizeNotMade: it has none of this name.

    """
    name = record.thumbnail or ""
    if size is None:
        key = naming.thumbnail(record.id, name)
        return StoredPicture(key, record.thumbnail_size or 0, name, ImageFormat.JPEG)
    found = next((one for one in record.sizes if one.name == size), None)
    if found is None:
        raise SizeNotMade
    key = naming.sized_thumbnail(record.id, name, size, found.extension)
    tag = f"{name}.{size}.{found.extension}"
    return StoredPicture(key, found.bytes, tag, ImageFormat.of(found.extension))


@dataclass(frozen=True, slots=True)
class Downloader:
    """Reads for one viewer.

    `bucket` gives the bucket, to those who need it: to find a record takes none. `expires_after` is how many
    seconds a picture lives after a download; None: a download changes nothing. `sizes` are those that new
    pictures have.
    """

    store: RecordStore
    bucket: "Callable[[], Bucket]"
    viewer: Viewer
    expires_after: int | None
    sizes: tuple[NamedSize, ...] = ()

    def find(self, record_id: str) -> Record:
        """The record with this id.

        Raises:
            UnknownThumbnail: there is none that this viewer sees.

        """
        record = self.store.get(record_id, self.viewer) if naming.is_id(record_id) else None
        if record is None:
            raise UnknownThumbnail
        return record

    def find_by_key(self, object_key: str) -> list[Record]:
        """The listed record of the original with this object key, if this viewer sees one.

        Two lookups at most: the record's id follows from the key, or is in it (an upload of release 1).
        """
        ids = [naming.record_id(object_key), naming.former_upload_id(object_key)]
        found = [self.store.get(one, self.viewer) for one in ids if one and naming.is_original(object_key)]
        return [
            record
            for record in found
            if record is not None and record.object_key == object_key and lifecycle.is_listed(record)
        ]

    def find_ready(self, record_id: str, size: str | None = None) -> Record:
        """The record with this id, whose thumbnails are stored under the name that is its `thumbnail`.

        Args:
            record_id: the record.
            size: which thumbnail is wanted; None for the default one.

        Raises:
            UnknownThumbnail: there is none that this viewer sees.
            UnknownSize: neither has the record a thumbnail of this name, nor would a new one.
            SizeNotMade: a new one would.
            ThumbnailFailed: no thumbnail could be made.
            ThumbnailNotReady: the thumbnail is not made yet.

        """
        record = self.find(record_id)
        names = dict.fromkeys([one.name for one in self.sizes] + [one.name for one in record.sizes])
        if size is not None and size not in names:
            raise UnknownSize(list(names))
        if record.error is not None:
            raise ThumbnailFailed(record.error)
        if not lifecycle.is_ready(record):
            raise ThumbnailNotReady
        return record

    def url_maker(self, seconds: int, size: str | None = None) -> "Callable[[Record], PresignedUrl]":
        """What makes URLs of the thumbnails of ready records; making one sends nothing.

        A URL is valid for `seconds`, less where the record or the service's own session ends before. It
        raises `SizeNotMade` for a record without a thumbnail of this size.

        Raises:
            ExpiresAfterDownload: a URL would show the thumbnail after its expiry.

        """
        if self.expires_after is not None:
            raise ExpiresAfterDownload

        def make(record: Record) -> "PresignedUrl":
            now_ms = self.store.now_ms()
            until_ms = min(now_ms + seconds * 1000, record.ends_ms or sys.maxsize)
            key = stored_picture(record, size).key
            return self.bucket().presign_get(key, now_ms=now_ms, until_ms=until_ms)

        return make

    def read(self, record: Record, size: str | None = None, *, is_download: bool) -> bytes:
        """A thumbnail of a ready record.

        Args:
            record: what `find_ready` gave.
            size: as there.
            is_download: whether the client gets the bytes; then the picture may have to expire.

        Raises:
            UnknownThumbnail: the record was deleted since it was found.
            ThumbnailNotReady: the thumbnail is about to be replaced, or has to be made again.

        """
        wanted = stored_picture(record, size)
        try:
            thumbnail = self.bucket().get(wanted.key)
        except OriginalRefused as refused:
            raise BucketUnavailable from refused
        if thumbnail is not None and thumbnail.info.size != wanted.length:
            with thumbnail:
                thumbnail = None
        if thumbnail is None:
            # Deleted or replaced since the record was read; or the record is wrong, as after a failover.
            repair_contradiction(self.store, self.bucket(), self.find_ready(record.id))
            self.find(record.id)
            raise ThumbnailNotReady
        with thumbnail:
            content = thumbnail.read()
        if is_download and self.expires_after is not None and record.download_expires_ms is None:
            # If this fails, so does the download: the client repeats it, and nothing is lost.
            self.store.expire_after_download(record, self.expires_after)
        return content
