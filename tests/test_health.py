"""Pulse and health: what they say, and that dependencies are asked in parallel."""

import threading
from collections.abc import Callable

import pytest
import requests

from app import V1
from chalicelib.errors import BucketUnavailable, RecordStoreUnavailable
from chalicelib.http.health import check_health
from tests.conftest import Api


def test_pulse_and_health(api: Api) -> None:
    for path, body in (("pulse", {"alive": True}), ("health", {"redis": "up", "s3": "up"})):
        reply = requests.get(f"{api.url}{V1}/system/{path}", timeout=60)
        assert (reply.status_code, reply.json()) == (200, body)


def up() -> None:
    pass


def failing(error: BaseException) -> Callable[[], None]:
    def ping() -> None:
        raise error

    return ping


@pytest.mark.parametrize(
    ("down", "named"),
    [({"redis"}, "redis cannot"), ({"s3"}, "s3 cannot"), ({"redis", "s3"}, "redis and s3 cannot")],
)
def test_what_is_down_is_named_and_its_errors_are_kept_for_the_log(down: set[str], named: str) -> None:
    raised = {"redis": RecordStoreUnavailable(), "s3": BucketUnavailable()}
    pings = {name: failing(error) if name in down else up for name, error in raised.items()}
    response, failures = check_health(pings)
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.body.pop("error").startswith(named)
    assert response.body == {name: "down" if name in down else "up" for name in raised}
    assert failures == [error for name, error in raised.items() if name in down]


def test_all_are_up() -> None:
    assert check_health({"redis": up, "s3": up}) == ((200, {"redis": "up", "s3": "up"}, {}), [])


def test_they_are_asked_in_parallel() -> None:
    meeting = threading.Barrier(2)

    def ping() -> None:
        meeting.wait(60)  # breaks, and so raises, unless the other one is asked meanwhile

    assert check_health({"redis": ping, "s3": ping}).failures == []
