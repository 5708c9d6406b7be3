"""Fetch one small document over HTTP, in bounded time and size."""

import socket
import threading
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

SECONDS = 3
"""How long to wait for a connection, and then for the whole answer."""
MAX_BYTES = 256 * 1024
"""The largest document that is taken; the key sets of large issuers have some ten kilobytes."""

_OK = 200


def fetch(url: str) -> bytes:
    """Get the document at an `http` or `https` URL. Redirections are not followed: they could lead anywhere.

    Raises:
        OSError: it does not come in time, is too large, or the answer is not 200.

    """
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    with closing(kind(address.hostname or "", address.port, timeout=SECONDS)) as connection:
        connection.connect()
        # A socket's timeout starts again with each byte; this one bounds the whole answer.
        late = threading.Event()
        watchdog = threading.Timer(SECONDS, _cut, [connection.sock, late])
        watchdog.start()
        try:
            connection.request("GET", target, headers={"Accept": "application/json"})
            with connection.getresponse() as reply:
                content = reply.read(MAX_BYTES + 1)
        except (HTTPException, ValueError) as error:  # the latter: a TLS connection that was cut
            raise OSError(f"{url} cannot be read: {type(error).__name__}") from error
        finally:
            watchdog.cancel()
    if late.is_set():
        raise TimeoutError(f"{url} took longer than {SECONDS} s")
    if reply.status != _OK:
        raise OSError(f"{url} answered {reply.status}")
    if len(content) > MAX_BYTES:
        raise OSError(f"{url} has more than {MAX_BYTES:,} bytes")
    return content


def _cut(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    # It may have been closed at this very moment.
    with suppress(OSError):
        # Below TLS, whose own shutdown only the thread that reads may call.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
