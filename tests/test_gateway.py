"""The local gateway at its bounds: it refuses at once what is too much, and is well afterwards."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import requests

from deploy import template
from local.gateway import AT_ONCE, CONNECTIONS, GatewayHandler
from tests.conftest import Api, picture
from tests.proxy import Mode, Proxy
from tests.service import Service, eventually

SOON_SECONDS = 0.5
PULSE = "/api/v1/system/pulse"


def connect(api: Api) -> socket.socket:
    address = urlsplit(api.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10)


def begin_upload(api: Api) -> socket.socket:
    """Send the head of an upload and nothing of its body."""
    connection = connect(api)
    connection.sendall(b"POST /api/v1/thumbnail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    return connection


def assert_refused(reply: requests.Response) -> None:
    responses = template.stack()["Resources"]["RestAPI"]["Properties"]["GatewayResponses"]
    assert reply.status_code == 429
    assert reply.headers["Retry-After"] == "1"
    assert reply.headers["Content-Type"] == "application/json"
    assert (
        reply.text.replace('": "', '":"') == (responses["THROTTLED"]["ResponseTemplates"]["application/json"])
    )


def soon(send: Callable[[], requests.Response]) -> requests.Response:
    started = time.monotonic()
    reply = send()
    assert time.monotonic() - started < SOON_SECONDS
    return reply


@pytest.fixture
def full(api: Api) -> Iterator[ExitStack]:
    """Every slot is taken until the stack is closed."""
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            stack.enter_context(begin_upload(api))
        # One that came while an earlier test's were still being ended has got no slot.
        while api("GET").status_code != 429:
            stack.enter_context(begin_upload(api))
        yield stack


def test_what_is_too_much_at_once_is_refused_soon(api: Api, full: ExitStack) -> None:
    assert_refused(soon(lambda: api("GET")))
    assert_refused(soon(lambda: api("POST", files={"image": ("p.jpg", picture())})))
    assert_refused(soon(lambda: api("POST", files={"image": ("p.jpg", bytes(4_000_000))})))
    assert_refused(soon(lambda: api("POST", data=iter([bytes(100_000)] * 10))))
    head = soon(lambda: api("HEAD"))
    assert (head.status_code, head.headers["Retry-After"], head.content) == (429, "1", b"")


def test_that_it_is_alive_can_be_seen_all_the_same(api: Api, full: ExitStack) -> None:
    assert soon(lambda: requests.get(api.url + PULSE, timeout=5)).json() == {"alive": True}
    # With a body it would be a way around the bound.
    assert requests.get(api.url + PULSE, data=b"x", timeout=5).status_code == 429


def test_all_is_well_when_there_is_room_again(api: Api, full: ExitStack) -> None:
    assert_refused(api("GET"))
    full.close()
    eventually(lambda: api("GET").status_code == 200, 5)
    with ThreadPoolExecutor(AT_ONCE // 2) as pool:
        replies = list(pool.map(lambda _: requests.get(api.url + PULSE, timeout=5), range(100)))
    assert {reply.status_code for reply in replies} == {200}
    record = api.upload()
    api.deliver()
    assert api("GET", f"/{record['id']}").json()["ready"] is True


def test_connections_beyond_the_bound_are_refused_and_get_no_thread(api: Api) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connect(api))
        eventually(lambda: requests.get(api.url + PULSE, timeout=5).status_code == 429, 5)
        threads = threading.active_count()
        for _ in range(20):
            assert_refused(soon(lambda: requests.get(api.url + "/api/v1/thumbnail", timeout=5)))
        assert threading.active_count() <= threads
    eventually(lambda: requests.get(api.url + PULSE, timeout=5).status_code == 200, 5)
    # None of them is lost: as many as before find room.
    with ExitStack() as stack:
        eventually(lambda: threading.active_count() < 20, 5, lambda: str(threading.active_count()))
        for _ in range(CONNECTIONS - 5):
            stack.enter_context(connect(api))
        assert requests.get(api.url + PULSE, timeout=5).status_code == 200


@pytest.mark.parametrize("begin", [connect, begin_upload])
def test_a_silent_client_is_left(
    api: Api, begin: Callable[[Api], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GatewayHandler, "timeout", 0.2)
    with begin(api) as connection:
        received = b""
        while piece := connection.recv(4096):
            received += piece
    assert received.startswith(b"HTTP/1.1 400 ") == (begin is begin_upload)


@pytest.mark.parametrize("method", ["TRACE", "QUERY", "BREW", "get"])
def test_a_method_of_any_name_is_answered_and_its_body_is_no_request(api: Api, method: str) -> None:
    smuggled = f"DELETE {PULSE} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(api) as connection:
        connection.sendall(
            f"{method} /api/v1/thumbnail HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(smuggled)}\r\n\r\n"
            f"{smuggled}GET {PULSE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        received = b""
        while piece := connection.recv(4096):
            received += piece
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"405", b"200"]
    assert b"Allow: " in received


@pytest.mark.slow
def test_a_crowd_meets_a_redis_that_hangs(redis_url: str) -> None:
    """Requests wait for their timeouts then, and more come: all get an answer, and all is well afterwards."""
    address = urlsplit(redis_url)
    content, crowd = picture(), 4 * AT_ONCE

    def upload(_: int) -> tuple[requests.Response, float]:
        started = time.monotonic()
        reply = service("POST", files={"image": ("p.jpg", content)})
        return reply, time.monotonic() - started

    with (
        Proxy(str(address.hostname), int(address.port or 0)) as proxy,
        Service({"REDIS_URL": f"redis://127.0.0.1:{proxy.port}"}) as service,
    ):
        service.upload(content)
        proxy.become(Mode.HANG)
        with ThreadPoolExecutor(crowd) as pool:
            answers = list(pool.map(upload, range(crowd)))
        proxy.become(Mode.CUT)
        proxy.become(Mode.OPEN)
        statuses = [reply.status_code for reply, _ in answers]
        assert set(statuses) == {429, 503}
        assert statuses.count(503) >= AT_ONCE
        for reply, seconds in answers:
            assert int(reply.headers["Retry-After"]) > 0
            assert list(reply.json()) == ["error"]
            # Many clients start at the same moment here, which takes them some time by itself.
            assert seconds < (2 if reply.status_code == 429 else 6)
        assert service.wait_for_end(service.upload(content)["id"])["ready"] is True
        assert "Traceback" not in service.output
