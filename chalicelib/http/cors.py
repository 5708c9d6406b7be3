"""Cross-origin resource sharing: which web pages may use the API, as response headers.

Follows https://fetch.spec.whatwg.org/#http-cors-protocol.

The service uses no cookies, so that no answer allows credentials; the page itself sends tokens.
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
    """Headers of every answer, for the browser of a page.

    Args:
        allowed: the origins whose pages may read it; `(ANY,)` stands for all.
        origin: the request's Origin header.

    """
    if ANY in allowed:
        return _readable_by(ANY)
    # Also for an origin that is not allowed: a cache must not give this answer to a page of another one.
    return {"Vary": "Origin"} | (_readable_by(origin) if origin in allowed and origin is not None else {})


def fixed_headers(allowed: tuple[str, ...]) -> dict[str, str]:
    """Headers of a gateway's own answers, which are the same for all pages and hold no client's data.

    They can name one origin only; `*`, where several are allowed, lets all of them read the error.
    """
    return _readable_by(allowed[0] if len(allowed) == 1 else ANY)


def preflight_headers(methods: Iterable[str]) -> dict[str, str]:
    """Further headers of the answer to a preflight: the path's methods, and which headers may be sent."""
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
