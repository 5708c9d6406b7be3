"""S3 in this process: moto, without the socket between, which would take most of a test's time."""

import re
from collections.abc import Collection
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSResponse, HTTPHeaders
from moto.core.botocore_stubber import BotocoreStubber

from chalicelib.clients import s3_client
from tests.inside import use_http_session

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BUCKET = "fault-matrix"
_MOST_KEYS = 1000
_NOT_XML = re.compile(rb"&#x?(0*[0-8bcefBCEF]|0*1[0-9]|0*2[0-9]|0*3[01]);|[\x00-\x08\x0b\x0c\x0e-\x1f]")


class _WithoutWire:
    """Hands the requests of S3's client to moto, in place of the client's HTTP session.

    Before, it refuses what S3 refuses and moto does not: a DeleteObjects of more than 1,000 keys or with
    characters that XML 1.0 cannot hold, and to hand out what is `refused`.
    """

    def __init__(self, refused: Collection[str]) -> None:
        self._moto = BotocoreStubber()
        self._moto.enabled = True
        self._refused = refused

    def send(self, request: Any) -> Any:
        body = request.body if isinstance(request.body, bytes) else b""
        if request.method == "POST" and (body.count(b"<Key>") > _MOST_KEYS or _NOT_XML.search(body)):
            return _refusal(request, 400, "MalformedXML")
        key = unquote(urlsplit(request.url).path).removeprefix(f"/{BUCKET}").lstrip("/")
        if request.method in {"GET", "HEAD"} and key in self._refused:
            return _refusal(request, 403, "InvalidObjectState")
        return self._moto("before-send", request)


def _refusal(request: Any, status: int, code: str) -> AWSResponse:
    body = b"" if request.method == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
    raw = SimpleNamespace(stream=lambda **_: iter([body]))
    return AWSResponse(request.url, status, HTTPHeaders.from_dict({"Content-Type": "application/xml"}), raw)


def s3_without_wire(refused: Collection[str] = ()) -> "S3Client":
    """Make a client of moto's S3 in this process; no request leaves it, whatever its endpoint is called.

    Args:
        refused: object keys that it does not hand out; may change.

    """
    client: Any = s3_client(timeout=30, attempts=2)
    use_http_session(client, _WithoutWire(refused))
    made: S3Client = client
    return made
