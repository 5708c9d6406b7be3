"""Reading a thumbnail: what is found for whom, and what a download changes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chalicelib import naming
from chalicelib.errors import (
    BucketUnavailable,
    RecordStoreUnavailable,
    ServiceError,
    ThumbnailFailed,
    ThumbnailNotReady,
    UnknownThumbnail,
)
from chalicelib.objects.bucket import Bucket
from chalicelib.records import lifecycle
from chalicelib.records.codec import thumbnail_metadata
from chalicelib.records.record import UNRESTRICTED, Owner, Record, Viewer
from chalicelib.records.store import RecordStore
from chalicelib.work.download import Downloader
from chalicelib.work.process import Processor
from chalicelib.work.upload import PresignedUploadRequest, Upload, Uploader
from tests.conftest import SettableClock, just_before, picture
from tests.processing import remove, remove_and_die
from tests.reconciler import Died, Reconciler

ALICE, BOB = Owner("alice"), Owner("bob")


@pytest.fixture
def downloader(store: RecordStore, bucket: Bucket) -> Downloader:
    return Downloader(store, lambda: bucket, UNRESTRICTED, expires_after=None)


@pytest.fixture
def ready(uploader: Uploader, processor: Processor) -> Record:
    return ready_picture(uploader, processor)


def ready_picture(uploader: Uploader, processor: Processor) -> Record:
    record = uploader.upload(Upload("a.jpg", picture()))
    processor.process(record.object_key)
    found = processor.store.get(record.id, UNRESTRICTED)
    assert found is not None
    return found


def test_a_ready_record_and_its_thumbnail(downloader: Downloader, ready: Record) -> None:
    assert downloader.find(ready.id) == ready
    assert downloader.find_ready(ready.id) == ready
    content = downloader.read(ready, is_download=True)
    assert content.startswith(b"\xff\xd8\xff")
    assert len(content) == ready.thumbnail_size
    assert downloader.find(ready.id) == ready, "a download changes nothing where nothing expires by one"


@pytest.mark.parametrize(
    "record_id", ["", "1", "x" * 36, "../records", "8E03978E-40D5-43DD-BC93-6894A57F9324"]
)
def test_what_is_no_id_is_not_looked_up(record_id: str, bucket: Bucket) -> None:
    class NoStore(RecordStore):
        def __init__(self) -> None:
            pass  # any use of it fails

    with pytest.raises(UnknownThumbnail):
        Downloader(NoStore(), lambda: bucket, UNRESTRICTED, None).find(record_id)


def test_an_id_without_a_record(downloader: Downloader) -> None:
    with pytest.raises(UnknownThumbnail):
        downloader.find(naming.new_id())


@pytest.mark.parametrize(
    ("viewer", "sees"), [(ALICE, True), (UNRESTRICTED, True), (BOB, False)], ids=["owner", "all", "other"]
)
def test_a_viewer_finds_its_own(
    downloader: Downloader, uploader: Uploader, processor: Processor, viewer: Viewer, sees: bool
) -> None:
    record = ready_picture(replace(uploader, client=ALICE), processor)
    theirs = replace(downloader, viewer=viewer)
    for find in (theirs.find, theirs.find_ready):
        if sees:
            assert find(record.id) == record
        else:
            with pytest.raises(UnknownThumbnail):
                find(record.id)


def test_before_it_is_ready(downloader: Downloader, uploader: Uploader) -> None:
    pending = uploader.upload(Upload("a.jpg", picture()))
    awaited, _ = uploader.presign(PresignedUploadRequest("b.jpg", "image/jpeg"), max_bytes=9)
    for record in (pending, awaited):
        assert downloader.find(record.id).filename == record.filename
        with pytest.raises(ThumbnailNotReady):
            downloader.find_ready(record.id)


def test_a_picture_that_failed_says_why(
    downloader: Downloader, uploader: Uploader, processor: Processor
) -> None:
    record = uploader.upload(Upload("a.jpg", picture()[:300]))
    processor.process(record.object_key)
    failed = downloader.find(record.id)
    with pytest.raises(ThumbnailFailed) as caught:
        downloader.find_ready(record.id)
    assert str(caught.value) == failed.error


@pytest.mark.parametrize("gone", [remove_and_die, remove], ids=["half", "wholly"])
def test_what_is_removed_is_unknown(
    downloader: Downloader, ready: Record, gone: Callable[[RecordStore, Bucket, str], object]
) -> None:
    assert gone(downloader.store, downloader.bucket(), ready.id)
    with pytest.raises(UnknownThumbnail):
        downloader.find_ready(ready.id)


def test_it_is_removed_after_it_was_found(downloader: Downloader, ready: Record) -> None:
    assert remove(downloader.store, downloader.bucket(), ready.id)
    with pytest.raises(UnknownThumbnail):
        downloader.read(ready, is_download=True)


@pytest.mark.parametrize("is_claimed", [False, True], ids=["thumbnail lost", "version replaced"])
def test_its_thumbnail_goes_after_it_was_found(
    downloader: Downloader, ready: Record, is_claimed: bool
) -> None:
    if is_claimed:
        downloader.store.claim_version(replace(ready, etag="other", thumbnail="other-1"))
    downloader.bucket().delete(naming.thumbnail(ready.id, str(ready.thumbnail)))
    with pytest.raises(ThumbnailNotReady):
        downloader.read(ready, is_download=True)


class TestContradiction:
    """The record is ready, and the bucket has no thumbnail: the download repairs it then and there."""

    def lose(self, downloader: Downloader, record: Record, *, original: bool) -> None:
        keys = [
            naming.thumbnail(record.id, str(record.thumbnail)),
            *([record.object_key] if original else []),
        ]
        downloader.bucket().delete(*keys)

    def test_a_thumbnail_is_made_again_by_the_next_sweep(
        self, downloader: Downloader, ready: Record, reconciler: Reconciler
    ) -> None:
        self.lose(downloader, ready, original=False)
        with pytest.raises(ThumbnailNotReady):
            downloader.read(ready, is_download=True)
        assert not lifecycle.is_ready(downloader.find(ready.id))
        assert reconciler.sweep() == {"retried: ready": 1}
        again = downloader.find_ready(ready.id)
        assert downloader.read(again, is_download=True)

    def test_a_picture_that_is_gone_is_unknown(self, downloader: Downloader, ready: Record) -> None:
        """As after a failover that has forgotten its removal."""
        self.lose(downloader, ready, original=True)
        with pytest.raises(UnknownThumbnail):
            downloader.read(ready, is_download=True)
        assert downloader.store.page(10, None, UNRESTRICTED).records == []
        with pytest.raises(UnknownThumbnail):
            downloader.find(ready.id)

    def test_another_thumbnail_that_stands_alone_is_taken_up(
        self, downloader: Downloader, ready: Record, processor: Processor
    ) -> None:
        """As after a failover that has forgotten a newer version."""
        downloader.bucket().delete(naming.thumbnail(ready.id, str(ready.thumbnail)))
        newer = replace(ready, etag="b", thumbnail=naming.new_thumbnail("b"))
        downloader.bucket().put(
            naming.thumbnail(ready.id, str(newer.thumbnail)),
            b"JPEG",
            content_type="image/jpeg",
            metadata=thumbnail_metadata(newer, stands_alone=True),
        )
        downloader.bucket().delete(ready.object_key)
        with pytest.raises(ThumbnailNotReady):
            downloader.read(ready, is_download=True)
        assert downloader.read(downloader.find_ready(ready.id), is_download=True) == b"JPEG"

    def test_it_is_repaired_for_its_owner_alone(
        self, downloader: Downloader, uploader: Uploader, processor: Processor
    ) -> None:
        record = ready_picture(replace(uploader, client=ALICE), processor)
        self.lose(downloader, record, original=True)
        with pytest.raises(UnknownThumbnail):
            replace(downloader, viewer=BOB).read(record, is_download=True)
        assert downloader.store.find(record.id) == record

    @pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
    def test_an_outage_of_s3_is_no_contradiction(
        self, downloader: Downloader, ready: Record, operation: str
    ) -> None:
        self.lose(downloader, ready, original=False)
        just_before(downloader.bucket(), operation, Died(BucketUnavailable))
        with pytest.raises(BucketUnavailable):
            downloader.read(ready, is_download=True)
        assert downloader.find(ready.id) == ready


class TestExpiryAfterDownload:
    @pytest.fixture
    def downloader(self, downloader: Downloader) -> Downloader:
        return replace(downloader, expires_after=60)

    def test_the_first_download_sets_it_and_no_other(
        self, downloader: Downloader, ready: Record, clock: SettableClock
    ) -> None:
        before = clock()
        first = downloader.read(ready, is_download=True)
        found = downloader.find(ready.id)
        assert found.download_expires_ms is not None
        assert found.download_expires_ms % 1000 == 0
        assert before + 60_000 <= found.download_expires_ms <= clock() + 61_000
        clock.advance(seconds=30)
        for known in (ready, found):  # also a slow request, which has found the record before the first one
            assert downloader.read(known, is_download=True) == first
            assert downloader.find(ready.id) == found
        clock.advance(seconds=32)
        with pytest.raises(UnknownThumbnail):
            downloader.find(ready.id)

    def test_at_the_end_of_the_second_if_it_is_zero(
        self, downloader: Downloader, ready: Record, clock: SettableClock
    ) -> None:
        assert replace(downloader, expires_after=0).read(ready, is_download=True)
        clock.advance(seconds=1)
        with pytest.raises(UnknownThumbnail):
            downloader.find(ready.id)

    def test_who_gets_no_bytes_changes_nothing(self, downloader: Downloader, ready: Record) -> None:
        assert downloader.read(ready, is_download=False)
        assert downloader.find(ready.id) == ready

    @pytest.mark.parametrize("error", [BucketUnavailable, RecordStoreUnavailable])
    def test_a_download_that_failed_can_be_repeated(
        self,
        downloader: Downloader,
        ready: Record,
        error: type[ServiceError],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: object) -> None:
            raise error()

        with monkeypatch.context() as patch:
            if error is BucketUnavailable:
                just_before(downloader.bucket(), "GetObject", fail)
            else:
                patch.setattr(downloader.store, "expire_after_download", fail)
            with pytest.raises(error):
                downloader.read(ready, is_download=True)
        assert downloader.find(ready.id) == ready
        assert downloader.read(ready, is_download=True)
        assert downloader.find(ready.id).download_expires_ms is not None

    def test_it_is_removed_while_it_is_read(self, downloader: Downloader, ready: Record) -> None:
        """The bytes were there when they were read; that the picture expires is of no concern any more."""
        key = naming.thumbnail(ready.id, str(ready.thumbnail))
        stored = downloader.bucket().get(key)
        assert stored is not None
        content = stored.read()
        assert remove(downloader.store, downloader.bucket(), ready.id)
        downloader.bucket().put(key, content, content_type="image/jpeg")
        assert downloader.read(ready, is_download=True) == content
        with pytest.raises(UnknownThumbnail):
            downloader.find(ready.id)
