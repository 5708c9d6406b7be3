"""A record as clients see it: the contract's keys, and no others."""

import dataclasses
import json

import pytest
from hypothesis import given

from chalicelib.records.codec import as_json
from chalicelib.records.record import ImageFacts, Pixels, Record, State, StoredSize
from tests.test_codec import ID, pending, records


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
            {"image": ImageFacts("PNG", 30, 20)},
            {
                "ready": False,
                "size": {"original": 343_956},
                "image": {"format": "PNG", "width": 30, "height": 20},
            },
        ),
        (
            {
                "state": State.READY,
                "thumbnail_size": 3609,
                "image": ImageFacts("PNG", 30, 20, "cGg="),
                "thumbnail_pixels": Pixels(20, 10),
                "sizes": (StoredSize("card", 9120, 30, 20, "webp"),),
            },
            {
                "ready": True,
                "size": {"original": 343_956, "thumbnail": 3609},
                "image": {"format": "PNG", "width": 30, "height": 20, "placeholder": "cGg="},
                "thumbnail": {"width": 20, "height": 10},
                "sizes": {"card": {"bytes": 9120, "width": 30, "height": 20}},
            },
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
    assert as_json(record) == {"id": ID, "filename": "IMG_8667.png"} | shown
    assert json.loads(json.dumps(as_json(record))) == as_json(record)


@pytest.mark.parametrize(
    "changes",
    [{}, {"state": State.READY, "thumbnail_size": 3609}, {"state": State.FAILED, "error": "It is damaged."}],
)
def test_a_record_reads_the_same_while_it_is_deleted(changes: dict[str, object]) -> None:
    before = dataclasses.replace(pending(), **changes)  # type: ignore[arg-type]  # any field's type
    assert as_json(dataclasses.replace(before, state=State.DELETING)) == as_json(before)


@pytest.mark.slow
@given(records)
def test_no_name_or_internal_state_breaks_the_json(record: Record) -> None:
    shown = json.loads(json.dumps(as_json(record)))
    assert shown.keys() - {"error", "expires", "key", "image", "thumbnail", "sizes"} == {
        *("id", "filename", "ready", "size")
    }
    assert shown["filename"] == record.filename
    assert ("thumbnail" in shown["size"]) == shown["ready"]
