"""The written forms of a record, all made from one table of fields.

- `encode` / `decode`: the Redis hash;
- `as_json`: what clients see;
- `original_metadata`, `thumbnail_metadata` / `ObjectMetadata.parse`: object metadata, from which a record
  whose hash is lost is made again.
"""

import binascii
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from chalicelib import naming
from chalicelib.records.forms import (
    BASE64,
    DEFLATED,
    DIGEST,
    FLAG,
    FOCUS,
    IMAGE_FACTS,
    NAMES,
    NUMBER,
    OUTBOX,
    PIXELS,
    SIZES,
    TEXT,
    TIME,
    Form,
    read_size,
    write_size,
)
from chalicelib.records.record import (
    ImageFacts,
    Pixels,
    Record,
    State,
    StoredSize,
    UnreadableRecord,
)
from chalicelib.spec import Focus

FORMAT: Final = "2"
"""Version of the hash's form. Hashes of release 1 have no version; their fields are a subset of these."""
_FORMAT_FIELD = "format"

METADATA_BYTES = 2048
"""What S3 allows all user metadata of an object, names and values, without the prefix `x-amz-meta-`."""


class _Metadata(NamedTuple):
    """How a field is written into object metadata: under which name, in which form, on which objects."""

    name: str
    form: Form
    on_original: bool = True


class _Field(NamedTuple):
    """A field of a record: its name in Redis, and where else it is written. `json` is its path there.

    A name that ends in a colon stands for a field of Redis for each part of the value: short ones leave the
    hash in its compact form (`hash-max-listpack-value`). What has no name is part of `_FACTS_FIELD`.
    """

    stored: str
    form: Form
    in_tombstone: bool = False
    metadata: _Metadata | None = None
    json: tuple[str, ...] = ()


_STATE = Form(lambda state: state.value, State)
_FIELDS: Mapping[str, _Field] = {
    "state": _Field("state", _STATE, in_tombstone=True),
    "object_key": _Field("object_key", TEXT, metadata=_Metadata("original-key", BASE64, on_original=False)),
    "filename": _Field("filename", TEXT, metadata=_Metadata("filename", BASE64), json=("filename",)),
    "created_ms": _Field("created_ms", NUMBER, metadata=_Metadata("created", TIME)),
    "original_size": _Field(
        "original_size",
        NUMBER,
        metadata=_Metadata("original-size", TIME, on_original=False),
        json=("size", "original"),
    ),
    "owner": _Field("owner", TEXT, metadata=_Metadata("owner", BASE64)),
    "presigned_until_ms": _Field("ticket_ends_ms", NUMBER, metadata=_Metadata("ticket-ends", TIME)),
    "etag": _Field("etag", TEXT),
    "version_ms": _Field(
        "version_ms",
        NUMBER,
        in_tombstone=True,
        metadata=_Metadata("version", TIME, on_original=False),
    ),
    "thumbnail": _Field("thumbnail", TEXT, in_tombstone=True),
    "stale_thumbnails": _Field("former_thumbnails", NAMES, in_tombstone=True),
    "thumbnail_size": _Field("thumbnail_size", NUMBER, json=("size", "thumbnail")),
    "sizes": _Field("size:", SIZES, metadata=_Metadata("sizes", SIZES, on_original=False)),
    "image": _Field("", IMAGE_FACTS, metadata=_Metadata("image", IMAGE_FACTS, on_original=False)),
    "thumbnail_pixels": _Field("", PIXELS, metadata=_Metadata("pixels", PIXELS, on_original=False)),
    "error": _Field("error", TEXT, json=("error",)),
    "error_code": _Field("error_code", TEXT),
    "expires_ms": _Field("expires_ms", NUMBER, metadata=_Metadata("expires", TIME)),
    "download_expires_ms": _Field("download_expires_ms", NUMBER),
    "body_hash": _Field("fingerprint", TEXT, metadata=_Metadata("fingerprint", DIGEST)),
    "focus": _Field("focus", FOCUS, metadata=_Metadata("focus", FOCUS)),
    "watermark": _Field("watermark", FLAG, metadata=_Metadata("watermark", FLAG)),
    "touched_ms": _Field("touched_ms", NUMBER),
    "attempts": _Field("tries", NUMBER),
    "tombstone": _Field("tombstone", TEXT, in_tombstone=True),
    "outbox": _Field("outbox", OUTBOX, in_tombstone=True),
    "revision": _Field("revision", TEXT, in_tombstone=True),
}
_STORED = {field.stored: (name, field.form) for name, field in _FIELDS.items() if field.stored}
_FACTS_FIELD, _FACTS = "error_code", "="
"""Where Redis keeps what original and thumbnail are, and what that begins with: no error code, as the record
has not failed. The release before passes over it; a field of its own would make the record unreadable to it.
At most 64 characters, which leaves the hash in its compact form."""
# What a field that is not stored stands for, where that is not None.
_EMPTY: Mapping[str, Any] = {
    "object_key": "",
    "filename": "",
    "created_ms": 0,
    "stale_thumbnails": (),
    "sizes": (),
    "attempts": 0,
    "watermark": False,
    "outbox": (),
    "revision": "",
}
# What a tombstone keeps until its events are published.
_UNTIL_PUBLISHED = frozenset({"body_hash", "thumbnail_size", "error"})
_ALWAYS_SHOWN = {("size", "original")}
_STANDS_ALONE, _SETTINGS = "stands-alone", "settings"
_DEFLATED_FILENAME = "filename-deflated"
"""Written instead of `filename` where the metadata would be too long: after deflating, 255 characters of any
kind take 1,000 bytes instead of 1,360."""


