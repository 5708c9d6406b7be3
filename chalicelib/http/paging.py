"""How many records a page of the list has, and where the next one is."""

from chalicelib.errors import BadParameter

LIST_LIMIT = 1000
"""Most records of a page, and the number without `?limit=`."""


def parse_limit(text: str | None) -> int:
    """Read the parameter `limit`.

    Raises:
        BadParameter: not a whole number from 1 to `LIST_LIMIT`.

    """
    text = str(LIST_LIMIT) if text is None else text
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(LIST_LIMIT))
    if not is_number or not 1 <= int(text) <= LIST_LIMIT:
        raise BadParameter(f"limit must be a whole number from 1 to {LIST_LIMIT}.")
    return int(text)


def next_link(path: str, limit: int, cursor: str | None) -> dict[str, str]:
    """The Link header (RFC 8288) to the next page; none after the last one."""
    return {} if cursor is None else {"Link": f'<{path}?limit={limit}&cursor={cursor}>; rel="next"'}
