"""The local gateway at its bounds: it refuses what is too much, and serves again afterwards."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from local.gateway import AT_ONCE, MAX_EVENT, create_server
from local.http_server import CONNECTIONS, MAX_HEAD
from tests.conftest import Api, picture
from tests.inside import gateway_slots
from tests.made_stack import gateway_responses
from tests.proxy import Mode, Proxy
from tests.service import Service, eventually

PULSE = "/api/v1/system/pulse"
HOST = "Host: localhost"


def connect(api: Api) -> socket.socket:
    address = urlsplit(api.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60)


def everything_from(connection: socket.socket) -> bytes:
    """What the server sends until it ends the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+)", received)]


def assert_is_gateway_response(reply: requests.Response, kind: str) -> None:
    """The answer is the one that the stack tells API Gateway to give."""
    wanted = gateway_responses()[kind]
    assert reply.status_code == wanted["StatusCode"]
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.text == wanted["ResponseTemplates"]["application/json"]


def assert_refused(reply: requests.Response) -> None:
    assert_is_gateway_response(reply, "THROTTLED")
    assert reply.headers["Retry-After"] == "1"


@pytest.fixture
def full(api: Api) -> Iterator[ExitStack]:
    """Every slot is taken until the stack is closed."""
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            assert gateway_slots().acquire(timeout=60)
            stack.callback(gateway_slots().release)
        yield stack


def test_requests_beyond_the_slots_are_refused(api: Api, full: ExitStack) -> None:
    """And does not wait for a slot: none becomes free."""
    assert_refused(api("GET"))
    assert_refused(api("POST", files={"image": ("p.jpg", picture())}))
    assert_refused(api("POST", files={"image": ("p.jpg", bytes(4_000_000))}))
    assert_refused(api("POST", data=iter([bytes(100_000)] * 10)))
    head = api("HEAD")
    assert (head.status_code, head.headers["Retry-After"], head.content) == (429, "1", b"")


def test_that_it_is_alive_can_be_seen_all_the_same(api: Api, full: ExitStack) -> None:
    assert requests.get(api.url + PULSE, timeout=60).json() == {"alive": True}
    # With a body it would be a way around the bound.
    assert requests.get(api.url + PULSE, data=b"x", timeout=60).status_code == 429


def test_all_is_well_when_there_is_room_again(api: Api, full: ExitStack) -> None:
    assert_refused(api("GET"))
    full.close()
    eventually(lambda: api("GET").status_code == 200, 60)
    with ThreadPoolExecutor(AT_ONCE // 2) as pool:
        replies = list(pool.map(lambda _: requests.get(api.url + PULSE, timeout=60), range(100)))
    assert {reply.status_code for reply in replies} == {200}
    record = api.upload()
    api.deliver()
    assert api("GET", f"/{record['id']}").json()["ready"] is True


@pytest.mark.slow
def test_connections_beyond_the_bound_are_refused_and_no_connection_gets_a_thread(api: Api) -> None:
    with served(patience=600) as address:
        url = "http://{}:{}".format(*address)

        def status() -> int:
            return requests.get(url + PULSE, timeout=60).status_code

        assert status() == 200
        threads = threading.active_count()
        for _ in range(2):  # the second time, none of the first time's is lost
            with ExitStack() as stack:
                for _ in range(CONNECTIONS - 5):
                    stack.enter_context(socket.create_connection(address, timeout=60))
                assert status() == 200

                # A connection that has just been closed may still be counted: one more takes its place then.
                def is_full() -> bool:
                    for _ in range(5):
                        stack.enter_context(socket.create_connection(address, timeout=60))
                    return all(status() == 429 for _ in range(20))

                eventually(is_full, 60)
                for _ in range(20):
                    assert_refused(requests.get(url + "/api/v1/thumbnail", timeout=60))
                assert threading.active_count() <= threads
            eventually(lambda: status() == 200, 60)


def test_more_clients_than_slots_that_are_slow_to_send_keep_no_one_waiting(api: Api) -> None:
    """A slot is taken by a request that has arrived; dripping clients have none."""
    with ExitStack() as stack:
        dripping = [stack.enter_context(connect(api)) for _ in range(2 * AT_ONCE)]
        for connection in dripping:
            connection.sendall(
                f"POST /api/v1/thumbnail HTTP/1.1\r\n{HOST}\r\nContent-Length: 9\r\n\r\n".encode()
            )
        assert api("GET").status_code == 200
        for connection in dripping:
            connection.sendall(b"x")
        assert api("GET").status_code == 200


@contextmanager
def served(*, patience: int, deadline: int = 600) -> Iterator[tuple[str, int]]:
    """A server of the same app that leaves silent clients and slow ones after so many seconds."""
    server = create_server("127.0.0.1", 0, patience=patience, deadline=deadline)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield "127.0.0.1", int(server.effective_port)
    server.stop()
    thread.join(60)
    assert not thread.is_alive()


UPLOAD = f"POST /api/v1/thumbnail HTTP/1.1\r\n{HOST}\r\nContent-Length: 900\r\n\r\n"


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["", "GET / HT", UPLOAD], ids=["nothing", "a start line", "an upload"])
def test_a_silent_client_is_left(api: Api, begin: str) -> None:
    with served(patience=1) as address, socket.create_connection(address, timeout=60) as connection:
        connection.sendall(begin.encode())
        assert everything_from(connection) == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "drop"), [("GET / HTTP/1.1\r\n", "X: y\r\n"), (UPLOAD, "x")], ids=["head", "body"]
)
def test_a_request_that_drips_is_told_that_it_took_too_long(api: Api, begin: str, drop: str) -> None:
    with (
        served(patience=600, deadline=2) as address,
        socket.create_connection(address, timeout=0.1) as connection,
    ):
        connection.sendall(begin.encode())
        received, deadline = b"", time.monotonic() + 60
        while not received and time.monotonic() < deadline:
            connection.sendall(drop.encode())
            with suppress(TimeoutError):
                received = connection.recv(65536)
        with suppress(ConnectionResetError):
            connection.settimeout(60)
            while piece := connection.recv(65536):
                received += piece
        assert statuses(received) == [408]
        assert b'"error"' in received


