"""An upload -> its record in Redis, then its original in S3: so the event always finds the record."""

import hashlib
from dataclasses import dataclass, replace

from chalicelib import keys
from chalicelib.bucket import Bucket, PresignedPost
from chalicelib.catalogue import Catalogue, Which
from chalicelib.clock import Clock
from chalicelib.errors import BucketUnavailable, IdempotencyKeyReused
from chalicelib.record import Record, State, end_of_life
from chalicelib.removal import remove_objects
from chalicelib.ticket import OPAQUE, TICKET_SECONDS, TicketOrder
from chalicelib.upload import Upload


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes uploads in, for `owner`; `retention` is how many seconds pictures are kept, 0 for ever.

    Originals carry `request_id`, by which what the pipeline logs of them can be found.
    """

    catalogue: Catalogue
    bucket: Bucket
    clock: Clock
    retention: int
    owner: str | None = None
    request_id: str | None = None

    def store(self, file: Upload) -> Record:
        """Store an upload that stands for itself.

        Raises:
            Unavailable: Redis or S3 did not answer. Nothing was promised, and nothing is left for good.

        """
        record = self._new_record(keys.new_id(), file.filename, len(file.content))
        self.catalogue.create(record)
        try:
            self._put(record, file)
        except BucketUnavailable:
            # Should S3 have taken the object all the same, then its event finds the removal and takes the
            # object away, or the event has been handled and it is for us to do.
            hidden = self.catalogue.start_removal(record.id, Which.ANY)
            if hidden is not None and (hidden.thumbnail_size or hidden.error):
                remove_objects(self.bucket, hidden)
            raise
        return record

    def store_once(self, file: Upload, idempotency_key: str) -> Record:
        """Store an upload that may be a repeated one, however far the first one came.

        The id follows from the key, so that both write to the same names.

        Returns:
            the record as it stands now.

        Raises:
            IdempotencyKeyReused: the key stands for another upload, or for one that was removed.
            Unavailable: Redis or S3 did not answer. The record stays for the next try; the reconciler
                forgets it when none comes.

        """
        fingerprint = hashlib.sha256(file.filename.encode() + b"\0" + file.content).hexdigest()
        fresh = replace(
            self._new_record(keys.id_of_key(idempotency_key, self.owner), file.filename, len(file.content)),
            fingerprint=fingerprint,
        )
        record = self.catalogue.create_once(fresh)
        if not record.is_visible(self.clock()):
            raise IdempotencyKeyReused(
                "The picture that was uploaded with this Idempotency-Key has been removed; use a new key."
            )
        if record.fingerprint != fingerprint:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for another picture or file name; "
                "use a new key for each upload."
            )
        if record.etag is None:
            # No event has been about it, so the original may not have come. Storing it twice changes nothing.
            self._put(record, file)
        return record

    def expect(self, order: TicketOrder, *, max_bytes: int) -> tuple[Record, PresignedPost]:
        """Let a client send an original straight to S3, within `TICKET_SECONDS`.

        Args:
            order: what the client says of the file.
            max_bytes: the largest file that S3 shall take, in bytes.

        Returns:
            the record, and what the client has to send with the file.

        Raises:
            Unavailable: Redis did not answer.

        """
        record = self._new_record(keys.new_id(), order.filename, None)
        ends_ms = end_of_life(record.created_ms, TICKET_SECONDS)
        record = replace(record, state=State.EXPECTED, ticket_ends_ms=ends_ms)
        post = self.bucket.presign_post(
            record.object_key,
            content_type=order.content_type,
            metadata=self._metadata(record),
            max_bytes=max_bytes,
            seconds=TICKET_SECONDS,
        )
        self.catalogue.expect(record)
        return record, post

    def _new_record(self, record_id: str, filename: str, size: int | None) -> Record:
        created_ms = self.clock()
        return Record(
            id=record_id,
            object_key=keys.original(record_id),
            filename=filename,
            created_ms=created_ms,
            original_size=size,
            owner=self.owner,
            expires_ms=end_of_life(created_ms, self.retention),
        )

    def _put(self, record: Record, file: Upload) -> None:
        self.bucket.put(
            record.object_key,
            file.content,
            content_type=OPAQUE,
            metadata=self._metadata(record),
        )

    def _metadata(self, record: Record) -> dict[str, str]:
        told = record.original_metadata()
        return told if self.request_id is None else told | {"request-id": self.request_id}
