"""Compare-and-set of a Redis hash by its revision: the one way in which records and checkpoints change."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.records.hashes import as_fields
from chalicelib.records.redis_errors import redis_errors

if TYPE_CHECKING:
    import redis

_ABSENT = "absent"  # as in the script; revisions are hexadecimal
_SCRIPT = Path(__file__).with_name("replace.lua").read_text(encoding="utf-8")


class Replace:
    """Calls `replace.lua`.

    Raises `RecordStoreUnavailable` when Redis does not answer, or its memory is full.
    """

    def __init__(self, client: "redis.Redis") -> None:
        """Use `client`, which must decode responses to text."""
        self._replace = client.register_script("#!lua\n" + _SCRIPT)
        self._replace_when_full = client.register_script("#!lua flags=allow-oom\n" + _SCRIPT)

    def __call__(
        self,
        key: str,
        revision: str | None,
        fields: Mapping[str, str],
        *,
        allowed_when_full: bool,
        seconds_to_live: int = 0,
    ) -> dict[str, str] | None:
        """Replace a hash if its revision is still the one that the writer has read.

        Args:
            key: the hash.
            revision: the one that was read, empty for a hash without a revision, None for no hash.
            fields: what to store, a new revision among it; nothing drops the hash.
            allowed_when_full: whether this may be done when Redis's memory is full.
            seconds_to_live: after which Redis drops the hash; 0 for never.

        Returns:
            None when it is replaced; else all fields as they are, none when there is no hash.

        """
        script = self._replace_when_full if allowed_when_full else self._replace
        flat = [part for field in fields.items() for part in field]
        with redis_errors():
            reply: Any = script(
                keys=[key], args=[_ABSENT if revision is None else revision, seconds_to_live, *flat]
            )
        if reply == "OK":
            return None
        return as_fields(reply)
