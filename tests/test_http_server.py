"""RFC 9112 by line: what is not well-formed is refused, and nothing of it is read as the next request."""

import json
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from local import http_server, processes
from local.http_server import MAX_BODY
from tests.conftest import Api, picture
from tests.test_gateway import HOST, PULSE, connect, everything_from, statuses

DELETE = f"DELETE /api/v1/thumbnail/ID HTTP/1.1\r\n{HOST}\r\n\r\n"


def post(*lines: str, body: str = "") -> str:
    return "\r\n".join(("POST /api/v1/thumbnail HTTP/1.1", HOST, *lines, "", body))


def chunked(body: str) -> str:
    return post("Transfer-Encoding: chunked", body=body)


REFUSED = {
    # 2.2, 3
    "a header as long as a buffer": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nX: {'y' * 65_534}", 431),
    "a bare CR in a header": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nX: a\rY: b\r\n\r\n", 400),
    "a bare CR in the start line": (f"GET {PULSE}\r HTTP/1.1\r\n{HOST}\r\n\r\n", 400),
    "bare LFs": (f"GET {PULSE} HTTP/1.1\n{HOST}\n\n\r\n\r\n", 400),
    "a NUL": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nX: a\0b\r\n\r\n", 400),
    "an escape sequence": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nX: \x1b[2J\r\n\r\n", 400),
    "a method in lower case": (f"get {PULSE} HTTP/1.1\r\n{HOST}\r\n\r\n", 400),
    "no version": (f"GET {PULSE}\r\n{HOST}\r\n\r\n", 400),
    "another version": (f"GET {PULSE} HTTP/2.0\r\n{HOST}\r\n\r\n", 400),
    "two spaces": (f"GET  {PULSE} HTTP/1.1\r\n{HOST}\r\n\r\n", 400),
    # 3.2
    "no Host": (f"GET {PULSE} HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\n{HOST}\r\n\r\n", 400),
    "a target that is no URL": (f"GET http://[ HTTP/1.1\r\n{HOST}\r\n\r\n", 400),
    # 5
    "a space before the colon": (post("Content-Length : 5", body="hello"), 400),
    "a tab before the colon": (post("Content-Length\t: 5", body="hello"), 400),
    "a line without a colon": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nnonsense\r\n\r\n", 400),
    "a line without a name": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\n: x\r\n\r\n", 400),
    "a folded line": (f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nX: a\r\n b\r\n\r\n", 400),
    "a folded line at first": (f"GET {PULSE} HTTP/1.1\r\n X: a\r\n{HOST}\r\n\r\n", 400),
    "two Authorization headers": (
        f"GET {PULSE} HTTP/1.1\r\n{HOST}\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        400,
    ),
    # 6.1
    "a coding in HTTP/1.0": (
        f"POST /api/v1/thumbnail HTTP/1.0\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked and identity": (post("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400),
    "chunked, identity": (post("Transfer-Encoding: chunked, identity", body="0\r\n\r\n"), 400),
    "identity": (post("Transfer-Encoding: identity"), 400),
    "an empty coding": (post("Transfer-Encoding:", body="0\r\n\r\n"), 400),
    "a coding with a vertical tab": (post("Transfer-Encoding: \x0bchunked", body="0\r\n\r\n"), 400),
    "a length and a coding": (post("Content-Length: 5", "Transfer-Encoding: chunked", body="0\r\n\r\n"), 400),
    # 6.2
    "two lengths": (post("Content-Length: 5", "Content-Length: 0", body="hello"), 400),
    "two equal lengths": (post("Content-Length: 5", "Content-Length: 5", body="hello"), 400),
    "a list of lengths": (post("Content-Length: 5, 5", body="hello"), 400),
    "an empty length": (post("Content-Length:"), 400),
    **{
        f"length {value}": (post(f"Content-Length: {value}"), 400)
        for value in ("+5", "-5", "0x5", "5_0", "5 5")
    },
    # 7.1
    **{
        f"chunk size {size!r}": (chunked(f"{size}\r\nabc\r\n0\r\n\r\n"), 400)
        for size in ("0x3", "+3", "-3", "1_0", " 3", "3 ", "", "3\n", "g", "3\r", "123456789", "3;\x00")
    },
    "a chunk that ends without CRLF": (chunked("3\r\nabcd\r\n0\r\n\r\n"), 400),
    "an empty line before a chunk": (chunked("\r\n3\r\nabc\r\n0\r\n\r\n"), 400),
    "an endless chunk extension": (chunked(f"3;{'x' * 5000}"), 400),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize(
    "in_pieces", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["whole", "in pieces"]
)
def test_what_is_not_well_formed_is_refused_and_ends_the_connection(
    api: Api, sent: str, status: int, in_pieces: bool
) -> None:
    record = api.upload()
    hidden = DELETE.replace("ID", record["id"])
    with connect(api) as connection:
        with suppress(OSError):
            if in_pieces:
                for start in range(0, min(len(sent), 200)):
                    connection.sendall(sent[start : start + 1].encode("latin-1"))
                connection.sendall(sent[200:].encode("latin-1"))
            else:
                connection.sendall(sent.encode("latin-1"))
            connection.sendall(hidden.encode())
        received = everything_from(connection)
    assert statuses(received) == [status]
    assert list(json.loads(received.partition(b"\r\n\r\n")[2])) == ["error"]
    assert b"Connection: close" in received
    assert api("GET", f"/{record['id']}").status_code == 200


def test_a_broken_off_body_leaves_no_trace(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    for body in ("3\r\nab", "3\r\nabc\r\n", "3", ""):
        with connect(api) as connection:
            connection.sendall(chunked(body).encode())
            connection.shutdown(socket.SHUT_WR)
    with connect(api) as connection:
        connection.sendall(post("Content-Length: 50", body="hello").encode())
    assert api("GET").json() == []
    assert not [record for record in caplog.records if record.exc_info]


def test_well_formed_requests_of_each_kind_are_taken_on_one_connection(api: Api) -> None:
    boundary = "multipart/form-data; boundary=b"
    form = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n'
        + picture()
        + b"\r\n--b--"
    )
    pieces = [form[at : at + 700] for at in range(0, len(form), 700)]
    chunks = (
        b"".join(b"%X;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\n"
    )
    head = f"POST /api/v1/thumbnail HTTP/1.1\r\n{HOST}\r\nContent-Type: {boundary}\r\n".encode()
    with connect(api) as connection:
        connection.sendall(
            b"\r\n"  # 2.2: some clients send it after a form
            + head
            + b"Transfer-Encoding: Chunked\r\n\r\n"
            + chunks
            + head
            + b"Content-Length: %d\r\n\r\n" % len(form)
            + form
            + f"GET http://localhost{PULSE} HTTP/1.1\r\n{HOST}\r\n\r\n".encode()
            + f"HEAD {PULSE} HTTP/1.1\r\n{HOST}\r\n\r\n".encode()
            + f"OPTIONS {PULSE} HTTP/1.1\r\n{HOST}\r\n\r\n".encode()
            + f"GET {PULSE}?a=b&c HTTP/1.0\r\n{HOST}\r\n\r\n".encode()
        )
        received = everything_from(connection)
    assert statuses(received) == [201, 201, 200, 200, 204, 200]


def test_a_target_that_names_another_host_is_not_served(api: Api) -> None:
    with connect(api) as connection:
        connection.sendall(
            f"GET http://evil.example{PULSE} HTTP/1.1\r\n{HOST}\r\nConnection: close\r\n\r\n".encode()
        )
        assert statuses(everything_from(connection)) == [404]


def test_a_client_that_asks_before_it_sends_is_answered(api: Api) -> None:
    for length, expected in ((MAX_BODY + 1, [413]), (5, [100, 400]), (0, [400])):
        with connect(api) as connection:
            connection.sendall(
                post("Expect: 100-continue", f"Content-Length: {length}", "Connection: close").encode()
            )
            received = b""
            while not statuses(received):
                received += connection.recv(65536)
            if statuses(received) == [100]:
                connection.sendall(b"hello")
            received += everything_from(connection)
        assert statuses(received) == expected


@pytest.mark.parametrize("in_time", [True, False])
def test_a_request_at_work_is_answered_by_a_server_that_stops(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, in_time: bool
) -> None:
    """One that takes too long is given up, and no error when it ends."""
    asked, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def app(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        asked.set()
        go_on.wait(0.5 if in_time else 60)
        ended.set()
        return [b"ok"]

    monkeypatch.setattr(http_server, "STOP_SECONDS", 60 if in_time else 0.1)
    server = http_server.Server(app, lambda *_: ([], b""), ("127.0.0.1", 0), threads=1)
    running = threading.Thread(target=server.run)
    running.start()
    with socket.create_connection(("127.0.0.1", server.effective_port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asked.wait(60)
        server.stop()
        running.join(60)
        assert ended.is_set() is in_time
        assert everything_from(client).endswith(b"ok") is in_time
    go_on.set()
    assert ended.wait(60)
    server.pull_trigger()  # as the thread of the late answer does
    assert not [record for record in caplog.records if record.exc_info]


def test_a_server_has_time_to_stop() -> None:
    assert http_server.STOP_SECONDS < processes.STOP_SECONDS
