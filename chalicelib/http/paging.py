"""How many records a page of the list has, and where the next one is."""

import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from chalicelib.http.parameters import whole_number
from chalicelib.records.index import cursor_after
from chalicelib.records.record import Record
from chalicelib.records.store import Page

LIST_LIMIT = 1000
"""Most records of a page, and the number without `?limit=`."""
MAX_PAGE = 6_000_000
"""Most bytes of a page in Lambda's response, which has at most 6,291,456 with its headers."""


def parse_limit(text: str | None) -> int:
    """Read the parameter `limit`.

    Raises:
        BadParameter: not a whole number from 1 to `LIST_LIMIT`.

    """
    return LIST_LIMIT if text is None else whole_number("limit", text, 1, LIST_LIMIT)


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


def next_link(path: str, limit: int, cursor: str | None, urls: int | None = None) -> dict[str, str]:
    """The Link header (RFC 8288) to the next page, which has URLs if this one does; none after the last."""
    more = "" if urls is None else f"&urls={urls}"
    return {} if cursor is None else {"Link": f'<{path}?limit={limit}&cursor={cursor}{more}>; rel="next"'}
