"""The written forms of a record, all made from one table of fields.

- `encode` / `decode`: the Redis hash;
- `as_json`: what clients see;
- `original_metadata`, `thumbnail_metadata` / `ObjectMetadata.parse`: object metadata, from which a record
  whose hash is lost is made again.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from chalicelib import naming
from chalicelib.records.record import (
    EventKind,
    ImageFacts,
    OutboxEvent,
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

# As many digits as the index sorts by; they last until the year 2286.
_MILLISECONDS = re.compile(r"[0-9]{1,13}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"([0-9]{1,9})\.([0-9]{1,4})\.([0-9]{1,4})\.([a-z]{3,4})")
_IMAGE = re.compile(r"([A-Z]{3,5})\.([0-9]{1,9})\.([0-9]{1,9})(?:\.([A-Za-z0-9+/=]{1,40}))?")
METADATA_BYTES = 2048
"""What S3 allows all user metadata of an object, names and values, without the prefix `x-amz-meta-`."""
_RAW = -15
"""zlib's number for deflate without a header and a checksum."""
_MOST_TEXT = 4 * 255
"""Bytes of a file name of 255 characters."""


class _Form(NamedTuple):
    """How a value is written as text, and read again; `read` raises ValueError."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _read_base64(text: str) -> str:
    return base64.b64decode(text, altchars=b"-_", validate=True).decode()


def _matching(pattern: re.Pattern[str], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not of the form {pattern.pattern}")
        return convert(text)

    return read


def _deflate(text: str) -> str:
    packed = zlib.compress(text.encode(), 9, wbits=_RAW)
    return base64.urlsafe_b64encode(packed).decode()


def _inflate(text: str) -> str:
    try:
        inflater = zlib.decompressobj(wbits=_RAW)
        return inflater.decompress(base64.b64decode(text, altchars=b"-_", validate=True), _MOST_TEXT).decode()
    except zlib.error as error:
        raise ValueError("it is not deflated") from error


def _write_size(size: StoredSize) -> str:
    return f"{size.bytes}.{size.width}.{size.height}.{size.extension}"


def _read_size(name: str, text: str) -> StoredSize:
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not of the form {_SIZE.pattern}")
    return StoredSize(name, int(found[1]), int(found[2]), int(found[3]), found[4])


def _read_sizes(text: str) -> tuple[StoredSize, ...]:
    return tuple(_read_size(name, rest) for name, _, rest in (one.partition(".") for one in text.split(",")))


def _write_image(image: ImageFacts) -> str:
    known = (image.format, image.width, image.height, image.placeholder)
    return ".".join(str(one) for one in known if one is not None)


def _read_image(text: str) -> ImageFacts:
    found = _IMAGE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not of the form {_IMAGE.pattern}")
    return ImageFacts(found[1], int(found[2]), int(found[3]), found[4])


def _read_pixels(text: str) -> Pixels:
    width, _, height = text.partition("x")
    return Pixels(int(width), int(height))


_TEXT = _Form(str, str)
_NUMBER = _Form(str, int)


def _read_outbox(text: str) -> tuple[OutboxEvent, ...]:
    try:
        return tuple(OutboxEvent(EventKind(kind), *rest) for kind, *rest in json.loads(text))
    except TypeError as error:
        raise ValueError(text) from error


_OUTBOX = _Form(lambda events: json.dumps(events, separators=(",", ":")), _read_outbox)
_STATE = _Form(lambda state: state.value, State)
_NAMES = _Form(" ".join, lambda text: tuple(text.split()))
# Object metadata: S3 allows 2 KB of US-ASCII; base64 keeps any name of 255 characters below 1.4 KB.
_BASE64 = _Form(lambda text: base64.urlsafe_b64encode(text.encode()).decode(), _read_base64)
_DEFLATED = _Form(_deflate, _inflate)
_SIZES = _Form(lambda sizes: ",".join(f"{one.name}.{_write_size(one)}" for one in sizes), _read_sizes)
_TIME = _Form(str, _matching(_MILLISECONDS, int))
_IMAGE_FACTS = _Form(_write_image, _read_image)
_PIXELS = _Form(lambda pixels: f"{pixels.width}x{pixels.height}", _read_pixels)
_DIGEST = _Form(str, _matching(_SHA256, str))
_FOCUS = _Form(str, Focus.parse)


class _Metadata(NamedTuple):
    """How a field is written into object metadata: under which name, in which form, on which objects."""

    name: str
    form: _Form
    on_original: bool = True


class _Field(NamedTuple):
    """A field of a record: its name in Redis, and where else it is written. `json` is its path there.

    A name that ends in a colon stands for a field of Redis for each part of the value: short ones leave the
    hash in its compact form (`hash-max-listpack-value`). What has no name is part of `_FACTS_FIELD`.
    """

    stored: str
    form: _Form
    in_tombstone: bool = False
    metadata: _Metadata | None = None
    json: tuple[str, ...] = ()


_FIELDS: Mapping[str, _Field] = {
    "state": _Field("state", _STATE, in_tombstone=True),
    "object_key": _Field("object_key", _TEXT, metadata=_Metadata("original-key", _BASE64, on_original=False)),
    "filename": _Field("filename", _TEXT, metadata=_Metadata("filename", _BASE64), json=("filename",)),
    "created_ms": _Field("created_ms", _NUMBER, metadata=_Metadata("created", _TIME)),
    "original_size": _Field(
        "original_size",
        _NUMBER,
        metadata=_Metadata("original-size", _TIME, on_original=False),
        json=("size", "original"),
    ),
    "owner": _Field("owner", _TEXT, metadata=_Metadata("owner", _BASE64)),
    "presigned_until_ms": _Field("ticket_ends_ms", _NUMBER, metadata=_Metadata("ticket-ends", _TIME)),
    "etag": _Field("etag", _TEXT),
    "version_ms": _Field(
        "version_ms",
        _NUMBER,
        in_tombstone=True,
        metadata=_Metadata("version", _TIME, on_original=False),
    ),
    "thumbnail": _Field("thumbnail", _TEXT, in_tombstone=True),
    "stale_thumbnails": _Field("former_thumbnails", _NAMES, in_tombstone=True),
    "thumbnail_size": _Field("thumbnail_size", _NUMBER, json=("size", "thumbnail")),
    "sizes": _Field("size:", _SIZES, metadata=_Metadata("sizes", _SIZES, on_original=False)),
    "image": _Field("", _IMAGE_FACTS, metadata=_Metadata("image", _IMAGE_FACTS, on_original=False)),
    "thumbnail_pixels": _Field("", _PIXELS, metadata=_Metadata("pixels", _PIXELS, on_original=False)),
    "error": _Field("error", _TEXT, json=("error",)),
    "error_code": _Field("error_code", _TEXT),
    "expires_ms": _Field("expires_ms", _NUMBER, metadata=_Metadata("expires", _TIME)),
    "download_expires_ms": _Field("download_expires_ms", _NUMBER),
    "body_hash": _Field("fingerprint", _TEXT, metadata=_Metadata("fingerprint", _DIGEST)),
    "focus": _Field("focus", _FOCUS, metadata=_Metadata("focus", _FOCUS)),
    "touched_ms": _Field("touched_ms", _NUMBER),
    "attempts": _Field("tries", _NUMBER),
    "tombstone": _Field("tombstone", _TEXT, in_tombstone=True),
    "outbox": _Field("outbox", _OUTBOX, in_tombstone=True),
    "revision": _Field("revision", _TEXT, in_tombstone=True),
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
                fields |= {f"{field.stored}{size.name}": _write_size(size) for size in value}
            else:
                fields[field.stored] = field.form.write(value)
    if record.image is not None and record.error_code is None and record.state is not State.TOMBSTONE:
        pixels = "" if record.thumbnail_pixels is None else f" {_PIXELS.write(record.thumbnail_pixels)}"
        fields[_FACTS_FIELD] = f"{_FACTS}{_IMAGE_FACTS.write(record.image)}{pixels}"
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
        name, form = _STORED.get(group + colon, ("", _TEXT))
        if not name:
            return UnreadableRecord(record_id, f"it has an unknown field {stored!r}")
        try:
            if stored == _FACTS_FIELD and text.startswith(_FACTS):
                image, _, pixels = text.removeprefix(_FACTS).partition(" ")
                values["image"] = _IMAGE_FACTS.read(image)
                values["thumbnail_pixels"] = _PIXELS.read(pixels) if pixels else None
            elif colon:
                values[name] = tuple(sorted([*values[name], _read_size(part, text)]))
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
        metadata[_DEFLATED_FILENAME] = _DEFLATED.write(record.filename)
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
                values["filename"] = _DEFLATED.read(packed)
        return cls(**values, stands_alone=_STANDS_ALONE in metadata, settings=metadata.get(_SETTINGS))
