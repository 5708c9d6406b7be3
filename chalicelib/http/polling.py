"""When clients ask again for a record that is not at its end."""

from chalicelib.records import lifecycle
from chalicelib.records.record import Record

POLL_SECONDS = 1
"""Most thumbnails are ready within half of it; `Retry-After` has whole seconds only (RFC 9110, 10.2.3)."""


def poll_headers(record: Record) -> dict[str, str]:
    """`Retry-After` for as long as the record can still change by itself."""
    return {"Retry-After": str(POLL_SECONDS)} if lifecycle.is_waiting(record) else {}
