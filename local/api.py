"""Serves `app.py` over HTTP."""

import os
import sys

from chalicelib.services import bucket, store
from local.gateway import create_server
from local.hosts import allowed_hosts
from local.log_format import make_logs_readable
from local.processes import end_with_parent


def main(host: str, port: int) -> None:
    """Serve until SIGTERM."""
    end_with_parent()
    make_logs_readable()
    # Made before the threads are: making clients is not thread-safe in boto3, using them is.
    bucket()
    store()
    create_server(host, port, hosts=allowed_hosts(os.environ)).run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
