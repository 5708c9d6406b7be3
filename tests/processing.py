"""What the tests of processing share."""

from io import BytesIO

import pytest
from PIL import Image

from chalicelib import naming
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import as_json, original_metadata
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work.remove import remove as remove_picture
from tests.conftest import found, keys_in, picture
from tests.reconciler import Died

CLIENTS_KEY = "originals/holiday 2026/red+flower & ü.jpg"


def uploaded(
    store: RecordStore, bucket: Bucket, content: bytes | None = None, *, presigned: bool = False
) -> Record:
    """What the API's upload leaves behind, or a presigned one."""
    content = picture() if content is None else content
    record_id = naming.new_id()
    record = Record(
        record_id,
        naming.original(record_id),
        "a.jpg",
        1_700_000_000_000,
        len(content),
        presigned_until_ms=1_700_000_900_000 if presigned else None,
    )
    store.create(record)
    bucket.put(record.object_key, content, content_type="x/x", metadata=original_metadata(record))
    return record


def remove(store: RecordStore, bucket: Bucket, record_id: str) -> bool:
    """What the API's delete does."""
    return remove_picture(store, bucket, record_id, RemovalScope.VISIBLE, UNRESTRICTED) is not None


def remove_and_die(store: RecordStore, bucket: Bucket, record_id: str) -> Record:
    """The same, whose process dies before any object is deleted; what it leaves is the record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "delete", Died())
        with pytest.raises(Died):
            remove(store, bucket, record_id)
    return found(store, record_id)


def assert_ready(store: RecordStore, bucket: Bucket, record_id: str, *, abandoned: int = 0) -> Record:
    """It has its thumbnail, and at most so many `abandoned` ones are stored besides."""
    record = store.get(record_id, UNRESTRICTED)
    assert record is not None
    assert record.state is State.READY
    original = bucket.head(record.object_key)
    assert original is not None
    assert record.etag == original.etag
    thumbnail_key = naming.thumbnail(record_id, str(record.thumbnail))
    assert thumbnail_key.startswith(f"thumbnails/{record_id}/{record.etag}-")
    lying_about = set(keys_in(bucket, f"thumbnails/{record_id}/")) - {thumbnail_key}
    assert len(lying_about) <= abandoned
    stored = bucket.get(thumbnail_key)
    assert stored is not None
    with stored, Image.open(BytesIO(stored.read())) as image:
        assert image.format == "JPEG"
        assert stored.info.size == record.thumbnail_size
    assert as_json(record)["ready"] is True
    return record


def assert_nothing_left(store: RecordStore, bucket: Bucket, record_id: str) -> None:
    assert store.get(record_id, UNRESTRICTED) is None
    assert store.page(10, None, UNRESTRICTED).records == []
    assert keys_in(bucket) == []
