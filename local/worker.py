"""Hands S3's notifications to `app.make_thumbnail`, two at a time."""

import sys
import threading

from app import make_thumbnail
from local.notifications import deliver
from local.processes import end_with_parent
from local.readable import make_logs_readable

CONCURRENCY = 2


def main(queue_url: str) -> None:
    """Deliver until SIGTERM. What was not finished by then is delivered again to the next worker."""
    end_with_parent()
    make_logs_readable()
    stop = threading.Event()
    for _ in range(CONCURRENCY):
        threading.Thread(target=deliver, args=(queue_url, make_thumbnail, stop), daemon=True).start()
    stop.wait()


if __name__ == "__main__":
    main(sys.argv[1])
