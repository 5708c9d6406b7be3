"""Several writers change one record at the same time, and replies are lost after the change was made."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.clock import now_ms
from chalicelib.records import lifecycle
from chalicelib.records.checkpoints import Checkpoint
from chalicelib.records.index import entry_of
from chalicelib.records.record import (
    UNRESTRICTED,
    Failure,
    Finished,
    FinishResult,
    Record,
    RemovalScope,
    State,
)
from chalicelib.records.store import RecordStore

if TYPE_CHECKING:
    from tests.conftest import SettableClock

ROUNDS = 30
FAILURE = Failure("undecodable", "It is damaged.")
EXPIRES_MS = 2_000_000_000_000


def new_record(etag: str | None = None) -> Record:
    record_id = naming.new_id()
    record = Record(record_id, naming.original(record_id), "a.jpg", now_ms(), 5)
    return record if etag is None else version(record, etag)


def version(record: Record, etag: str) -> Record:
    return replace(record, etag=etag, thumbnail=f"{etag}-run")


def without_revision(record: Record | None) -> Record | None:
    return record and replace(record, revision="")


def at_the_same_time(url: str, actions: list[Callable[[RecordStore], object]]) -> list[object]:
    """Run each action in a thread with a store of its own; all start together."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[RecordStore], object]) -> object:
        with redis_client(url, timeout=30) as client:
            store = RecordStore(client)
            store.ping()
            barrier.wait()
            return action(store)

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


Transition = Callable[[Record | None], Record | None]
Writer = tuple[Callable[[RecordStore], object], Transition]


