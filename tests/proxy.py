"""A TCP proxy on loopback that can be told to misbehave, to stand between the service and a real server."""

import contextlib
import socket
import threading
from enum import StrEnum
from typing import Self


class Mode(StrEnum):
    """What the proxy does with connections, old and new."""

    OPEN = "open"
    """Passes everything on."""
    CUT = "cut"
    """Closes every connection, as a server does that has died."""
    HANG = "hang"
    """Accepts and stays silent, as a server does that is stuck."""


class Proxy:
    """Forwards to `host:port`; a context manager that listens on `port`, a free one."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        """Where new connections lead."""
        self._mode = Mode.OPEN
        self._requests_left: int | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.become(Mode.CUT)

    def become(self, mode: Mode, *, after_requests: int = 0) -> None:
        """Change the behaviour, now or after that many more requests (pieces that clients send)."""
        with self._lock:
            if after_requests:
                self._requests_left = after_requests
                self._next_mode = mode
            else:
                self._requests_left = None
                self._switch(mode)

    def _switch(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.CUT:
            for connection in tuple(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            self._enter(stack, client)
            if self._mode is Mode.CUT:
                return
            server = socket.create_connection(self.target, timeout=60)
            server.settimeout(None)
            self._enter(stack, server)
            back = threading.Thread(target=self._copy, args=(server, client, False), daemon=True)
            back.start()
            self._copy(client, server, True)
            back.join()

    def _enter(self, stack: contextlib.ExitStack, connection: socket.socket) -> None:
        stack.enter_context(connection)
        with self._lock:
            self._open.add(connection)
        stack.callback(self._open.discard, connection)

    def _copy(self, source: socket.socket, sink: socket.socket, are_requests: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if are_requests:
                    self._count()
                if self._mode is not Mode.HANG:
                    sink.sendall(piece)
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _count(self) -> None:
        with self._lock:
            if self._requests_left is not None:
                if self._requests_left == 0:
                    self._requests_left = None
                    self._switch(self._next_mode)
                else:
                    self._requests_left -= 1
