"""The focal point of a picture: how it comes, what it does, and that it stays with the record."""

import hashlib
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from app import V1
from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.errors import MalformedUpload
from chalicelib.http.multipart import parse_upload
from chalicelib.http.presigned import parse_presigned_upload
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import Record, State
from chalicelib.records.store import RecordStore
from chalicelib.spec import Crop, Focus, parse_sizes
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remake import Remake
from chalicelib.work.upload import Upload, Uploader
from tests.conftest import Api, SettableClock, assert_error, found, just_after, keys_in
from tests.processing import CLIENTS_KEY, assert_ready, remove
from tests.reconciler import LATE, Reconciler

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

COLOURS = {"red": (200, 30, 30), "white": (240, 240, 240), "blue": (30, 30, 200)}
SENTENCE = (
    "The focus must be two numbers from 0 to 1 with a comma between them, such as 0.5,0.2: fractions of the "
    "upright picture's width and height."
)
BAD = [
    "",
    "0.5",
    "0.5,0.2,0.1",
    "0.5;0.2",
    "0.5, 0.2",
    "1.1,0",
    "0,-0.1",
    "nan,0",
    "1e-3,0",
    "a,b",
    "0.5,0.2\n",
]
BAD += ["00.5,0.2", "\u0661,0", "0.5,", "0," + "0" * 30, "1.01,0"]


def stripes() -> bytes:
    """Three squares side by side: red, white and blue."""
    image = Image.new("RGB", (300, 100))
    for index, colour in enumerate(COLOURS.values()):
        image.paste(colour, (100 * index, 0, 100 * index + 100, 100))
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def shown(thumbnail: bytes) -> str:
    """Name the colour of all of a thumbnail of `stripes`."""
    with Image.open(BytesIO(thumbnail)) as image:
        levels = image.tobytes()
    (name,) = [
        name
        for name, colour in COLOURS.items()
        if all(abs(level - colour[index % 3]) < 16 for index, level in enumerate(levels))
    ]
    return name


def thumbnail_of(bucket: Bucket, record: Record) -> bytes:
    stored = bucket.get(naming.thumbnail(record.id, record.thumbnail or ""))
    assert stored is not None
    with stored:
        return stored.read()


def downloaded(api: Api, record_id: str) -> bytes:
    return api("GET", f"/{record_id}/download").content


def sent(api: Api, *focuses: str | None, **headers: str) -> requests.Response:
    files: Any = [("focus", (None, one)) for one in focuses if one is not None]
    files.append(("image", ("stripes.png", stripes())))
    return requests.post(f"{api.url}{V1}/thumbnail", files=files, headers=headers, timeout=20)


# --- how it is written ---


@pytest.mark.parametrize(
    ("text", "focus", "written"),
    [
        ("0.5,0.2", Focus(0.5, 0.2), "0.5,0.2"),
        ("0,1", Focus(0, 1), "0,1"),
        (".5,.25", Focus(0.5, 0.25), "0.5,0.25"),
        ("1.0,0.000", Focus(1, 0), "1,0"),
        ("0.33333333333333331,0.00004", Focus(0.3333, 0), "0.3333,0"),
    ],
)
def test_a_focal_point_is_two_fractions(text: str, focus: Focus, written: str) -> None:
    assert Focus.parse(text) == focus
    assert str(focus) == written
    assert Focus.parse(written) == focus


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_refused_with_a_sentence(api: Api, text: str) -> None:
    assert assert_error(sent(api, text), 400) == SENTENCE
    reply = api("POST", "/upload", json={"filename": "stripes.png", "focus": text})
    assert assert_error(reply, 400) == SENTENCE
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


@pytest.mark.parametrize("value", [None, [0.5, 0.2], {"x": 0.5, "y": 0.2}, 0.5, True])
def test_json_has_it_as_a_text_alone(api: Api, value: object) -> None:
    reply = api("POST", "/upload", json={"filename": "stripes.png", "focus": value})
    assert assert_error(reply, 400) == SENTENCE


def test_two_of_them_are_refused(api: Api) -> None:
    reply = sent(api, "0.5,0.2", "0.5,0.3")
    assert assert_error(reply, 400) == "There are 2 fields 'focus'; send one per request."


def test_the_parsers_return_it() -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nx\r\n'
    focus = b'--b\r\nContent-Disposition: form-data; name="focus"\r\n\r\n0.25,1\r\n'
    for body in (form + focus + b"--b--\r\n", focus + form + b"--b--\r\n"):
        upload = parse_upload("multipart/form-data; boundary=b", body, max_bytes=10)
        assert upload == Upload("a.png", b"x", Focus(0.25, 1))
    assert parse_presigned_upload(b'{"filename": "a", "focus": "0.25,1"}').focus == Focus(0.25, 1)
    assert parse_presigned_upload(b'{"filename": "a"}').focus is None
    with pytest.raises(MalformedUpload):
        parse_upload(
            "multipart/form-data; boundary=b",
            form + focus.replace(b"1\r\n", b"\xff\r\n") + b"--b--\r\n",
            max_bytes=10,
        )


