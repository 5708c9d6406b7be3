"""Records of presigned uploads: they expire in Redis and are not listed until their original has come."""

from dataclasses import replace
from typing import TYPE_CHECKING

from chalicelib import naming
from chalicelib.clock import now_ms
from chalicelib.records.lifecycle import AWAITING_SECONDS
from chalicelib.records.record import UNRESTRICTED, State
from chalicelib.records.store import RecordStore
from tests.test_store import found, ids, new_record, version

if TYPE_CHECKING:
    import redis


def test_a_presigned_upload_that_is_claimed_does_not_expire_in_redis(
    store: RecordStore, redis_server: "redis.Redis"
) -> None:
    awaited = replace(new_record(), state=State.AWAITING_UPLOAD, presigned_until_ms=now_ms() + 900_000)
    store.create(awaited)
    store.claim_version(version(awaited, "v1"))
    assert redis_server.ttl(naming.record(awaited.id)) == -1
    assert ids(store.page(10, None, UNRESTRICTED).records) == [awaited.id]


def test_a_presigned_upload_whose_thumbnail_is_adopted_is_listed(store: RecordStore) -> None:
    """Redis has lost all that happened since it was announced."""
    awaited = replace(new_record(), state=State.AWAITING_UPLOAD, presigned_until_ms=now_ms() + 900_000)
    store.create(awaited)
    alone = replace(version(awaited, "v1"), state=State.READY, thumbnail_size=9)
    assert store.adopt(alone, seen=found(store, awaited))
    assert ids(store.page(10, None, UNRESTRICTED).records) == [awaited.id]
    assert not store.adopt(alone, seen=awaited), "it has changed since"


def test_a_presigned_upload_that_is_never_used_leaves_redis_by_itself(
    store: RecordStore, redis_server: "redis.Redis"
) -> None:
    awaited = replace(new_record(), state=State.AWAITING_UPLOAD, presigned_until_ms=now_ms() + 900_000)
    store.create(awaited)
    assert 0 < redis_server.ttl(naming.record(awaited.id)) <= AWAITING_SECONDS
