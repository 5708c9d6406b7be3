"""A record's written forms: the Redis hash, also of the release before."""

import dataclasses
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import naming
from chalicelib.records.codec import (
    FORMAT,
    as_json,
    decode,
    encode,
)
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

ID = "4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10"
# S3's own bound for all of an object's user metadata, keys and values, without the x-amz-meta- prefixes.
METADATA_BYTES = 2048

names = st.text(max_size=255)
numbers = st.integers(min_value=0, max_value=10**13 - 1)
optional_numbers = st.none() | numbers
fractions = st.integers(0, 10_000).map(lambda share: share / 10_000)
tokens = st.from_regex(r"[0-9a-f]{1,40}", fullmatch=True)
sizes = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,15}", fullmatch=True),
    st.tuples(
        st.integers(0, 9_999_999),
        st.integers(1, 1024),
        st.integers(1, 1024),
        st.sampled_from(["jpg", "webp", "avif", "png"]),
    ),
    max_size=8,
).map(lambda found: tuple(StoredSize(name, *rest) for name, rest in sorted(found.items())))
images = st.builds(
    ImageFacts,
    st.sampled_from(["JPEG", "HEIF", "GIF"]),
    st.integers(1, 10**8),
    st.integers(1, 10**8),
    st.none() | st.binary(min_size=19, max_size=27).map(lambda found: b64encode(found).decode()),
)
pixels = st.builds(Pixels, st.integers(1, 1024), st.integers(1, 1024))


def possible(record: Record) -> Record:
    """What a picture is is told of it until it fails, and of its thumbnail once there is one."""
    if record.error_code is not None:
        record = dataclasses.replace(record, image=None)
    return record if record.image is not None else dataclasses.replace(record, thumbnail_pixels=None)


records = st.builds(
    Record,
    id=st.just(ID),
    object_key=st.text(max_size=100).map(lambda rest: naming.ORIGINALS + rest) | st.just(naming.original(ID)),
    filename=names,
    created_ms=numbers,
    original_size=optional_numbers,
    state=st.sampled_from([state for state in State if state is not State.TOMBSTONE]),
    owner=st.none() | names,
    presigned_until_ms=optional_numbers,
    etag=st.none() | st.text(max_size=40),
    version_ms=optional_numbers,
    thumbnail=st.none() | st.text(max_size=80),
    stale_thumbnails=st.lists(st.from_regex(r"[0-9a-f-]{1,80}", fullmatch=True), max_size=3).map(tuple),
    thumbnail_size=optional_numbers,
    sizes=sizes,
    error=st.none() | st.text(),
    error_code=st.none() | st.text(max_size=40),
    expires_ms=optional_numbers,
    download_expires_ms=optional_numbers,
    body_hash=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    focus=st.none() | st.builds(Focus, fractions, fractions),
    watermark=st.booleans(),
    touched_ms=optional_numbers,
    attempts=st.integers(min_value=0, max_value=99),
    tombstone=st.none() | tokens,
    outbox=st.lists(
        st.builds(OutboxEvent, st.sampled_from(EventKind), tokens, numbers, names, names), max_size=3
    ).map(tuple),
    revision=st.just("") | tokens,
    image=st.none() | images,
    thumbnail_pixels=st.none() | pixels,
).map(possible)


def pending() -> Record:
    return Record(ID, naming.original(ID), "IMG_8667.png", 1_700_000_000_000, 343_956)


def full() -> Record:
    """A record that has a value in every field."""
    return Record(
        id=ID,
        object_key=naming.original(ID),
        filename="IMG_8667.png",
        created_ms=1_700_000_000_000,
        original_size=343_956,
        state=State.DELETING,
        owner="an owner",
        presigned_until_ms=1_700_000_900_000,
        etag="e",
        version_ms=1_700_000_000_000,
        thumbnail="e-2",
        stale_thumbnails=("d-0", "d-1"),
        thumbnail_size=3609,
        sizes=(StoredSize("2x", 9120, 200, 150, "jpg"), StoredSize("card", 99_999, 400, 300, "webp")),
        thumbnail_pixels=Pixels(100, 75),
        image=ImageFacts("JPEG", 3024, 4032, "1QcSHQRnh493V4dIh4eXh1h4kJUI"),
        error="It is damaged.",
        error_code="undecodable",
        expires_ms=1_700_000_800_000,
        download_expires_ms=1_700_000_700_000,
        body_hash="0" * 64,
        focus=Focus(0.5, 0.2),
        watermark=True,
        touched_ms=1_700_000_000_001,
        attempts=2,
        tombstone="t",
        outbox=(OutboxEvent(EventKind.READY, "an id", 1_700_000_000_000, "uploads/a", "{}"),),
        revision="r",
    )


