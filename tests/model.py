"""A model of what the service has promised, and a machine that compares the service with it.

Hypothesis chooses what happens: uploads, objects that clients put into the bucket themselves, events that
come late, twice, in another order or never, downloads, deletes, time that passes, reconciling, a Redis that
is lost, and at which call of S3 or Redis an operation is cut off. After each step the service is compared
with what `Told` says of each picture; in the end, when everything has come to rest, nothing may be left over.

What is not held against the service:

- After FLUSHALL tombstones are forgotten: what is still in the bucket of a removed picture may bring it back.
- FLUSHALL forgets the end that a download gave.
- Two that write a client's own key simultaneously: here, one step ends before the next one begins.
- An operation that was cut off has promised nothing, so that both is right; what it has hidden stays hidden.
"""

import hashlib
import itertools
import uuid
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from chalicelib import naming
from chalicelib.objects.bucket import Bucket, ObjectInfo
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Record, State, expiry_of
from chalicelib.records.store import RecordStore
from chalicelib.spec import ThumbnailSpec
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.process import Processor
from chalicelib.work.upload import Uploader
from tests.conftest import picture
from tests.faults.injector import Injector
from tests.invariants import Stored
from tests.reconciler import Reconciler
from tests.stored import look_at

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

CONTENTS = [picture(8, 8), picture(8, 8, image_format="PNG"), picture(8, 8)[:200]]
ETAGS = [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in CONTENTS]
SIZES = {etag: len(content) for etag, content in zip(ETAGS, CONTENTS, strict=True)}
CLIENTS_KEYS = ["originals/holiday 2026/red+flower & ü.jpg", "originals/b.png"]
IDEMPOTENCY_KEYS = ["first", "second"]
MINUTE_MS = 60 * 1000
DAY_MS = 24 * 60 * MINUTE_MS
RETENTION = 10 * 24 * 3600
AFTER_DOWNLOAD = 3600
MOST_ROUNDS = 12
_numbers = itertools.count(1)


# --- the model ---


class Word(Enum):
    """What the service has said of an id."""

    NOTHING = "nothing"
    PERHAPS = "perhaps"
    """The client got no answer: it may be there or not."""
    ACCEPTED = "accepted"
    REMOVED = "removed"


class Put(NamedTuple):
    """What a client has put under its own key, and no record has shown yet."""

    etag: str
    end_ms: int | None


@dataclass(slots=True)
class Told:
    """The model of one picture."""

    object_key: str
    word: Word = Word.NOTHING
    etag: str = ""
    end_ms: int | None = None
    download_end_ms: int | None = None
    put: Put | None = None

    def expected(self, now_ms: int) -> Word:
        """ACCEPTED has to be seen, REMOVED and NOTHING must not be seen, PERHAPS may."""
        word = self.word
        if self.ends_ms is not None and self.ends_ms <= now_ms:
            word = Word.REMOVED
        return Word.PERHAPS if word is not Word.ACCEPTED and self.put is not None else word

    @property
    def ends_ms(self) -> int | None:
        return min((end for end in (self.end_ms, self.download_end_ms) if end is not None), default=None)

    def see(self, record: Record) -> None:
        """Believe what no client was told: what is ready stays, what a client has put there is taken up."""
        is_settled = record.state in {State.READY, State.FAILED}
        if self.put is not None and record.etag == self.put.etag and is_settled:
            self.accept(self.put.etag, record.expires_ms, record.download_expires_ms)
            self.put = None
        elif not naming.is_upload_key(self.object_key) and (record.expires_ms or 0) > (self.end_ms or 0):
            # The event of what was put there with the same content.
            self.end_ms, self.download_end_ms = record.expires_ms, record.download_expires_ms
        elif self.word is Word.PERHAPS and record.state is State.READY and self.put is None:
            self.accept(str(record.etag), record.expires_ms, record.download_expires_ms)

    def accept(self, etag: str, end_ms: int | None, download_end_ms: int | None = None) -> None:
        self.word, self.etag, self.end_ms, self.download_end_ms = Word.ACCEPTED, etag, end_ms, download_end_ms

    def forget(self, word: Word) -> None:
        """Promise no more; a removal takes along what the client has put there before."""
        self.word, self.etag, self.end_ms, self.download_end_ms = word, "", None, None
        if word is Word.REMOVED:
            self.put = None


# --- the service, whole, with a clock that the test moves ---


@dataclass
class World:
    """Servers and clients, made once."""

    client: "redis.Redis"
    s3: "S3Client"
    plain: "S3Client"
    injector: Injector
    raw: "redis.Redis"
    """The same Redis, as bytes."""
    now_ms: int = 0
    server: str = "first"
    ids: list[str] = field(default_factory=list)

    def clock(self) -> int:
        return self.now_ms

    def new_id(self) -> str:
        self.ids.append(str(uuid.UUID(int=len(self.ids) + 1 << 96, version=4)))
        return self.ids[-1]


class Service:
    """One deployment, empty."""

    def __init__(self, world: World, *, keep_originals: bool, retention: int = 0) -> None:
        world.now_ms = 1_800_000_000_000
        world.ids.clear()
        world.client.flushall()
        name = f"model-{next(_numbers)}"
        world.plain.create_bucket(Bucket=name)
        self.world = world
        self.retention = retention
        self.keep_originals = keep_originals
        self.store = RecordStore(world.client, world.clock)
        self.bucket = Bucket(world.s3, name)
        self.uploader = Uploader(self.store, self.bucket, world.clock, retention, UNRESTRICTED)
        self.processor = Processor(
            self.store,
            self.bucket,
            ThumbnailSpec(4, 4),
            max_bytes=1_000_000,
            max_pixels=1_000_000,
            retention=retention,
            keep_originals=keep_originals,
        )
        self.reconciler = Reconciler(self.processor, world.clock)

    def objects(self) -> dict[str, ObjectInfo]:
        """All that is in the bucket, by key."""
        found = {item.key: item for page in self.bucket.pages("") for item in page}
        found.pop(naming.HEARTBEAT_OBJECT, None)
        return found

    def put(self, object_key: str, number: int) -> Put:
        """What a client of S3 does."""
        self.world.plain.put_object(Bucket=self.bucket.name, Key=object_key, Body=CONTENTS[number])
        return Put(ETAGS[number], expiry_of(self.world.now_ms, self.retention))

    def stored(self) -> Stored:
        """Look at everything; the list by pages of two."""
        objects = {key: (one.etag, one.size) for key, one in self.objects().items()}
        return look_at(self.world.client, self.store, objects, self.world.now_ms, page=2)

    def come_to_rest(self) -> None:
        """Reconcile until nothing changes any more."""
        before: object = None
        for _ in range(MOST_ROUNDS):
            self.world.now_ms += RECORDS_EVERY_MS + IN_FLIGHT_MS
            self.reconciler.sweep()
            self.reconciler.audit()
            after = replace(self.stored(), now_ms=0, due={})
            if after == before:
                return
            before = after
        raise AssertionError("it does not come to rest")
