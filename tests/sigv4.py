"""Verifies presigned URLs as S3 does, from AWS's description of Signature Version 4, without the SDK.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

SECRETS = {"test": "test"}
"""Secret keys by their ids: what S3 knows."""


def answer_of_s3(url: str, at: datetime | None = None) -> int:
    """The status of S3's answer to a GET of a presigned URL of an object that is there."""
    address = urlsplit(url)
    given = dict(parse_qsl(address.query, keep_blank_values=True))
    signature = given.pop("X-Amz-Signature", "")
    try:
        key_id, day, region, service, end = given["X-Amz-Credential"].split("/")
        signed = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        ends = signed + timedelta(seconds=int(given["X-Amz-Expires"]))
        secret = SECRETS[key_id]
    except (KeyError, ValueError):
        return 403
    query = "&".join(f"{quote(name, safe='~')}={quote(given[name], safe='~')}" for name in sorted(given))
    # Only the host is signed, and it is that of the request.
    canonical = "\n".join(
        ["GET", address.path, query, f"host:{address.netloc}", "", "host", "UNSIGNED-PAYLOAD"]
    )
    scope = f"{day}/{region}/{service}/{end}"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", given["X-Amz-Date"], scope, hashed])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.new(key, text.encode(), "sha256").hexdigest()
    fits = hmac.compare_digest(expected, signature) and given["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    fits = fits and given["X-Amz-SignedHeaders"] == "host" and (service, end) == ("s3", "aws4_request")
    return 200 if fits and signed - timedelta(minutes=15) <= (at or datetime.now(UTC)) <= ends else 403
