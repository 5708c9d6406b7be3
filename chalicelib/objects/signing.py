"""Presigned URLs: each lets its holder read one object for a while (Signature Version 4 in the query string).

Signed by the SDK's own signer, with what costs most done once: a list of records has up to a thousand URLs,
and the client's `generate_presigned_url` would resolve the endpoint anew for each. Nothing is sent.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from botocore.credentials import Credentials


class PresignedUrl(NamedTuple):
    """`url` can be fetched, and shown by an `<img>`, until `expires_ms` (milliseconds since the epoch)."""

    url: str
    expires_ms: int


class UrlSigner:
    """Signs URLs of one bucket."""

    def __init__(self, credentials: "Credentials | None", region: str, base: str) -> None:
        """Sign with `credentials`, for `region`, what lies below `base`.

        `base` is the bucket's URL as clients reach it, with a slash at its end: its host is signed, too.
        """
        self._credentials = credentials
        self._region = region
        self._base = base

    def url_of(self, key: str) -> str:
        """Where clients find an object, which S3 shows them only by a signed URL."""
        return self._base + quote(key, safe="/~")

    def sign(self, key: str, *, now_ms: int, until_ms: int) -> PresignedUrl:
        """Sign a GET of an object.

        The URL is valid until `until_ms` at most, in whole seconds and one at least: less long where the
        credentials are known to end before, since the URL ends with them. `now_ms` is the time. Both are in
        milliseconds since the epoch.

        Raises:
            NoCredentialsError: there are none.

        """
        if self._credentials is None:
            raise NoCredentialsError
        # One look, since they may be renewed meanwhile: key and secret must be a pair.
        frozen = self._credentials.get_frozen_credentials()
        # Of the SDK's kinds of credentials, those have it that are renewed. Lambda does not tell when its
        # environment's credentials end.
        ends = getattr(self._credentials, "_expiry_time", None)
        until_ms = until_ms if ends is None else min(until_ms, int(ends.timestamp() * 1000))
        seconds = max(1, (until_ms - now_ms) // 1000)
        # Else each browser would guess how long it may show the picture without asking.
        query = urlencode({"response-cache-control": f"private, max-age={seconds}"}, quote_via=quote)
        request = AWSRequest("GET", f"{self.url_of(key)}?{query}")
        S3SigV4QueryAuth(frozen, "s3", self._region, expires=seconds).add_auth(request)
        signed = datetime.strptime(request.context["timestamp"], SIGV4_TIMESTAMP).replace(tzinfo=UTC)
        return PresignedUrl(request.prepare().url, (int(signed.timestamp()) + seconds) * 1000)
