"""Records stay small in Redis."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import keys
from chalicelib.catalogue import Catalogue, Finish
from chalicelib.record import Record


@pytest.mark.parametrize("parts", ["", "-10000"])
def test_a_finished_record_has_the_compact_form(redis_server: Any, catalogue: Catalogue, parts: str) -> None:
    etag = hashlib.md5(b"an original", usedforsecurity=False).hexdigest() + parts
    record_id = keys.new_id()
    record = Record(
        record_id, keys.original(record_id), "IMG_8932.jpg", created_ms=1_800_000_000_000, original_size=10**9
    )
    catalogue.create(record)
    taken = catalogue.begin(replace(record, etag=etag, thumbnail=keys.new_thumbnail(etag)))
    assert catalogue.finish_ready(record.id, taken.thumbnail or "", 100_000) is Finish.DONE
    assert redis_server.object("encoding", keys.record(record.id)) == "listpack"
