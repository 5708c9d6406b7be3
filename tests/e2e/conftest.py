"""Finds or starts what the suite runs against."""

from collections.abc import Iterator

import boto3
import pytest

from tests.e2e import ministack
from tests.e2e.target import Storage, Target
from tests.service import Service


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


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    url, bucket = request.config.getoption("--base-url"), request.config.getoption("--bucket")
    if url:
        endpoint = request.config.getoption("--s3-endpoint")
        storage = Storage(boto3.client("s3", endpoint_url=endpoint), bucket) if bucket else None
        name = "localstack" if "/_aws/execute-api/" in url else "url"
        found = Target(name, url.rstrip("/"), storage)
        if name == "localstack":
            # It sends base64 to clients that say */*, and bytes to those that name the type.
            found.session.headers["Accept"] = "image/jpeg"
        with found.session:
            yield found
    elif request.config.getoption("--target") == "ministack":
        endpoint = request.getfixturevalue("ministack_endpoint")
        found = ministack.deployed(endpoint, request.getfixturevalue("redis_url"))
        with found.session:
            yield found
    else:
        named = {
            "REDIS_URL": request.getfixturevalue("redis_url"),
            "AWS_ENDPOINT_URL": request.getfixturevalue("s3_endpoint"),
            "BUCKET": "e2e-pictures",
        }
        with Service(named) as service:
            found = Target("run", service.url, Storage(boto3.client("s3"), "e2e-pictures"))
            with found.session:
                yield found
