"""The watermark of a deployment: its settings, what gets it, and what happens while it is missing."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from chalicelib import naming
from chalicelib.errors import BucketUnavailable, UndecodablePicture, WatermarkUnavailable
from chalicelib.imaging.watermark import MOST_BYTES
from chalicelib.objects.bucket import Bucket, StoredObject
from chalicelib.records.codec import ObjectMetadata
from chalicelib.records.record import Record, State
from chalicelib.settings import Claim, Settings, SettingsError, WatermarkSettings
from chalicelib.work.look import FRESH_MS, Watermarks
from chalicelib.work.process import Processor
from chalicelib.work.remake import Remake
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_before, picture
from tests.pictures import encode
from tests.reconciler import CLIENTS_KEY, LATE, Died, Reconciler, put, stored
from tests.watermarks import BLUE, CUT, SIZES, drawn_box, logo, opened

if TYPE_CHECKING:
    import redis

KEY = "assets/logo.png"
PICTURE = encode(Image.new("RGB", (300, 200), BLUE), "JPEG")


# --- settings ---

REQUIRED = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost"}
OWNERS = {"AUTH_ISSUER": "local", "AUTH_ALGORITHM": "HS256", "AUTH_SECRET": "s" * 32}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"WATERMARK_SHARE": "7"}, None),
        ({"WATERMARK": KEY}, WatermarkSettings(KEY, 30, None)),
        ({"WATERMARK": KEY, "WATERMARK_SHARE": "100"}, WatermarkSettings(KEY, 100, None)),
        (
            OWNERS | {"WATERMARK": KEY, "WATERMARK_FOR": "plan:free"},
            WatermarkSettings(KEY, 30, Claim("plan", "free")),
        ),
        (
            OWNERS | {"WATERMARK": KEY, "WATERMARK_FOR": "https://a.b/plan:free"},
            WatermarkSettings(KEY, 30, Claim("https://a.b/plan", "free")),
        ),
    ],
)
def test_settings_are_read(env: dict[str, str], expected: WatermarkSettings | None) -> None:
    assert Settings.from_env(REQUIRED | env).watermark == expected


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"WATERMARK": "logo.png"}, "WATERMARK must be the key of a PNG such as assets/logo.png"),
        ({"WATERMARK": "originals/logo.png"}, "WATERMARK must"),
        ({"WATERMARK": KEY, "WATERMARK_SHARE": "0"}, "WATERMARK_SHARE must"),
        ({"WATERMARK": KEY, "WATERMARK_SHARE": "101"}, "WATERMARK_SHARE must"),
        ({"WATERMARK": KEY, "WATERMARK_FOR": "plan:free"}, "AUTH_ISSUER must be set where WATERMARK_FOR is"),
        (OWNERS | {"WATERMARK_FOR": "plan:free"}, "WATERMARK must be set where WATERMARK_FOR is"),
        (OWNERS | {"WATERMARK": KEY, "WATERMARK_FOR": "free"}, "WATERMARK_FOR must be a claim"),
        ({"THUMBNAIL_SIZES": "a=1x1 b=1x1:watermark"}, r"WATERMARK must be set .* asks for it \(b\)"),
        ({"WATERMARK": KEY, "THUMBNAIL_SIZES": "b=1x1:watermark:watermark"}, "says its watermark twice"),
    ],
)
def test_what_is_wrong_is_said(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(REQUIRED | env)


# --- the pipeline ---


@pytest.fixture
def marking(processor: Processor, clock: SettableClock) -> Processor:
    """The processor of a deployment with a watermark on one size."""
    put(processor.bucket, KEY, logo())
    watermarks = Watermarks(processor.bucket, KEY, 50, clock)
    return replace(processor, sizes=SIZES, watermarks=watermarks)


@pytest.fixture
def by_claim(marking: Processor, clock: SettableClock) -> Processor:
    """The same where the watermark is for what is uploaded with a claim."""
    return replace(marking, watermarks=Watermarks(marking.bucket, KEY, 50, clock, by_claim=True))


def marked(bucket: Bucket, record: Record) -> set[str]:
    """On which thumbnails of a ready record the watermark is."""
    assert record.state is State.READY
    name = str(record.thumbnail)
    keys = {"": naming.thumbnail(record.id, name)} | {
        size.name: naming.sized_thumbnail(record.id, name, size.name, size.extension) for size in record.sizes
    }
    seen = set()
    for size, key in keys.items():
        thumbnail = bucket.get(key)
        assert thumbnail is not None
        with thumbnail:
            if drawn_box(opened(thumbnail.read())):
                seen.add(size)
    return seen


def processed(uploader: Uploader, processor: Processor) -> Record:
    record = stored(uploader, PICTURE)
    processor.process(record.object_key)
    return found(uploader.store, record.id)


def test_without_a_claim_the_sizes_that_ask_get_it(
    uploader: Uploader, marking: Processor, clock: SettableClock
) -> None:
    for claimed in (False, True):
        record = processed(replace(uploader, watermark=claimed), marking)
        assert marked(uploader.bucket, record) == {"card"}
    put(uploader.bucket, CLIENTS_KEY, PICTURE)
    marking.process(CLIENTS_KEY)
    client = found(uploader.store, naming.record_id(CLIENTS_KEY))
    assert marked(uploader.bucket, client) == {"card"}


def test_with_a_claim_it_is_on_what_was_uploaded_with_it_and_on_nothing_else(
    uploader: Uploader, by_claim: Processor
) -> None:
    bucket = uploader.bucket
    assert marked(bucket, processed(replace(uploader, watermark=True), by_claim)) == {"", "card"}
    assert marked(bucket, processed(uploader, by_claim)) == set()
    # Others may write there, and say what they like.
    bucket.put(CLIENTS_KEY, PICTURE, content_type="image/jpeg", metadata={"watermark": "yes"})
    by_claim.process(CLIENTS_KEY)
    assert marked(bucket, found(uploader.store, naming.record_id(CLIENTS_KEY))) == set()


@pytest.mark.parametrize("kept", [True, False], ids=["originals", "thumbnails alone"])
def test_a_rebuild_gives_the_same_record_and_the_same_watermark(
    uploader: Uploader,
    by_claim: Processor,
    redis_server: "redis.Redis",
    clock: SettableClock,
    kept: bool,
) -> None:
    processor = replace(by_claim, keep_originals=kept)
    claimed = replace(uploader, watermark=True)
    ready = processed(claimed, processor)
    pending = stored(claimed, PICTURE)
    redis_server.flushall()
    clock.advance(**LATE)
    Reconciler(processor, clock).rebuild()
    assert replace(found(uploader.store, ready.id), revision=ready.revision) == ready
    processor.process(pending.object_key)
    again = found(uploader.store, pending.id)
    assert again.watermark
    assert marked(uploader.bucket, again) == {"", "card"}


def run(processor: Processor) -> dict[str, int]:
    counts, done = Remake(processor, processor.clock, lambda: False, lambda _: None).run(1000)
    assert done
    return dict(counts)


def test_a_remake_draws_another_watermark_once_on_what_has_it(
    uploader: Uploader, by_claim: Processor, clock: SettableClock
) -> None:
    with_claim = processed(replace(uploader, watermark=True), by_claim)
    without = processed(uploader, by_claim)
    assert run(by_claim) == {"records seen": 2}
    put(uploader.bucket, KEY, logo(colour=(255, 0, 0)))
    clock.advance(ms=FRESH_MS)
    assert run(by_claim) == {"records seen": 2, "thumbnails made again": 1}
    assert marked(uploader.bucket, found(uploader.store, with_claim.id)) == set()
    assert found(uploader.store, without.id) == without
    assert run(by_claim) == {"records seen": 2}


@pytest.mark.parametrize(
    "change",
    [
        lambda one, clock: replace(one, watermarks=Watermarks(one.bucket, KEY, 49, clock, by_claim=True)),
        lambda one, clock: replace(one, watermarks=Watermarks(one.bucket, KEY, 50, clock)),
        lambda one, _: replace(one, watermarks=None),
    ],
    ids=["share", "for all", "none"],
)
def test_a_remake_follows_the_settings(
    uploader: Uploader,
    by_claim: Processor,
    clock: SettableClock,
    change: Callable[[Processor, SettableClock], Processor],
) -> None:
    processed(replace(uploader, watermark=True), by_claim)
    other = change(by_claim, clock)
    assert run(other) == {"records seen": 1, "thumbnails made again": 1}
    assert run(other) == {"records seen": 1}


def test_the_default_thumbnail_tells_what_made_it(uploader: Uploader, marking: Processor) -> None:
    record = processed(uploader, marking)
    head = uploader.bucket.head(naming.thumbnail(record.id, str(record.thumbnail)))
    assert head is not None
    assert ObjectMetadata.parse(head.metadata).settings == marking.look(claimed=False).digest


# --- a watermark that is not there ---

BROKEN: dict[str, bytes | None] = {
    "missing": None,
    "no PNG": picture(),
    "cut": CUT,
    "too large": b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_pictures_wait_for_it_and_become_ready_once_it_is_there(
    uploader: Uploader, marking: Processor, clock: SettableClock, content: bytes | None
) -> None:
    if content is None:
        uploader.bucket.delete(KEY)
    else:
        put(uploader.bucket, KEY, content)
    record = stored(uploader, PICTURE)
    for _ in range(5):
        with pytest.raises(WatermarkUnavailable, match=rf"{KEY} \(WATERMARK\)"):
            marking.process(record.object_key)
        clock.advance(**LATE)
        assert Reconciler(marking, clock).sweep() == {"postponed": 1}
    waiting = found(uploader.store, record.id)
    assert (waiting.state, waiting.attempts) == (State.PENDING, 0)
    put(uploader.bucket, KEY, logo())
    clock.advance(**LATE)
    assert Reconciler(marking, clock).sweep() == {"retried: ready": 1}
    assert marked(uploader.bucket, found(uploader.store, record.id)) == {"card"}


def test_nothing_else_waits_for_it(uploader: Uploader, marking: Processor, clock: SettableClock) -> None:
    """However many pictures wait, what has expired goes in the same sweep."""
    uploader.bucket.delete(KEY)
    waiting = [stored(uploader, PICTURE) for _ in range(8)]
    expiring = stored(replace(uploader, retention=60), PICTURE)
    clock.advance(**LATE)
    assert Reconciler(marking, clock).sweep() == {"postponed": 8, "expired": 1}
    assert uploader.store.find(expiring.id) is None or found(uploader.store, expiring.id).tombstone
    assert all(found(uploader.store, record.id).state is State.PENDING for record in waiting)


def test_those_that_do_not_get_it_do_not_wait(uploader: Uploader, by_claim: Processor) -> None:
    uploader.bucket.delete(KEY)
    assert marked(uploader.bucket, processed(uploader, by_claim)) == set()
    with pytest.raises(WatermarkUnavailable):
        processed(replace(uploader, watermark=True), by_claim)


def test_an_outage_while_it_is_read_is_an_outage(
    uploader: Uploader, marking: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = stored(uploader, PICTURE)
    just_before(uploader.bucket, "GetObject", Died(BucketUnavailable), skip=1)
    with pytest.raises(BucketUnavailable):
        marking.process(record.object_key)
    marking.process(record.object_key)
    assert marked(uploader.bucket, found(uploader.store, record.id)) == {"card"}


def test_it_is_read_once_in_a_while(
    uploader: Uploader, marking: Processor, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    real = Bucket.get

    def get(bucket: Bucket, key: str) -> StoredObject | None:
        reads.append(key)
        return real(bucket, key)

    monkeypatch.setattr(Bucket, "get", get)
    for count in (1, 2):
        for _ in range(3):
            processed(uploader, marking)
        assert reads.count(KEY) == count
        clock.advance(ms=FRESH_MS)


def test_a_bad_picture_fails_all_the_same(uploader: Uploader, marking: Processor) -> None:
    record = stored(uploader, picture()[:300])
    marking.process(record.object_key)
    assert found(uploader.store, record.id).error_code == UndecodablePicture.code
