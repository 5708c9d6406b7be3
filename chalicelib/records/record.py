"""What the service knows about one picture. Plain values: `lifecycle` changes and `codec` writes them."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from chalicelib import naming
from chalicelib.spec import Focus


class State(StrEnum):
    """Where a record is between upload and removal. The values are what Redis stores."""

    AWAITING_UPLOAD = "expected"
    """A client may send the original straight to S3 by a presigned POST; it has not come yet. Not listed."""
    PENDING = "pending"
    """Waits for its thumbnail."""
    READY = "ready"
    """The thumbnail is stored and `thumbnail_size` is its length."""
    FAILED = "failed"
    """No thumbnail can be made; `error` says why."""
    DELETING = "deleting"
    """Deleted or expired; its objects are being removed. Invisible to clients."""
    TOMBSTONE = "deleted"
    """The objects are gone. Kept for a while so that a late event does not make the record again."""


class RemovalScope(StrEnum):
    """Which records a removal may take. Each scope includes removals that have stopped half-way."""

    VISIBLE = "visible"
    """Records that clients see."""
    EXPIRED = "expired"
    """Records that have expired."""
    ANY = "any"
    """All records but tombstones."""


class FinishResult(StrEnum):
    """What became of an attempt to finish a version."""

    DONE = "done"
    """The record holds the result."""
    SUPERSEDED = "superseded"
    """The original was replaced in the meantime: the result is of a version that no longer counts."""
    DELETED = "deleted"
    """The record was deleted in the meantime."""
    UNKNOWN = "unknown"
    """There is no record: Redis has lost it since the version was claimed."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A client that sees only the records that it has uploaded: the `sub` of its token."""

    subject: str


@dataclass(frozen=True, slots=True, order=True)
class StoredSize:
    """A thumbnail of a named size as it is stored."""

    name: str
    bytes: int
    width: int
    height: int
    extension: str
    """What its object key ends in, which stands for its format."""


class Pixels(NamedTuple):
    """Width and height."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an original is: its format's name, and width and height in pixels, upright."""

    format: str
    width: int
    height: int
    placeholder: str | None = None
    """The thumbnail's ThumbHash in base64, at most 36 characters; None until it is made."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A thumbnail was made and stored, in all sizes."""

    thumbnail_size: int
    """The default thumbnail's length in bytes."""
    sizes: tuple[StoredSize, ...] = ()
    """The others, by name."""
    thumbnail_pixels: Pixels | None = None
    image: ImageFacts | None = None
    """What the original is."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No thumbnail can be made."""

    code: str
    """A `PictureError.code`."""
    sentence: str
    """Why, for clients."""


class EventKind(StrEnum):
    """How a record ended."""

    READY = "ready"
    """Its thumbnail was stored."""
    FAILED = "failed"
    """No thumbnail could be made."""
    DELETED = "deleted"
    """It was deleted, or has expired."""


class OutboxEvent(NamedTuple):
    """An end of a record that is to be published."""

    kind: EventKind
    event_id: str
    """The same whenever this end is published."""
    time_ms: int
    """When the record ended, in milliseconds since the epoch."""
    object_key: str
    """The original's."""
    shown: str
    """The record as GET gave it then, as JSON; of a deleted one as GET last gave it."""


class Unrestricted(Enum):
    """A viewer that sees every record."""

    UNRESTRICTED = "unrestricted"
    """The service itself, and every client of a deployment that has no owners."""


UNRESTRICTED = Unrestricted.UNRESTRICTED
Viewer = Owner | Unrestricted
"""Who asks for records, which decides what is found."""


@dataclass(frozen=True, slots=True)
class Record:
    """One picture.

    Times are milliseconds since the epoch, sizes are in bytes.
    """

    id: str
    object_key: str
    filename: str
    created_ms: int
    original_size: int | None
    """None while the original has not come."""
    state: State = State.PENDING
    owner: str | None = None
    """Who uploaded it; None where the deployment has no owners, and for what others put into the bucket."""
    presigned_until_ms: int | None = None
    """When the presigned POST expires by which the original may be sent; always a whole second."""
    etag: str | None = None
    """The version of the original that the pipeline last claimed; None until it has claimed one."""
    version_ms: int | None = None
    """When that version was stored (S3's LastModified); None where it is not known, as in records of release
    1."""
    thumbnail: str | None = None
    """Name of that version's thumbnail; it is stored when `thumbnail_size` is known."""
    stale_thumbnails: tuple[str, ...] = ()
    """Names of thumbnails of earlier versions that may still be stored."""
    thumbnail_size: int | None = None
    sizes: tuple[StoredSize, ...] = ()
    """That version's thumbnails of named sizes, by name; none until all are stored."""
    thumbnail_pixels: Pixels | None = None
    """None until it is stored, and in records of the release before."""
    image: ImageFacts | None = None
    """What that version is, as far as is known; None if it failed, and in records of the release before."""
    error: str | None = None
    """Why there is no thumbnail, as one sentence for clients."""
    error_code: str | None = None
    """The same as a `PictureError.code`; None in failed records of release 1."""
    expires_ms: int | None = None
    """When the deployment's `RETENTION` ends; always a whole second."""
    download_expires_ms: int | None = None
    """When the record expires after a download (`RETENTION_AFTER_DOWNLOAD`); always a whole second."""
    body_hash: str | None = None
    """SHA-256 of file name, body and focal point, where the client sent an Idempotency-Key."""
    focus: Focus | None = None
    """The point that the crop keeps; None where the deployment's setting decides."""
    watermark: bool = False
    """Whether it was uploaded with a token that had the claim of `WATERMARK_FOR`."""
    touched_ms: int | None = None
    """When an upload was last repeated under its Idempotency-Key."""
    attempts: int = 0
    """How often the reconciler has retried this version."""
    tombstone: str | None = None
    """Unique to one removal."""
    outbox: tuple[OutboxEvent, ...] = ()
    """Events that are not published yet, oldest first. A tombstone that has some keeps `body_hash`,
    `thumbnail_size` and `error`, by which it is known how long it has to live after that."""
    revision: str = ""
    """Random, new with each stored change: what compare-and-set compares. Empty in records of release 1."""

    @property
    def ends_ms(self) -> int | None:
        """The moment from which the record no longer exists for clients; None when it does not expire."""
        presigned = self.presigned_until_ms if self.state is State.AWAITING_UPLOAD else None
        ends = [end for end in (self.expires_ms, self.download_expires_ms, presigned) if end is not None]
        return min(ends, default=None)

    def may_be_overwritten(self, object_key: str) -> bool:
        """Tell whether the original at this key may be replaced by another one while the record lives.

        A client may put its own key in the bucket again, and send another file by one presigned upload. The
        key of an upload through the API is written by the API alone: once, or, with an Idempotency-Key, again
        with the same bytes.
        """
        return self.presigned_until_ms is not None or not naming.is_upload_key(object_key)

    def has_expired(self, now_ms: int) -> bool:
        """Tell whether `ends_ms` is past."""
        return self.ends_ms is not None and self.ends_ms <= now_ms


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that this release cannot read, such as one that a newer release has written.

    It is left alone: invisible to clients, changed by nothing, counted by the reconciler.
    """

    id: str
    reason: str


def expiry_of(created_ms: int, retention: int) -> int | None:
    """When a picture expires, in milliseconds since the epoch: always a whole second. None: never.

    Args:
        created_ms: when it was uploaded, or last put into the bucket.
        retention: how many seconds the deployment keeps pictures; 0 keeps them for ever.

    """
    return (-(-created_ms // 1000) + retention) * 1000 if retention else None