# --- the Redis hash ---


def test_the_example_leaves_no_field_empty() -> None:
    assert all(value not in (None, "", 0, ()) for value in dataclasses.asdict(full()).values())


@given(records)
def test_redis_gives_back_what_it_was_given(record: Record) -> None:
    fields = encode(record)
    assert all(isinstance(value, str) for value in fields.values())
    assert decode(record.id, fields) == record


@pytest.mark.parametrize("field", ["original_size", "thumbnail_size", "expires_ms", "download_expires_ms"])
def test_zero_is_not_taken_for_unknown(field: str) -> None:
    record = dataclasses.replace(pending(), **{field: 0})  # type: ignore[arg-type]  # any field's type
    read = decode(ID, encode(record))
    assert read == record
    assert as_json(record)["size"]["original"] is not None


def test_what_is_not_known_takes_no_field() -> None:
    assert encode(pending()).keys() == {
        "format",
        "object_key",
        "filename",
        "created_ms",
        "original_size",
        "state",
    }


def test_a_tombstone_keeps_nothing_but_what_a_late_event_needs() -> None:
    removed = dataclasses.replace(full(), state=State.TOMBSTONE)
    assert encode(removed).keys() - encode(dataclasses.replace(removed, outbox=())).keys() == {
        *("outbox", "fingerprint", "thumbnail_size", "error")
    }
    fields = encode(dataclasses.replace(removed, outbox=()))
    assert fields == {
        "format": FORMAT,
        "state": "deleted",
        "version_ms": "1700000000000",
        "thumbnail": "e-2",
        "former_thumbnails": "d-0 d-1",
        "tombstone": "t",
        "revision": "r",
    }


# Hashes as the release before wrote them: its fields, no version of the form, no revision.
UPLOADED = {
    "object_key": f"originals/{ID}",
    "filename": "n\u00e9 \U0001f30d.png",
    "created_ms": "1700000000000",
    "original_size": "343956",
    "state": "pending",
}
CLAIMED = UPLOADED | {"etag": "e", "thumbnail": "e-2"}
UPLOADED_RECORD = dataclasses.replace(
    pending(), filename="n\u00e9 \U0001f30d.png", object_key=f"originals/{ID}"
)
CLAIMED_RECORD = dataclasses.replace(UPLOADED_RECORD, etag="e", thumbnail="e-2")
FORMER_HASHES: dict[str, tuple[dict[str, str], Record]] = {
    "uploaded": (UPLOADED, UPLOADED_RECORD),
    "uploaded again under its key": (
        UPLOADED
        | {
            "owner": "an owner",
            "expires_ms": "1700000800000",
            "fingerprint": "0" * 64,
            "touched_ms": "1700000000001",
        },
        dataclasses.replace(
            UPLOADED_RECORD,
            owner="an owner",
            expires_ms=1_700_000_800_000,
            body_hash="0" * 64,
            touched_ms=1_700_000_000_001,
        ),
    ),
    "expected": (
        {key: value for key, value in UPLOADED.items() if key != "original_size"}
        | {"state": "expected", "ticket_ends_ms": "1700000900000"},
        dataclasses.replace(
            UPLOADED_RECORD,
            original_size=None,
            state=State.AWAITING_UPLOAD,
            presigned_until_ms=1_700_000_900_000,
        ),
    ),
    "tried twice, with former thumbnails": (
        CLAIMED | {"former_thumbnails": "d-0 d-1", "tries": "2"},
        dataclasses.replace(CLAIMED_RECORD, stale_thumbnails=("d-0", "d-1"), attempts=2),
    ),
    "ready and downloaded": (
        CLAIMED | {"state": "ready", "thumbnail_size": "3609", "download_expires_ms": "1700000700000"},
        dataclasses.replace(
            CLAIMED_RECORD, state=State.READY, thumbnail_size=3609, download_expires_ms=1_700_000_700_000
        ),
    ),
    "failed": (
        CLAIMED | {"state": "failed", "error": "It is damaged."},
        dataclasses.replace(CLAIMED_RECORD, state=State.FAILED, error="It is damaged."),
    ),
    "deleting": (
        CLAIMED | {"state": "deleting", "thumbnail_size": "3609"},
        dataclasses.replace(CLAIMED_RECORD, state=State.DELETING, thumbnail_size=3609),
    ),
    "tombstone": (
        {"state": "deleted", "tombstone": "t", "thumbnail": "e-2", "former_thumbnails": "d-0 d-1"},
        Record(
            ID,
            "",
            "",
            0,
            None,
            State.TOMBSTONE,
            thumbnail="e-2",
            stale_thumbnails=("d-0", "d-1"),
            tombstone="t",
        ),
    ),
    "tombstone of an upload that no event was about": (
        {"state": "deleted", "tombstone": "t"},
        Record(ID, "", "", 0, None, State.TOMBSTONE, tombstone="t"),
    ),
}


