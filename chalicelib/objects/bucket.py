"""The objects, in S3. Knows neither Redis nor Pillow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import BucketUnavailable

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

_MISSING = frozenset({"NoSuchKey", "404"})
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
PAGE = 1000
"""Most objects that S3 lists in one reply."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What S3 says of an object without its content.

    `size` is in bytes, `modified_ms` in milliseconds since the epoch (S3 keeps whole seconds). A listing
    tells no metadata.
    """

    key: str
    size: int
    etag: str
    modified_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as S3 began to send it: `info` is here, `read` gets the bytes.

    Use it in a `with` statement: that gives the connection back, read or not.
    """

    info: ObjectInfo
    _body: "StreamingBody"

    def read(self) -> bytes:
        """Get the content; raises `BucketUnavailable` when it does not arrive whole."""
        with _s3_errors():
            return self._body.read()

    def __enter__(self) -> "StoredObject":
        return self

    def __exit__(self, *_: object) -> None:
        self._body.close()


class PresignedPost(NamedTuple):
    """Where to send a form, and the fields that it must have before the file's own, `file`."""

    url: str
    fields: dict[str, str]


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

    def presign_post(
        self, key: str, *, content_type: str, metadata: Mapping[str, str], max_bytes: int, seconds: int
    ) -> PresignedPost:
        """Let whoever has the answer store one object, by an HTML form, without credentials.

        S3 refuses another key, type or metadata, and files that are empty or larger than `max_bytes`. Nothing
        is sent: the answer is signed here (Signature Version 4).
        """
        fields = {"Content-Type": content_type} | {f"x-amz-meta-{k}": v for k, v in metadata.items()}
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        with _s3_errors():
            post = self._s3.generate_presigned_post(
                self.name,
                key,
                Fields=fields,
                Conditions=[*conditions, ["content-length-range", 1, max_bytes]],
                ExpiresIn=seconds,
            )
        return PresignedPost(post["url"], post["fields"])

    def post_url(self) -> str:
        """Where the forms of `presign_post` are sent, whatever they say."""
        with _s3_errors():
            url: str = self._s3.generate_presigned_post(self.name, "any")["url"]
        return url

    def get(self, key: str) -> StoredObject | None:
        """Open an object; None when there is none."""
        with _s3_errors():
            try:
                reply = self._s3.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
        return StoredObject(_info(key, reply), reply["Body"])

    def head(self, key: str) -> ObjectInfo | None:
        """What S3 says of an object; None when there is none."""
        with _s3_errors():
            try:
                return _info(key, self._s3.head_object(Bucket=self.name, Key=key))
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise

    def pages(self, prefix: str, *, after: str = "", until: str | None = None) -> Iterator[list[ObjectInfo]]:
        """List the objects below a prefix, in the order of their keys, a page of at most 1000 at a time.

        Args:
            prefix: what the keys start with.
            after: a key; only what follows it is listed.
            until: a key; the page that leads beyond it is the last one.

        """
        while True:
            with _s3_errors():
                reply = self._s3.list_objects_v2(
                    Bucket=self.name, Prefix=prefix, StartAfter=after, MaxKeys=PAGE
                )
            found = [
                ObjectInfo(
                    item["Key"],
                    item["Size"],
                    item["ETag"].strip('"'),
                    int(item["LastModified"].timestamp() * 1000),
                )
                for item in reply.get("Contents", [])
            ]
            if found:
                yield found
                after = found[-1].key
            if not reply["IsTruncated"] or (until is not None and after > until):
                return

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

    def delete_version(self, key: str, etag: str) -> bool:
        """Remove an object if it is this version; False when another one is there now, or none."""
        with _s3_errors():
            try:
                self._s3.delete_object(Bucket=self.name, Key=key, IfMatch=f'"{etag}"')
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING | _CHANGED:
                    return False
                raise
        return True


def _info(key: str, reply: Any) -> ObjectInfo:
    return ObjectInfo(
        key,
        reply["ContentLength"],
        reply["ETag"].strip('"'),
        int(reply["LastModified"].timestamp() * 1000),
        reply["Metadata"],
    )


@contextmanager
def _s3_errors() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BucketUnavailable from error
