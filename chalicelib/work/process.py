"""Process one original: store its thumbnail and mark its record READY or FAILED. Idempotent.

Called at least once per event, in any order, several times at the same time, and again after it died
anywhere:

- Nothing is remembered between calls but in S3 and Redis, and each step may be repeated.
- What is read is the object as it is now, not as the event describes it. If it has changed by the end,
  processing starts again, so that the run which finishes last has read the last version.
- Each time that a version is claimed its thumbnail gets a new name, which the record keeps: a retry stores it
  under the same key, and a slow run of another version cannot overwrite or delete it.
- A removal wins always: a run that finds one, at the beginning or at the end, deletes what it and earlier
  runs have stored.
- A picture that cannot be decoded ends as FAILED. Everything else raises, for the caller to retry.
- The thumbnail carries what its record can be made of again. Where originals are not kept, the original is
  deleted last, when the record is READY and only if it is still the version that the thumbnail shows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chalicelib import naming
from chalicelib.clock import Clock, now_ms
from chalicelib.errors import OriginalChanging, OriginalMissing, PictureError, TooManyBytes
from chalicelib.imaging import Thumbnail, make_thumbnail
from chalicelib.objects.bucket import Bucket, ObjectInfo, StoredObject
from chalicelib.records import codec, lifecycle
from chalicelib.records.index import entry_of
from chalicelib.records.lifecycle import FinishResult
from chalicelib.records.record import Failure, Finished, Record
from chalicelib.records.store import RecordStore
from chalicelib.spec import ThumbnailSpec
from chalicelib.work.objects_to_records import record_of_original
from chalicelib.work.remove import thumbnail_keys

_ROUNDS = 4


class Outcome(StrEnum):
    """What became of one original."""

    READY = "ready"
    """The thumbnail is stored."""
    FAILED = "failed"
    """No thumbnail can be made of it; the record says why."""
    UNCHANGED = "unchanged"
    """This version had been processed before."""
    ABSENT = "absent"
    """There is no original, and nothing waits for one."""
    DELETED = "deleted"
    """The record was deleted; nothing of it is left in the bucket."""


@dataclass(frozen=True, slots=True)
class ProcessingResult:
    """A run that finished a record; times are milliseconds, sizes bytes.

    `image_format` is `unknown` where it was not found out. `waited_ms` counts from when the picture was
    uploaded, or put into the bucket. `request_id` is that of the request which has uploaded the original.
    """

    object_key: str
    outcome: Outcome
    image_format: str
    original_size: int
    thumbnail_size: int | None
    waited_ms: int
    decode_ms: int
    request_id: str | None


Make = Callable[[StoredObject], tuple[Thumbnail, int]]
Observe = Callable[[ProcessingResult], object]
_REQUEST_ID = re.compile(r"[0-9a-zA-Z-]{1,64}")


def ignore(_: ProcessingResult) -> None:
    """Observe nothing."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Makes thumbnails to `spec`, of originals of at most `max_bytes` and `max_pixels`.

    `retention` is how many seconds pictures that others put into the bucket are kept, 0 for ever; an upload
    of the API carries its expiry itself.
    """

    store: RecordStore
    bucket: Bucket
    spec: ThumbnailSpec
    max_bytes: int
    max_pixels: int
    retention: int = 0
    keep_originals: bool = True
    clock: Clock = now_ms

    def process(self, object_key: str, observe: Observe = ignore) -> Outcome:
        """Make the thumbnail of one original and finish its record.

        Args:
            object_key: the original.
            observe: is told of each run that finished the record.

        Raises:
            Unavailable: S3 or Redis did not answer, or the original kept changing. Worth a retry.

        """
        return self._run(object_key, self._make, observe)

    def fail(self, object_key: str, etag: str | None, error: PictureError) -> Outcome:
        """Mark the record of an original FAILED: `process` has failed on it for good.

        Args:
            object_key: the original.
            etag: the version that was tried; None stands for any. Another version that is there by now has an
                event
                of its own, which processes it.
            error: why; its sentence is the record's `error` from now on.

        Raises:
            Unavailable: S3 or Redis did not answer. Worth a retry.

        """

        def refuse(_: StoredObject) -> tuple[Thumbnail, int]:
            raise error

        return self._run(object_key, refuse, ignore, only=etag)

    def _run(self, object_key: str, make: Make, observe: Observe, *, only: str | None = None) -> Outcome:
        is_upload = naming.is_upload_key(object_key)
        revive: str | None = None
        for _ in range(_ROUNDS):
            original = self.bucket.get(object_key)
            if original is None:
                return self._handle_missing_original(object_key)
            with original:
                info = original.info
                if only not in {None, info.etag}:
                    return Outcome.UNCHANGED
                record = self.store.claim_version(record_of_original(info, self.retention), revive=revive)
                if lifecycle.is_tombstone(record) and not is_upload:
                    # The removal had finished by now. If the object is still there when it is read again,
                    # then a client has put it there since: this key is the client's, and the picture is
                    # wanted again.
                    revive = record.tombstone
                    continue
                if lifecycle.is_being_removed(record) and record.etag != info.etag and not is_upload:
                    # A client has put another object there than the one that is being removed.
                    raise OriginalChanging
                if lifecycle.is_gone(record):
                    self.bucket.delete(object_key, *thumbnail_keys(record))
                    return Outcome.DELETED
                if not lifecycle.needs_thumbnail(record):
                    return Outcome.UNCHANGED
                outcome = self._finish(record, original, make, observe)
            if outcome is not None:
                return outcome
        raise OriginalChanging

    def _finish(self, record: Record, original: StoredObject, make: Make, observe: Observe) -> Outcome | None:
        """Make and store the thumbnail; None means that processing has to start again."""
        thumbnail, decode_ms = None, 0
        result: Finished | Failure
        stored_key = naming.thumbnail(record.id, record.thumbnail or "")
        self.bucket.delete(*(key for key in thumbnail_keys(record) if key != stored_key))
        try:
            thumbnail, decode_ms = make(original)
        except PictureError as error:
            outcome = Outcome.FAILED
            result = failure_of(error)
        else:
            outcome = Outcome.READY
            self.bucket.put(
                stored_key,
                thumbnail.content,
                content_type="image/jpeg",
                metadata=codec.thumbnail_metadata(record, stands_alone=not self.keep_originals),
            )
            result = Finished(len(thumbnail.content))
        finish = self.store.finish(record, result)
        if finish is FinishResult.DONE:
            observe(self._seen(record, original.info, outcome, thumbnail, decode_ms))
            return outcome if self._is_last_version(original.info, outcome) else None
        self.bucket.delete(stored_key)
        if finish is FinishResult.DELETED:
            self.store.index.remove(entry_of(record))
        return None

    def _seen(
        self, record: Record, original: ObjectInfo, outcome: Outcome, made: Thumbnail | None, decode_ms: int
    ) -> ProcessingResult:
        request_id = original.metadata.get("request-id", "")
        return ProcessingResult(
            original.key,
            outcome,
            image_format="unknown" if made is None else made.source_format,
            original_size=original.size,
            thumbnail_size=None if made is None else len(made.content),
            waited_ms=self.clock() - max(record.created_ms, original.modified_ms),
            decode_ms=decode_ms,
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
        )

    def _is_last_version(self, original: ObjectInfo, outcome: Outcome) -> bool:
        """Tell whether the original is still what was read; where it is not kept, delete it."""
        if outcome is Outcome.READY and not self.keep_originals:
            return self.bucket.delete_version(original.key, original.etag)
        now = self.bucket.head(original.key)
        return now is not None and now.etag == original.etag

    def _make(self, original: StoredObject) -> tuple[Thumbnail, int]:
        if original.info.size > self.max_bytes:
            raise TooManyBytes(
                f"The picture has {original.info.size:,} bytes; at most {self.max_bytes:,} are accepted."
            )
        content, started = original.read(), self.clock()
        thumbnail = make_thumbnail(content, self.spec, max_pixels=self.max_pixels)
        return thumbnail, self.clock() - started

    def _handle_missing_original(self, object_key: str) -> Outcome:
        record = self.store.find(naming.record_id(object_key))
        if record is None:
            return Outcome.ABSENT
        if lifecycle.is_gone(record):
            # Not the original: if there is one again, it is newer than the removal.
            self.bucket.delete(*thumbnail_keys(record))
            return Outcome.DELETED
        if lifecycle.needs_thumbnail(record):
            self.store.finish(record, failure_of(OriginalMissing()))
            return Outcome.FAILED
        return Outcome.ABSENT


def failure_of(error: PictureError) -> Failure:
    """What the record keeps of an error."""
    return Failure(error.code, str(error))
