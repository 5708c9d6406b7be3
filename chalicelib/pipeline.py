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
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chalicelib import keys
from chalicelib.bucket import Bucket, StoredObject
from chalicelib.catalogue import Catalogue, Finish
from chalicelib.errors import OriginalUnsettled, PictureError, TooManyBytes, TriedTooOften
from chalicelib.imaging import Thumbnail, make_thumbnail
from chalicelib.record import GONE, Record, State, name_and_creation
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


Make = Callable[[StoredObject], Thumbnail]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Makes thumbnails to `spec`, of originals of at most `max_bytes` and `max_pixels`."""

    catalogue: Catalogue
    bucket: Bucket
    spec: ThumbnailSpec
    max_bytes: int
    max_pixels: int

    def process(self, object_key: str) -> Outcome:
        """Bring the record of one original to its end.

        Raises:
            Unavailable: S3 or Redis did not answer, or the original kept changing. Worth a retry.

        """
        return self._run(object_key, self._make)

    def give_up(self, object_key: str, etag: str | None) -> Outcome:
        """End the record of an original that `process` has failed on for good, with an error.

        Args:
            object_key: the original.
            etag: the version that was tried; None stands for any. Another version that is there by now
                has an event of its own, and is left to it.

        Raises:
            Unavailable: S3 or Redis did not answer. Worth a retry.

        """
        return self._run(object_key, _refuse, only=etag)

    def _run(self, object_key: str, make: Make, *, only: str | None = None) -> Outcome:
        minted = keys.is_minted(object_key)
        revive: str | None = None
        for _ in range(_ROUNDS):
            original = self.bucket.get(object_key)
            if original is None:
                return self._without_original(object_key)
            with original:
                if only not in {None, original.etag}:
                    return Outcome.UNCHANGED
                record = self.catalogue.begin(_fresh_record(original), revive=revive)
                if record.state is State.DELETED and not minted:
                    # The removal had ended by now. If the object is there still when we look again, then a
                    # client has put it there since: this key is theirs, and they want it back.
                    revive = record.tombstone
                    continue
                if record.state is State.DELETING and record.etag != original.etag and not minted:
                    # A client has put another object there than the one that is being removed.
                    raise OriginalUnsettled
                if record.state in GONE:
                    self.bucket.delete(object_key, *record.thumbnail_keys())
                    return Outcome.DELETED
                if record.state is not State.PENDING:
                    return Outcome.UNCHANGED
                outcome = self._finish(record, original, make)
            if outcome is not None:
                return outcome
        raise OriginalUnsettled

    def _finish(self, record: Record, original: StoredObject, make: Make) -> Outcome | None:
        """Make and store the thumbnail; None means that the work has to start again."""
        name = record.thumbnail or ""
        stored_key = keys.thumbnail(record.id, name)
        self.bucket.delete(*(key for key in record.thumbnail_keys() if key != stored_key))
        try:
            thumbnail = make(original)
        except PictureError as error:
            outcome = Outcome.FAILED
            finish = self.catalogue.finish_failed(record.id, name, str(error))
        else:
            outcome = Outcome.READY
            self.bucket.put(stored_key, thumbnail.content, content_type="image/jpeg")
            finish = self.catalogue.finish_ready(record.id, name, len(thumbnail.content))
        if finish is Finish.DONE:
            return outcome if self.bucket.etag(original.key) == original.etag else None
        self.bucket.delete(stored_key)
        if finish is Finish.DELETED:
            self.catalogue.unlist(record)
        return None

    def _make(self, original: StoredObject) -> Thumbnail:
        if original.size > self.max_bytes:
            raise TooManyBytes(
                f"The picture has {original.size:,} bytes; at most {self.max_bytes:,} are accepted."
            )
        return make_thumbnail(original.read(), self.spec, max_pixels=self.max_pixels)

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


def _refuse(_: StoredObject) -> Thumbnail:
    raise TriedTooOften


def _fresh_record(original: StoredObject) -> Record:
    name, created_ms = keys.filename(original.key), original.modified_ms
    if keys.is_minted(original.key):
        name, created_ms = name_and_creation(original.metadata, default_name=name, default_ms=created_ms)
    return Record(
        id=keys.record_id(original.key),
        object_key=original.key,
        filename=name,
        created_ms=created_ms,
        original_size=original.size,
        etag=original.etag,
        thumbnail=keys.new_thumbnail(original.etag),
    )
