"""Hands S3's notifications to `app.make_thumbnail`, four at a time, and calls `app.reconcile` every minute.

Publishes events beside it.
"""

import os
import sys
import threading

from chalice.local import LambdaContext

from app import make_thumbnail, reconcile
from chalicelib.errors import ServiceError
from chalicelib.services import log, processor, settings
from local.events import Publisher, Webhook
from local.log_format import make_logs_readable
from local.notifications import Deliveries, queue_client
from local.processes import end_with_parent

CONCURRENCY = 4
RECONCILE_SECONDS = 60
_RUN_MS = 5 * 60 * 1000


def main(queue_url: str) -> None:
    """Deliver until SIGTERM. What was not finished by then is delivered again to the next worker."""
    end_with_parent()
    make_logs_readable()
    # Made before the threads are: making clients is not thread-safe in boto3, using them is.
    processor()
    stop = threading.Event()
    deliveries = Deliveries(queue_client(), queue_url, make_thumbnail, stop)
    for _ in range(CONCURRENCY):
        threading.Thread(target=deliveries.run, daemon=True).start()
    if settings().events:
        publisher = Publisher(processor().store, settings().bucket, Webhook.from_env(os.environ))
        threading.Thread(target=publisher.run, args=(stop,), daemon=True).start()
    while not stop.wait(RECONCILE_SECONDS):
        try:
            reconcile({}, LambdaContext("reconcile", memory_size=2048, max_runtime_ms=_RUN_MS))
        except ServiceError:
            log.exception("to be reconciled later")


if __name__ == "__main__":
    main(sys.argv[1])