@pytest.mark.slow
def test_a_client_that_never_reads_its_answers_is_left(api: Api) -> None:
    asked = f"GET / HTTP/1.1\r\n{HOST}\r\n\r\n".encode()
    with served(patience=600, deadline=2) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(address)
        connection.settimeout(60)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(asked * 500_000)


@pytest.mark.parametrize("method", ["TRACE", "QUERY", "BREW"])
def test_a_method_of_any_name_is_answered_and_its_body_is_no_request(api: Api, method: str) -> None:
    smuggled = f"DELETE {PULSE} HTTP/1.1\r\n{HOST}\r\n\r\n"
    with connect(api) as connection:
        connection.sendall(
            f"{method} /api/v1/thumbnail HTTP/1.1\r\n{HOST}\r\nContent-Length: {len(smuggled)}\r\n\r\n"
            f"{smuggled}GET {PULSE} HTTP/1.1\r\n{HOST}\r\nConnection: close\r\n\r\n".encode()
        )
        received = everything_from(connection)
    assert statuses(received) == [405, 200]
    assert b"Allow: " in received


# --- bodies: Lambda takes less than the gateway ---


def sized_form(size: int) -> dict[str, Any]:
    return {"files": {"image": ("p.jpg", picture() + bytes(size - len(picture())))}}


@pytest.mark.parametrize(
    "kwargs",
    [
        sized_form(4_800_000),
        sized_form(9_900_000),
        sized_form(11_000_000),
        sized_form(30_000_000),
        {"data": iter([bytes(1_000_000)] * 12)},
    ],
    ids=["4.8 MB", "9.9 MB", "11 MB", "30 MB", "12 MB in chunks"],
)
def test_a_body_that_does_not_reach_lambda_is_answered_as_on_aws(api: Api, kwargs: dict[str, Any]) -> None:
    reply = api("POST", **kwargs)
    assert_is_gateway_response(reply, "REQUEST_TOO_LARGE")
    assert "/api/v1/thumbnail/upload" in reply.json()["error"]
    assert api("GET").status_code == 200


def test_a_body_that_just_reaches_lambda_is_answered_by_the_service(api: Api) -> None:
    reply = api("POST", **sized_form(4_600_000))
    assert reply.status_code == 413
    assert "4,600,000" in reply.json()["error"]
    assert "/api/v1/thumbnail/upload" in reply.json()["error"]
    assert MAX_EVENT > 4_600_000 * 4 / 3


# --- pages of other sites ---


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("127.0.0.1:8080", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("LocalHost:1", True),
        ("localhost.", True),
        ("thumbnails.localhost:8080", True),
        ("[::1]:8080", True),
        ("rebound.example", False),
        ("localhost.rebound.example", False),
        ("127.0.0.1.rebound.example", False),
        ("notlocalhost", False),
        ("192.168.1.5", False),
        ("0.0.0.0", False),
        ("", False),
        ("localhost@rebound.example", False),
        ("localhost/", False),
        ("localhost:x", False),
        ("[::1", False),
    ],
)
def test_only_local_hosts_are_served(api: Api, host: str, is_served: bool) -> None:
    with connect(api) as connection:
        connection.sendall(f"GET {PULSE} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = everything_from(connection)
    assert statuses(received) == [200 if is_served else 421]
    assert is_served or b"ALLOWED_HOSTS" in received


def test_other_hosts_are_served_where_the_user_says_so(api: Api) -> None:
    for given, host, status in (
        ({"hosts": {"box.lan"}}, "BOX.lan:80", 200),
        ({"hosts": {"box.lan"}}, "other.lan", 421),
        ({"host": "0.0.0.0"}, "192.168.1.5:8080", 200),
        ({"host": "0.0.0.0"}, "rebound.example", 421),
    ):
        server = create_server(**({"host": "127.0.0.1", "port": 0} | given))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.effective_port}{PULSE}"
        assert requests.get(url, headers={"Host": host}, timeout=60).status_code == status
        server.stop()
        thread.join(60)


def test_headers_beyond_the_bound_are_refused(api: Api) -> None:
    assert (
        requests.get(api.url + PULSE, headers={"X": "y" * (MAX_HEAD - 1000)}, timeout=60).status_code == 200
    )
    assert requests.get(api.url + PULSE, headers={"X": "y" * MAX_HEAD}, timeout=60).status_code == 431


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
            assert seconds < 29, "API Gateway waits no longer"
        assert service.wait_for_end(service.upload(content)["id"])["ready"] is True
        assert "Traceback" not in service.output
