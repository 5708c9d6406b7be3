"""The objects, in S3. Knows neither Redis nor Pillow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import BucketUnavailable

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

_MISSING = frozenset({"NoSuchKey", "404"})


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as S3 began to send it: the headers are here, `read` gets the bytes.

    `size` is in bytes, `modified_ms` in milliseconds since the epoch (S3 keeps whole seconds). Use it in a
    `with` statement: that gives the connection back, read or not.
    """

    key: str
    size: int
    etag: str
    modified_ms: int
    metadata: Mapping[str, str]
    _body: "StreamingBody"

    def read(self) -> bytes:
        """Get the content; raises `BucketUnavailable` when it does not arrive whole."""
        with _s3_errors():
            return self._body.read()

    def __enter__(self) -> "StoredObject":
        return self

    def __exit__(self, *_: object) -> None:
        self._body.close()


class Bucket:
    """One S3 bucket. All methods raise `BucketUnavailable` when S3 does not answer or refuses."""

    def __init__(self, client: "S3Client", name: str) -> None:
        """Use the bucket `name` through `client`."""
        self._s3 = client
        self.name = name

    def ping(self) -> None:
        """Ask S3 whether the bucket is there."""
        with _s3_errors():
            self._s3.head_bucket(Bucket=self.name)

    def put(
        self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Store an object whole, over whatever had that key."""
        with _s3_errors():
            self._s3.put_object(
                Bucket=self.name, Key=key, Body=content, ContentType=content_type, Metadata=metadata or {}
            )

    def get(self, key: str) -> StoredObject | None:
        """Open an object; None when there is none."""
        with _s3_errors():
            try:
                reply = self._s3.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
        return StoredObject(
            key=key,
            size=reply["ContentLength"],
            etag=reply["ETag"].strip('"'),
            modified_ms=int(reply["LastModified"].timestamp() * 1000),
            metadata=reply["Metadata"],
            _body=reply["Body"],
        )

    def etag(self, key: str) -> str | None:
        """Which version of an object is there now; None when there is none."""
        with _s3_errors():
            try:
                return self._s3.head_object(Bucket=self.name, Key=key)["ETag"].strip('"')
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise

    def delete(self, *object_keys: str) -> None:
        """Remove objects in one call, whether they are there or not; at most 1000."""
        if not object_keys:
            return
        with _s3_errors():
            reply = self._s3.delete_objects(
                Bucket=self.name, Delete={"Objects": [{"Key": key} for key in object_keys], "Quiet": True}
            )
        if reply.get("Errors"):
            raise BucketUnavailable


@contextmanager
def _s3_errors() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BucketUnavailable from error
