"""How many records a page of the list has, and where the next one is."""

from chalicelib.http.parameters import whole_number

LIST_LIMIT = 1000
"""Most records of a page, and the number without `?limit=`."""


def parse_limit(text: str | None) -> int:
    """Read the parameter `limit`.

    Raises:
        BadParameter: not a whole number from 1 to `LIST_LIMIT`.

    """
    return LIST_LIMIT if text is None else whole_number("limit", text, 1, LIST_LIMIT)


def next_link(path: str, limit: int, cursor: str | None, urls: int | None = None) -> dict[str, str]:
    """The Link header (RFC 8288) to the next page, which has URLs if this one does; none after the last."""
    more = "" if urls is None else f"&urls={urls}"
    return {} if cursor is None else {"Link": f'<{path}?limit={limit}&cursor={cursor}{more}>; rel="next"'}
