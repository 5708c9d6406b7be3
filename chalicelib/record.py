"""A record: what the service knows about one picture, and its written forms.

- `as_json`: what clients see;
- `to_hash` / `from_hash`: the Redis hash;
- `original_metadata`, `thumbnail_metadata` / `facts`: object metadata, which the record can be made of again.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from chalicelib import keys

# As many digits as the index sorts by; they last until the year 2286.
_MILLISECONDS = re.compile(r"[0-9]{1,13}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class State(StrEnum):
    """Where a record is between upload and removal."""

    EXPECTED = "expected"
    """A client may send the original straight to S3; it has not come yet. Not listed."""
    PENDING = "pending"
    """Waits for the pipeline, or is in it."""
    READY = "ready"
    """The thumbnail is stored and `thumbnail_size` is its length."""
    FAILED = "failed"
    """No thumbnail can be made; `error` says why."""
    DELETING = "deleting"
    """A client has deleted it, or its time is over; its objects are being removed. Invisible to clients."""
    DELETED = "deleted"
    """Tombstone: the objects are gone. Kept for a while so that a late event finds it."""


GONE = frozenset({State.DELETING, State.DELETED})
"""States in which a record no longer exists for clients."""


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
    """None while it is expected."""
    state: State = State.PENDING
    owner: str | None = None
    """Who uploaded it; None where the deployment knows no owners, and of what was put into the bucket."""
    ticket_ends_ms: int | None = None
    """When the ticket ends with which the original may be sent straight to S3; always a whole second."""
    etag: str | None = None
    """The version of the original that the pipeline last took up; None until it has taken up one."""
    thumbnail: str | None = None
    """Name of that version's thumbnail; it is stored when `thumbnail_size` is known."""
    former_thumbnails: tuple[str, ...] = ()
    """Names of thumbnails of earlier versions that may still be stored."""
    thumbnail_size: int | None = None
    error: str | None = None
    expires_ms: int | None = None
    """When the deployment's `RETENTION` is over; always a whole second."""
    download_expires_ms: int | None = None
    """When the time is over that is left after a download; always a whole second."""
    fingerprint: str | None = None
    """Hash of the upload's body, where the client sent an Idempotency-Key."""
    tombstone: str | None = None
    """Unique to one removal."""

    @property
    def ends_ms(self) -> int | None:
        """The moment from which the record no longer exists for clients; None when it has no end."""
        ticket = self.ticket_ends_ms if self.state is State.EXPECTED else None
        ends = [end for end in (self.expires_ms, self.download_expires_ms, ticket) if end is not None]
        return min(ends, default=None)

    def is_visible(self, now_ms: int) -> bool:
        """Tell whether the record exists for clients."""
        return self.state not in GONE and not self.has_ended(now_ms)

    def has_ended(self, now_ms: int) -> bool:
        """Tell whether the record's time is over."""
        return self.ends_ms is not None and self.ends_ms <= now_ms

    def as_json(self) -> dict[str, Any]:
        """The record as clients know it; `error` and `expires` are there only when there is one.

        It depends on no state but what clients were last shown, so that a record which is being
        deleted still reads as it did before.
        """
        size: dict[str, int | None] = {"original": self.original_size}
        if self.thumbnail_size is not None:
            size["thumbnail"] = self.thumbnail_size
        shown: dict[str, Any] = {
            "id": self.id,
            "filename": self.filename,
            "ready": self.thumbnail_size is not None,
            "size": size,
        }
        if self.error is not None:
            shown["error"] = self.error
        if self.ends_ms is not None:
            shown["expires"] = datetime.fromtimestamp(self.ends_ms // 1000, UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            )
        return shown

    def thumbnail_keys(self) -> list[str]:
        """Object keys of all thumbnails of this record that may be stored."""
        names = (*self.former_thumbnails, *([self.thumbnail] if self.thumbnail else []))
        return [keys.thumbnail(self.id, name) for name in names]

    def to_hash(self) -> dict[str, str]:
        """The fields of the Redis hash; what is not known has no field."""
        fields: dict[str, str | int | None] = {
            "object_key": self.object_key,
            "filename": self.filename,
            "created_ms": self.created_ms,
            "original_size": self.original_size,
            "state": self.state.value,
            "owner": self.owner,
            "ticket_ends_ms": self.ticket_ends_ms,
            "etag": self.etag,
            "thumbnail": self.thumbnail,
            "former_thumbnails": " ".join(self.former_thumbnails) or None,
            "thumbnail_size": self.thumbnail_size,
            "error": self.error,
            "expires_ms": self.expires_ms,
            "download_expires_ms": self.download_expires_ms,
            "fingerprint": self.fingerprint,
            "tombstone": self.tombstone,
        }
        return {name: str(value) for name, value in fields.items() if value is not None}

    @classmethod
    def from_hash(cls, record_id: str, fields: Mapping[str, str]) -> "Record":
        """Read what `to_hash` wrote; a tombstone has lost most fields."""

        def number(name: str) -> int | None:
            return int(fields[name]) if name in fields else None

        return cls(
            id=record_id,
            object_key=fields.get("object_key", ""),
            filename=fields.get("filename", ""),
            created_ms=number("created_ms") or 0,
            original_size=number("original_size"),
            state=State(fields["state"]),
            owner=fields.get("owner"),
            ticket_ends_ms=number("ticket_ends_ms"),
            etag=fields.get("etag"),
            thumbnail=fields.get("thumbnail"),
            former_thumbnails=tuple(fields.get("former_thumbnails", "").split()),
            thumbnail_size=number("thumbnail_size"),
            error=fields.get("error"),
            expires_ms=number("expires_ms"),
            download_expires_ms=number("download_expires_ms"),
            fingerprint=fields.get("fingerprint"),
            tombstone=fields.get("tombstone"),
        )

    def original_metadata(self) -> dict[str, str]:
        """Object metadata of the original: all that its key and the object itself do not say.

        S3 allows 2 KB of US-ASCII; base64 keeps any name of 255 characters below 1.4 KB.
        """
        metadata = {"filename": _encode(self.filename), "created": str(self.created_ms)}
        if self.expires_ms is not None:
            metadata["expires"] = str(self.expires_ms)
        if self.fingerprint is not None:
            metadata["fingerprint"] = self.fingerprint
        if self.owner is not None:
            metadata["owner"] = _encode(self.owner)
        if self.ticket_ends_ms is not None:
            metadata["ticket-ends"] = str(self.ticket_ends_ms)
        return metadata

    def thumbnail_metadata(self, *, stands_alone: bool) -> dict[str, str]:
        """Object metadata of the thumbnail: what the record can be made of again without the original.

        Args:
            stands_alone: the original is going to be removed.

        """
        metadata = self.original_metadata()
        metadata["original-size"] = str(self.original_size)
        if not keys.is_minted(self.object_key):
            # The file name is the key's last part, and both would not fit: a key has up to 1024 bytes.
            del metadata["filename"]
            metadata["original-key"] = _encode(self.object_key)
        if stands_alone:
            metadata["stands-alone"] = "yes"
        return metadata


@dataclass(frozen=True, slots=True)
class Facts:
    """What object metadata says of a record; None for each thing that it does not say, or not in our form."""

    filename: str | None
    created_ms: int | None
    expires_ms: int | None
    fingerprint: str | None
    owner: str | None
    ticket_ends_ms: int | None
    original_size: int | None
    original_key: str | None
    stands_alone: bool


def facts(metadata: Mapping[str, str]) -> Facts:
    """Read what `Record.original_metadata` and `Record.thumbnail_metadata` wrote."""
    fingerprint = metadata.get("fingerprint", "")
    return Facts(
        filename=_decode(metadata.get("filename")),
        created_ms=_number(metadata.get("created", "")),
        expires_ms=_number(metadata.get("expires", "")),
        fingerprint=fingerprint if _FINGERPRINT.fullmatch(fingerprint) else None,
        owner=_decode(metadata.get("owner")),
        ticket_ends_ms=_number(metadata.get("ticket-ends", "")),
        original_size=_number(metadata.get("original-size", "")),
        original_key=_decode(metadata.get("original-key")),
        stands_alone="stands-alone" in metadata,
    )


def end_of_life(created_ms: int, retention: int) -> int | None:
    """When a picture of that age ends, in milliseconds since the epoch: always a whole second.

    Args:
        created_ms: when it was uploaded, or last put into the bucket.
        retention: how many seconds the deployment keeps pictures; 0 stands for ever.

    """
    return (-(-created_ms // 1000) + retention) * 1000 if retention else None


def _number(text: str) -> int | None:
    return int(text) if _MILLISECONDS.fullmatch(text) else None


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode(text: str | None) -> str | None:
    if text is not None:
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    return None
