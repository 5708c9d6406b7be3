"""What Redis keeps of a removed record in which every field was set, and for how long."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.records.codec import FORMAT
from chalicelib.records.lifecycle import IDEMPOTENCY_SECONDS, PROCESSED_TOMBSTONE_SECONDS, TOMBSTONE_SECONDS
from chalicelib.records.record import (
    UNRESTRICTED,
    ImageFacts,
    Owner,
    Pixels,
    Record,
    RemovalScope,
    State,
    StoredSize,
)
from chalicelib.records.store import RecordStore
from chalicelib.spec import Focus
from tests.conftest import found

if TYPE_CHECKING:
    import redis

ID = naming.new_id()
PERSONAL = "holiday"


def every_field(state: State) -> Record:
    """A record in which every field of its state has a value; personal ones contain PERSONAL."""
    return Record(
        id=ID,
        object_key=f"originals/{PERSONAL}.jpg",
        filename=f"{PERSONAL}.jpg",
        created_ms=1_700_000_000_000,
        original_size=5,
        state=state,
        owner=f"{PERSONAL} owner",
        presigned_until_ms=1_700_000_900_000,
        etag=f"{PERSONAL}-etag",
        version_ms=1_700_000_000_001,
        thumbnail="v2-run",
        stale_thumbnails=("v0-run", "v1-run"),
        thumbnail_size=3609,
        sizes=(StoredSize("card", 5, 3, 2, "webp"),),
        thumbnail_pixels=None if state is State.FAILED else Pixels(100, 67),
        image=None if state is State.FAILED else ImageFacts("JPEG", 300, 200, PERSONAL),
        error=f"The {PERSONAL} is damaged.",
        error_code="undecodable" if state is State.FAILED else None,
        expires_ms=4_000_000_000_000,
        download_expires_ms=4_000_000_000_000,
        body_hash=PERSONAL,
        focus=Focus(0.25, 0.75),
        watermark=True,
        touched_ms=1_700_000_000_002,
        attempts=2,
        tombstone=None,
    )


def test_every_field_is_set() -> None:
    unset = {"tombstone", "revision", "outbox"}
    for state, others in ((State.READY, {"error_code"}), (State.FAILED, {"image", "thumbnail_pixels"})):
        record = every_field(state)
        empty = {field.name for field in fields(record) if getattr(record, field.name) in (None, "", 0, ())}
        assert empty == unset | others


@pytest.mark.parametrize("state", [State.AWAITING_UPLOAD, State.PENDING, State.READY, State.FAILED])
@pytest.mark.parametrize("viewer", [UNRESTRICTED, Owner(f"{PERSONAL} owner")], ids=["service", "owner"])
def test_a_tombstone_is_what_a_late_event_needs_and_nothing_else(
    store: RecordStore, redis_server: "redis.Redis", state: State, viewer: Any
) -> None:
    store.create(every_field(state))
    removing = store.start_removal(found(store, ID), RemovalScope.ANY, viewer)
    assert removing is not None
    assert replace(removing, state=state, revision="") == every_field(state), "objects are found by all of it"
    assert store.finish_removal(removing, "unique")
    stored: Any = redis_server.hgetall(naming.record(ID))
    revision = stored.pop("revision")
    assert stored == {
        "format": FORMAT,
        "state": "deleted",
        "version_ms": "1700000000001",
        "thumbnail": "v2-run",
        "former_thumbnails": "v0-run v1-run",
        "tombstone": "unique",
    }
    assert revision not in ("", removing.revision)
    keys: Any = redis_server.keys()
    for key in keys:
        assert PERSONAL not in key
        assert redis_server.type(key) != "hash" or PERSONAL not in str(redis_server.hgetall(key))
    assert store.index.newest(9, None) == []


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, IDEMPOTENCY_SECONDS),
        ({"body_hash": None}, PROCESSED_TOMBSTONE_SECONDS),
        ({"body_hash": None, "thumbnail_size": None}, PROCESSED_TOMBSTONE_SECONDS),
        ({"body_hash": None, "error": None}, PROCESSED_TOMBSTONE_SECONDS),
        ({"body_hash": None, "error": None, "thumbnail_size": None}, TOMBSTONE_SECONDS),
    ],
    ids=["with a key", "both results", "failed", "ready", "never processed"],
)
def test_how_long_it_is_kept(
    store: RecordStore, redis_server: "redis.Redis", changes: dict[str, Any], seconds: int
) -> None:
    store.create(replace(every_field(State.READY), **changes))
    removing = store.start_removal(found(store, ID), RemovalScope.ANY, UNRESTRICTED)
    assert removing is not None
    assert store.finish_removal(removing, "unique")
    assert seconds - 120 < redis_server.ttl(naming.record(ID)) <= seconds
