"""The health check: which dependencies answer."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from chalicelib.http.errors import ErrorResponse, retry_headers


class Health(NamedTuple):
    """The response, and the exception of each dependency that is down."""

    response: ErrorResponse
    failures: list[BaseException]


def check_health(pings: Mapping[str, Callable[[], None]]) -> Health:
    """Ask all dependencies in parallel, so that two that hang take no longer than one.

    Args:
        pings: for the name of each dependency, a call that raises when it does not answer.

    """
    with ThreadPoolExecutor(len(pings)) as pool:
        asked = {name: pool.submit(ping) for name, ping in pings.items()}
    failures = {name: error for name, answer in asked.items() if (error := answer.exception()) is not None}
    found = {name: "down" if name in failures else "up" for name in pings}
    if not failures:
        return Health(ErrorResponse(200, found, {}), [])
    sentence = f"{' and '.join(failures)} cannot be reached; try again in a moment."
    body = {"error": sentence} | found
    return Health(ErrorResponse(503, body, retry_headers(503)), list(failures.values()))
