"""Which web pages may use the API, and how browsers are told.

Follows https://fetch.spec.whatwg.org/#http-cors-protocol.

Cookies play no part, so that no answer ever allows credentials; tokens are sent by the page itself.
"""

from collections.abc import Iterable

ANY = "*"
EXPOSED = ("Location", "Link", "Retry-After", "ETag", "Content-Disposition", "WWW-Authenticate")
"""Headers of answers that pages may read, beside those that every page may."""
ACCEPTED = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Api-Key")
"""Headers of requests that pages may send."""
MAX_AGE_SECONDS = 3600
"""How long a browser may remember what a preflight said."""


def headers(allowed: tuple[str, ...], origin: str | None) -> dict[str, str]:
    """What every answer says to the browser of a page.

    Args:
        allowed: the origins whose pages may read it; `(ANY,)` stands for all.
        origin: the request's Origin header.

    """
    if ANY in allowed:
        return _readable_by(ANY)
    # Also where nobody is let in: a cache must not give this answer to a page of another origin.
    return {"Vary": "Origin"} | (_readable_by(origin) if origin in allowed and origin is not None else {})


def fixed_headers(allowed: tuple[str, ...]) -> dict[str, str]:
    """What a gateway's own answers say, which are the same for all pages and tell nothing of anybody.

    They can name one origin; where several are allowed, it takes `*` for all of them to see what went wrong.
    """
    return _readable_by(allowed[0] if len(allowed) == 1 else ANY)


def preflight_headers(methods: Iterable[str]) -> dict[str, str]:
    """What the answer to a preflight says beside: the path's methods, and what may be sent."""
    return {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ", ".join(ACCEPTED),
        "Access-Control-Max-Age": str(MAX_AGE_SECONDS),
    }


def _readable_by(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": ", ".join(EXPOSED),
    }
