"""How long caches may keep a thumbnail, and whether a client has it already (RFC 9110, RFC 9111)."""

from email.utils import formatdate

from chalicelib.records.record import Record

ONE_DAY = 24 * 3600
"""Seconds that a thumbnail is kept without asking again: `make remake` may replace it, under the same URL."""


def headers(record: Record, tag: str, now_ms: int, *, expires_after_download: bool) -> dict[str, str]:
    """Headers of a thumbnail with this entity tag; the other arguments are those of `cache_control`."""
    return {
        "ETag": f'"{tag}"',
        "Cache-Control": cache_control(record, now_ms, expires_after_download=expires_after_download),
        "Last-Modified": last_modified(record),
    }


def cache_control(record: Record, now_ms: int, *, expires_after_download: bool) -> str:
    """Cache-Control of a thumbnail: not beyond its expiry, and revalidated if it may be replaced.

    Args:
        record: the record of the thumbnail.
        now_ms: the time, in milliseconds since the epoch.
        expires_after_download: whether a download lets the picture expire.

    """
    if expires_after_download:
        return "no-store"
    if record.owner is not None:
        return "private, no-cache"
    if record.may_be_overwritten(record.object_key):
        return "public, no-cache"
    seconds = ONE_DAY if record.ends_ms is None else (record.ends_ms - now_ms) // 1000
    return f"public, max-age={max(0, min(seconds, ONE_DAY))}"


def last_modified(record: Record) -> str:
    """Last-Modified (RFC 9110, 8.8.2): when the picture came. An entity tag tells versions of it apart."""
    return formatdate(record.created_ms / 1000, usegmt=True)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Compare an If-None-Match header with an entity tag, weakly (RFC 9110, 13.1.2)."""
    given = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return "*" in given or f'"{etag}"' in given
