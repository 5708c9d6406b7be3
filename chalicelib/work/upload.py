"""Accept an upload: first the record in Redis, then the original in S3.

So the S3 event always finds a record.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.clock import Clock
from chalicelib.errors import BucketUnavailable, IdempotencyKeyReused
from chalicelib.imaging import Described
from chalicelib.records import codec, lifecycle
from chalicelib.records.record import (
    UNRESTRICTED,
    ImageFacts,
    Owner,
    Record,
    RemovalScope,
    State,
    Viewer,
    expiry_of,
)
from chalicelib.records.store import RecordStore
from chalicelib.spec import Focus
from chalicelib.work.remove import remove_objects

if TYPE_CHECKING:
    from chalicelib.objects.bucket import Bucket, PresignedPost

PRESIGNED_SECONDS = 15 * 60
"""How long a presigned upload can be used."""
OPAQUE = "application/octet-stream"
"""The type of an original for which its client has not said another; no browser shows it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The file that a client sent: its name as given (any characters, at most 255) and its bytes.

    `focus` is the point that the thumbnail's crop shall keep, if the client named one; `image` is what the
    file's header says of it.
    """

    filename: str
    content: bytes
    focus: Focus | None = None
    image: ImageFacts | None = None

    def described(self, found: Described | None) -> "Upload":
        """The same with what its header says."""
        if found is None:
            return self
        return replace(self, image=ImageFacts(found.format, found.width, found.height))

    @property
    def body_hash(self) -> str:
        """SHA-256, in hexadecimal, of all that makes two uploads the same."""
        digest = hashlib.sha256(self.filename.encode() + b"\0" + self.content).hexdigest()
        if self.focus is None:
            return digest
        return hashlib.sha256(f"{digest} {self.focus}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PresignedUploadRequest:
    """What a client says of a file that it is going to send: at most 255 characters of name, and its type.

    `focus` is as in `Upload`.
    """

    filename: str
    content_type: str
    focus: Focus | None = None


@dataclass(frozen=True, slots=True)
class Uploader:
    """Accepts uploads of one client; `retention` is how many seconds pictures are kept, 0 for ever.

    Originals carry `request_id`, by which what the pipeline logs of them can be found. `watermark` tells that
    the client's token has the claim of `WATERMARK_FOR`.
    """

    store: RecordStore
    bucket: "Bucket"
    clock: Clock
    retention: int
    client: Viewer
    request_id: str | None = None
    watermark: bool = False

    def upload(self, file: Upload) -> Record:
        """Store an upload under a new id.

        Raises:
            Unavailable: Redis or S3 did not answer. Nothing was promised, and nothing is left for good.

        """
        record = self._new_record(naming.new_id(), file, len(file.content))
        self.store.create(record)
        try:
            self._put(record, file)
        except BucketUnavailable:
            # Should S3 have stored the object all the same, then its event finds the removal and deletes the
            # object, or the event has been processed and this has to.
            hidden = self.store.start_removal(record, RemovalScope.ANY, UNRESTRICTED)
            if hidden is not None and (hidden.thumbnail_size or hidden.error):
                remove_objects(self.bucket, hidden)
            raise
        return record

    def upload_idempotently(self, file: Upload, idempotency_key: str) -> Record:
        """Store an upload that may be a repeated one, however far the first one came.

        The id follows from the key, so that both write to the same names.

        Returns:
            the record as it stands now.

        Raises:
            IdempotencyKeyReused: the key stands for another upload, or for one that was removed.
            Unavailable: Redis or S3 did not answer. The record stays for the next try; the reconciler
                discards it when none comes.

        """
        record_id = naming.id_for_idempotency_key(idempotency_key, self._owner)
        fresh = replace(self._new_record(record_id, file, len(file.content)), body_hash=file.body_hash)
        record = self.store.create_if_absent(fresh)
        if not lifecycle.exists(record, self.clock()):
            raise IdempotencyKeyReused(
                "The picture that was uploaded with this Idempotency-Key has been removed; use a new key."
            )
        if record.body_hash != fresh.body_hash:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for another picture, file name or focus; "
                "use a new key for each upload."
            )
        if record.etag is None:
            # No event has been about it, so the original may not have come. Storing it twice changes nothing.
            self._put(record, file)
        return record

    def presign(self, request: PresignedUploadRequest, *, max_bytes: int) -> "tuple[Record, PresignedPost]":
        """Let a client send an original straight to S3, within `PRESIGNED_SECONDS`.

        Args:
            request: what the client says of the file.
            max_bytes: the largest file that S3 shall accept, in bytes.

        Returns:
            the record, and what the client has to send with the file.

        Raises:
            Unavailable: Redis did not answer.

        """
        record = self._new_record(naming.new_id(), request, None)
        until_ms = expiry_of(record.created_ms, PRESIGNED_SECONDS)
        record = replace(record, state=State.AWAITING_UPLOAD, presigned_until_ms=until_ms)
        post = self.bucket.presign_post(
            record.object_key,
            content_type=request.content_type,
            metadata=self._metadata(record),
            max_bytes=max_bytes,
            seconds=PRESIGNED_SECONDS,
        )
        self.store.create(record)
        return record, post

    @property
    def _owner(self) -> str | None:
        return self.client.subject if isinstance(self.client, Owner) else None

    def _new_record(self, record_id: str, told: Upload | PresignedUploadRequest, size: int | None) -> Record:
        created_ms = self.clock()
        return Record(
            id=record_id,
            object_key=naming.original(record_id),
            filename=told.filename,
            created_ms=created_ms,
            original_size=size,
            image=told.image if isinstance(told, Upload) else None,
            owner=self._owner,
            expires_ms=expiry_of(created_ms, self.retention),
            focus=told.focus,
            watermark=self.watermark,
        )

    def _put(self, record: Record, file: Upload) -> None:
        self.bucket.put(
            record.object_key,
            file.content,
            content_type=OPAQUE,
            metadata=self._metadata(record),
        )

    def _metadata(self, record: Record) -> dict[str, str]:
        told = codec.original_metadata(record)
        return told if self.request_id is None else told | {"request-id": self.request_id}
