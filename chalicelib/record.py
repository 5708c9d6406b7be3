"""A record: what the service knows about one picture, and its three written forms.

- `as_json`: what clients see;
- `to_hash` / `from_hash`: the Redis hash;
- `to_metadata` / `name_and_creation`: the original's object metadata, which the record can be made of again.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalicelib import keys

# As many digits as the index sorts by; they last until the year 2286.
_MILLISECONDS = re.compile(r"[0-9]{1,13}")


class State(StrEnum):
    """Where a record is between upload and removal."""

    PENDING = "pending"
    """Waits for the pipeline, or is in it."""
    READY = "ready"
    """The thumbnail is stored and `thumbnail_size` is its length."""
    FAILED = "failed"
    """No thumbnail can be made; `error` says why."""
    DELETING = "deleting"
    """A client has deleted it; its objects are being removed. Invisible to clients."""
    DELETED = "deleted"
    """Tombstone: the objects are gone. Kept for a while so that a late event finds it."""


GONE = frozenset({State.DELETING, State.DELETED})
"""States in which a record no longer exists for clients."""


@dataclass(frozen=True, slots=True)
class Record:
    """One picture.

    `created_ms` is milliseconds since the epoch; sizes are in bytes. `etag` names the version of the
    original that the pipeline last took up, `thumbnail` the thumbnail of it (stored when `thumbnail_size`
    is known), `former_thumbnails` those of earlier versions that may still be stored; `tombstone` is
    unique to one removal.
    """

    id: str
    object_key: str
    filename: str
    created_ms: int
    original_size: int
    state: State = State.PENDING
    etag: str | None = None
    thumbnail: str | None = None
    former_thumbnails: tuple[str, ...] = ()
    thumbnail_size: int | None = None
    error: str | None = None
    tombstone: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as clients know it; `error` is there only when there is one.

        It depends on no state but what clients were last shown, so that a record which is being
        deleted still reads as it did before.
        """
        size = {"original": self.original_size}
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
        return shown

    def thumbnail_keys(self) -> list[str]:
        """Object keys of all thumbnails of this record that may be stored."""
        names = (*self.former_thumbnails, *([self.thumbnail] if self.thumbnail else []))
        return [keys.thumbnail(self.id, name) for name in names]

    def to_hash(self) -> dict[str, str]:
        """The fields of the Redis hash; what is not known has no field."""
        fields = {
            "object_key": self.object_key,
            "filename": self.filename,
            "created_ms": str(self.created_ms),
            "original_size": str(self.original_size),
            "state": self.state.value,
            "etag": self.etag,
            "thumbnail": self.thumbnail,
            "former_thumbnails": " ".join(self.former_thumbnails) or None,
            "thumbnail_size": None if self.thumbnail_size is None else str(self.thumbnail_size),
            "error": self.error,
            "tombstone": self.tombstone,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_hash(cls, record_id: str, fields: Mapping[str, str]) -> "Record":
        """Read what `to_hash` wrote; a tombstone has lost most fields."""
        thumbnail_size = fields.get("thumbnail_size")
        return cls(
            id=record_id,
            object_key=fields.get("object_key", ""),
            filename=fields.get("filename", ""),
            created_ms=int(fields.get("created_ms", 0)),
            original_size=int(fields.get("original_size", 0)),
            state=State(fields["state"]),
            etag=fields.get("etag"),
            thumbnail=fields.get("thumbnail"),
            former_thumbnails=tuple(fields.get("former_thumbnails", "").split()),
            thumbnail_size=None if thumbnail_size is None else int(thumbnail_size),
            error=fields.get("error"),
            tombstone=fields.get("tombstone"),
        )

    def to_metadata(self) -> dict[str, str]:
        """Object metadata of the original: all that its key and the object itself do not say.

        S3 allows 2 KB of US-ASCII; base64 keeps any name of 255 characters below 1.4 KB.
        """
        return {
            "filename": base64.urlsafe_b64encode(self.filename.encode()).decode(),
            "created": str(self.created_ms),
        }


def name_and_creation(metadata: Mapping[str, str], *, default_name: str, default_ms: int) -> tuple[str, int]:
    """Read what `Record.to_metadata` wrote; anything else in the metadata gives the defaults."""
    name = default_name
    with contextlib.suppress(KeyError, binascii.Error, ValueError):
        name = base64.b64decode(metadata["filename"], altchars=b"-_", validate=True).decode()
    created = metadata.get("created", "")
    return name, int(created) if _MILLISECONDS.fullmatch(created) else default_ms
