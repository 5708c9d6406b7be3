"""One original in the bucket -> its thumbnail in the bucket, and its record at an end.

Called at least once per event, in any order, several times at once, and again after it died anywhere:

- Nothing is remembered between calls but in S3 and Redis, and each step may be done twice.
- What is read is the object as it is now, not as the event describes it. When it has changed by the
  end, the work starts again, so that whoever finishes last has seen the last version.
- Each time that a version is taken up its thumbnail gets a new name, which the record keeps: a retry
  stores it under the same key, and a slow run of another version cannot overwrite or take it away.
- A removal wins always: a run that finds one, at the beginning or at the end, takes away what it and
  earlier runs have stored.
- A picture that cannot be decoded ends as FAILED. Everything else raises, for the caller to retry.
- The thumbnail carries what its record can be made of again. Where originals are not kept, the original
  goes last, when the record is READY and only if it is still the version that the thumbnail shows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chalicelib import keys
from chalicelib.bucket import Bucket, ObjectInfo, StoredObject
from chalicelib.catalogue import Catalogue, Finish
from chalicelib.clock import Clock, now_ms
from chalicelib.errors import OriginalUnsettled, PictureError, TooManyBytes
from chalicelib.imaging import Thumbnail, make_thumbnail
from chalicelib.record import GONE, Record, State, end_of_life, facts
from chalicelib.spec import ThumbnailSpec

_ROUNDS = 4


class Outcome(StrEnum):
    """What became of one original."""

    READY = "ready"
    """The thumbnail is stored."""
    FAILED = "failed"
    """No thumbnail can be made of it; the record says why."""
    UNCHANGED = "unchanged"
    """This version had been dealt with before."""
    ABSENT = "absent"
    """There is no original, and nothing waits for one."""
    DELETED = "deleted"
    """The record was deleted; nothing of it is left in the bucket."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run that ended a record was like; times are milliseconds, sizes bytes.

    `image_format` is `unknown` where that was not found out. `waited_ms` counts from when the picture was
    uploaded, or put into the bucket. `request_id` is that of the request which has brought the original.
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
Observe = Callable[[Run], object]
_REQUEST_ID = re.compile(r"[0-9a-zA-Z-]{1,64}")


