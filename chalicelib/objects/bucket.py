"""The objects, in S3. Knows neither Redis nor Pillow."""

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import BucketUnavailable, OriginalRefused
from chalicelib.objects.refusals import is_changed, is_missing, refusal
from chalicelib.objects.signing import PresignedUrl, UrlSigner

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

PAGE = 1000
"""Most objects that S3 lists in one reply, and deletes in one request."""
# What XML 1.0 cannot write (its production 2, Char), and so no request for several keys.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


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

    def __init__(
        self,
        client: "S3Client",
        name: str,
        public_url: str | None = None,
        credentials: "Credentials | None" = None,
    ) -> None:
        """Use the bucket `name` through `client`.

        Args:
            client: how this process reaches S3.
            name: the bucket's.
            public_url: S3's URL as clients reach it, without a path; None if as this process does.
            credentials: what `presign_get` signs with: the client's own.

        """
        self._s3 = client
        self.name = name
        self._public_url = public_url
        self._credentials = credentials

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

    def copy(self, key: str, to: str) -> None:
        """Store an object of at most 5 GB under another key as well, with its metadata."""
        with _s3_errors():
            self._s3.copy_object(Bucket=self.name, Key=to, CopySource={"Bucket": self.name, "Key": key})

    def describe(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Give an object of at most 5 GB another type and other metadata, in place of all that it had."""
        with _s3_errors():
            self._s3.copy_object(
                Bucket=self.name,
                Key=key,
                CopySource={"Bucket": self.name, "Key": key},
                MetadataDirective="REPLACE",
                ContentType=content_type,
                Metadata=metadata,
            )

    def presign_post(
        self, key: str, *, content_type: str, metadata: Mapping[str, str], max_bytes: int, seconds: int
    ) -> PresignedPost:
        """Let anyone who has the answer store one object, by an HTML form, without credentials.

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
        return PresignedPost(self._for_clients(post["url"]), post["fields"])

    def post_url(self) -> str:
        """Where the forms of `presign_post` are sent, whatever they say: the bucket's URL."""
        with _s3_errors():
            url: str = self._s3.generate_presigned_post(self.name, "any")["url"]
        return self._for_clients(url)

    def presign_get(self, key: str, *, now_ms: int, until_ms: int) -> PresignedUrl:
        """Let anyone who has the answer read one object, without credentials, until `until_ms` at most.

        Nothing is sent. Times are in milliseconds since the epoch; see `UrlSigner.sign`.
        """
        with _s3_errors():
            return self._signer.sign(key, now_ms=now_ms, until_ms=until_ms)

    def public_url(self, key: str) -> str:
        """Where the URLs of `presign_get` lead, without their signature; `key` may end in a slash."""
        with _s3_errors():
            return self._signer.url_of(key)

    @functools.cached_property
    def _signer(self) -> UrlSigner:
        base = f"{self.post_url().removesuffix('/')}/"
        return UrlSigner(self._credentials, self._s3.meta.region_name, base)

    def _for_clients(self, url: str) -> str:
        """Where a form is sent; what is signed names no host."""
        return url if self._public_url is None else self._public_url + urlsplit(url).path

    def get(self, key: str) -> StoredObject | None:
        """Open an object; None when there is none.

        Raises:
            OriginalRefused: S3 has the object and does not hand it out.

        """
        with self._refusals():
            try:
                reply = self._s3.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
        return StoredObject(_info(key, reply), reply["Body"])

    def head(self, key: str) -> ObjectInfo | None:
        """What S3 says of an object; None when there is none.

        Raises:
            OriginalRefused: S3 has the object and says nothing of it.

        """
        with self._refusals():
            try:
                return _info(key, self._s3.head_object(Bucket=self.name, Key=key))
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def exists(self, key: str) -> bool:
        """Tell whether S3 has an object, even if it does not hand it out."""
        try:
            return self.head(key) is not None
        except OriginalRefused:
            return True

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Tell a lasting refusal of one object from an outage."""
        with _s3_errors():
            try:
                yield
            except ClientError as error:
                refused = refusal(error)
                if refused is None:
                    raise
                # If the whole bucket is refused, this says nothing about the object: a reply to HEAD has the
                # same bare 400 for an expired token as for an encrypted object.
                self._s3.head_bucket(Bucket=self.name)
                raise refused from error

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
        """Remove objects, whether they are there or not: a thousand in each request."""
        writable = [key for key in object_keys if not _NOT_XML.search(key)]
        for key in set(object_keys) - set(writable):
            with _s3_errors():
                self._s3.delete_object(Bucket=self.name, Key=key)
        for start in range(0, len(writable), PAGE):
            chunk: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in writable[start : start + PAGE]]
            with _s3_errors():
                reply = self._s3.delete_objects(Bucket=self.name, Delete={"Objects": chunk, "Quiet": True})
            if reply.get("Errors"):
                raise BucketUnavailable

    def delete_version(self, key: str, etag: str) -> bool:
        """Remove an object if it is this version; False when another one is there now, or none."""
        with _s3_errors():
            try:
                self._s3.delete_object(Bucket=self.name, Key=key, IfMatch=f'"{etag}"')
            except ClientError as error:
                if is_missing(error) or is_changed(error):
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
