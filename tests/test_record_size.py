"""Records stay small in Redis."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import naming
from chalicelib.records.record import Finished, FinishResult, Record
from chalicelib.records.store import RecordStore


@pytest.mark.parametrize("parts", ["", "-10000"])
def test_a_finished_record_has_the_compact_form(redis_server: Any, store: RecordStore, parts: str) -> None:
    etag = hashlib.md5(b"an original", usedforsecurity=False).hexdigest() + parts
    record_id = naming.new_id()
    record = Record(
        record_id,
        naming.original(record_id),
        "IMG_8932.jpg",
        created_ms=1_800_000_000_000,
        original_size=10**9,
    )
    store.create(record)
    claimed = store.claim_version(replace(record, etag=etag, thumbnail=naming.new_thumbnail(etag)))
    assert store.finish(claimed, Finished(100_000)) is FinishResult.DONE
    assert redis_server.object("encoding", naming.record(record.id)) == "listpack"
