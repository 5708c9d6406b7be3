"""The operations of the fault matrix: where each begins, and what it does."""

from collections.abc import Callable
from dataclasses import replace

from chalicelib import naming
from chalicelib.errors import RetriesExhausted
from chalicelib.records import codec
from chalicelib.records.index import entry_of
from chalicelib.records.record import UNRESTRICTED, Owner, Record
from chalicelib.spec import ThumbnailSpec, parse_sizes
from chalicelib.work.remake import Remake
from chalicelib.work.remove import thumbnail_keys
from chalicelib.work.upload import OPAQUE, PresignedUploadRequest
from tests.faults.operation import Kind, Operation, Party
from tests.faults.s3_in_process import BUCKET
from tests.faults.world import CLIENTS_KEY, NEW, SMALL, World
from tests.processing import remove_and_die

HOUR_MS = 3600 * 1000
WEEKS = 4 * 7 * 24 * 3600
"""Seconds: an expiry that does not come while a cell runs."""
OWNER = Owner("alice")
BROKEN = SMALL[:100]


def nothing(world: World) -> None:
    """Begin with nothing."""


def a_pending(world: World) -> None:
    """An upload whose event has not come."""
    world.upload()


def a_ready(world: World) -> None:
    """An upload with its thumbnail."""
    world.others.processor.process(world.upload().object_key)


def a_failed(world: World) -> None:
    """An upload of a broken picture, with its error."""
    world.others.processor.process(world.upload(BROKEN).object_key)


def a_broken(world: World) -> None:
    """An upload of a broken picture, whose event has not come."""
    world.upload(BROKEN)


def uploaded_once(world: World) -> None:
    """An upload under an Idempotency-Key, whose event has not come."""
    world.upload(key="k")


def a_presigned_upload(world: World) -> None:
    """An original that was sent straight to S3; the event has not come."""
    record, _ = world.others.uploader.presign(PresignedUploadRequest("a.jpg", OPAQUE), max_bytes=len(SMALL))
    world.s3.put_object(
        Bucket=BUCKET, Key=record.object_key, Body=SMALL, Metadata=codec.original_metadata(record)
    )
    world.promised.accepted.add(record.id)
    world.about = {"id": record.id, "key": record.object_key}


def an_owners(world: World) -> None:
    """The thumbnail of an owner's upload is ready."""
    world.upload(viewer=OWNER)
    world.others.processor.process(world.about["key"])


def a_clients_key(world: World) -> None:
    """An object put straight into the bucket, whose event has not come."""
    world.put(SMALL)


def a_new_version(world: World) -> None:
    """A client's key with its thumbnail, put again; the event has not come."""
    world.put(SMALL)
    world.others.processor.process(CLIENTS_KEY)
    world.put(NEW)


def _long_ago(set_up: Callable[[World], None]) -> Callable[[World], None]:
    """All that, an hour ago."""

    def begin(world: World) -> None:
        set_up(world)
        world.clock.ms += HOUR_MS

    return begin


def _at_rest(set_up: Callable[[World], None]) -> Callable[[World], None]:
    """All that, an hour ago, and nothing is due any more."""

    def begin(world: World) -> None:
        set_up(world)
        world.clock.ms += HOUR_MS
        world.others.reconciler.sweep()

    return begin


def _expired(set_up: Callable[[World], None]) -> Callable[[World], None]:
    """All that, and its time is over."""

    def begin(world: World) -> None:
        set_up(world)
        world.others.processor.process(world.about["key"])
        world.clock.ms += WEEKS * 1000 + HOUR_MS
        world.promised.removed.add(world.about["id"])

    return begin


def half_removed(world: World) -> None:
    """A delete that died after its first step, an hour ago."""
    _at_rest(a_ready)(world)
    remove_and_die(world.others.store, world.others.bucket, world.about["id"])
    world.promised.removed.add(world.about["id"])
    world.clock.ms += HOUR_MS


def _found(world: World) -> Record:
    """The record that the operation is about."""
    record = world.others.store.find(world.about["id"])
    assert record is not None
    return record


def _lose(world: World, record_id: str) -> None:
    """Let Redis lose a record."""
    world.redis.delete(naming.record(record_id))
    world.redis.zrem(naming.DUE, record_id)
    for member in [member for member in world.stored().index if member.endswith(record_id)]:
        world.redis.zrem(naming.INDEX, member)


def _unpromised(world: World, record_id: str) -> None:
    """Take back a promise that S3 itself cannot keep any more."""
    world.promised.accepted.discard(record_id)