def look_away(_: Run) -> None:
    """For those who do not want to know of runs."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Makes thumbnails to `spec`, of originals of at most `max_bytes` and `max_pixels`.

    `retention` is how many seconds pictures that others put into the bucket are kept, 0 for ever; one that
    came through the API carries its end itself.
    """

    catalogue: Catalogue
    bucket: Bucket
    spec: ThumbnailSpec
    max_bytes: int
    max_pixels: int
    retention: int = 0
    keep_originals: bool = True
    clock: Clock = now_ms

    def process(self, object_key: str, observe: Observe = look_away) -> Outcome:
        """Bring the record of one original to its end.

        Args:
            object_key: the original.
            observe: is told of each run that ended the record.

        Raises:
            Unavailable: S3 or Redis did not answer, or the original kept changing. Worth a retry.

        """
        return self._run(object_key, self._make, observe)

    def give_up(self, object_key: str, etag: str | None, error: PictureError) -> Outcome:
        """End the record of an original that `process` has failed on for good, with an error.

        Args:
            object_key: the original.
            etag: the version that was tried; None stands for any. Another version that is there by now
                has an event of its own, and is left to it.
            error: why; its sentence is the record's `error` from now on.

        Raises:
            Unavailable: S3 or Redis did not answer. Worth a retry.

        """

        def refuse(_: StoredObject) -> tuple[Thumbnail, int]:
            raise error

        return self._run(object_key, refuse, look_away, only=etag)

    def _run(self, object_key: str, make: Make, observe: Observe, *, only: str | None = None) -> Outcome:
        minted = keys.is_minted(object_key)
        revive: str | None = None
        for _ in range(_ROUNDS):
            original = self.bucket.get(object_key)
            if original is None:
                return self._without_original(object_key)
            with original:
                info = original.info
                if only not in {None, info.etag}:
                    return Outcome.UNCHANGED
                record = self.catalogue.begin(new_version(info, self.retention), revive=revive)
                if record.state is State.DELETED and not minted:
                    # The removal had ended by now. If the object is there still when we look again, then a
                    # client has put it there since: this key is theirs, and they want it back.
                    revive = record.tombstone
                    continue
                if record.state is State.DELETING and record.etag != info.etag and not minted:
                    # A client has put another object there than the one that is being removed.
                    raise OriginalUnsettled
                if record.state in GONE:
                    self.bucket.delete(object_key, *record.thumbnail_keys())
                    return Outcome.DELETED
                if record.state is not State.PENDING:
                    return Outcome.UNCHANGED
                outcome = self._finish(record, original, make, observe)
            if outcome is not None:
                return outcome
        raise OriginalUnsettled

    def _finish(self, record: Record, original: StoredObject, make: Make, observe: Observe) -> Outcome | None:
        """Make and store the thumbnail; None means that the work has to start again."""
        thumbnail, decode_ms = None, 0
        name = record.thumbnail or ""
        stored_key = keys.thumbnail(record.id, name)
        self.bucket.delete(*(key for key in record.thumbnail_keys() if key != stored_key))
        try:
            thumbnail, decode_ms = make(original)
        except PictureError as error:
            outcome = Outcome.FAILED
            finish = self.catalogue.finish_failed(record.id, name, str(error))
        else:
            outcome = Outcome.READY
            self.bucket.put(
                stored_key,
                thumbnail.content,
                content_type="image/jpeg",
                metadata=record.thumbnail_metadata(stands_alone=not self.keep_originals),
            )
            finish = self.catalogue.finish_ready(record.id, name, len(thumbnail.content))
        if finish is Finish.DONE:
            observe(self._seen(record, original.info, outcome, thumbnail, decode_ms))
            return outcome if self._is_last_version(original.info, outcome) else None
        self.bucket.delete(stored_key)
        if finish is Finish.DELETED:
            self.catalogue.unlist(record)
        return None

    def _seen(
        self, record: Record, original: ObjectInfo, outcome: Outcome, made: Thumbnail | None, decode_ms: int
    ) -> Run:
        request_id = original.metadata.get("request-id", "")
        return Run(
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
        """Tell whether the original is still what was read; where it is not kept, it goes."""
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

    def _without_original(self, object_key: str) -> Outcome:
        record = self.catalogue.find(keys.record_id(object_key))
        if record is None:
            return Outcome.ABSENT
        if record.state in GONE:
            # Not the original: if there is one again, it is newer than the removal.
            self.bucket.delete(*record.thumbnail_keys())
            return Outcome.DELETED
        if record.state is State.PENDING:
            error = "The original was removed from the bucket before its thumbnail was made; upload it again."
            self.catalogue.finish_failed(record.id, record.thumbnail, error)
            return Outcome.FAILED
        return Outcome.ABSENT


def new_version(original: ObjectInfo, retention: int) -> Record:
    """The record of an original that has none, as far as the object tells.

    Args:
        original: the object, with its metadata. Only those of a key that the service chose are believed.
        retention: how many seconds a picture that others put into the bucket is kept; 0 stands for ever.

    """
    name, created_ms = keys.filename(original.key), original.modified_ms
    expires_ms = end_of_life(created_ms, retention)
    fingerprint = owner = ticket_ends_ms = None
    if keys.is_minted(original.key):
        told = facts(original.metadata)
        name = name if told.filename is None else told.filename
        created_ms = created_ms if told.created_ms is None else told.created_ms
        expires_ms, fingerprint = told.expires_ms, told.fingerprint
        owner, ticket_ends_ms = told.owner, told.ticket_ends_ms
    return Record(
        id=keys.record_id(original.key),
        object_key=original.key,
        filename=name,
        created_ms=created_ms,
        original_size=original.size,
        etag=original.etag,
        thumbnail=keys.new_thumbnail(original.etag),
        expires_ms=expires_ms,
        fingerprint=fingerprint,
        owner=owner,
        ticket_ends_ms=ticket_ends_ms,
    )
