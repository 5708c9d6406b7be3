"""S3 notifications as they really come: several records, form-encoded keys, test events, strangers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus


def created_keys(event: Any, *, bucket: str, prefix: str) -> list[str]:
    """List the keys of the objects that the event reports as created, each once, in order.

    What is not an `ObjectCreated` record of S3 (the test event that S3 sends when notifications are
    set up, records of other sources or kinds, other buckets or prefixes, the empty objects that
    consoles show as folders) is passed over: it is not for this function, and a retry would not
    change that.

    Args:
        event: the notification's JSON, format version 2.x; of any other JSON nothing is created.
        bucket: name of the bucket whose objects count.
        prefix: what the keys that count start with.

    """
    found: dict[str, None] = {}
    records = event.get("Records") if isinstance(event, Mapping) else None
    for record in records if isinstance(records, list) else []:
        try:
            kind = record["eventName"].removeprefix("s3:")
            source, where, item = (
                record["eventSource"],
                record["s3"]["bucket"]["name"],
                record["s3"]["object"],
            )
            key, size = unquote_plus(item["key"]), item.get("size")
            key.encode()  # S3's keys are UTF-8; what is not cannot be one
        except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
            continue
        is_folder = key.endswith("/") and not size
        if source == "aws:s3" and kind.startswith("ObjectCreated:") and where == bucket and not is_folder:
            found[key] = None
    return [key for key in found if key.startswith(prefix)]
