"""Every name in the bucket and in Redis, made here and nowhere else.

    uploads/<id>                an original that the API stored; only the service writes here, <id> is a uuid4
    originals/<any key>         an original that others put straight into the bucket
    assets/<any key>            the watermark, which operators put there
    state/heartbeat             what the reconciler wrote last, to notice a Redis that went back in time
    thumbnails/<id>/<name>.jpg  the default thumbnail; <name> begins with the ETag of the version it shows
    thumbnails/<id>/<name>.<size>.<jpg, webp, avif or png>
                                the same in a named size
    record:<id>                 Redis hash: the record
    records                     Redis sorted set: the index of all records, by creation
    records:<owner's hash>      Redis sorted set: the index of one owner's records, likewise
    due                         Redis sorted set: ids of records to check, by when
    outbox                      Redis sorted set: ids of records with events to publish, by when they ended
    records#<n>, due#<n>, ...   further partitions of these four, where there are more than one
    checkpoint:<walk>           Redis hash: how far a walk over the bucket or the index has come

A record, its original and its thumbnail find one another by these rules alone. Each Redis key is
used by itself, so that any two may live in different hash slots.
"""

import hashlib
import re
import secrets
import uuid
import zlib
from typing import NamedTuple

from chalicelib.spec import SIZE_NAME, ImageFormat

UPLOADS = "uploads/"
ORIGINALS = "originals/"
THUMBNAILS = "thumbnails/"
HEARTBEAT_OBJECT = "state/heartbeat"
HEARTBEAT = "heartbeat"
HEALTH = "health"
INDEX = "records"
DUE = "due"
OUTBOX = "outbox"
MOST_PARTITIONS = 16
"""In how many sorted sets the index and the schedule may be divided."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID4 = r"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"
_UPLOAD = re.compile(UPLOADS + _UUID4)
_FORMER_UPLOAD = re.compile(ORIGINALS + _UUID4)
_THUMBNAIL = re.compile(
    rf"{THUMBNAILS}([0-9a-f-]{{36}})/((.{{1,64}})-[0-9a-f]{{16}})"
    rf"(?:\.({SIZE_NAME})\.(?:{'|'.join(one.extension for one in ImageFormat)})|\.jpg)"
)
_NAMESPACE = uuid.UUID("0d3c6c1e-5c0b-4f0e-9d0a-3f6f2f2f7c55")


def new_id() -> str:
    """Make the id of a record that comes through the API: a random uuid4."""
    return str(uuid.uuid4())


def id_for_idempotency_key(idempotency_key: str, owner: str | None = None) -> str:
    """Make the id of a record that a client names by an Idempotency-Key: the same for the same key and owner.

    It has the form of a uuid4 whose random bits are those of a hash, so that a repeated upload finds what the
    first one has left, without a table of keys that could be lost or disagree.
    """
    text = "\0".join(("idempotency-key", idempotency_key, *([] if owner is None else [owner])))
    digest = hashlib.sha256(text.encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def is_id(text: str) -> bool:
    """Tell whether `text` could be a record's id; nothing else needs to be looked up."""
    return _UUID.fullmatch(text) is not None


def original(record_id: str) -> str:
    """Object key of the original that came through the API with this id."""
    return UPLOADS + record_id


def is_original(object_key: str) -> bool:
    """Tell whether an object is an original, of which a thumbnail is made."""
    return object_key.startswith(ORIGINALS) or is_upload_key(object_key)


def is_upload_key(object_key: str) -> bool:
    """Tell whether only the service writes to this key; what the object's metadata say is believed then."""
    return _UPLOAD.fullmatch(object_key) is not None


def former_upload_id(object_key: str) -> str | None:
    """Id in the key of an upload of release 1, which stored uploads below `originals/`; None for other keys.

    Others can write there, too: it is such an upload only if its record has this key.
    """
    found = _FORMER_UPLOAD.fullmatch(object_key)
    return found[1] if found else None


def record_id(object_key: str) -> str:
    """Id of the record that belongs to an original: always the same for the same key.

    The key of an upload ends in the id; any other key is hashed into a uuid5 (RFC 9562, 5.5).
    """
    upload = _UPLOAD.fullmatch(object_key)
    return upload[1] if upload else str(uuid.uuid5(_NAMESPACE, object_key))


def filename(object_key: str) -> str:
    """File name of an object that was put straight into the bucket: the last part of its key."""
    return object_key.removeprefix(ORIGINALS).rstrip("/").rpartition("/")[2]


def new_thumbnail(etag: str) -> str:
    """Name a thumbnail of the version `etag` of an original; no two of a record are ever named alike.

    At most 64 characters: one longer value would double the record's size in Redis, which keeps only
    hashes of short values in its compact form (`hash-max-listpack-value`). S3's ETags have 32
    characters, or up to 38 after a multipart upload.
    """
    return f"{etag}-{secrets.token_hex(8)}"


def thumbnail(record_id: str, name: str) -> str:
    """Object key of a record's default thumbnail with this name."""
    return f"{thumbnails(record_id)}{name}.jpg"


def sized_thumbnail(record_id: str, name: str, size: str, extension: str) -> str:
    """Object key of the same in a named size."""
    return f"{thumbnails(record_id)}{name}.{size}.{extension}"


def thumbnails(record_id: str) -> str:
    """What the object keys of all thumbnails of a record start with."""
    return f"{THUMBNAILS}{record_id}/"


class ThumbnailKey(NamedTuple):
    """What the object key of a thumbnail says: whose it is, its name, and the version it shows.

    `size` is the name of its size, None for the default thumbnail.
    """

    record_id: str
    name: str
    etag: str
    size: str | None = None


def parse_thumbnail(object_key: str) -> ThumbnailKey | None:
    """Read what `thumbnail` and `sized_thumbnail` wrote; None for a key that they did not make."""
    found = _THUMBNAIL.fullmatch(object_key)
    return ThumbnailKey(*found.groups()) if found else None


def owner_hash(owner: str) -> str:
    """What stands for an owner in names: of one length, and without the characters that a `sub` may have."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def index(owner_hash: str) -> str:
    """Redis key of the index of one owner's records."""
    return f"{INDEX}:{owner_hash}"


def event(text: str) -> str:
    """Id of an event: the same for the same text, which says what has ended and how."""
    return str(uuid.uuid5(_NAMESPACE, f"event\0{text}"))


def partition(key: str, number: int) -> str:
    """Redis key of one partition of an index or of the schedule; the first has the key itself."""
    return f"{key}#{number}" if number else key


def partition_of(record_id: str, partitions: int) -> int:
    """Number of the partition that a record belongs to; all get the same share."""
    return zlib.crc32(record_id.encode()) % partitions


def record(record_id: str) -> str:
    """Redis key of a record."""
    return f"record:{record_id}"


def checkpoint(walk: str) -> str:
    """Redis key of the checkpoint of a walk."""
    return f"checkpoint:{walk}"
