"""Finds or starts what the suite runs against."""

import json
import os
from collections.abc import Iterator

import boto3
import pytest

from deploy.emulators import localstack_urls
from local.processes import Child
from tests.e2e import ministack
from tests.e2e.target import Storage, Target
from tests.service import Service

BUCKET = "e2e-pictures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def ministack_endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.config.getoption("--target") != "ministack":
        pytest.skip("it is about the stack's deployment; run it with `make e2e`")
    if not ministack.ARTIFACT.exists():
        pytest.fail("nothing is packaged; use `make e2e`")
    with ministack.server(tmp_path_factory.mktemp("ministack") / "log.txt") as endpoint:
        yield endpoint


def localstack() -> Target:
    """The service that localstack-compose.yml has started; it is reached as its users reach it."""
    base = f"http://localhost:{os.environ.get('LOCALSTACK_PORT', '4566')}"
    s3 = boto3.client(
        "s3",
        endpoint_url=base,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - LocalStack takes any
    )
    by_path, _ = localstack_urls(base)
    found = Target("localstack", by_path, Storage(s3, "thumbnails-local-000000000000-us-east-1"))
    # It sends base64 to clients that say */*, and bytes to those that name an image type.
    found.session.headers["Accept"] = "image/jpeg"
    return found


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    url, bucket = request.config.getoption("--base-url"), request.config.getoption("--bucket")
    if url:
        storage = Storage(boto3.client("s3"), bucket) if bucket else None
        found = Target("url", url.rstrip("/"), storage)
        with found.session:
            yield found
    elif request.config.getoption("--target") == "localstack":
        found = localstack()
        with found.session:
            yield found
    elif request.config.getoption("--target") == "ministack":
        endpoint = request.getfixturevalue("ministack_endpoint")
        found = ministack.deployed(endpoint, request.getfixturevalue("redis_url"))
        with found.session:
            yield found
    else:
        # Servers of its own: it outlives the tests of other modules, and would eat their events.
        servers = Child("local.servers", "redis", "s3")
        servers.start()
        named = json.loads(servers.first_line())
        # Pages of all origins, as a deployment's default is; `make run` by itself serves its own alone.
        with Service(named | {"BUCKET": BUCKET, "ALLOWED_ORIGINS": "*"}) as service:
            s3 = boto3.client("s3", endpoint_url=named["AWS_ENDPOINT_URL"])
            found = Target("run", service.url, Storage(s3, BUCKET))
            with found.session:
                yield found
        servers.stop()