def writers(claimed: Record) -> list[Writer]:
    """What may happen to a claimed record at one moment: as the store does it, and as a pure function."""
    thumbnail, newer = claimed.thumbnail, version(claimed, "v2")
    return [
        (
            lambda store: store.finish(claimed, Finished(9)),
            lambda before: lifecycle.finish(before, thumbnail, Finished(9)),
        ),
        (
            lambda store: store.finish(claimed, FAILURE),
            lambda before: lifecycle.finish(before, thumbnail, FAILURE),
        ),
        (
            lambda store: store.claim_version(newer),
            lambda before: lifecycle.claim_version(before, newer, None),
        ),
        (
            lambda store: store.record_attempt(claimed),
            lambda before: lifecycle.record_attempt(before, claimed.attempts + 1),
        ),
        (
            lambda store: store.start_removal(claimed, RemovalScope.VISIBLE, UNRESTRICTED),
            lambda before: lifecycle.start_removal(before, RemovalScope.VISIBLE, UNRESTRICTED, now_ms()),
        ),
        (
            lambda store: store.change(claimed.id, lifecycle.expire_after_download, thumbnail, EXPIRES_MS),
            lambda before: lifecycle.expire_after_download(before, thumbnail, EXPIRES_MS),
        ),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("with_removal", [False, True])
def test_racing_transitions_give_what_some_order_of_them_gives(
    redis_url: str, store: RecordStore, with_removal: bool
) -> None:
    results = set()
    for _ in range(ROUNDS):
        claimed = store.claim_version(new_record("v1"))
        racing = [pair for n, pair in enumerate(writers(claimed)) if with_removal or n != 4]
        at_the_same_time(redis_url, [action for action, _ in racing])
        possible = set()
        for order in itertools.permutations(transition for _, transition in racing):
            record: Record | None = claimed
            for transition in order:
                record = transition(record)
            possible.add(without_revision(record))
        found = without_revision(store.find(claimed.id))
        assert found in possible
        assert found is not None
        results.add((found.state, found.etag, found.thumbnail_size))
    assert results


def test_one_of_several_creators_makes_the_record(redis_url: str, store: RecordStore) -> None:
    for _ in range(ROUNDS):
        fresh = new_record()
        claimed = version(fresh, "v1")
        restored = replace(claimed, state=State.READY, thumbnail_size=9)
        actions: list[Callable[[RecordStore], object]] = [
            lambda store, record=fresh: store.create_if_absent(record),  # type: ignore[misc]
            lambda store, record=claimed: store.claim_version(record),  # type: ignore[misc]
            lambda store, record=restored: store.restore([record]),  # type: ignore[misc]
            lambda store, record=restored: store.restore([record]),  # type: ignore[misc]
        ]
        *_, first, second = at_the_same_time(redis_url, actions)
        found = store.find(fresh.id)
        assert found is not None
        assert found.etag == "v1"
        assert found.state is (State.READY if first or second else State.PENDING)
        assert [first, second] in ([0, 0], [0, 1], [1, 0])
        assert store.page(1, None, UNRESTRICTED).records == [found]


def test_one_of_several_removals_finishes(redis_url: str, store: RecordStore) -> None:
    for _ in range(ROUNDS):
        store.create(record := new_record())
        removing = store.start_removal(record, RemovalScope.ANY, UNRESTRICTED)
        assert removing is not None
        finish: list[Callable[[RecordStore], object]] = [
            lambda store, name=name, record=removing: store.finish_removal(record, name)  # type: ignore[misc]
            for name in "abcd"
        ]
        assert sorted(at_the_same_time(redis_url, finish), key=bool) == [False, False, False, True]


def test_one_of_several_walks_saves_its_checkpoint(redis_url: str, store: RecordStore) -> None:
    for _ in range(ROUNDS):
        read = store.checkpoints.get("bucket")
        save: list[Callable[[RecordStore], object]] = [
            lambda store, place=place: store.checkpoints.save(place)  # type: ignore[misc]
            for place in [replace(read, part="originals", after=name) for name in "abcd"]
        ]
        saved = [one for one in at_the_same_time(redis_url, save) if one is not None]
        assert saved == [store.checkpoints.get("bucket")]


# --- lost replies ---


class Forgetful(redis.Connection):
    """A connection that breaks when the reply of a script has come, once after `lose` is set."""

    lose = False
    _is_script = False

    def send_packed_command(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        """Note whether a script is called that changes a record or a checkpoint."""
        sent = b"".join(command)
        self._is_script = b"EVALSHA" in sent and (b"record:" in sent or b"checkpoint:" in sent)
        return super().send_packed_command(command, *args, **kwargs)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply, and drop it where it is to be lost."""
        reply = super().read_response(*args, **kwargs)
        if self._is_script and Forgetful.lose:
            Forgetful.lose = False
            self.disconnect()  # type: ignore[no-untyped-call]
            raise redis.ConnectionError("lost")
        return reply


@pytest.fixture
def forgetful(redis_url: str, clock: "SettableClock") -> RecordStore:
    client = redis_client(redis_url, timeout=30)
    client.connection_pool.connection_class = Forgetful
    return RecordStore(client, clock)


def claimed(store: RecordStore) -> Record:
    return store.claim_version(new_record("v1"))


def abandoned(store: RecordStore) -> Record:
    store.create(record := replace(new_record(), created_ms=1))
    return store.find(record.id) or record


def removing(store: RecordStore) -> Record:
    record = store.start_removal(claimed(store), RemovalScope.ANY, UNRESTRICTED)
    assert record is not None
    return record


def ready(store: RecordStore) -> Record:
    store.finish(record := claimed(store), Finished(9))
    return store.find(record.id) or record


Calls = dict[str, tuple[Callable[[RecordStore], Record], Callable[[RecordStore, Record], object]]]
CALLS: Calls = {
    "claim": (claimed, lambda store, record: store.claim_version(version(record, "v2")).etag),
    "finish": (claimed, lambda store, record: store.finish(record, Finished(9)) is FinishResult.DONE),
    "fail": (claimed, lambda store, record: store.finish(record, FAILURE) is FinishResult.DONE),
    "count": (claimed, lambda store, record: store.record_attempt(record)),
    "lose": (ready, lambda store, record: store.mark_thumbnail_lost(record)),
    "download": (ready, lambda store, record: store.expire_after_download(record, 60)),
    "discard": (abandoned, lambda store, record: store.discard_abandoned(record)),
    "remove": (
        claimed,
        lambda store, record: store.start_removal(record, RemovalScope.VISIBLE, UNRESTRICTED) is not None,
    ),
    "finish a removal": (removing, lambda store, record: store.finish_removal(record, "t")),
    "restore": (lambda _: new_record("v1"), lambda store, record: store.restore([record])),
    "upload": (
        lambda _: new_record(),
        lambda store, record: store.create_if_absent(record).touched_ms is None,
    ),
    "save": (
        lambda _: new_record(),
        lambda store, _: store.checkpoints.save(Checkpoint("bucket", 1, "originals")) is not None,
    ),
}


@pytest.mark.parametrize(("setup", "call"), CALLS.values(), ids=CALLS)
def test_a_change_whose_reply_is_lost_happens_once(
    store: RecordStore,
    forgetful: RecordStore,
    redis_server: "redis.Redis",
    setup: Callable[[RecordStore], Record],
    call: Callable[[RecordStore, Record], object],
) -> None:
    undisturbed = setup(store)
    expected = call(store, undisturbed)
    after: Any = redis_server.hgetall(naming.record(undisturbed.id))
    redis_server.delete(naming.checkpoint("bucket"))
    forgetful.ping()
    record = setup(store)
    Forgetful.lose = True
    assert call(forgetful, record) == expected
    assert not Forgetful.lose
    stored: Any = redis_server.hgetall(naming.record(record.id))
    differ = {"object_key", "revision", "created_ms", "download_expires_ms"}
    assert {name: value for name, value in stored.items() if name not in differ} == {
        name: value for name, value in after.items() if name not in differ
    }
    assert stored.keys() == after.keys()
    listed = {one.id for one in store.page(10, None, UNRESTRICTED).records}
    assert (record.id in listed) == (undisturbed.id in listed)
    indexed = {entry.record_id for entry in store.index.newest(10, None)}
    assert (record.id in indexed) == (undisturbed.id in indexed)


@pytest.mark.parametrize("way", ["repeated upload", "another version"])
def test_a_record_that_is_stored_again_has_the_entry_of_its_first_time(store: RecordStore, way: str) -> None:
    """It is announced under its new time of creation, before its record is known to be there."""
    first = new_record("v1")
    later = replace(first, created_ms=first.created_ms + 5000)
    if way == "repeated upload":
        store.create_if_absent(first)
        kept = store.create_if_absent(later)
    else:
        store.claim_version(first)
        kept = store.claim_version(version(later, "v2"))
    assert kept.created_ms == first.created_ms
    assert store.index.newest(10, None) == [entry_of(first)]


def test_a_removed_record_that_is_announced_again_has_no_entry(store: RecordStore) -> None:
    record = new_record("v1")
    store.create(record)
    removing = store.start_removal(record, RemovalScope.ANY, UNRESTRICTED)
    assert removing is not None
    assert store.finish_removal(removing, "t")
    assert lifecycle.is_tombstone(store.create_if_absent(record))
    assert store.index.newest(10, None) == []