# --- the Redis hash ---


def encode(record: Record) -> dict[str, str]:
    """The fields of the Redis hash.

    What is not known has no field; of a tombstone only what it needs is kept.
    """
    fields = {_FORMAT_FIELD: FORMAT}
    for name, field in _FIELDS.items():
        value = getattr(record, name)
        known = value is not None and value != _EMPTY.get(name)
        in_tombstone = field.in_tombstone or (record.outbox and name in _UNTIL_PUBLISHED)
        if known and field.stored and (in_tombstone or record.state is not State.TOMBSTONE):
            if name == "sizes":
                fields |= {f"{field.stored}{size.name}": write_size(size) for size in value}
            else:
                fields[field.stored] = field.form.write(value)
    if record.image is not None and record.error_code is None and record.state is not State.TOMBSTONE:
        pixels = "" if record.thumbnail_pixels is None else f" {PIXELS.write(record.thumbnail_pixels)}"
        fields[_FACTS_FIELD] = f"{_FACTS}{IMAGE_FACTS.write(record.image)}{pixels}"
    return fields


def decode(record_id: str, fields: Mapping[str, str]) -> Record | UnreadableRecord | None:
    """Read a Redis hash; None for an empty one.

    A hash of another format, with a field or a state that this release does not know, or with a value that is
    not of its form, is an `UnreadableRecord`.
    """
    if not fields:
        return None
    values: dict[str, Any] = {**_EMPTY, "original_size": None}
    if fields.get(_FORMAT_FIELD, FORMAT) != FORMAT:
        return UnreadableRecord(record_id, f"its format is {fields[_FORMAT_FIELD]!r}")
    for stored, text in fields.items():
        if stored == _FORMAT_FIELD:
            continue
        group, colon, part = stored.partition(":")
        name, form = _STORED.get(group + colon, ("", TEXT))
        if not name:
            return UnreadableRecord(record_id, f"it has an unknown field {stored!r}")
        try:
            if stored == _FACTS_FIELD and text.startswith(_FACTS):
                image, _, pixels = text.removeprefix(_FACTS).partition(" ")
                values["image"] = IMAGE_FACTS.read(image)
                values["thumbnail_pixels"] = PIXELS.read(pixels) if pixels else None
            elif colon:
                values[name] = tuple(sorted([*values[name], read_size(part, text)]))
            else:
                values[name] = form.read(text)
        except ValueError:
            return UnreadableRecord(record_id, f"its {stored} is {text!r}")
    if "state" not in values:
        return UnreadableRecord(record_id, "it has no state")
    return Record(id=record_id, **values)


# --- what clients see ---


