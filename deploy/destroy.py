"""`make destroy`: removes a stack; pictures only when that is said."""

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.naming import HEARTBEAT_OBJECT
from deploy import UserError
from deploy.account import Account
from deploy.artifacts import Artifacts
from deploy.emulators import TARGETS
from deploy.stack import Stack, stack_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

# How often a bucket is emptied that a client or a function still writes to, and the pause between.
_TRIES, _PAUSE_SECONDS = 6, 5


def main() -> None:
    """Remove the stack; exit with one sentence if it holds pictures or cannot be removed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.destroy", description=__doc__)
    parser.add_argument("--stage", help="the deployment; else STAGE")
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--force", action="store_true", help="remove all pictures, too")
    what.add_argument("--keep-bucket", action="store_true", help="keep the bucket and its pictures")
    chosen = parser.parse_args()
    try:
        stack = stack_of(os.environ.get("STAGE", "") if chosen.stage is None else chosen.stage, chosen.target)
        destroy(stack, force=chosen.force, keep_bucket=chosen.keep_bucket)
    except (UserError, BotoCoreError, ClientError) as error:
        sys.exit(f"destroy: {error}")


def destroy(stack: Stack, *, force: bool, keep_bucket: bool = False) -> None:
    """Remove a stack and its bucket, whatever an earlier try or CloudFormation has left of them.

    Raises:
        UserError: there is none, it holds pictures and neither is said, another stack has the bucket, or
            CloudFormation failed.

    """
    stack.clear()
    bucket = _Pictures(stack)
    present = stack.exists()
    if not present and (keep_bucket or not bucket.exists()):
        raise UserError(f"there is no stack {stack.name} here.")
    if not keep_bucket:
        # One that was kept may have been taken over meanwhile.
        holder = stack.holder(bucket.name)
        if holder not in {None, stack.name}:
            raise UserError(
                f"the bucket {bucket.name} belongs to the stack {holder} now; nothing was removed."
            )
        if not force and bucket.holds_any():
            raise UserError(
                f"the bucket {bucket.name} holds pictures. FORCE=1 removes them for good, with the stack; "
                "KEEP_BUCKET=1 keeps them, and a later deployment can take them over."
            )
        bucket.note()
    if present:
        print(f"Removing the stack {stack.name} ...", flush=True)
        stack.delete()
    if keep_bucket:
        print(f"Removed the stack {stack.name}. The bucket {bucket.name} is kept.")
        return
    # Only now: until here, functions and clients could still write to it.
    count = bucket.remove()
    print(f"Removed {count:,} objects, the bucket {bucket.name} and the stack {stack.name}.")


class _Pictures:
    """The bucket of a stack; that it is gone already is no failure."""

    def __init__(self, stack: Stack) -> None:
        self._account = Account.find(stack.endpoint)
        self._s3: S3Client = boto3.client("s3", endpoint_url=stack.endpoint)
        self._owner = self._account.number
        self._artifacts = Artifacts(self._owner, endpoint=stack.endpoint)
        self._stack = stack.name
        self._usual = f"{stack.name}-{self._owner}-{self._account.region()}"
        # A stack that was never finished has no outputs, and one that is half removed may have no resources.
        self.name = (
            stack.resource("Bucket")
            or stack.outputs().get("BucketName")
            or stack.parameters().get("BucketName")
            or (None if stack.exists() else self._artifacts.left(stack.name))
            or self._usual
        )

    def exists(self) -> bool:
        return self._account.has_bucket(self.name)

    def note(self) -> None:
        """Let the next removal find it if this one stops after the stack is gone."""
        if self.name != self._usual:
            self._artifacts.note_left(self._stack, self.name)

    def holds_any(self) -> bool:
        try:
            listed = self._s3.list_objects_v2(Bucket=self.name, MaxKeys=2, ExpectedBucketOwner=self._owner)
        except self._s3.exceptions.NoSuchBucket:
            return False
        # The service writes its heartbeat by itself, so that a bucket without pictures has that.
        return any(item["Key"] != HEARTBEAT_OBJECT for item in listed.get("Contents", []))

    def remove(self) -> int:
        """Remove the bucket with all that is in it, and return how many objects there were.

        Raises:
            UserError: it does not become empty, or an object cannot be removed.

        """
        count = 0
        for _ in range(_TRIES):
            try:
                count += self._empty()
                self._s3.delete_bucket(Bucket=self.name, ExpectedBucketOwner=self._owner)
            except self._s3.exceptions.NoSuchBucket:
                pass
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty":
                    raise
                # A function that was at work, or a client with a presigned upload, has written meanwhile.
                time.sleep(_PAUSE_SECONDS)
                continue
            if self.name != self._usual:
                self._artifacts.forget_left(self._stack)
            return count
        raise UserError(
            f"the bucket {self.name} does not become empty: a client still writes to it, or it keeps "
            "versions of objects. End that, and run the same command again."
        )

    def _empty(self) -> int:
        count = 0
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, ExpectedBucketOwner=self._owner
        )
        for page in pages:
            objects: list[ObjectIdentifierTypeDef] = [
                {"Key": item["Key"]} for item in page.get("Contents", [])
            ]
            if objects:
                self._delete(objects)
                count += len(objects)
                print(f"  {count:,} objects removed", flush=True)
        return count

    def _delete(self, objects: "list[ObjectIdentifierTypeDef]") -> None:
        done = self._s3.delete_objects(
            Bucket=self.name,
            Delete={"Objects": objects, "Quiet": True},
            ExpectedBucketOwner=self._owner,
        )
        for failure in done.get("Errors", []):
            raise UserError(
                f"{failure.get('Key')} in {self.name} cannot be removed: {failure.get('Message')}"
            )


if __name__ == "__main__":
    main()
