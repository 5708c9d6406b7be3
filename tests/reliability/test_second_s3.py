"""The same life of pictures on a second S3, MiniStack, with originals kept and not kept.

Where MiniStack 1.5 differs from moto: it keeps SSE-C objects to itself (HEAD and GET without the key are
400, as S3's; moto hands them out), and its listings tell LastModified in milliseconds, while its HEAD and
GET, and all of moto's and S3's, tell whole seconds. Both take more than a thousand keys in one DeleteObjects
request, which S3 refuses. Both answer a conditional DELETE as S3: 412 for another version, 404 for none.
"""

from collections.abc import Iterator

import pytest
import redis as redis_py

from chalicelib import naming, services
from deploy import CannotGoOn
from tests.conftest import picture
from tests.e2e import ministack
from tests.reliability.deployment import LATE_MS, Deployment, deployed

pytestmark = pytest.mark.slow

RETENTION = 30 * 24 * 3600


@pytest.fixture(scope="module")
def second_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        running = ministack.server(tmp_path_factory.mktemp("second-s3") / "log.txt")
        endpoint = running.__enter__()
    except CannotGoOn as reason:
        pytest.skip(f"MiniStack cannot be installed here: {reason}")
    yield endpoint
    running.__exit__(None, None, None)


@pytest.fixture(params=["kept", "not kept"])
def deployment(
    request: pytest.FixtureRequest,
    second_s3: str,
    redis_url: str,
    redis_server: "redis_py.Redis",
    api_server: tuple[str, str],
) -> Iterator[Deployment]:
    settings = {"KEEP_ORIGINALS": "true" if request.param == "kept" else "false", "RETENTION": str(RETENTION)}
    with deployed(api_server[0], redis_url, second_s3, wire=True, environment=settings) as made:
        made.reconcile(after_ms=0)
        yield made


def originals_and_thumbnails(deployment: Deployment, pictures: int) -> None:
    originals = deployment.keys() - deployment.keys(naming.THUMBNAILS)
    assert len(originals) == (pictures if services.settings().keep_originals else 0)
    assert len(deployment.keys(naming.THUMBNAILS)) == pictures


def three_pictures(deployment: Deployment) -> dict[str, bytes]:
    """One by the API, one by a presigned upload, one put into the bucket; give each thumbnail."""
    uploaded = deployment.upload(picture(16, 12, seed=1))
    presigned = deployment.presign()
    deployment.send(presigned, picture(16, 12, seed=2))
    deployment.process_upload(uploaded, presigned["id"])
    key = "originals/holiday 2026/red+flower & ü.jpg"
    put = deployment.put(key, picture(16, 12, seed=3))
    deployment.process(deployment.event(key))
    found = {}
    for one in (uploaded, presigned["id"], put):
        reply = deployment("GET", f"/{one}/download")
        assert reply.status_code == 200
        found[one] = reply.content
    originals_and_thumbnails(deployment, 3)
    return found


def assert_still_there(deployment: Deployment, thumbnails: dict[str, bytes]) -> None:
    assert deployment.listed().keys() == thumbnails.keys()
    assert {one: deployment("GET", f"/{one}/download").content for one in thumbnails} == thumbnails


def test_upload_delete_and_put_again(deployment: Deployment) -> None:
    thumbnails = three_pictures(deployment)
    for one in thumbnails:
        deployment.delete(one)
        assert deployment.shown(one) == "404"
    assert deployment.keys() == set()
    key = "originals/holiday 2026/red+flower & ü.jpg"
    assert deployment.put(key, picture(16, 12, seed=3)) in thumbnails
    deployment.process(deployment.event(key))
    originals_and_thumbnails(deployment, 1)


def test_overwritten(deployment: Deployment) -> None:
    key = "originals/a.jpg"
    one = deployment.put(key, picture(16, 12, seed=1))
    first = deployment.event(key)
    deployment.process(first)
    deployment.put(key, picture(30, 12, seed=2))
    second = deployment.event(key)
    deployment.process(second)
    deployment.process(first)  # late, and doubled
    record = deployment.record(one)
    assert record is not None
    assert record.etag == second["Records"][0]["s3"]["object"]["eTag"]
    assert deployment.shown(one) == "ready"
    originals_and_thumbnails(deployment, 1)


def test_expiry(deployment: Deployment) -> None:
    thumbnails = three_pictures(deployment)
    deployment.reconcile(after_ms=RETENTION * 1000 - 60_000)
    assert_still_there(deployment, thumbnails)
    deployment.clock.ms += 120_000
    assert {deployment.shown(one) for one in thumbnails} == {"404"}
    deployment.reconcile()
    assert deployment.keys() == set()


@pytest.mark.parametrize("by", ["rebuild", "recovery"])
def test_redis_is_lost(deployment: Deployment, redis_server: "redis_py.Redis", by: str) -> None:
    thumbnails = three_pictures(deployment)
    redis_server.flushall()
    assert deployment.listed() == {}
    if by == "rebuild":
        deployment.rebuild()
    else:
        assert deployment.reconcile()["losses noticed"] == 1
    assert_still_there(deployment, thumbnails)
    deployment.reconcile(after_ms=LATE_MS)
    assert_still_there(deployment, thumbnails)
    originals_and_thumbnails(deployment, 3)


def test_objects_that_it_refuses(deployment: Deployment, redis_server: "redis_py.Redis") -> None:
    archived = deployment.put("originals/archived.jpg", picture(16, 12, seed=1), StorageClass="GLACIER")
    encrypted = deployment.put(
        "originals/encrypted.jpg",
        picture(16, 12, seed=2),
        SSECustomerAlgorithm="AES256",
        SSECustomerKey="k" * 32,
    )
    good = deployment.put("originals/good.jpg", picture(16, 12, seed=3))
    deployment.process(deployment.event("originals/archived.jpg", "originals/encrypted.jpg"))
    deployment.rebuild()
    deployment.reconcile(after_ms=LATE_MS)
    found = {one: deployment.record(one) for one in (archived, encrypted, good)}
    told = {one: None if record is None else record.error_code for one, record in found.items()}
    assert told == {archived: "archived", encrypted: "encrypted", good: None}
    assert deployment.shown(good) == "ready"
    redis_server.flushall()
    deployment.reconcile()
    deployment.reconcile(after_ms=LATE_MS)
    assert deployment.listed().keys() == set(found)
    assert [deployment.shown(one) for one in found] == ["failed", "failed", "ready"]
    for one in found:
        deployment.delete(one)
    assert deployment.keys() == set()


def test_more_keys_than_one_request_takes_and_keys_that_xml_cannot_hold(deployment: Deployment) -> None:
    many = {f"originals/{number:04}.jpg" for number in range(1005)}
    odd = "originals/bell\x07.jpg"
    for key in many:
        deployment.put(key, b"x")
    deployment.put(odd, b"x")
    services.bucket().delete(*many, odd)
    assert deployment.keys() == set()
