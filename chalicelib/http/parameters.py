"""Query parameters, each held to its bounds. All raise `BadParameter` for one that is not within them."""

from collections.abc import Mapping

from chalicelib.errors import BadParameter

URL_SECONDS = (60, 3600)
"""For how many seconds, at least and at most, a URL may be asked: the session that signs it may end then."""
DEFAULT_URL_SECONDS = 900
"""For how many seconds a URL is valid if the request does not say."""
MOST_KEY_BYTES = 1024
"""S3's bound of an object key, in UTF-8."""


def whole_number(name: str, text: str, low: int, high: int) -> int:
    """Read a whole number from `low` to `high`."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(high))
    if not is_number or not low <= int(text) <= high:
        raise BadParameter(f"{name} must be a whole number from {low} to {high}.")
    return int(text)


def seconds(query: Mapping[str, str]) -> int:
    """For how many seconds the URL shall be valid."""
    return whole_number("seconds", query.get("seconds", str(DEFAULT_URL_SECONDS)), *URL_SECONDS)


def urls(query: Mapping[str, str]) -> int | None:
    """For how many seconds the URLs in records shall be valid; None if there shall be none."""
    return whole_number("urls", query["urls"], *URL_SECONDS) if "urls" in query else None


def object_key(query: Mapping[str, str]) -> str | None:
    """The object key whose record is asked for; None if none is."""
    if "key" not in query:
        return None
    try:
        size = len(query["key"].encode())
    except UnicodeEncodeError:  # half a character, which no object key can have
        size = 0
    if not 1 <= size <= MOST_KEY_BYTES:
        raise BadParameter(f"key must be an object key, of 1 to {MOST_KEY_BYTES} bytes.")
    if "cursor" in query:
        raise BadParameter("key and cursor cannot be combined; a key has one record at most.")
    return query["key"]
