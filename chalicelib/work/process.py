"""Process one original: store its thumbnail and mark its record READY or FAILED. Idempotent.

Called at least once per event, in any order, several times at the same time, and again after it died
anywhere:

- Nothing is remembered between calls but in S3 and Redis, and each step may be repeated.
- What is read is the object as it is now, not as the event describes it. If it has changed by the end,
  processing starts again, so that the run which finishes last has read the last version. Only the key of an
  upload through the API is not asked for again: it never has other content.
- Each time that a version is claimed its thumbnail gets a new name, which the record keeps: a retry stores it
  under the same key, and a slow run of another version cannot overwrite or delete it.
- A removal wins always: a run that finds one, at the beginning or at the end, deletes what it and earlier
  runs have stored.
- A picture that cannot be decoded ends as FAILED. Everything else raises, for the caller to retry.
- Named sizes are stored first, the default thumbnail last. It carries what its record can be made of again.
- Where originals are not kept, the original is deleted last, when the record is READY and only if it is still
  the version that the thumbnail shows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from chalicelib import naming
from chalicelib.clock import Clock, now_ms
from chalicelib.errors import OriginalChanging, OriginalMissing, OriginalRefused, PictureError, TooManyBytes
from chalicelib.imaging import Thumbnail
from chalicelib.objects.bucket import Bucket, ObjectInfo, StoredObject
from chalicelib.records import lifecycle
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.index import entry_of
from chalicelib.records.record import (
    UNRESTRICTED,
    Failure,
    Finished,
    FinishResult,
    Record,
    RemovalScope,
    State,
    expiry_of,
)
from chalicelib.records.store import RecordStore
from chalicelib.spec import NamedSize, ThumbnailSpec
from chalicelib.work.look import Look, Watermarks
from chalicelib.work.objects_to_records import (
    find_record,
    newest_alone,
    record_of_thumbnail,
    record_of_version,
)
from chalicelib.work.remove import remove, thumbnail_keys
from chalicelib.work.store_thumbnails import remove_original, store_thumbnails

_ROUNDS = 4


# Names the version of an original of which nothing is known but that S3 refuses it.
_UNKNOWN_ETAG = "unknown"


class SeenVersion(NamedTuple):
    """What is known of an original without reading it: ETag, size in bytes, LastModified in milliseconds."""

    etag: str | None = None
    size: int | None = None
    modified_ms: int | None = None


UNSEEN = SeenVersion()


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

    `way` is how the original came: `multipart` or `presigned` by the API, or put into the `bucket`.
    `image_format` is one of `imaging.sniffing.FORMATS`, or `unknown` for all others and where the picture was
    not looked at. `waited_ms` counts from when the picture was uploaded, or put into the bucket. `request_id`
    is that of the request which has uploaded the original.
    """

    record_id: str
    way: str
    outcome: Outcome
    image_format: str
    original_size: int
    thumbnail_size: int | None
    waited_ms: int
    decode_ms: int
    request_id: str | None


Make = Callable[[StoredObject, Record], tuple[Thumbnail, int]]
Observe = Callable[[ProcessingResult], object]
_REQUEST_ID = re.compile(r"[0-9a-zA-Z-]{1,64}")


