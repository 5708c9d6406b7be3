"""CloudFormation and S3, as far as deploying needs them. The SDK's own variables say whose they are."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import boto3
from botocore.exceptions import ClientError, WaiterError

from deploy import UserError
from deploy.template import Template, functions

if TYPE_CHECKING:
    from types_boto3_apigateway import APIGatewayClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.literals import CapabilityType
    from types_boto3_cloudformation.type_defs import ParameterTypeDef, TagTypeDef, WaiterConfigTypeDef
    from types_boto3_cloudformation.waiter import StackCreateCompleteWaiter
    from types_boto3_s3 import S3Client
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef
    from types_boto3_sts import STSClient

# Roles are made, and SAM's macro is applied.
_CAPABILITIES: "list[CapabilityType]" = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
# An hour for Redis: CloudFormation itself gives up before.
_PACE: "WaiterConfigTypeDef" = {"Delay": 5, "MaxAttempts": 720}
_FAST_PACE: "WaiterConfigTypeDef" = {"Delay": 1, "MaxAttempts": 300}

StackWaiter = Literal["stack_create_complete", "stack_update_complete", "stack_delete_complete"]


class Stack:
    """One deployment: the stack `name` in the account and region that the SDK finds."""

    def __init__(self, name: str, *, endpoint: str | None = None) -> None:
        """Use the stack `name`; `endpoint` is the URL of an emulator, None for AWS."""
        self.name = name
        self.endpoint = endpoint
        self._cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=endpoint)
        self._s3: S3Client = boto3.client("s3", endpoint_url=endpoint)
        self._pace = _PACE if endpoint is None else _FAST_PACE

    def exists(self) -> bool:
        """Tell whether there is such a stack now."""
        try:
            return bool(self._cloudformation.describe_stacks(StackName=self.name)["Stacks"])
        except ClientError as error:
            if "does not exist" in str(error):
                return False
            raise

    def outputs(self) -> dict[str, str]:
        """What the stack tells of itself, by name."""
        (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def url(self) -> str:
        """Where the API is, without a slash at the end."""
        outputs = self.outputs()
        if self.endpoint is None:
            return outputs["EndpointURL"]
        return f"{self.endpoint}/_aws/execute-api/{outputs['RestAPIId']}/live"

    def deploy(self, template: Template, code: Path, parameters: Mapping[str, str]) -> None:
        """Create the stack or bring it up to date; parameters that are not given stay as they are.

        Raises:
            UserError: it failed, and CloudFormation has put back what was before.

        """
        bucket = self._artifacts()
        key = f"{hashlib.sha256(code.read_bytes()).hexdigest()}.zip"
        self._s3.upload_file(str(code), bucket, key)
        for properties in functions(template).values():
            properties["CodeUri"] = {"Bucket": bucket, "Key": key}
        body = json.dumps(template).encode()
        template_key = f"{hashlib.sha256(body).hexdigest()}.template.json"
        self._s3.put_object(Bucket=bucket, Key=template_key, Body=body)
        given: list[ParameterTypeDef] = [
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ]
        url = f"{self._s3.meta.endpoint_url}/{bucket}/{template_key}"
        tags: list[TagTypeDef] = [
            {"Key": "service", "Value": "thumbnails"},
            {"Key": "stack", "Value": self.name},
        ]
        if self.exists():
            self._update(url, given, tags, template)
        else:
            created = self._cloudformation.create_stack(
                StackName=self.name,
                TemplateURL=url,
                Parameters=given,
                Tags=tags,
                Capabilities=_CAPABILITIES,
                # A stack that could not be made would stay, and stand in the way of the next try.
                OnFailure="DELETE",
            )
            self._settle("stack_create_complete", created["StackId"])

    def _update(
        self, url: str, given: "list[ParameterTypeDef]", tags: "list[TagTypeDef]", template: Template
    ) -> None:
        (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        names = {parameter["ParameterKey"] for parameter in given}
        for parameter in stack.get("Parameters", []):
            name = parameter["ParameterKey"]
            if name not in names and name in template["Parameters"]:
                given.append({"ParameterKey": name, "UsePreviousValue": True})
        try:
            self._cloudformation.update_stack(
                StackName=self.name,
                TemplateURL=url,
                Parameters=given,
                Tags=tags,
                Capabilities=_CAPABILITIES,
            )
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
        self._settle("stack_update_complete", stack["StackId"])

    def redeploy(self) -> None:
        """Let the API's stage show the API as it is now.

        CloudFormation does so itself on AWS.
        """
        gateway: APIGatewayClient = boto3.client("apigateway", endpoint_url=self.endpoint)
        gateway.create_deployment(restApiId=self.outputs()["RestAPIId"], stageName="live")

    def delete(self) -> None:
        """Remove the stack and all that it made.

        Raises:
            UserError: something could not be removed.

        """
        (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        self._cloudformation.delete_stack(StackName=self.name)
        self._settle("stack_delete_complete", stack["StackId"])

    def bucket_is_empty(self) -> bool:
        """Tell whether the bucket of pictures holds nothing."""
        return not self._s3.list_objects_v2(Bucket=self.outputs()["BucketName"], MaxKeys=1)["KeyCount"]

    def empty_bucket(self) -> int:
        """Remove all pictures for good, and return how many objects there were."""
        bucket, count = self.outputs()["BucketName"], 0
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            objects: list[ObjectIdentifierTypeDef] = [
                {"Key": item["Key"]} for item in page.get("Contents", [])
            ]
            if objects:
                self._s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                count += len(objects)
        return count

    def gateway_may_log(self) -> bool:
        """Tell whether API Gateway has been allowed to write logs in this account and region."""
        gateway: APIGatewayClient = boto3.client("apigateway", endpoint_url=self.endpoint)
        return bool(gateway.get_account().get("cloudwatchRoleArn"))

    def _artifacts(self) -> str:
        """Make the private bucket for code and templates if need be; it serves all stacks of a region."""
        sts: STSClient = boto3.client("sts", endpoint_url=self.endpoint)
        region = self._s3.meta.region_name
        bucket = f"thumbnails-artifacts-{sts.get_caller_identity()['Account']}-{region}"
        try:
            self._s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            if region == "us-east-1":  # the one region that must not be named
                self._s3.create_bucket(Bucket=bucket)
            else:
                place = cast("BucketLocationConstraintType", region)
                self._s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": place})
            self._s3.put_public_access_block(
                Bucket=bucket,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
            )
        return bucket

    def _settle(self, wanted: "StackWaiter", stack_id: str) -> None:
        # The stubs know each waiter by its literal name alone.
        waiter = cast("StackCreateCompleteWaiter", self._cloudformation.get_waiter(wanted))
        try:
            waiter.wait(StackName=stack_id, WaiterConfig=self._pace)
        except WaiterError as error:
            events = self._cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
                for event in reversed(events)
                if event["ResourceStatus"].endswith("_FAILED") and "ResourceStatusReason" in event
            ]
            why = "\n  ".join(reasons) or str(error)
            raise UserError(
                f"CloudFormation could not do it, and has put back what was before:\n  {why}"
            ) from error
