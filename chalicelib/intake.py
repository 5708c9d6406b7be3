"""An upload -> its record in Redis, then its original in S3: so the event always finds the record."""

import hashlib
from dataclasses import dataclass

from chalicelib import keys
from chalicelib.bucket import Bucket
from chalicelib.catalogue import Catalogue, Which
from chalicelib.clock import Clock
from chalicelib.errors import BucketUnavailable, IdempotencyKeyReused
from chalicelib.record import Record, end_of_life
from chalicelib.removal import remove_objects
from chalicelib.upload import Upload


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes uploads in; `retention` is how many seconds pictures are kept, 0 for ever."""

    catalogue: Catalogue
    bucket: Bucket
    clock: Clock
    retention: int

    def store(self, file: Upload) -> Record:
        """Store an upload that stands for itself.

        Raises:
            Unavailable: Redis or S3 did not answer. Nothing was promised, and nothing is left for good.

        """
        record = self._new_record(keys.new_id(), file)
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
        fresh = self._new_record(keys.id_of_key(idempotency_key), file, fingerprint)
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

    def _new_record(self, record_id: str, file: Upload, fingerprint: str | None = None) -> Record:
        created_ms = self.clock()
        return Record(
            id=record_id,
            object_key=keys.original(record_id),
            filename=file.filename,
            created_ms=created_ms,
            original_size=len(file.content),
            expires_ms=end_of_life(created_ms, self.retention),
            fingerprint=fingerprint,
        )

    def _put(self, record: Record, file: Upload) -> None:
        self.bucket.put(
            record.object_key,
            file.content,
            content_type="application/octet-stream",
            metadata=record.original_metadata(),
        )
