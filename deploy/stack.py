"""One deployment: its CloudFormation stack. The SDK's own variables say in which account and region."""

import os
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from deploy import UserError, changes, operation
from deploy.template import Template

if TYPE_CHECKING:
    from types_boto3_apigateway import APIGatewayClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.literals import CapabilityType
    from types_boto3_cloudformation.type_defs import (
        ChangeTypeDef,
        CreateChangeSetInputTypeDef,
        ParameterTypeDef,
        StackTypeDef,
        TagTypeDef,
        WaiterConfigTypeDef,
    )

# Roles are made, and SAM's macro is applied.
_CAPABILITIES: "list[CapabilityType]" = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
# Seconds between two looks, on AWS and on an emulator.
_PACE, _FAST_PACE = 5.0, 0.5
_CHANGE_SET_TRIES = 120
# How CloudFormation says that a change set changes nothing.
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# What a change set of a new stack makes: it stays, and is empty, when the change set failed or was never run.
_EMPTY = "REVIEW_IN_PROGRESS"
# States of a resource that is no longer its stack's: removed, or kept when the stack was removed.
_GIVEN_UP = frozenset({"DELETE_COMPLETE", "DELETE_SKIPPED"})

UPDATABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)
"""States in which CloudFormation takes an update."""


class Stack:
    """The stack `name` in the account and region that the SDK finds."""

    def __init__(self, name: str, *, endpoint: str | None = None, reviewed: bool = True) -> None:
        """Use the stack `name`.

        Args:
            name: of the stack.
            endpoint: the URL of an emulator, None for AWS.
            reviewed: whether updates go through change sets.

        """
        self.name = name
        self.endpoint = endpoint
        self._reviewed = reviewed
        self._cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=endpoint)
        self._pace = _PACE if endpoint is None else _FAST_PACE

    # --- what it is like ---

    def status(self) -> str | None:
        """CloudFormation's word for the stack's state; None when there is no such stack."""
        found = self._describe()
        return None if found is None or found["StackStatus"] == _EMPTY else found["StackStatus"]

    def exists(self) -> bool:
        """Tell whether there is such a stack now."""
        return self.status() is not None

    def parameters(self) -> dict[str, str]:
        """Name -> value of each parameter as deployed; `****` stands for a secret. Empty without a stack."""
        found = self._describe()
        given = found.get("Parameters", []) if found else []
        return {one["ParameterKey"]: one.get("ParameterValue", "") for one in given}

    def outputs(self) -> dict[str, str]:
        """What the stack tells of itself, by name; empty without a stack or before its first end."""
        found = self._describe()
        outputs = found.get("Outputs", []) if found else []
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def output(self, name: str) -> str:
        """One of the outputs.

        Raises:
            UserError: the stack does not have it.

        """
        outputs = self.outputs()
        if name not in outputs:
            raise UserError(
                f"the stack {self.name} ({self.status() or 'there is none'}) tells no {name}: it was never "
                "deployed to its end."
            )
        return outputs[name]

    def resource(self, logical_id: str) -> str | None:
        """The physical name of one of its resources, None if it has (or had) no such resource."""
        try:
            found = self._cloudformation.describe_stack_resource(
                StackName=self.name, LogicalResourceId=logical_id
            )["StackResourceDetail"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        return found.get("PhysicalResourceId") or None

    def holder(self, physical_id: str) -> str | None:
        """Name of the stack, this or another one, that has a resource of a physical name now."""
        try:
            found = self._cloudformation.describe_stack_resources(PhysicalResourceId=physical_id)[
                "StackResources"
            ]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        # They are those of one stack, and no more than 100, so that it may not be among them.
        states = {one["ResourceStatus"] for one in found if one.get("PhysicalResourceId") == physical_id}
        return None if states and states <= _GIVEN_UP else next((one["StackName"] for one in found), None)

    def url(self) -> str:
        """Where the API is, without a slash at the end."""
        if self.endpoint is None:
            return self.output("EndpointURL")
        return f"{self.endpoint}/_aws/execute-api/{self.output('RestAPIId')}/live"

    def _describe(self) -> "StackTypeDef | None":
        try:
            (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return stack

    def has_own_redis(self) -> bool:
        """Tell whether it has a Redis of its own: the parameter that says so is secret."""
        return self.resource("Redis") is not None or self.resource("ShardedRedis") is not None

    # --- what is done to it ---

    def create(self, template_url: str, parameters: Mapping[str, str]) -> None:
        """Make the stack; if that fails, nothing of it stays.

        Raises:
            UserError: it failed.

        """
        self.clear()
        token = _token()
        created = self._cloudformation.create_stack(
            StackName=self.name,
            TemplateURL=template_url,
            Parameters=_given(parameters),
            Tags=self._tags(),
            Capabilities=_CAPABILITIES,
            # A stack that could not be made would stay, and stand in the way of the next try.
            OnFailure="DELETE",
            EnableTerminationProtection=self.endpoint is None,
            ClientRequestToken=token,
        )
        self._wait(created["StackId"], token, "CREATE_COMPLETE")

    def adopt(self, logical_id: str, template_url: str, bucket: str) -> None:
        """Make a stack that holds nothing but a bucket that is there already; an update brings the rest.

        Raises:
            UserError: CloudFormation does not take the bucket.

        """
        self.clear()
        change_set = self._change_set(
            {
                "StackName": self.name,
                "ChangeSetName": f"adopt-{_token()}",
                "ChangeSetType": "IMPORT",
                "TemplateURL": template_url,
                "ResourcesToImport": [
                    {
                        "ResourceType": "AWS::S3::Bucket",
                        "LogicalResourceId": logical_id,
                        "ResourceIdentifier": {"BucketName": bucket},
                    }
                ],
            }
        )
        if change_set is not None:
            self._execute(*change_set, wanted="IMPORT_COMPLETE")

    def update(self, template: Template, template_url: str, parameters: Mapping[str, str]) -> None:
        """Bring the stack up to date; parameters that are not given stay as they are.

        Replacements and removals are shown first, and have to be agreed to.

        Args:
            template: what is deployed; of the present parameters, those count that it knows.
            template_url: where CloudFormation finds it.
            parameters: name -> new value.

        Raises:
            UserError: it failed and the former state was restored, or the user did not agree.

        """
        given = _given(parameters)
        for name in self.parameters().keys() - parameters.keys():
            if name in template["Parameters"]:
                given.append({"ParameterKey": name, "UsePreviousValue": True})
        if not self._reviewed:
            self._update_unseen(template_url, given)
            return
        change_set = self._change_set(
            {
                "StackName": self.name,
                "ChangeSetName": f"deploy-{_token()}",
                "ChangeSetType": "UPDATE",
                "TemplateURL": template_url,
                "Parameters": given,
                "Tags": self._tags(),
                "Capabilities": _CAPABILITIES,
            }
        )
        if change_set is None:
            return
        change_set_id, stack_id = change_set
        lost = changes.losses(self._changes(change_set_id))
        if lost:
            try:
                changes.confirm(lost, question=f"The update of {self.name} does this; go on?")
            except UserError:
                self._cloudformation.delete_change_set(ChangeSetName=change_set_id)
                raise
        self._execute(change_set_id, stack_id, wanted="UPDATE_COMPLETE")

    def protect(self, *, on: bool) -> None:
        """Protect the stack against deletion by accident, or stop that. Emulators need no protection."""
        if self.endpoint is None:
            self._cloudformation.update_termination_protection(
                StackName=self.name, EnableTerminationProtection=on
            )

    def delete(self) -> None:
        """Remove the stack and all that it made, but what its template keeps.

        Raises:
            UserError: something could not be removed; the next call goes on there.

        """
        found = self._describe()
        if found is None:
            return
        self.protect(on=False)
        self._delete(found["StackId"])

    def clear(self) -> None:
        """Remove the empty stack that a take-over of a bucket has left: its name could not be used."""
        found = self._describe()
        if found is not None and found["StackStatus"] == _EMPTY:
            self._delete(found["StackId"])

    def _delete(self, stack_id: str) -> None:
        token = _token()
        self._cloudformation.delete_stack(StackName=self.name, ClientRequestToken=token)
        self._wait(stack_id, token, "DELETE_COMPLETE")

    def redeploy(self) -> None:
        """Let the API's stage show the API as it is now.

        CloudFormation does so itself on AWS.
        """
        gateway: APIGatewayClient = boto3.client("apigateway", endpoint_url=self.endpoint)
        gateway.create_deployment(restApiId=self.output("RestAPIId"), stageName="live")

    def _tags(self) -> "list[TagTypeDef]":
        return [{"Key": "service", "Value": "thumbnails"}, {"Key": "stack", "Value": self.name}]

    def _wait(self, stack_id: str, token: str, wanted: str) -> None:
        operation.wait(self._cloudformation, stack_id, token, wanted=wanted, seconds=self._pace)

    def _update_unseen(self, template_url: str, given: "list[ParameterTypeDef]") -> None:
        token = _token()
        try:
            stack_id = self._cloudformation.update_stack(
                StackName=self.name,
                TemplateURL=template_url,
                Parameters=given,
                Tags=self._tags(),
                Capabilities=_CAPABILITIES,
                ClientRequestToken=token,
            )["StackId"]
        except ClientError as error:
            if any(words in str(error) for words in _NO_CHANGES):
                return
            raise
        self._wait(stack_id, token, "UPDATE_COMPLETE")

    def _change_set(self, request: "CreateChangeSetInputTypeDef") -> tuple[str, str] | None:
        """Make a change set; return its ARN and the stack's, or None if it changes nothing."""
        made = self._cloudformation.create_change_set(**request)
        config: WaiterConfigTypeDef = {"Delay": round(max(1, self._pace)), "MaxAttempts": _CHANGE_SET_TRIES}
        try:
            self._cloudformation.get_waiter("change_set_create_complete").wait(
                ChangeSetName=made["Id"], WaiterConfig=config
            )
        except WaiterError as error:
            why = self._cloudformation.describe_change_set(ChangeSetName=made["Id"]).get("StatusReason", "")
            self._cloudformation.delete_change_set(ChangeSetName=made["Id"])
            if any(words in why for words in _NO_CHANGES):
                return None
            raise UserError(
                f"CloudFormation does not take it, nothing was changed: {why or error}"
            ) from error
        return made["Id"], made["StackId"]

    def _changes(self, change_set_id: str) -> "list[ChangeTypeDef]":
        pages = self._cloudformation.get_paginator("describe_change_set").paginate(
            ChangeSetName=change_set_id
        )
        return [change for page in pages for change in page["Changes"]]

    def _execute(self, change_set_id: str, stack_id: str, *, wanted: str) -> None:
        token = _token()
        self._cloudformation.execute_change_set(ChangeSetName=change_set_id, ClientRequestToken=token)
        self._wait(stack_id, token, wanted)


def stack_of(stage: str, target: str) -> Stack:
    """The stack of a stage.

    Raises:
        UserError: the stage has a name that a bucket's could not be made of.

    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?", stage):
        raise UserError(
            f"STAGE must be 1 to 16 lower-case letters, digits and hyphens, such as prod, not {stage!r}."
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
    if (target == "aws") != (endpoint is None):
        raise UserError("AWS_ENDPOINT_URL must be set for an emulator, and must not be set for AWS.")
    try:
        # LocalStack is known to create and update; its change sets are not.
        return Stack(f"thumbnails-{stage}", endpoint=endpoint, reviewed=target != "localstack")
    except BotoCoreError as error:
        raise UserError(f"{error} Set AWS_DEFAULT_REGION, such as eu-central-1.") from error


def _token() -> str:
    """A name that no other operation has."""
    return secrets.token_hex(8)


def _given(parameters: Mapping[str, str]) -> "list[ParameterTypeDef]":
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
