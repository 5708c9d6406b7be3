"""Where running local services keep their data: for `make reconcile`, `make rebuild` in another terminal."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".run"
NOTED = (
    *("BUCKET", "REDIS_URL", "REDIS_CLUSTER", "INDEX_PARTITIONS", "AWS_ENDPOINT_URL"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
    *("RETENTION", "RETENTION_AFTER_DOWNLOAD", "KEEP_ORIGINALS", "MAX_ORIGINAL_BYTES", "MAX_PIXELS"),
    "EVENTS",
    *("THUMBNAIL_SIZE", "THUMBNAIL_FIT", "THUMBNAIL_QUALITY", "THUMBNAIL_BACKGROUND", "THUMBNAIL_CROP"),
    *("THUMBNAIL_SIZES", "WATERMARK", "WATERMARK_SHARE", "WATERMARK_FOR"),
    *("AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_ALGORITHM", "AUTH_JWKS_URL", "AUTH_SECRET", "AUTH_CLIENT_ID"),
)
"""Settings that maintenance has to share with the running service; the others are the API's alone."""


def note(port: int, env: Mapping[str, str]) -> None:
    """Write down where the service of this process, on this port, keeps its data; for its user alone."""
    FOLDER.mkdir(exist_ok=True)
    noted = {name: env[name] for name in NOTED if env.get(name)}
    path = FOLDER / f"{port}.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"pid": os.getpid(), "environment": noted}, file)


def forget(port: int) -> None:
    """Take the note away when the service stops."""
    (FOLDER / f"{port}.json").unlink(missing_ok=True)


def environment(port: int) -> dict[str, str]:
    """Find the environment of the service on a port; empty where none runs."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = json.loads((FOLDER / f"{port}.json").read_text())
        os.kill(found["pid"], 0)
        noted: dict[str, str] = found["environment"]
        return noted
    return {}
