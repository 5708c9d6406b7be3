"""A client of the WebSocket protocol (RFC 6455), as far as driving a browser on this machine needs it.

The packages that the tests install have none.
"""

import itertools
import os
import socket
from base64 import b64encode
from typing import Self

_TEXT, _CONTINUED, _CLOSE, _PING, _PONG = 1, 0, 8, 9, 10


class WebSocket:
    """A connection; a context manager. Waits at most `timeout` seconds for each piece of an answer."""

    def __init__(self, host: str, port: int, path: str, *, timeout: float = 60) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._reader = self._socket.makefile("rb")
        key = b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        status = self._reader.readline()
        while self._reader.readline() not in {b"\r\n", b""}:
            pass
        if b" 101 " not in status:
            raise ConnectionError(f"no WebSocket: {status!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, text: str) -> None:
        """Send one message."""
        self._send(_TEXT, text.encode())

    def receive(self) -> str:
        """Wait for the next message."""
        message = b""
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length >= 126:
                length = int.from_bytes(self._read(2 if length == 126 else 8))
            content, code = self._read(length), first & 0x0F
            if code == _PING:
                self._send(_PONG, content)
            elif code == _CLOSE:
                raise ConnectionError("the other side has closed the WebSocket")
            elif code in {_TEXT, _CONTINUED}:
                message += content
                if first & 0x80:
                    return message.decode()

    def _send(self, code: int, content: bytes) -> None:
        size = len(content)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = bytes([0x80 | 126]) + size.to_bytes(2)
        else:
            length = bytes([0x80 | 127]) + size.to_bytes(8)
        mask = os.urandom(4)
        masked = bytes(byte ^ part for byte, part in zip(content, itertools.cycle(mask), strict=False))
        self._socket.sendall(bytes([0x80 | code]) + length + mask + masked)

    def _read(self, size: int) -> bytes:
        content = self._reader.read(size)
        if len(content) < size:
            raise ConnectionError("the WebSocket has ended")
        return content
