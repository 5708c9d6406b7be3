"""The private bucket through which code and templates reach CloudFormation: one for a region."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import boto3
from botocore.exceptions import ClientError

from deploy import UserError
from deploy.template import Template, functions

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.literals import BucketLocationConstraintType


class Version(NamedTuple):
    """What a stack was deployed as: enough to deploy it so again."""

    template: Template
    """The template, its code in this bucket."""
    parameters: dict[str, str]
    """Name -> value, without the secret ones."""


class Artifacts:
    """The bucket `thumbnails-artifacts-<account>-<region>`, or the one that `ARTIFACTS_BUCKET` names.

    Its name can be guessed, so another account may have made it, to read what is deployed or to put
    its own code there: every call names the account that has to own it.
    """

    def __init__(self, account: str, *, endpoint: str | None) -> None:
        """Use the bucket of an account; `endpoint` is the URL of an emulator, None for AWS."""
        self._account = account
        self._s3: S3Client = boto3.client("s3", endpoint_url=endpoint)
        region = self._s3.meta.region_name
        self.bucket = os.environ.get("ARTIFACTS_BUCKET") or f"thumbnails-artifacts-{account}-{region}"

    def ensure(self) -> None:
        """Make the bucket if need be.

        Raises:
            UserError: it belongs to another account.

        """
        try:
            self._s3.head_bucket(Bucket=self.bucket, ExpectedBucketOwner=self._account)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in {"403", "AccessDenied"}:
                raise self._not_ours() from error
            if code not in {"404", "NoSuchBucket"}:
                raise
            self._make()

    def _make(self) -> None:
        region = self._s3.meta.region_name
        try:
            if region == "us-east-1":  # the one region that must not be named
                self._s3.create_bucket(Bucket=self.bucket)
            else:
                place = cast("BucketLocationConstraintType", region)
                self._s3.create_bucket(
                    Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": place}
                )
        except self._s3.exceptions.BucketAlreadyExists as error:
            raise self._not_ours() from error
        self._s3.put_public_access_block(
            Bucket=self.bucket,
            ExpectedBucketOwner=self._account,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )

    def _not_ours(self) -> UserError:
        return UserError(
            f"the bucket {self.bucket} does not belong to account {self._account}, or these credentials may "
            "not use it; name another with ARTIFACTS_BUCKET."
        )

    def put_code(self, template: Template, code: Path) -> None:
        """Store the code, let the template's functions be made of it, and the stack tell which it is."""
        digest = hashlib.sha256(code.read_bytes()).hexdigest()
        key = f"{digest}.zip"
        extra = {"ExpectedBucketOwner": self._account}
        self._s3.upload_file(str(code), self.bucket, key, ExtraArgs=extra)
        for properties in functions(template).values():
            properties["CodeUri"] = {"Bucket": self.bucket, "Key": key}
        said = "SHA-256 of code.zip: two builds of a commit have the same."
        template.setdefault("Outputs", {})["Build"] = {"Description": said, "Value": digest}

    def put_template(self, template: Template) -> str:
        """Store a template, and return the URL under which CloudFormation reads it."""
        body = json.dumps(template).encode()
        key = f"{hashlib.sha256(body).hexdigest()}.template.json"
        self._put(key, body)
        return f"{self._s3.meta.endpoint_url}/{self.bucket}/{key}"

    def remember(self, stack: str, version: Version) -> None:
        """Keep a version of a stack as the one to which `rollback` goes back."""
        self._put(_good(stack), json.dumps(version._asdict()).encode())

    def remembered(self, stack: str) -> Version | None:
        """The version of a stack that was last remembered."""
        found = self._get(_good(stack))
        if found is None:
            return None
        said: Mapping[str, Any] = json.loads(found)
        return Version(said["template"], said["parameters"])

    def note_left(self, stack: str, bucket: str) -> None:
        """Note which bucket is left of a stack that is removed: then, nothing else tells its name."""
        self.ensure()
        self._put(_left(stack), bucket.encode())

    def left(self, stack: str) -> str | None:
        """The bucket that is noted as left of a stack."""
        found = self._get(_left(stack))
        return None if found is None else found.decode()

    def forget_left(self, stack: str) -> None:
        """Note that nothing is left of a stack."""
        self._s3.delete_object(Bucket=self.bucket, Key=_left(stack), ExpectedBucketOwner=self._account)

    def _get(self, key: str) -> bytes | None:
        try:
            found = self._s3.get_object(Bucket=self.bucket, Key=key, ExpectedBucketOwner=self._account)
        except (self._s3.exceptions.NoSuchKey, self._s3.exceptions.NoSuchBucket):
            return None
        return found["Body"].read()

    def _put(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, ExpectedBucketOwner=self._account)


def _good(stack: str) -> str:
    return f"stacks/{stack}/last-good.json"


def _left(stack: str) -> str:
    return f"stacks/{stack}/bucket-left"