# --- what it does ---


@pytest.mark.parametrize(
    ("focus", "colour"), [("0,0.5", "red"), ("0.5,0.5", "white"), ("1,0", "blue"), (None, "white")]
)
@pytest.mark.parametrize("way", ["form", "presigned", "bucket"])
def test_the_crop_keeps_it(api: Api, s3: "S3Client", way: str, focus: str | None, colour: str) -> None:
    if way == "form":
        record_id = sent(api, focus).json()["id"]
    elif way == "presigned":
        given = api(
            "POST", "/upload", json={"filename": "a.png"} | ({"focus": focus} if focus else {})
        ).json()
        assert given["fields"].get("x-amz-meta-focus") == focus
        stored = requests.post(given["url"], data=given["fields"], files={"file": stripes()}, timeout=20)
        assert stored.ok
        record_id = given["id"]
    else:
        metadata = {"focus": focus} if focus else {}
        s3.put_object(Bucket=api.bucket.name, Key=CLIENTS_KEY, Body=stripes(), Metadata=metadata)
        record_id = naming.record_id(CLIENTS_KEY)
    api.deliver()
    assert shown(downloaded(api, record_id)) == colour
    assert "focus" not in api("GET", f"/{record_id}").json()


@pytest.mark.parametrize("hint", ["face", "2,2", "", "0.5,0.2,"])
def test_an_unreadable_hint_in_the_bucket_is_ignored(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client", hint: str
) -> None:
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=stripes(), Metadata={"focus": hint})
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    record = assert_ready(store, bucket, naming.record_id(CLIENTS_KEY))
    assert (record.focus, shown(thumbnail_of(bucket, record))) == (None, "white")


def test_it_goes_before_attention(processor: Processor, bucket: Bucket, uploader: Uploader) -> None:
    attentive = replace(processor, spec=replace(processor.spec, crop=Crop.ATTENTION))
    record = uploader.upload(Upload("stripes.png", stripes(), Focus(1, 0)))
    attentive.process(record.object_key)
    assert shown(thumbnail_of(bucket, found(processor.store, record.id))) == "blue"


@pytest.mark.parametrize(("focus", "colour"), [(Focus(1, 0), "blue"), (None, "white")])
def test_all_named_sizes_have_it(
    processor: Processor,
    store: RecordStore,
    bucket: Bucket,
    uploader: Uploader,
    focus: Focus | None,
    colour: str,
) -> None:
    sizes = parse_sizes("small=30x60 png=50x50:png", processor.spec)
    record = uploader.upload(Upload("stripes.png", stripes(), focus))
    replace(processor, sizes=sizes).process(record.object_key)
    made = found(store, record.id)
    keys = [
        naming.sized_thumbnail(made.id, made.thumbnail or "", size.name, size.extension)
        for size in made.sizes
    ]
    assert len(keys) == 2
    for key in keys:
        stored = bucket.get(key)
        assert stored is not None
        with stored:
            assert shown(stored.read()) == colour


# --- the Idempotency-Key ---


@pytest.mark.parametrize(("first", "then"), [("0,0.5", None), (None, "0,0.5"), ("0,0.5", "0,0.6")])
def test_another_focus_under_the_same_key_is_another_request(
    api: Api, first: str | None, then: str | None
) -> None:
    key = {"Idempotency-Key": "k"}
    record = sent(api, first, **key).json()
    assert "focus" in assert_error(sent(api, then, **key), 422)
    again = sent(api, first if first is None else f"{first}0", **key)  # the same number
    assert (again.status_code, again.json()) == (201, record)
    api.deliver()
    assert shown(downloaded(api, record["id"])) == ("white" if first is None else "red")


def test_without_a_focus_the_hash_is_that_of_earlier_releases() -> None:
    upload = Upload("a.png", b"x")
    assert upload.body_hash == hashlib.sha256(b"a.png\0x").hexdigest()
    others = {replace(upload, focus=Focus(x, 0)).body_hash for x in (0, 0.5, 1)} | {upload.body_hash}
    assert len(others) == 4


# --- it stays with the record ---


@pytest.mark.parametrize("keep_originals", [True, False])
@pytest.mark.parametrize("key", [None, CLIENTS_KEY], ids=["upload", "client's key"])
def test_a_rebuild_and_a_remake_give_the_same(
    reconciler: Reconciler,
    uploader: Uploader,
    s3: "S3Client",
    clock: SettableClock,
    redis_server: "redis.Redis",
    key: str | None,
    keep_originals: bool,
) -> None:
    reconciler = replace(reconciler, processor=replace(reconciler.processor, keep_originals=keep_originals))
    store, bucket = reconciler.processor.store, reconciler.bucket
    if key is None:
        key = uploader.upload(Upload("stripes.png", stripes(), Focus(1, 0.5))).object_key
    else:
        s3.put_object(Bucket=bucket.name, Key=key, Body=stripes(), Metadata={"focus": "1,0.5"})
    assert reconciler.processor.process(key) is Outcome.READY
    before = found(store, naming.record_id(key))
    assert before.focus == Focus(1, 0.5)
    redis_server.flushall()
    clock.advance(**LATE)
    assert reconciler.rebuild()[1]
    after = found(store, before.id)
    assert replace(after, revision="") == replace(before, revision="")
    if keep_originals:
        bucket.delete(*keys_in(bucket, naming.THUMBNAILS))
        redis_server.flushall()
        reconciler.rebuild()
        clock.advance(**LATE)
        reconciler.sweep()
        remade = assert_ready(store, bucket, before.id)
        assert (remade.focus, shown(thumbnail_of(bucket, remade))) == (Focus(1, 0.5), "blue")


