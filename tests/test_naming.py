"""Names: what belongs together finds itself, what does not never meets."""

import string
import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib import naming

MINTED = "4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10"
# What S3 takes as a key: UTF-8, here of less than 1024 bytes.
client_keys = st.text(max_size=200).map(lambda rest: naming.ORIGINALS + rest)


def test_a_new_id_is_a_uuid4_and_never_the_same() -> None:
    ids = {naming.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(uuid.UUID(one).version == 4 and naming.is_id(one) for one in ids)


def test_an_upload_is_found_again_by_its_key() -> None:
    record_id = naming.new_id()
    assert naming.record_id(naming.original(record_id)) == record_id
    assert naming.is_upload_key(naming.original(record_id))


@pytest.mark.parametrize(
    "object_key",
    [
        "originals/photo.jpg",
        f"originals/{MINTED}",
        f"uploads/{MINTED}.jpg",
        f"uploads/{MINTED}/",
        f"uploads/{MINTED}\n",
        f"uploads/mine/{MINTED}",
        f"uploads/{MINTED.upper()}",
        f"uploads/{{{MINTED}}}",
        f"uploads/{MINTED.replace('-', '')}",
        "uploads/4f1c0c9e-3f0b-1d0e-8a54-0f3c1f6f9d10",  # a uuid1
        "uploads/4f1c0c9e-3f0b-4d0e-ca54-0f3c1f6f9d10",  # a variant that RFC 9562 does not define
        "uploads/1d07cead-d3d8-5cc8-ae9a-1020b61343b8",  # the id of a client's own key
        f"UPLOADS/{MINTED}",
        f"originals/{MINTED}.jpg",
        f"originals/{MINTED}/",
        f"originals/{MINTED}\n",
        f"originals/mine/{MINTED}",
        f"originals/{MINTED.upper()}",
        f"originals/{{{MINTED}}}",
        f"originals/{MINTED.replace('-', '')}",
        "originals/4f1c0c9e-3f0b-1d0e-8a54-0f3c1f6f9d10",  # a uuid1
        "originals/4f1c0c9e-3f0b-4d0e-ca54-0f3c1f6f9d10",  # a variant that RFC 9562 does not define
        f"ORIGINALS/{MINTED}",
        MINTED,
    ],
)
def test_a_key_that_only_looks_like_ours_is_the_clients(object_key: str) -> None:
    assert not naming.is_upload_key(object_key)
    record_id = naming.record_id(object_key)
    assert record_id not in {MINTED, MINTED.upper()}
    assert uuid.UUID(record_id).version == 5


@pytest.mark.parametrize(
    ("object_key", "upload_id"),
    [
        (f"originals/{MINTED}", MINTED),
        (f"originals/{MINTED}.jpg", None),
        (f"originals/{MINTED}\n", None),
        (f"originals/mine/{MINTED}", None),
        (f"uploads/{MINTED}", None),
        (f"originals/{MINTED.upper()}", None),
        ("originals/4f1c0c9e-3f0b-1d0e-8a54-0f3c1f6f9d10", None),
    ],
)
def test_an_upload_of_release_1_may_be_told_by_its_key(object_key: str, upload_id: str | None) -> None:
    assert naming.former_upload_id(object_key) == upload_id


@pytest.mark.parametrize(
    ("object_key", "expected"),
    [
        (f"uploads/{MINTED}", True),
        ("originals/any key/at all", True),
        (f"originals/{MINTED}", True),
        (f"uploads/{MINTED}.jpg", False),
        ("uploads/", False),
        ("assets/watermark.png", False),
        (naming.HEARTBEAT_OBJECT, False),
        (naming.thumbnail(MINTED, "e-0123456789abcdef"), False),
    ],
)
def test_thumbnails_are_made_of_originals_and_of_nothing_else(object_key: str, expected: bool) -> None:
    assert naming.is_original(object_key) is expected


def test_ids_of_clients_keys_stay_the_same_for_ever() -> None:
    # Records are stored under these: another namespace or another hash would lose them.
    assert naming.record_id("originals/photo.jpg") == "24b0045d-4696-5d07-8667-90f16ff7d8f5"
    assert naming.record_id("originals/naïve 🐱.png") == "1d07cead-d3d8-5cc8-ae9a-1020b61343b8"


@given(client_keys)
def test_the_same_key_has_the_same_id(object_key: str) -> None:
    record_id = naming.record_id(object_key)
    assert record_id == naming.record_id(object_key)
    assert naming.is_id(record_id)


@given(client_keys, client_keys)
def test_different_keys_have_different_ids(one: str, other: str) -> None:
    assume(one != other)
    assert naming.record_id(one) != naming.record_id(other)


@given(client_keys)
def test_a_clients_key_never_gets_the_id_of_an_upload(object_key: str) -> None:
    assume(not naming.is_upload_key(object_key))
    assert naming.original(naming.record_id(object_key)) != object_key
    assert not naming.is_upload_key(naming.original(naming.record_id(object_key)))


@pytest.mark.parametrize(
    ("object_key", "name"),
    [
        ("originals/photo.jpg", "photo.jpg"),
        ("originals/2026/summer/photo.jpg", "photo.jpg"),
        ("originals/red flower.jpg", "red flower.jpg"),
        ("originals/a\\b.jpg", "a\\b.jpg"),
        ("originals/naïve 🐱.png", "naïve 🐱.png"),
        ("originals/album/", "album"),
        ("originals//photo.jpg", "photo.jpg"),
        ("originals/originals/originals", "originals"),
        ("originals/", ""),
        ("originals//", ""),
    ],
)
def test_the_file_name_is_the_keys_last_part(object_key: str, name: str) -> None:
    assert naming.filename(object_key) == name


@given(client_keys, st.text(alphabet=st.characters(exclude_characters="/"), min_size=1, max_size=100))
def test_the_file_name_is_the_last_part_whatever_stands_before(folder: str, name: str) -> None:
    assert naming.filename(f"{folder}/{name}") == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "null",
        f"{MINTED} ",
        f"{MINTED}\n",
        MINTED.upper(),
        MINTED[:-1],
        MINTED + "0",
        f"../{MINTED}",
        f"{MINTED}/download",
        f"urn:uuid:{MINTED}",
        MINTED.replace("4", "\u0664"),
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_what_is_no_id_is_not_looked_up(text: str) -> None:
    assert not naming.is_id(text)


@given(client_keys, st.text(alphabet=string.hexdigits + "-", min_size=1, max_size=40))
def test_no_thumbnail_lies_where_originals_are_waited_for(object_key: str, etag: str) -> None:
    # Its own PUT would start the pipeline again, without end.
    thumbnail = naming.thumbnail(naming.record_id(object_key), etag)
    assert thumbnail.startswith(naming.THUMBNAILS)
    assert not naming.is_original(thumbnail)
    assert not thumbnail.startswith((naming.ORIGINALS, naming.UPLOADS))
    assert not (naming.ORIGINALS + naming.UPLOADS).startswith(naming.THUMBNAILS)


def test_no_two_thumbnails_are_named_alike() -> None:
    names = {naming.new_thumbnail(etag) for etag in ("a1", "a1", "b2-3")}
    assert len(names) == 3
    assert (
        len({naming.thumbnail(record, name) for record in (MINTED, naming.new_id()) for name in names}) == 6
    )


@pytest.mark.parametrize(
    "etag", ["d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-10000"]
)
def test_a_thumbnails_name_leaves_the_record_in_its_compact_form(etag: str) -> None:
    assert len(naming.new_thumbnail(etag)) <= 64


def test_the_index_is_no_records_key() -> None:
    single = [naming.INDEX, naming.DUE, naming.HEARTBEAT, naming.HEALTH, naming.checkpoint("bucket")]
    assert len({*single, naming.index("0" * 32), naming.record(MINTED)}) == len(single) + 2
    assert naming.record(MINTED) != naming.INDEX
    assert naming.record(MINTED) != naming.record(naming.new_id())