def odd_originals(world: World) -> None:
    """An original without a record, one of a removed record, a new version and a key put again unnoticed."""
    a_ready(world)
    _lose(world, world.about["id"])
    a_ready(world)
    removed = dict(world.about)
    world.delete(removed["id"])
    world.put(SMALL, removed["key"])
    world.promised.removed.add(removed["id"])
    a_new_version(world)
    again = world.put(SMALL, "originals/again.jpg")
    world.others.processor.process("originals/again.jpg")
    world.delete(again)
    world.put(NEW, "originals/again.jpg")
    _settle_scene(world)


def odd_thumbnails(world: World) -> None:
    """Thumbnails that no record names: of a record that is there, of a removed one, and of none at all."""
    a_ready(world)
    alive = world.about["id"]
    a_ready(world)
    removed = world.about["id"]
    world.delete(removed)
    for one in (alive, removed, naming.new_id()):
        world.others.bucket.put(
            naming.thumbnail(one, naming.new_thumbnail("e" * 32)), SMALL, content_type="image/jpeg"
        )
    _settle_scene(world)


def odd_entries(world: World) -> None:
    """Records without thumbnail, without original, without entries, and an entry without a record."""
    a_ready(world)
    first = _found(world)
    world.others.bucket.delete(*thumbnail_keys(first))
    a_ready(world)
    second = _found(world)
    world.others.bucket.delete(second.object_key, *thumbnail_keys(second))
    _unpromised(world, second.id)
    a_failed(world)
    world.others.bucket.delete(world.about["key"])
    _unpromised(world, world.about["id"])
    a_ready(world)
    world.redis.delete(naming.record(world.about["id"]))
    world.others.bucket.delete(world.about["key"])
    for name in [name for name in world.objects() if world.about["id"] in name]:
        world.others.bucket.delete(name)
    _unpromised(world, world.about["id"])
    a_ready(world)
    fifth = _found(world)
    world.others.store.expire_after_download(fifth, WEEKS)
    world.redis.zrem(naming.DUE, fifth.id)
    world.others.store.index.remove(entry_of(fifth))
    _settle_scene(world)


def an_original_too_many(world: World) -> None:
    """Where originals are not kept, one that was left when its pipeline died."""
    world.upload()
    content = SMALL
    world.others.processor.process(world.about["key"])
    record = _found(world)
    world.others.bucket.put(
        record.object_key, content, content_type="image/jpeg", metadata=codec.original_metadata(record)
    )
    _settle_scene(world)


def _settle_scene(world: World) -> None:
    """Hours pass; what was damaged on purpose is no longer promised to be there at any moment."""
    world.promised.answered.clear()
    stored = world.stored()
    for one in stored.due:
        if one not in stored.records or stored.records[one].ends_ms is None:
            world.redis.zrem(naming.DUE, one)
    world.clock.ms += HOUR_MS


def lost_with_originals(world: World) -> None:
    """A ready, a pending and a broken picture, and a client's own; Redis has lost them all."""
    a_ready(world)
    a_pending(world)
    a_failed(world)
    world.put(SMALL)
    world.others.processor.process(CLIENTS_KEY)
    _flush(world)


def lost_without_originals(world: World) -> None:
    """Two pictures of which the thumbnail alone is kept, one of them a client's own; Redis has lost them."""
    a_ready(world)
    world.put(SMALL)
    world.others.processor.process(CLIENTS_KEY)
    _flush(world)


def _flush(world: World) -> None:
    world.redis.flushall()
    world.promised.answered.clear()
    world.clock.ms += HOUR_MS


def _upload(world: World, party: Party) -> None:
    world.upload(by=party)


def _upload_for_owner(world: World, party: Party) -> None:
    world.upload(by=party, viewer=OWNER)


def _presign(_: World, party: Party) -> None:
    party.uploader.presign(PresignedUploadRequest("a.jpg", OPAQUE), max_bytes=len(SMALL))


def _upload_once(world: World, party: Party) -> None:
    world.upload(by=party, key="k")


def _process(world: World, party: Party) -> None:
    party.processor.process(world.about["key"])


def _fail(world: World, party: Party) -> None:
    party.processor.fail(world.about["key"], world.about.get("etag"), RetriesExhausted())


def _delete(world: World, party: Party) -> None:
    world.delete(world.about["id"], by=party)


def _delete_as_owner(world: World, party: Party) -> None:
    world.delete(world.about["id"], by=party, viewer=OWNER)


def _download_ends(world: World, party: Party) -> None:
    record = party.store.get(world.about["id"], UNRESTRICTED)
    if record is not None:
        party.store.expire_after_download(record, WEEKS)


def _sweep(_: World, party: Party) -> None:
    party.reconciler.sweep()