def ignore(_: ProcessingResult) -> None:
    """Observe nothing."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Makes thumbnails to `spec`, and in `sizes`, of originals of at most `max_bytes` and `max_pixels`.

    `watermarks` draws on those that get the watermark; None where there is none.
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
    sizes: tuple[NamedSize, ...] = ()
    watermarks: Watermarks | None = None

    def process(self, object_key: str, observe: Observe = ignore, seen: SeenVersion = UNSEEN) -> Outcome:
        """Make the thumbnail of one original and finish its record.

        Args:
            object_key: the original.
            observe: is told of each run that finished the record.
            seen: the version that an event or a listing has named, for the case that S3 refuses the object.

        Raises:
            Unavailable: S3 or Redis did not answer, or the original kept changing. Worth a retry.

        """
        return self._run(object_key, self.make, observe, seen)

    def fail(self, object_key: str, etag: str | None, error: PictureError) -> Outcome:
        """Mark the record of an original FAILED: `process` has failed on it for good.

        Args:
            object_key: the original.
            etag: the version that was tried; None stands for any. Another one that is there stays as it is.
            error: why; its sentence is the record's `error` from now on.

        Raises:
            Unavailable: S3 or Redis did not answer. Worth a retry.

        """

        def refuse(_: StoredObject, __: Record) -> tuple[Thumbnail, int]:
            raise error

        return self._run(object_key, refuse, ignore, SeenVersion(etag), only=etag)

    def _run(  # noqa: C901 - the races of one original, in the order in which they are decided
        self, object_key: str, make: Make, observe: Observe, seen: SeenVersion, *, only: str | None = None
    ) -> Outcome:
        is_upload = naming.is_upload_key(object_key)
        revive = outdated = None
        stale: set[str] = set()
        for _ in range(_ROUNDS):
            try:
                original = self.bucket.get(object_key)
            except OriginalRefused as refused:
                return self._handle_refused_original(object_key, seen, refused)
            if original is None:
                return self._handle_missing_original(object_key)
            with original:
                info = original.info
                if only not in {None, info.etag}:
                    return Outcome.UNCHANGED
                fresh = record_of_version(self.store, info, self.retention)
                record = self.store.claim_version(fresh, revive=revive, is_current=info.etag == outdated)
                if lifecycle.is_tombstone(record) and not is_upload:
                    # The removal had finished by now. If the object is still there when it is read again,
                    # then a client has put it there since: this key is the client's, and the picture is
                    # wanted again.
                    revive = record.tombstone
                    continue
                if (
                    not is_upload
                    and lifecycle.is_being_removed(record)
                    and lifecycle.is_another(record, fresh)
                ):
                    # A client has put an object there since the one that is being removed.
                    raise OriginalChanging
                if lifecycle.is_gone(record):
                    self.bucket.delete(object_key, *thumbnail_keys(record, self.sizes))
                    return Outcome.DELETED
                if record.etag != info.etag:
                    # The record knows a later version. If the object that is read next is still this one,
                    # then it counts: a later one was there, and is no more.
                    outdated = info.etag
                    continue
                if not lifecycle.needs_thumbnail(record):
                    return self._handle_processed(record, info)
                outcome = self._finish(record, original, make, observe, stale)
            if outcome is not None:
                return outcome
        raise OriginalChanging

    def _finish(
        self, record: Record, original: StoredObject, make: Make, observe: Observe, stale: set[str]
    ) -> Outcome | None:
        """Make and store the thumbnail; None means that processing has to start again.

        Thumbnails of earlier versions are deleted last, and only if the original is still the version that
        was read: until then, one of them may be the only copy of the picture. `stale` gathers their keys over
        the rounds of a run, since the record forgets them when a version is finished.
        """
        current = thumbnail_keys(replace(record, stale_thumbnails=()), self.sizes)
        stale.update(thumbnail_keys(record, self.sizes))
        decode_ms = 0
        result: Finished | Failure
        made: Thumbnail | PictureError
        try:
            thumbnail, decode_ms = make(original, record)
        except PictureError as error:
            outcome = Outcome.FAILED
            result, made = failure_of(error), error
        else:
            outcome, made = Outcome.READY, thumbnail
            result = self.store_thumbnails(record, thumbnail)
        finish = self.store.finish(record, result)
        if finish is FinishResult.DONE:
            observe(self._seen(record, original.info, outcome, made, decode_ms))
            if not self._is_last_version(record, original.info, outcome):
                return None
            self.bucket.delete(*stale.difference(current))
            return outcome
        if finish is FinishResult.DELETED:
            self.bucket.delete(*current)
            self.store.index.remove(entry_of(record))
        elif finish is FinishResult.SUPERSEDED and self.keep_originals:
            self.bucket.delete(*current)
        # Else the thumbnail may be the only copy: Redis has lost the record, or another version has been
        # claimed. The walk over the bucket deletes it once a newer one is stored.
        return None

    def _seen(
        self,
        record: Record,
        original: ObjectInfo,
        outcome: Outcome,
        made: Thumbnail | PictureError,
        decode_ms: int,
    ) -> ProcessingResult:
        request_id = original.metadata.get("request-id", "")
        way = "multipart" if record.presigned_until_ms is None else "presigned"
        return ProcessingResult(
            record.id,
            way if naming.is_upload_key(original.key) else "bucket",
            outcome,
            image_format=made.source_format if isinstance(made, Thumbnail) else made.image_format,
            original_size=original.size,
            thumbnail_size=len(made.content) if isinstance(made, Thumbnail) else None,
            waited_ms=self.clock() - max(record.created_ms, original.modified_ms),
            decode_ms=decode_ms,
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
        )

    def _is_last_version(self, record: Record, original: ObjectInfo, outcome: Outcome) -> bool:
        """Tell whether the original is still what was read; where it is not kept, delete it."""
        if outcome is Outcome.READY and not self.keep_originals:
            return self.bucket.delete_version(original.key, original.etag)
        if not record.may_be_overwritten(original.key):
            return True
        now = self.bucket.head(original.key)
        return (
            now is not None
            and now.etag == original.etag
            and ObjectMetadata.parse(now.metadata).focus == ObjectMetadata.parse(original.metadata).focus
        )

    def look(self, *, claimed: bool) -> Look:
        """Tell how thumbnails shall look; see `Watermarks.look`."""
        if self.watermarks is None:
            return Look(self.spec, self.sizes)
        return self.watermarks.look(self.spec, self.sizes, claimed=claimed)

    def store_thumbnails(self, record: Record, made: Thumbnail) -> Finished:
        """Store what was made under the names that the record gives it."""
        alone = not self.keep_originals
        return store_thumbnails(self.bucket, record, made, self.sizes, stands_alone=alone)

    def make(self, original: StoredObject, record: Record) -> tuple[Thumbnail, int]:
        """Make the thumbnails of an original; the second value is how many milliseconds that took.

        Raises:
            PictureError: none can be made of it.
            Unavailable: the original did not arrive whole, or its watermark cannot be had.

        """
        if original.info.size > self.max_bytes:
            raise TooManyBytes(
                f"The picture has {original.info.size:,} bytes; at most {self.max_bytes:,} are accepted."
            )
        look = self.look(claimed=record.watermark)
        content, started = original.read(), self.clock()
        thumbnail = look.make(content, max_pixels=self.max_pixels, focus=record.focus)
        return thumbnail, self.clock() - started

    def _handle_processed(self, record: Record, original: ObjectInfo) -> Outcome:
        """Delete an original that is not to be kept: it was put there again with the same content."""
        if not self.keep_originals and lifecycle.is_ready(record):
            remove_original(self.bucket, record, original)
        return Outcome.UNCHANGED

    def _handle_missing_original(self, object_key: str) -> Outcome:
        record = find_record(self.store, object_key)
        record_id = naming.record_id(object_key) if record is None else record.id
        if record is not None and lifecycle.is_gone(record):
            # Not the original: if there is one again, it is newer than the removal.
            self.bucket.delete(*thumbnail_keys(record, self.sizes))
            return Outcome.DELETED
        if record is not None and not lifecycle.needs_thumbnail(record):
            return Outcome.ABSENT
        # Where originals are not kept, a thumbnail of which Redis has lost the record may be the only copy.
        alone = newest_alone(self.bucket, record_id)
        if alone is not None and alone.original_key == object_key:
            adopted = self.store.adopt(record_of_thumbnail(alone), seen=record)
            return Outcome.READY if adopted else Outcome.UNCHANGED
        if record is None:
            return Outcome.ABSENT
        if naming.is_upload_key(object_key) and record.etag is not None:
            # Only this service deletes there: a removal of which Redis has lost the record.
            removed = remove(self.store, self.bucket, record.id, RemovalScope.ANY, UNRESTRICTED, seen=record)
            return Outcome.ABSENT if removed is None else Outcome.DELETED
        self.store.finish(record, failure_of(OriginalMissing()))
        return Outcome.FAILED

    def _handle_refused_original(
        self, object_key: str, seen: SeenVersion, refused: OriginalRefused
    ) -> Outcome:
        """Mark the record FAILED whose original S3 does not hand out, without reading it."""
        record = find_record(self.store, object_key)
        known = seen if seen.etag is not None else SeenVersion(None if record is None else record.etag)
        if record is not None and lifecycle.is_being_removed(record):
            raise OriginalChanging
        is_removed = record is not None and lifecycle.is_tombstone(record)
        if is_removed and naming.is_upload_key(object_key):
            self.bucket.delete(object_key)
            return Outcome.DELETED
        if is_removed and not self.bucket.exists(object_key):
            return Outcome.DELETED  # after S3 had refused it
        if record is None or record.etag is None or known.etag != record.etag:
            # Also of a tombstone: the client's key has an object again.
            revive = None if record is None else record.tombstone
            fresh = self._version_that_is_refused(object_key, record, known)
            record = self.store.claim_version(fresh, revive=revive)
        if not lifecycle.needs_thumbnail(record):
            return Outcome.UNCHANGED
        self.store.finish(record, failure_of(refused))
        return Outcome.FAILED

    def _version_that_is_refused(self, object_key: str, record: Record | None, known: SeenVersion) -> Record:
        """The record of a version of which no more is known than that S3 has it."""
        etag = known.etag or _UNKNOWN_ETAG
        now = self.clock() if known.modified_ms is None else known.modified_ms
        if record is None or lifecycle.is_tombstone(record):
            record = Record(
                id=naming.record_id(object_key),
                object_key=object_key,
                filename=naming.filename(object_key),
                created_ms=now,
                original_size=None,
                expires_ms=None if naming.is_upload_key(object_key) else expiry_of(now, self.retention),
            )
        return replace(
            record,
            state=State.PENDING,
            original_size=known.size,
            etag=etag,
            version_ms=known.modified_ms,
            thumbnail=naming.new_thumbnail(etag),
            thumbnail_size=None,
        )


def failure_of(error: PictureError) -> Failure:
    """What the record keeps of an error."""
    return Failure(error.code, str(error))