@pytest.mark.parametrize(("fields", "record"), FORMER_HASHES.values(), ids=FORMER_HASHES)
def test_hashes_of_the_release_before_are_read(fields: dict[str, str], record: Record) -> None:
    assert decode(ID, fields) == record
    # The release before reads no fields but those: what this one writes beside them, it passes over.
    assert encode(record) == fields | {"format": FORMAT}


# Every field that the release before knows: it reads no record with another one.
FORMER_FIELDS = {
    *("format", "state", "object_key", "filename", "created_ms", "original_size", "owner", "ticket_ends_ms"),
    *("etag", "version_ms", "thumbnail", "former_thumbnails", "thumbnail_size", "error", "error_code"),
    *("expires_ms", "download_expires_ms", "fingerprint", "touched_ms", "tries", "tombstone", "revision"),
}


@given(records)
def test_where_nothing_new_is_used_the_release_before_reads_what_this_one_writes(record: Record) -> None:
    fields = encode(dataclasses.replace(record, sizes=(), focus=None, watermark=False, outbox=()))
    assert fields.keys() <= FORMER_FIELDS
    # To that release this is the code of a failure, of a record that has not failed.
    if record.image is not None:
        assert fields["error_code"][0] == "="


def test_no_hash_is_no_record() -> None:
    assert decode(ID, {}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "blue"},
        {"id": ID},
        {"presigned_until_ms": "1700000900000"},  # a field's name in Python is not its name in Redis
        {"state": "lost"},
        {"state": ""},
        {"state": "PENDING"},
        {"format": "3"},
        {"format": ""},
        {"created_ms": ""},
        {"created_ms": "yesterday"},
        {"original_size": "1.5"},
        {"expires_ms": "None"},
        {"tries": "often"},
        {"error_code": "=JPEG"},
        {"error_code": "=JPEG.1.2.ph 1"},
        {"error_code": "=JPEG.1.2.?"},
        {"size:card": "9120"},
        {"size:": "9120"},
        {"size:card": "9120.400.300"},
        {"sizes:card": "9120.400.300.jpg"},
    ],
    ids=str,
)
def test_a_hash_of_another_release_is_unreadable(changes: dict[str, str]) -> None:
    read = decode(ID, encode(full()) | changes)
    assert isinstance(read, UnreadableRecord)
    assert read.id == ID
    assert next(iter(changes.values())) in read.reason or next(iter(changes)) in read.reason


@pytest.mark.parametrize("fields", [{"filename": "a.png"}, {"format": FORMAT}])
def test_a_hash_without_a_state_is_unreadable(fields: dict[str, str]) -> None:
    assert isinstance(decode(ID, fields), UnreadableRecord)
