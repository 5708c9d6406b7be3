"""Records as a request's client wants them."""

from collections.abc import Callable
from typing import Any

from chalicelib.records import lifecycle
from chalicelib.records.codec import as_json, rfc3339
from chalicelib.records.record import Record
from chalicelib.work.download import Downloader


def shower(pictures: Downloader, url_seconds: int | None) -> Callable[[Record], dict[str, Any]]:
    """What shows records: with URLs, if they are wanted, each says when its picture came as `created`.

    Args:
        pictures: who makes the URLs.
        url_seconds: for how long they shall be valid; None: none are wanted.

    Raises:
        ExpiresAfterDownload: URLs are wanted, and there are none in this deployment.

    """
    if url_seconds is None:
        return as_json
    url_of = pictures.url_maker(url_seconds)

    def show(record: Record) -> dict[str, Any]:
        shown = as_json(record) | {"created": rfc3339(record.created_ms)}
        return shown | ({"url": url_of(record).url} if lifecycle.is_ready(record) else {})

    return show
