"""A record's three written forms."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import keys
from chalicelib.record import GONE, Record, State, facts

ID = "4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10"
# S3's own bound for all of an object's user metadata, keys and values, without the x-amz-meta- prefixes.
METADATA_BYTES = 2048

names = st.text(max_size=255)
numbers = st.integers(min_value=0, max_value=10**13 - 1)
records = st.builds(
    Record,
    id=st.just(ID),
    object_key=st.text(max_size=100).map(lambda rest: keys.ORIGINALS + rest),
    filename=names,
    created_ms=numbers,
    original_size=numbers,
    state=st.sampled_from(State),
    etag=st.none() | st.text(min_size=1, max_size=40),
    thumbnail=st.none() | st.text(min_size=1, max_size=80),
    former_thumbnails=st.lists(st.from_regex(r"[0-9a-f-]{1,80}", fullmatch=True), max_size=3).map(tuple),
    thumbnail_size=st.none() | numbers,
    error=st.none() | st.text(min_size=1),
    tombstone=st.none() | st.text(min_size=1, max_size=40),
)


def pending() -> Record:
    return Record(ID, keys.original(ID), "IMG_8667.png", 1_700_000_000_000, 343_956)


@given(records)
def test_redis_gives_back_what_it_was_given(record: Record) -> None:
    fields = record.to_hash()
    assert all(isinstance(value, str) for value in fields.values())
    assert Record.from_hash(record.id, fields) == record


@given(records)
def test_what_is_not_known_takes_no_field(record: Record) -> None:
    known = {name for name, value in dataclasses.asdict(record).items() if value not in (None, ())}
    assert record.to_hash().keys() == known - {"id"}


def test_a_tombstone_is_read_without_the_fields_that_it_lost() -> None:
    record = Record.from_hash(ID, {"state": "deleted", "tombstone": "t", "thumbnail": "n"})
    assert (record.state, record.tombstone) == (State.DELETED, "t")
    assert record.thumbnail_keys() == [keys.thumbnail(ID, "n")]


@pytest.mark.parametrize("fields", [{}, {"filename": "a.png"}, {"state": "lost"}])
def test_a_hash_without_a_known_state_is_no_record(fields: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Record.from_hash(ID, fields)


@given(records)
def test_metadata_gives_back_name_and_creation(record: Record) -> None:
    read = facts(record.original_metadata())
    assert (read.filename, read.created_ms) == (record.filename, record.created_ms)


@given(names)
def test_metadata_is_what_s3_stores_unchanged(name: str) -> None:
    metadata = dataclasses.replace(pending(), filename=name).original_metadata()
    written = "".join([*metadata.keys(), *metadata.values()])
    assert written.isascii()
    assert written.isprintable()
    assert " " not in written
    assert len(written) < METADATA_BYTES
    assert all(key == key.lower() for key in metadata), "S3 gives keys back in lower case"


@pytest.mark.parametrize("character", ["\N{CAT FACE}", "\U0010ffff", '"', "\0", "\\"])
def test_metadata_holds_the_longest_name(character: str) -> None:
    record = dataclasses.replace(pending(), filename=character * 255)
    metadata = record.original_metadata()
    assert sum(len(key) + len(value) for key, value in metadata.items()) < METADATA_BYTES
    assert facts(metadata).filename == character * 255


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"owner": "somebody else"},
        {"filename": "photo.png"},
        {"filename": "cGhvdG8ucG5"},  # base64, cut
        {"filename": "cGhvdG8ucG5n\n"},
        {"filename": "_____w=="},  # base64 of what is not UTF-8
        {"filename": "naïve"},
        {"created": ""},
        {"created": "yesterday"},
        {"created": "-1"},
        {"created": "+1"},
        {"created": " 1 "},
        {"created": "1_000"},
        {"created": "1.5"},
        {"created": "\u0661"},
        {"created": "1" * 14},  # one digit more than the index sorts by
        {"created": "1" * 1900},
    ],
)
def test_foreign_metadata_say_nothing(metadata: dict[str, str]) -> None:
    read = facts(metadata)
    assert (read.filename, read.created_ms) == (None, None)


def test_broken_metadata_costs_only_what_is_broken() -> None:
    metadata = pending().original_metadata()
    without_time, without_name = facts(metadata | {"created": "?"}), facts(metadata | {"filename": "?"})
    assert (without_time.filename, without_time.created_ms) == ("IMG_8667.png", None)
    assert (without_name.filename, without_name.created_ms) == (None, 1_700_000_000_000)


@given(st.dictionaries(st.sampled_from(["filename", "created", "other"]), st.text(max_size=60)))
def test_no_metadata_makes_a_record_that_cannot_be_sorted(metadata: dict[str, str]) -> None:
    read = facts(metadata)
    (read.filename or "").encode()
    assert 0 <= (read.created_ms or 0) < 10**13


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, {"ready": False, "size": {"original": 343_956}}),
        ({"etag": "e"}, {"ready": False, "size": {"original": 343_956}}),
        (
            {"state": State.READY, "etag": "e", "thumbnail_size": 3609},
            {"ready": True, "size": {"original": 343_956, "thumbnail": 3609}},
        ),
        (
            {"state": State.FAILED, "etag": "e", "error": "It is damaged."},
            {"ready": False, "size": {"original": 343_956}, "error": "It is damaged."},
        ),
    ],
)
def test_clients_see_the_contracts_keys_and_no_others(
    changes: dict[str, object], shown: dict[str, object]
) -> None:
    record = dataclasses.replace(pending(), **changes)  # type: ignore[arg-type]  # any field's type
    assert record.as_json() == {"id": ID, "filename": "IMG_8667.png"} | shown
    assert json.loads(json.dumps(record.as_json())) == record.as_json()


@pytest.mark.parametrize(
    "changes",
    [{}, {"state": State.READY, "thumbnail_size": 3609}, {"state": State.FAILED, "error": "It is damaged."}],
)
def test_a_record_reads_the_same_while_it_is_deleted(changes: dict[str, object]) -> None:
    before = dataclasses.replace(pending(), **changes)  # type: ignore[arg-type]  # any field's type
    assert dataclasses.replace(before, state=State.DELETING).as_json() == before.as_json()


@given(records)
def test_no_name_or_internal_state_breaks_the_json(record: Record) -> None:
    shown = json.loads(json.dumps(record.as_json()))
    assert shown.keys() - {"error"} == {"id", "filename", "ready", "size"}
    assert shown["filename"] == record.filename
    assert ("thumbnail" in shown["size"]) == shown["ready"]


@pytest.mark.parametrize(
    ("name", "former", "expected"), [(None, (), []), ("new", (), ["new"]), ("c", ("a", "b"), ["a", "b", "c"])]
)
def test_all_thumbnails_that_may_be_stored_are_named(
    name: str | None, former: tuple[str, ...], expected: list[str]
) -> None:
    record = dataclasses.replace(pending(), thumbnail=name, former_thumbnails=former)
    assert record.thumbnail_keys() == [keys.thumbnail(ID, one) for one in expected]


def test_only_removed_records_are_gone() -> None:
    assert set(State) - GONE == {State.EXPECTED, State.PENDING, State.READY, State.FAILED}
