"""The servers of a test session: a Valkey, and an S3 over HTTP."""

import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore import endpoint_provider
from moto.moto_server import threaded_moto_server
from moto.s3 import models as moto_s3
from moto.server import ThreadedMotoServer

from local import valkey
from local.s3_server import Dispatcher


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with valkey.running() as server:
        yield server.connection_url


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Moto answers 500 where two requests write one key simultaneously and the bucket has notifications: it
    # closes the content of the first before it has computed the ETag that the event tells. S3 does not.
    lock, put_object = threading.RLock(), moto_s3.S3Backend.put_object

    def put_one_at_a_time(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return put_object(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moto_s3.S3Backend, "put_object", put_one_at_a_time)
        # Moto's own lists a directory for each request.
        patch.setattr(threaded_moto_server, "DomainDispatcherApplication", lambda _: Dispatcher())
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture(scope="session", autouse=True)
def aws_environment(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep tests away from AWS; only a service that is named with --base-url is reached as it is."""
    if request.config.getoption("--base-url"):
        yield
        return
    s3_endpoint = request.getfixturevalue("s3_endpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_rule_set() -> Iterator[None]:
    """Let clients of boto3 share the rules of endpoints, which take a third of the time to make one."""
    made: dict[int, tuple[Any, Any]] = {}
    make = endpoint_provider.RuleSet

    def rule_set(**described: Any) -> Any:
        # Kept as well, so that no other has the same id.
        kept = made.get(id(described["rules"])) or (described, make(**described))
        made[id(described["rules"])] = kept
        return kept[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint_provider, "RuleSet", rule_set)
        yield
