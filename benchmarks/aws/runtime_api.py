"""A function as Lambda runs it: a fresh process under AWS's runtime client, which asks an API for events.

The process is AWS's own client (PyPI `awslambdaric`), which imports the handler and then polls
`AWS_LAMBDA_RUNTIME_API`; that side, Lambda's, is played here. Linux only, as the client is.
"""

import ctypes
import json
import queue
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_NEXT = "/2018-06-01/runtime/invocation/next"
_PATIENCE_SECONDS = 120
_libc = ctypes.CDLL(None, use_errno=True)


class FunctionFailed(Exception):
    """The function could not be imported, raised, or died; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a phase took, in milliseconds: on the clock, and on the processors.

    On a machine that others use too, only the second is the function's own.
    """

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class _Message:
    path: str
    body: bytes
    wall: float
    cpu: float


class Function:
    """One execution environment: entering starts the process, leaving kills it.

    Args:
        python: the interpreter; `awslambdaric` has to be importable for it.
        handler: `module.function`.
        folder: where the code lies; becomes the working directory.
        environment: all variables of the process but those that the runtime client needs.
        stderr: file that what the process writes to standard error is appended to.

    """

    def __init__(
        self, python: Path, handler: str, folder: Path, environment: Mapping[str, str], stderr: Path
    ) -> None:
        self._messages: queue.Queue[_Message] = queue.Queue()
        self._events: queue.Queue[bytes | None] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_class(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._command = [str(python), "-m", "awslambdaric", handler]
        self._folder = folder
        self._stderr = stderr
        self._environment = {
            **environment,
            "_HANDLER": handler,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": handler.replace(".", "-"),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": str(folder),
        }
        self._last = (0.0, 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        with self._stderr.open("ab") as stderr:
            self._last = (time.perf_counter(), 0.0)
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        self._clock = ctypes.c_int()
        if _libc.clock_getcpuclockid(self._process.pid, ctypes.byref(self._clock)) != 0:
            raise OSError("this system does not tell the processor time of another process")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._events.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def initialise(self) -> Cost:
        """Wait until the process asks for its first event; what came before is Lambda's init phase."""
        return self._until(_NEXT)[0]

    def invoke(self, event: Mapping[str, Any]) -> tuple[Cost, Any]:
        """Hand it an event, and wait for the answer and until it asks for more."""
        self._last = (time.perf_counter(), time.clock_gettime(self._clock.value))
        self._events.put(json.dumps(event).encode())
        cost, body = self._until("/response")
        self._until(_NEXT)
        return cost, json.loads(body)

    def _until(self, wanted: str) -> tuple[Cost, bytes]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                message = self._messages.get(timeout=0.5)
            except queue.Empty:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise FunctionFailed(self._said()) from None
                continue
            if message.path.endswith("/error"):
                raise FunctionFailed(message.body.decode(errors="replace"))
            if message.path.endswith(wanted):
                cost = Cost((message.wall - self._last[0]) * 1000, (message.cpu - self._last[1]) * 1000)
                self._last = (message.wall, message.cpu)
                return cost, message.body

    def _said(self) -> str:
        return f"the function did not answer; it said:\n{self._stderr.read_text(errors='replace')[-2000:]}"

    def receive(self, path: str, body: bytes) -> None:
        """Take note of a request of the runtime client, and of the time."""
        self._messages.put(
            _Message(path, body, time.perf_counter(), time.clock_gettime(self._clock.value)),
        )

    def next_event(self) -> bytes | None:
        """Wait for an event to hand out; None at the end."""
        return self._events.get()


def _handler_class(function: Function) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            function.receive(self.path, b"")
            event = function.next_event()
            if event is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
            self.send_header("Lambda-Runtime-Deadline-Ms", str(time.time_ns() // 1_000_000 + 60_000))
            self.send_header(
                "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
            )
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(event)))
            self.end_headers()
            self.wfile.write(event)

        def do_POST(self) -> None:
            function.receive(self.path, self._body())
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
