"""Read the thumbnail of a record, or say why there is none."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.errors import (
    BucketUnavailable,
    EndsByDownload,
    OriginalRefused,
    ThumbnailFailed,
    ThumbnailNotReady,
    UnknownThumbnail,
)
from chalicelib.records import lifecycle
from chalicelib.records.record import Record, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.work.contradiction import repair_contradiction

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket
    from chalicelib.objects.signing import PresignedUrl


@dataclass(frozen=True, slots=True)
class Downloader:
    """Reads for one viewer.

    `bucket` gives the bucket, to those who need it: to find a record takes none. `expires_after` is how many
    seconds a picture lives after a download; None: a download changes nothing.
    """

    store: RecordStore
    bucket: "Callable[[], Bucket]"
    viewer: Viewer
    expires_after: int | None

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

    def find_ready(self, record_id: str) -> Record:
        """The record with this id, whose thumbnail is stored as its `thumbnail`.

        Raises:
            UnknownThumbnail: there is none that this viewer sees.
            ThumbnailFailed: no thumbnail could be made.
            ThumbnailNotReady: the thumbnail is not made yet.

        """
        record = self.find(record_id)
        if record.error is not None:
            raise ThumbnailFailed(record.error)
        if not lifecycle.is_ready(record):
            raise ThumbnailNotReady
        return record

    def url_maker(self, seconds: int) -> "Callable[[Record], PresignedUrl]":
        """What makes URLs of the thumbnails of ready records; making one sends nothing.

        A URL is valid for `seconds`, less where the record or the service's own session ends before.

        Raises:
            EndsByDownload: a URL would show the thumbnail without end.

        """
        if self.expires_after is not None:
            raise EndsByDownload

        def make(record: Record) -> "PresignedUrl":
            now_ms = self.store.now_ms()
            until_ms = min(now_ms + seconds * 1000, record.ends_ms or sys.maxsize)
            key = naming.thumbnail(record.id, record.thumbnail or "")
            return self.bucket().presign_get(key, now_ms=now_ms, until_ms=until_ms)

        return make

    def read(self, record: Record, *, is_download: bool) -> bytes:
        """The JPEG of a ready record.

        Args:
            record: what `find_ready` gave.
            is_download: whether the client gets the bytes; then the picture may have to expire.

        Raises:
            UnknownThumbnail: the record was deleted since it was found.
            ThumbnailNotReady: the thumbnail is about to be replaced, or has to be made again.

        """
        try:
            thumbnail = self.bucket().get(naming.thumbnail(record.id, record.thumbnail or ""))
        except OriginalRefused as refused:
            raise BucketUnavailable from refused
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