def test_other_settings_keep_it(processor: Processor, bucket: Bucket, uploader: Uploader) -> None:
    record = uploader.upload(Upload("stripes.png", stripes(), Focus(1, 0.5)))
    processor.process(record.object_key)
    changed = replace(processor, spec=replace(processor.spec, width=40, height=40, crop=Crop.ATTENTION))
    counts, done = Remake(changed, changed.clock, lambda: False, lambda _: None).run(1000)
    assert (counts["thumbnails made again"], done) == (1, True)
    made = found(processor.store, record.id)
    assert (made.thumbnail_pixels, made.focus) == ((40, 40), Focus(1, 0.5))
    assert shown(thumbnail_of(bucket, made)) == "blue"


def test_a_tombstone_keeps_nothing_of_it(
    store: RecordStore, bucket: Bucket, processor: Processor, uploader: Uploader
) -> None:
    record = uploader.upload(Upload("stripes.png", stripes(), Focus(1, 0.5)))
    processor.process(record.object_key)
    assert remove(store, bucket, record.id)
    tombstone = store.find(record.id)
    assert tombstone is not None
    assert (tombstone.state, tombstone.focus) == (State.TOMBSTONE, None)


# --- the same content with another focus ---


def put(s3: "S3Client", bucket: Bucket, focus: str) -> None:
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=stripes(), Metadata={"focus": focus})


def test_the_same_content_with_another_focus_gets_another_thumbnail(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
) -> None:
    record_id = naming.record_id(CLIENTS_KEY)
    for focus, colour in (("0,0.5", "red"), ("1,0.5", "blue"), ("0.5,0.5", "white")):
        put(s3, bucket, focus)
        assert processor.process(CLIENTS_KEY) is Outcome.READY
        assert processor.process(CLIENTS_KEY) is Outcome.UNCHANGED  # the event comes twice
        record = assert_ready(store, bucket, record_id)
        assert shown(thumbnail_of(bucket, record)) == colour


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_it_changes_while_it_is_processed(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client", operation: str
) -> None:
    """The last one counts, also within the same second, and whether its own event comes at all."""
    put(s3, bucket, "0,0.5")
    other = s3_client(timeout=5, attempts=1)
    just_after(bucket, operation, lambda: put(other, bucket, "1,0.5"))
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    record = assert_ready(store, bucket, naming.record_id(CLIENTS_KEY))
    assert (record.focus, shown(thumbnail_of(bucket, record))) == (Focus(1, 0.5), "blue")


def test_the_event_of_the_change_is_lost(
    reconciler: Reconciler, s3: "S3Client", s3_clock: SettableClock
) -> None:
    processor, bucket = reconciler.processor, reconciler.bucket
    put(s3, bucket, "0,0.5")
    processor.process(CLIENTS_KEY)
    s3_clock.advance(seconds=2)  # S3 keeps whole seconds
    put(s3, bucket, "1,0.5")
    s3_clock.advance(**LATE)
    assert reconciler.audit()["originals claimed"] == 1
    s3_clock.advance(**LATE)
    reconciler.sweep()
    record = assert_ready(processor.store, bucket, naming.record_id(CLIENTS_KEY))
    assert (record.focus, shown(thumbnail_of(bucket, record))) == (Focus(1, 0.5), "blue")
    s3_clock.advance(seconds=24 * 3600)
    assert reconciler.audit()["originals claimed"] == 0


def test_redis_goes_back_to_before_the_focus_changed(
    reconciler: Reconciler, s3: "S3Client", clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    """A thumbnail of another focus than the original's is not taken for its thumbnail."""
    processor, bucket = reconciler.processor, reconciler.bucket
    put(s3, bucket, "0,0.5")
    processor.process(CLIENTS_KEY)
    put(s3, bucket, "1,0.5")  # its event is lost, and so is Redis
    redis_server.flushall()
    clock.advance(**LATE)
    reconciler.rebuild()
    clock.advance(**LATE)
    reconciler.sweep()
    record = found(processor.store, naming.record_id(CLIENTS_KEY))
    assert record.state is State.READY
    assert (record.focus, shown(thumbnail_of(bucket, record))) == (Focus(1, 0.5), "blue")
