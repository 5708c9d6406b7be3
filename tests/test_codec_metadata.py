"""A record's object metadata: what S3 keeps of it gives back the record that Redis has lost."""

import dataclasses
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import naming
from chalicelib.records.codec import ObjectMetadata, original_metadata, thumbnail_metadata
from chalicelib.records.record import ImageFacts, Pixels, Record, State, StoredSize
from chalicelib.spec import Focus
from tests.test_codec import ID, METADATA_BYTES, full, names, pending, records


@given(records)
def test_metadata_of_an_original_gives_back_what_it_was_given(record: Record) -> None:
    assert ObjectMetadata.parse(original_metadata(record)) == ObjectMetadata(
        filename=record.filename,
        created_ms=record.created_ms,
        expires_ms=record.expires_ms,
        body_hash=record.body_hash,
        focus=record.focus,
        watermark=record.watermark,
        owner=record.owner,
        presigned_until_ms=record.presigned_until_ms,
    )


@pytest.mark.parametrize("stands_alone", [False, True])
@pytest.mark.parametrize(
    "object_key",
    [
        naming.original(ID),
        naming.ORIGINALS + ID,  # as release 1 has stored it
        f"{naming.ORIGINALS}holiday/1.jpg",
        f"{naming.ORIGINALS}{ID[:-1]}f",
    ],
)
def test_metadata_of_a_thumbnail_give_back_what_the_original_would_say(
    object_key: str, stands_alone: bool
) -> None:
    record = dataclasses.replace(full(), object_key=object_key)
    read = ObjectMetadata.parse(thumbnail_metadata(record, stands_alone=stands_alone))
    is_upload = object_key.endswith(ID)
    expected = ObjectMetadata.parse(original_metadata(record))
    assert read == dataclasses.replace(
        expected,
        original_size=record.original_size,
        version_ms=record.version_ms,
        filename=record.filename if is_upload else None,
        object_key=None if is_upload else object_key,
        sizes=record.sizes,
        thumbnail_pixels=record.thumbnail_pixels,
        image=record.image,
        stands_alone=stands_alone,
    )


def test_metadata_are_named_as_in_the_release_before() -> None:
    assert original_metadata(dataclasses.replace(full(), focus=None, watermark=False)) == {
        "filename": "SU1HXzg2NjcucG5n",
        "created": "1700000000000",
        "owner": "YW4gb3duZXI=",
        "ticket-ends": "1700000900000",
        "expires": "1700000800000",
        "fingerprint": "0" * 64,
    }


@given(names)
def test_metadata_is_what_s3_stores_unchanged(name: str) -> None:
    metadata = original_metadata(dataclasses.replace(pending(), filename=name))
    written = "".join([*metadata.keys(), *metadata.values()])
    assert written.isascii()
    assert written.isprintable()
    assert " " not in written
    assert len(written) < METADATA_BYTES
    assert all(key == key.lower() for key in metadata), "S3 gives keys back in lower case"


@pytest.mark.parametrize("character", ["\N{CAT FACE}", "\U0010ffff", '"', "\0", "\\"])
def test_metadata_holds_the_longest_name(character: str) -> None:
    record = dataclasses.replace(pending(), filename=character * 255)
    metadata = original_metadata(record)
    assert sum(len(key) + len(value) for key, value in metadata.items()) < METADATA_BYTES
    assert ObjectMetadata.parse(metadata).filename == character * 255


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
        {"focus": "face"},
        {"focus": "0.5;0.2"},
        {"focus": "0.5,1.2"},
    ],
)
def test_foreign_metadata_say_nothing(metadata: dict[str, str]) -> None:
    read = ObjectMetadata.parse(metadata)
    assert (read.filename, read.created_ms, read.focus) == (None, None, None)


def test_broken_metadata_costs_only_what_is_broken() -> None:
    metadata = original_metadata(pending())
    without_time, without_name = (
        ObjectMetadata.parse(metadata | {"created": "?"}),
        ObjectMetadata.parse(metadata | {"filename": "?"}),
    )
    assert (without_time.filename, without_time.created_ms) == ("IMG_8667.png", None)
    assert (without_name.filename, without_name.created_ms) == (None, 1_700_000_000_000)


@given(st.dictionaries(st.sampled_from(["filename", "created", "other"]), st.text(max_size=60)))
def test_no_metadata_makes_a_record_that_cannot_be_sorted(metadata: dict[str, str]) -> None:
    read = ObjectMetadata.parse(metadata)
    (read.filename or "").encode()
    assert 0 <= (read.created_ms or 0) < 10**13


@pytest.mark.parametrize("is_upload", [True, False])
@pytest.mark.parametrize("presigned", [True, False])
def test_the_metadata_of_a_thumbnail_fit_at_their_longest(*, is_upload: bool, presigned: bool) -> None:
    """S3 refuses more than 2 KB, and the picture would be pending for ever."""
    random = Random(7)
    most = 10**13 - 1
    record = Record(
        id=ID,
        object_key=naming.original(ID) if is_upload else naming.ORIGINALS + "\N{CAT FACE}" * 253,
        filename="".join(chr(random.randrange(0x10000, 0x110000)) for _ in range(255)),
        created_ms=most,
        original_size=200_000_000,
        state=State.READY,
        owner="x" * 255 if is_upload else None,
        presigned_until_ms=most if presigned else None,
        version_ms=most,
        sizes=tuple(StoredSize(f"{n}" + "x" * 15, 9_999_999, 1024, 1024, "webp") for n in range(8)),
        thumbnail_pixels=Pixels(1024, 1024),
        image=ImageFacts("JPEG", 99_999, 1000, "x" * 36),
        expires_ms=most,
        body_hash=None if presigned else "0" * 64,
        focus=Focus(0.1234, 0.5678),
        watermark=is_upload,
    )
    metadata = thumbnail_metadata(record, stands_alone=True, settings="x" * 12)
    assert sum(len(key) + len(value) for key, value in metadata.items()) <= METADATA_BYTES
    read = ObjectMetadata.parse(metadata)
    assert read.filename == (record.filename if is_upload else None)
    assert (read.owner, read.sizes) == (record.owner, record.sizes)
    assert (read.image, read.thumbnail_pixels) == (record.image, record.thumbnail_pixels)
    assert (read.focus, read.watermark) == (record.focus, record.watermark)


@pytest.mark.parametrize(
    "metadata",
    [
        {"filename-deflated": "?"},
        {"filename-deflated": "cGhvdG8ucG5n"},
        {"sizes": ""},
        {"sizes": "card"},
        {"sizes": "card.1.2.3"},
        {"sizes": "card.1.2.3.jpg,"},
        {"sizes": "card.-1.2.3.jpg"},
        {"image": "JPEG"},
        {"image": "JPEG.1.2.\N{CAT FACE}"},
        {"pixels": "100"},
        {"pixels": "100x"},
    ],
)
def test_what_a_thumbnail_of_others_says_is_passed_over(metadata: dict[str, str]) -> None:
    assert ObjectMetadata.parse(metadata) == ObjectMetadata()
