"""Redis or S3 gone or stuck: each request gets its answer in time, and all is well when they are back.

The whole service runs, between it and the real servers stands a proxy that cuts or hangs.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from chalicelib import naming
from tests.conftest import picture
from tests.proxy import Mode, Proxy
from tests.service import Service

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

pytestmark = pytest.mark.slow

IN_TIME_SECONDS = 29  # as long as API Gateway waits


def between(url: str) -> Proxy:
    address = urlsplit(url)
    return Proxy(str(address.hostname), int(address.port or 0))


@pytest.fixture(scope="module")
def proxies(redis_url: str, s3_endpoint: str) -> Iterator[dict[str, Proxy]]:
    with between(redis_url) as redis_proxy, between(s3_endpoint) as s3_proxy:
        yield {"redis": redis_proxy, "s3": s3_proxy}


@pytest.fixture(scope="module")
def service(proxies: dict[str, Proxy]) -> Iterator[Service]:
    behind = {
        "REDIS_URL": f"redis://127.0.0.1:{proxies['redis'].port}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxies['s3'].port}",
        "BUCKET": "outage-pictures",
    }
    with Service(behind) as running:
        yield running


@pytest.mark.parametrize("mode", [Mode.CUT, Mode.HANG])
@pytest.mark.parametrize("down", ["redis", "s3"])
def test_an_outage_from_beginning_to_end(
    service: Service, proxies: dict[str, Proxy], down: str, mode: Mode
) -> None:
    record = service.wait_for_end(service.upload(picture())["id"])
    to_delete = service.wait_for_end(service.upload(picture())["id"])
    proxies[down].become(mode)
    try:
        needs = {
            ("GET", ""): {"redis"},
            ("GET", f"/{record['id']}"): {"redis"},
            ("GET", f"/{record['id']}/download"): {"redis", "s3"},
            ("POST", ""): {"redis", "s3"},
            ("DELETE", f"/{to_delete['id']}"): {"redis", "s3"},
        }
        for (method, path), needed in needs.items():
            started = time.monotonic()
            reply = service(method, path, files={"image": ("p.jpg", picture())} if method == "POST" else None)
            assert time.monotonic() - started < IN_TIME_SECONDS, (method, path)
            if down in needed:
                assert reply.status_code == 503, (method, path, reply.text)
                assert list(reply.json()) == ["error"]
                assert int(reply.headers["Retry-After"]) > 0
            else:
                assert reply.ok, (method, path, reply.text)
        system = f"{service.url}/api/v1/system"
        assert requests.get(f"{system}/pulse", timeout=60).json() == {"alive": True}
        health = requests.get(f"{system}/health", timeout=IN_TIME_SECONDS)
        other = "s3" if down == "redis" else "redis"
        assert health.status_code == 503
        assert {name: health.json()[name] for name in ("redis", "s3")} == {down: "down", other: "up"}
        assert "error" in health.json()
    finally:
        proxies[down].become(Mode.CUT)  # what hangs is dropped first, as by a restart
        proxies[down].become(Mode.OPEN)

    assert requests.get(f"{system}/health", timeout=60).json() == {
        "redis": "up",
        "s3": "up",
    }
    assert service("GET", f"/{record['id']}").json() == record
    assert service("GET", f"/{record['id']}/download").status_code == 200
    if down == "s3":
        assert service("GET", f"/{to_delete['id']}").status_code == 404
    assert service("DELETE", f"/{to_delete['id']}").json() == to_delete
    again = service.wait_for_end(service.upload(picture())["id"])
    assert again["ready"] is True
    ids = {item["id"] for item in service("GET").json()}
    assert ids >= {record["id"], again["id"]}
    assert to_delete["id"] not in ids


def test_a_picture_that_came_during_an_outage_is_made_afterwards(
    service: Service, proxies: dict[str, Proxy], s3: "S3Client"
) -> None:
    """The notification comes again and again until the pipeline gets through."""
    key = "originals/during the outage.jpg"
    proxies["redis"].become(Mode.CUT)
    try:
        # Straight into the bucket, past the proxy: S3 emits its event while the pipeline cannot work.
        s3.put_object(Bucket="outage-pictures", Key=key, Body=picture())
        service.says("thumbnail to be retried")
    finally:
        proxies["redis"].become(Mode.OPEN)
    assert service.wait_for_end(naming.record_id(key))["ready"] is True
