"""A failover while clients upload: how long it is felt, and that nothing accepted is lost for good."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from local import valkey
from tests.reliability.deployment import LATE_MS, RECONCILE_MS, Deployment, deployed
from tests.reliability.load import Load, patient_clients
from tests.reliability.local_redis import Address, client, offset
from tests.service import eventually

pytestmark = pytest.mark.slow

FELT_SECONDS = 5
"""After this time no request may be refused because of a failover."""


class Pair:
    """A primary and its replica behind a name, which `repoint` changes as DNS does: connections stay open."""

    def __init__(self, stack: ExitStack) -> None:
        self.primary = stack.enter_context(valkey.running({"repl-diskless-sync-delay": "0"}))
        self.replica = stack.enter_context(valkey.running({"replicaof": f"127.0.0.1 {self.primary.port}"}))
        self.address = stack.enter_context(Address("127.0.0.1", self.primary.port))

    def wait_for_replication(self) -> None:
        with client(self.primary) as primary, client(self.replica) as replica:
            eventually(
                lambda: offset(primary, "master_repl_offset") == offset(replica, "slave_repl_offset"), 120
            )

    def fail_over(self) -> None:
        """Let both servers change places without losing a write; the former primary stays reachable."""
        with client(self.primary) as primary:
            primary.execute_command("FAILOVER")
            eventually(lambda: primary.info("replication")["role"] == "slave", 120)
        self.repoint()

    def lose_primary(self, miss: Callable[[], None]) -> None:
        """Cut the replica off while it misses something, kill the primary, let the replica take its place."""
        with client(self.replica) as replica:
            replica.execute_command("REPLICAOF", "127.0.0.1", "1")
            miss()
            self.primary.terminate()
            replica.execute_command("REPLICAOF", "NO", "ONE")
        self.repoint()

    def repoint(self) -> None:
        self.address.target = ("127.0.0.1", self.replica.port)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        made = Pair(stack)
        made.wait_for_replication()
        yield made


@pytest.fixture
def deployment(pair: Pair, s3_endpoint: str, api_server: tuple[str, str]) -> Iterator[Deployment]:
    url = f"redis://127.0.0.1:{pair.address.port}"
    with patient_clients(), deployed(api_server[0], url, s3_endpoint) as made:
        made.reconcile()
        yield made


@pytest.mark.parametrize("kind", ["graceful", "killed"])
def test_uploads_go_on_and_none_is_lost(deployment: Deployment, pair: Pair, kind: str) -> None:
    with Load(deployment) as load:
        load.wait_for(10)
        before = time.monotonic()
        if kind == "graceful":
            pair.fail_over()
        else:
            pair.lose_primary(lambda: load.wait_for(3, since=time.monotonic()))
        at = time.monotonic()
        load.wait_for(11, since=at + FELT_SECONDS)
    assert set(load.statuses()) <= {201, 503}
    assert set(load.statuses(until=before)) == {201}
    after = load.statuses(since=at + FELT_SECONDS)
    assert set(after) == {201}
    lost = [one for one in load.accepted if deployment.shown(one) == "404"]
    if kind == "graceful":
        assert lost == []
    else:
        assert lost, "the replica has missed nothing: this test would show nothing"
    # It is five minutes until the next run of the reconciler, at most.
    counts = deployment.reconcile(after_ms=RECONCILE_MS)
    assert counts["losses noticed"] == 1
    assert counts.get("records restored", 0) == len(lost)
    assert {deployment.shown(one) for one in load.accepted} <= {"ready", "pending"}
    assert set(load.accepted) <= deployment.listed().keys()
    # Of what the replica had as pending, the check comes a quarter of an hour after the upload.
    deployment.reconcile(after_ms=LATE_MS)
    assert {deployment.shown(one) for one in load.accepted} == {"ready"}
    assert deployment.session.get(f"{deployment.url}/api/v1/system/health", timeout=60).status_code == 200