def as_json(record: Record) -> dict[str, Any]:
    """The record as clients know it; what is not known, or what there is none of, is left out.

    It depends on nothing but what clients were last shown, so that a record which is being deleted still
    reads as it did before.
    """
    shown: dict[str, Any] = {"id": record.id, "filename": "", "ready": record.thumbnail_size is not None}
    for name, field in _FIELDS.items():
        value = getattr(record, name)
        if field.json and (value is not None or field.json in _ALWAYS_SHOWN):
            *groups, key = field.json
            place = shown
            for group in groups:
                place = place.setdefault(group, {})
            place[key] = value
    if not _is_upload(record):
        shown["key"] = record.object_key
    if record.image is not None:
        facts = asdict(record.image)
        shown["image"] = {name: value for name, value in facts.items() if value is not None}
    if record.thumbnail_pixels is not None:
        shown["thumbnail"] = record.thumbnail_pixels._asdict()
    if record.sizes:
        shown["sizes"] = {
            size.name: {"bytes": size.bytes, "width": size.width, "height": size.height}
            for size in record.sizes
        }
    if record.ends_ms is not None:
        shown["expires"] = rfc3339(record.ends_ms)
    return shown


def rfc3339(time_ms: int) -> str:
    """Write a time (milliseconds since the epoch) as RFC 3339 does, in UTC and whole seconds."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- object metadata ---


def original_metadata(record: Record) -> dict[str, str]:
    """Object metadata of the original: all that its key and the object itself do not say."""
    return _metadata(record, lambda metadata: metadata.on_original)


def thumbnail_metadata(record: Record, *, stands_alone: bool, settings: str = "") -> dict[str, str]:
    """Object metadata of the default thumbnail: what the record is made of again from it alone.

    Args:
        record: the record, with what it is going to tell of its thumbnails.
        stands_alone: the original is going to be removed.
        settings: the digest of the settings that it was made by.

    """
    # The file name of a client's own key is the key's last part, and both would not fit: a key has up to 1024
    # bytes.
    left_out = "original-key" if _is_upload(record) else "filename"
    metadata = _metadata(record, lambda written: written.name != left_out)
    metadata |= ({_STANDS_ALONE: "yes"} if stands_alone else {}) | ({_SETTINGS: settings} if settings else {})
    if sum(len(name) + len(value) for name, value in metadata.items()) > METADATA_BYTES:
        del metadata["filename"]
        metadata[_DEFLATED_FILENAME] = DEFLATED.write(record.filename)
    return metadata


def _is_upload(record: Record) -> bool:
    """Tell whether the original came through the API, of this release or of release 1."""
    key = record.object_key
    return naming.is_upload_key(key) or naming.former_upload_id(key) == record.id


def _metadata(record: Record, wanted: Callable[[_Metadata], bool]) -> dict[str, str]:
    return {
        field.metadata.name: field.metadata.form.write(value)
        for name, field in _FIELDS.items()
        if field.metadata is not None
        and wanted(field.metadata)
        and (value := getattr(record, name)) not in {None, ()}
        and value is not False
    }


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """What object metadata says of a record; None for each field that is missing or not of its form."""

    filename: str | None = None
    created_ms: int | None = None
    version_ms: int | None = None
    expires_ms: int | None = None
    body_hash: str | None = None
    focus: Focus | None = None
    watermark: bool = False
    owner: str | None = None
    presigned_until_ms: int | None = None
    original_size: int | None = None
    object_key: str | None = None
    sizes: tuple[StoredSize, ...] = ()
    thumbnail_pixels: Pixels | None = None
    image: ImageFacts | None = None
    stands_alone: bool = False
    settings: str | None = None

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> "ObjectMetadata":
        """Read what `original_metadata` and `thumbnail_metadata` wrote."""
        values: dict[str, Any] = {}
        for name, field in _FIELDS.items():
            if field.metadata is not None and (text := metadata.get(field.metadata.name)) is not None:
                try:
                    values[name] = field.metadata.form.read(text)
                except (binascii.Error, ValueError):
                    continue
        if (packed := metadata.get(_DEFLATED_FILENAME)) is not None:
            with suppress(binascii.Error, ValueError):
                values["filename"] = DEFLATED.read(packed)
        return cls(**values, stands_alone=_STANDS_ALONE in metadata, settings=metadata.get(_SETTINGS))
