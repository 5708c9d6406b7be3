"""Records as a request's client wants them."""

import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from chalicelib.records import lifecycle
from chalicelib.records.codec import as_json, rfc3339
from chalicelib.records.index import cursor_after
from chalicelib.records.record import Record
from chalicelib.records.store import Page
from chalicelib.work.download import Downloader

MAX_PAGE = 6_000_000
"""Most bytes of a page in Lambda's response, which has at most 6,291,456 with its headers."""


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


def show_fitting(
    page: Page, show: Callable[[Record], dict[str, Any]], max_bytes: int = MAX_PAGE
) -> tuple[list[dict[str, Any]], str | None]:
    """Show the records of a page, from the first on, that fit into Lambda's response; at least one of some.

    The response is JSON whose body is the list's JSON as a string: a character of a file name or an object
    key takes 7 to 14 bytes there if it is not ASCII.

    Returns:
        the records, and the cursor of those that follow.

    """
    shown = [show(record) for record in page.records]
    # A string of ASCII takes at most twice its length in JSON, so that most pages need no closer look.
    if 2 * len(json.dumps(shown)) <= max_bytes:
        return shown, page.cursor
    sizes = accumulate(len(json.dumps(json.dumps(record))) for record in shown)
    fitting = max(1, sum(size <= max_bytes for size in sizes))
    return shown[:fitting], page.cursor if fitting == len(shown) else cursor_after(page.records[fitting - 1])
