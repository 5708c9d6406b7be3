"""An outage of Redis or S3, however long, fails no good picture and saves no bad one."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from chalicelib import imaging, naming
from chalicelib.spec import ThumbnailSpec
from chalicelib.work import look
from local import valkey
from tests.conftest import picture
from tests.inside import redis_of
from tests.proxy import Mode, Proxy
from tests.reliability.deployment import DAY_MS, HOUR_MS, LATE_MS, MINUTE_MS, Deployment, deployed, kind_of
from tests.reliability.lambda_sqs import VISIBILITY_MS, KilledAtTheTimeLimit, LambdaAndSqs

pytestmark = pytest.mark.slow

GOOD, BAD = 500, 25
"""Pictures in each of the two outages."""
DEADLY = (17, 19)
"""The size of pictures that stand for those which take too long to decode."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
DOCUMENTED = re.compile(
    r"are ready (\d+) minutes after the outage at the latest, and the retry queue is empty after (\d+)"
)


@pytest.fixture(scope="module")
def redis_proxy() -> Iterator[Proxy]:
    with valkey.running() as server, Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def deployment(redis_proxy: Proxy, s3_endpoint: str, api_server: tuple[str, str]) -> Iterator[Deployment]:
    with deployed(api_server[0], f"redis://127.0.0.1:{redis_proxy.port}", s3_endpoint) as made:
        redis_of(made.store).flushall()
        yield made


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pictures of one size kill the function."""
    make = imaging.make_thumbnail

    def make_or_die(content: bytes, spec: ThumbnailSpec, **others: Any) -> Any:
        made = make(content, spec, **others)
        if (made.width, made.height) == DEADLY:
            raise KilledAtTheTimeLimit
        return made

    monkeypatch.setattr(look, "make_thumbnail", make_or_die)


class Outage:
    """Redis is away, or S3 does not deliver originals."""

    def __init__(self, kind: str, deployment: Deployment, redis_proxy: Proxy) -> None:
        self._kind, self._deployment, self._proxy = kind, deployment, redis_proxy

    def begin(self) -> None:
        if self._kind == "redis":
            self._proxy.become(Mode.CUT)
        else:
            self._deployment.faults.rule = _slow_down

    def end(self) -> None:
        self._proxy.become(Mode.OPEN)
        self._deployment.faults.rule = lambda _operation, _key: None


def _slow_down(operation: str, key: str) -> tuple[int, str, str] | None:
    is_read = operation == "GetObject" and naming.is_original(key)
    return (503, "SlowDown", "Please reduce your request rate.") if is_read else None


def bad_picture(number: int) -> bytes:
    """Every second one is damaged, every second one kills the function."""
    if number % 2:
        return picture(*DEADLY, seed=number)
    return picture(40, 40, seed=number)[:-300]


def contents(good: int, bad: int) -> Iterator[tuple[bytes, bool]]:
    """Pictures, and whether they are good, the bad ones spread among the others."""
    every = (good + bad) // bad
    for number in range(good + bad):
        is_bad = number % every == 0 and number // every < bad
        yield (bad_picture(number // every), False) if is_bad else (picture(16, 12, seed=number), True)


def send_all(
    deployment: Deployment, outage: Outage, good: int, bad: int
) -> tuple[dict[str, bool], list[dict[str, Any]]]:
    """Send a third by the API, a third by presigned uploads, and a third straight into the bucket.

    What the API takes is answered before the outage begins; S3 takes the rest during it.

    Returns:
        whether the picture with this id is good, and S3's events.

    """
    is_good: dict[str, bool] = {}
    keys: list[str] = []
    later: list[tuple[dict[str, Any] | str, bytes, bool]] = []
    for number, (content, good_one) in enumerate(contents(good, bad)):
        if number % 3 == 0:
            record_id = deployment.upload(content)
            is_good[record_id] = good_one
            keys.append(naming.original(record_id))
        elif number % 3 == 1:
            later.append((deployment.presign(), content, good_one))
        else:
            later.append((f"originals/{deployment.clock.ms}/{number}.jpg", content, good_one))
    outage.begin()
    for to, content, good_one in later:
        if isinstance(to, str):
            is_good[deployment.put(to, content)] = good_one
            keys.append(to)
        else:
            deployment.send(to, content)
            is_good[to["id"]] = good_one
            keys.append(naming.original(to["id"]))
    return is_good, [deployment.event(key) for key in keys]


@pytest.mark.usefixtures("deadly")
def test_three_hours_without_redis_then_without_s3(deployment: Deployment, redis_proxy: Proxy) -> None:
    platform = LambdaAndSqs(deployment)
    deployment.reconcile()
    is_good: dict[str, bool] = {}
    for kind in ("redis", "s3"):
        outage = Outage(kind, deployment, redis_proxy)
        sent, events = send_all(deployment, outage, GOOD, BAD)
        is_good |= sent
        platform.notify(*events)
        platform.reconciles = True
        platform.run(3 * HOUR_MS)
        assert len(platform) == len(sent)
        outage.end()
        # The queue does it alone, with no help of the reconciler.
        platform.reconciles = False
        ended_ms = deployment.clock.ms
        everything = platform.drain() / MINUTE_MS
        assert platform.dropped == 0
        good_done_ms = [
            at_ms for key, at_ms in platform.done_ms.items() if is_good[naming.record_id(unquote_plus(key))]
        ]
        good_ones = (max(good_done_ms) - ended_ms) / MINUTE_MS
        told = f"{kind}: good pictures {good_ones:.1f} minutes, all {everything:.1f}"
        documented = DOCUMENTED.search(DOCUMENT.read_text(encoding="utf-8"))
        assert documented is not None
        assert good_ones <= int(documented[1]), told
        assert everything <= int(documented[2]), told
    shown = {one: kind_of(record) for one, record in deployment.listed().items()}
    assert shown == {one: "ready" if good else "failed" for one, good in is_good.items()}
    assert Counter(is_good.values()) == {True: 2 * GOOD, False: 2 * BAD}
    # The reconciler finds nothing to do, now and when every check has come due.
    assert deployment.reconcile().keys().isdisjoint({"retried: ready", "retried: failed", "postponed"})
    assert deployment.reconcile(after_ms=LATE_MS).get("postponed", 0) == 0
    codes = Counter(record.error_code for one in is_good if (record := deployment.record(one)) is not None)
    assert codes == {
        None: 2 * GOOD,
        "undecodable": 2 * (BAD // 2 + BAD % 2),
        "retries_exhausted": 2 * (BAD // 2),
    }
    # An operator lets the damaged ones be tried again: they fail again, and no other picture is touched.
    assert deployment.redrive("undecodable") == codes["undecodable"]
    deployment.reconcile()
    assert {one: kind_of(record) for one, record in deployment.listed().items()} == shown


@pytest.mark.parametrize("kind", ["redis", "s3"])
def test_an_outage_that_outlives_the_retry_queue(
    deployment: Deployment, redis_proxy: Proxy, kind: str
) -> None:
    platform = LambdaAndSqs(deployment)
    deployment.reconcile()
    platform.reconciles = False
    outage = Outage(kind, deployment, redis_proxy)
    sent, events = send_all(deployment, outage, 2, 1)
    platform.notify(*events)
    platform.run(15 * DAY_MS)
    assert (len(platform), platform.dropped) == (0, len(sent))
    outage.end()
    # The audit makes the records that Redis could not take; the sweep processes them within 15 minutes.
    deployment.reconcile()
    deployment.reconcile(after_ms=LATE_MS)
    shown = {one: kind_of(record) for one, record in deployment.listed().items()}
    assert shown == {one: "ready" if good else "failed" for one, good in sent.items()}


def test_a_redrive_after_a_bug_was_mended(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    platform = LambdaAndSqs(deployment)
    platform.reconciles = False
    with monkeypatch.context() as patch:
        patch.setattr(look, "make_thumbnail", fail)
        ids = [deployment.upload(picture(16, 12, seed=seed)) for seed in range(10)]
        platform.notify(*[deployment.event(naming.original(one)) for one in ids])
        platform.run(VISIBILITY_MS * 6)
    assert len(platform) == 0
    assert {deployment.shown(one) for one in ids} == {"failed"}
    assert deployment.redrive("undecodable") == 0
    assert deployment.redrive("retries_exhausted") == len(ids)
    deployment.reconcile()
    assert {deployment.shown(one) for one in ids} == {"ready"}