def _audit(_: World, party: Party) -> None:
    party.reconciler.audit()


def _rebuild(world: World, party: Party) -> None:
    # Again until the end is reached, as `make rebuild` does: another run may take the checkpoint over.
    while not party.reconciler.rebuild()[1]:
        pass
    world.promised.answered |= world.promised.accepted


def _remake(_: World, party: Party) -> None:
    """Make thumbnails again that were made before the sizes were set up."""
    while not Remake(party.processor, party.clock, lambda: False, lambda _: None).run(1000)[1]:
        pass


def made_before_sizes(world: World) -> None:
    """A ready picture, made when no sizes were set up."""
    a_pending(world)
    replace(world.others, sizes=()).processor.process(world.about["key"])


SIZES = parse_sizes("card=12x9:contain 2x=8x8:png", ThumbnailSpec())
_OPERATIONS = [
    Operation("upload", Kind.UPLOAD, nothing, _upload),
    Operation("upload with a key", Kind.REQUEST, nothing, _upload_once),
    Operation("the same upload repeated", Kind.REQUEST, uploaded_once, _upload_once),
    Operation("upload of an owner", Kind.UPLOAD, nothing, _upload_for_owner),
    Operation("presigned upload", Kind.UPLOAD, nothing, _presign),
    Operation("thumbnail of a presigned upload", Kind.EVENT, a_presigned_upload, _process),
    Operation("thumbnail of an upload", Kind.EVENT, a_pending, _process),
    Operation("of a client's key", Kind.EVENT, a_clients_key, _process, clients_key=True),
    Operation("of its new version", Kind.EVENT, a_new_version, _process, clients_key=True),
    Operation("of an original not kept", Kind.EVENT, a_pending, _process, keep_originals=False),
    Operation(
        "of a client's key not kept",
        Kind.EVENT,
        a_clients_key,
        _process,
        clients_key=True,
        keep_originals=False,
    ),
    Operation("thumbnail of an upload, in sizes", Kind.EVENT, a_pending, _process, sizes=SIZES),
    Operation(
        "of a client's new version, in sizes",
        Kind.EVENT,
        a_new_version,
        _process,
        clients_key=True,
        sizes=SIZES,
    ),
    Operation("delete, ready in sizes", Kind.REQUEST, _at_rest(a_ready), _delete, sizes=SIZES),
    Operation("sizes made later", Kind.TASK, _at_rest(made_before_sizes), _remake, sizes=SIZES),
    Operation("of a broken picture", Kind.EVENT, a_broken, _process),
    Operation("failing for good", Kind.EVENT, a_pending, _fail),
    Operation("failing a client's key for good", Kind.EVENT, a_new_version, _fail, clients_key=True),
    Operation("delete, pending", Kind.REQUEST, a_pending, _delete),
    Operation("delete, ready", Kind.REQUEST, _at_rest(a_ready), _delete),
    Operation("delete, an owner's", Kind.REQUEST, _at_rest(an_owners), _delete_as_owner),
    Operation("delete, failed", Kind.REQUEST, _at_rest(a_failed), _delete),
    Operation("end after a download", Kind.REQUEST, _at_rest(a_ready), _download_ends),
    Operation("expiry", Kind.TASK, _expired(a_pending), _sweep, retention=WEEKS),
    Operation("expiry of a client's key", Kind.TASK, _expired(a_clients_key), _sweep, True, retention=WEEKS),
    Operation("sweep of a lost event", Kind.TASK, _long_ago(a_pending), _sweep),
    Operation("sweep of half a removal", Kind.TASK, half_removed, _sweep),
    Operation("audit of originals", Kind.TASK, odd_originals, _audit),
    Operation("audit of thumbnails", Kind.TASK, odd_thumbnails, _audit),
    Operation("audit of records", Kind.TASK, odd_entries, _audit),
    Operation("audit, originals not kept", Kind.TASK, an_original_too_many, _audit, keep_originals=False),
    Operation("rebuild", Kind.TASK, lost_with_originals, _rebuild),
    Operation("rebuild, not kept", Kind.TASK, lost_without_originals, _rebuild, keep_originals=False),
]
NOT_KEPT = "; originals not kept"
"""What the names of operations end with that are run a second time."""
OPERATIONS = [
    *_OPERATIONS,
    *(
        replace(operation, name=f"{operation.name}{NOT_KEPT}", keep_originals=False, losses_only=True)
        for operation in _OPERATIONS
        # What is set up there deletes thumbnails, which are the only copies then.
        if operation.keep_originals and operation.set_up is not odd_entries
    ),
]
