"""Read the thumbnail of a record, or say why there is none."""

from dataclasses import dataclass

from chalicelib import naming
from chalicelib.errors import (
    BucketUnavailable,
    OriginalRefused,
    ThumbnailFailed,
    ThumbnailNotReady,
    UnknownThumbnail,
)
from chalicelib.objects.bucket import Bucket
from chalicelib.records import lifecycle
from chalicelib.records.record import Record, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.work.contradiction import repair_contradiction


@dataclass(frozen=True, slots=True)
class Downloader:
    """Reads for one viewer.

    `expires_after` is how many seconds a picture lives after a download; None: a download changes nothing.
    """

    store: RecordStore
    bucket: Bucket
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
            thumbnail = self.bucket.get(naming.thumbnail(record.id, record.thumbnail or ""))
        except OriginalRefused as refused:
            raise BucketUnavailable from refused
        if thumbnail is None:
            # Deleted or replaced since the record was read; or the record is wrong, as after a failover.
            repair_contradiction(self.store, self.bucket, self.find_ready(record.id))
            self.find(record.id)
            raise ThumbnailNotReady
        with thumbnail:
            content = thumbnail.read()
        if is_download and self.expires_after is not None and record.download_expires_ms is None:
            # If this fails, so does the download: the client repeats it, and nothing is lost.
            self.store.expire_after_download(record, self.expires_after)
        return content
