"""The deployer's policy in docs/deploy.md allows what `deploy/` calls, and what CloudFormation calls then."""

import ast
import fnmatch
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from cfnlint.api import lint_file
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from deploy import ROOT, template

REGION, ACCOUNT = "eu-central-1", "123456789012"
SECTION = (ROOT / "docs" / "deploy.md").read_text().split("### Permissions of the deployer\n", 1)[1]
TEXT = re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)[0]
POLICY: dict[str, Any] = json.loads(TEXT.replace("<region>", REGION).replace("<account>", ACCOUNT))
MOST_CHARACTERS = 6144  # of a managed policy, white space not counted: IAM and STS quotas

KNOWN: dict[str, Any] = load_resource(AdditionalSpecs, "Policies.json")
"""Service -> its actions, by AWS's service authorization reference, and to what each can be limited."""


def several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def known(action: str) -> dict[str, Any] | None:
    """What AWS's reference says of an action; None where a schema names one that there is not."""
    service, name = action.lower().split(":")
    found: dict[str, Any] | None = KNOWN[service]["Actions"].get(name)
    return found


def allowed(action: str, resource: str | None = None) -> bool:
    """Whether the policy allows an action on a resource; None stands for any of those that it names.

    An action that AWS limits to no resources has to be allowed on all.
    """
    if not (known(action) or {}).get("Resources"):
        resource = "*"
    for statement in POLICY["Statement"]:
        if any(fnmatch.fnmatch(action.lower(), one.lower()) for one in several(statement["Action"])):
            on = several(statement["Resource"])
            if resource is None or any(fnmatch.fnmatchcase(resource, one) for one in on):
                return True
    return False


# --- what deploy/ calls ---

NAMED_OTHERWISE = {
    "s3:HeadBucket": {"s3:ListBucket"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:DeleteObjects": {"s3:DeleteObject"},
    "s3:PutPublicAccessBlock": {"s3:PutBucketPublicAccessBlock"},
    "lambda:Invoke": {"lambda:InvokeFunction"},
}
"""Operations that other actions allow than that of their name."""


@cache
def operations() -> dict[str, set[str]]:
    """Method of a client -> the actions that allow it, of all services that `deploy/` uses."""
    found: dict[str, set[str]] = {"upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"}}
    for service in re.findall(r'boto3\.client\(\s*"(\w+)"', sources()):
        model = botocore.session.get_session().get_service_model(service)
        for name in model.operation_names:
            action = f"{service}:{name}"
            if service == "apigateway":
                action = f"apigateway:{model.operation_model(name).http['method']}"
            found.setdefault(xform_name(name), set()).update(NAMED_OTHERWISE.get(action, {action}))
    return found


def sources() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "deploy").glob("*.py")))


def called() -> Iterator[str]:
    """Methods that may be those of a client: those of a paginator are named by a string."""
    for node in ast.walk(ast.parse(sources())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            (first, *_) = [*node.args, None]
            paged = node.func.attr == "get_paginator" and isinstance(first, ast.Constant)
            yield str(first.value) if paged and isinstance(first, ast.Constant) else node.func.attr


def test_what_the_code_calls_is_allowed() -> None:
    calls = set(called()) & operations().keys()
    assert {"get_account_settings", "list_objects_v2", "create_change_set", "upload_file"} <= calls
    actions = set().union(*(operations()[name] for name in calls))
    assert [action for action in sorted(actions) if not allowed(action)] == []


# --- what CloudFormation calls ---

OF_SAM = {
    "AWS::Serverless::Function": {"AWS::Lambda::Function"},
    "AWS::Serverless::Api": {
        "AWS::ApiGateway::RestApi",
        "AWS::ApiGateway::Stage",
        "AWS::ApiGateway::Deployment",
    },
    "S3": {"AWS::Lambda::Permission"},
    "SQS": {"AWS::Lambda::EventSourceMapping"},
    "Schedule": {"AWS::Events::Rule", "AWS::Lambda::Permission"},
    "EventInvokeConfig": {"AWS::Lambda::EventInvokeConfig"},
}
"""What SAM makes of its own types, of a function's events and of one of its properties."""
NOT_USED = {
    # Services that no property of the template names.
    *("elasticfilesystem:*", "s3files:*", "firehose:*", "kms:*", "s3tables:*", "vpc-lattice:*", "vpce:*"),
    "iam:*RolePermissionsBoundary",
    # Policies and indexes of log groups, deliveries of Redis's logs.
    *("logs:*ResourcePolicy", "logs:*IndexPolicy", "logs:*LogDelivery", "logs:ListLogDeliveries"),
    # Networks: encryption, tenancy, IPv6.
    *("ec2:*VpcEncryptionControl", "ec2:ModifyVpcTenancy", "ec2:*SubnetCidrBlock"),
}
"""Permissions for what a type of resource can do and the template does not ask for."""


def types(stack: template.Template) -> set[str]:
    found: set[str] = set()
    for resource in stack["Resources"].values():
        properties = resource.get("Properties", {})
        parts = [resource["Type"], *properties.keys() & OF_SAM.keys()]
        if resource["Type"] == "AWS::Serverless::Function":
            parts += [event["Type"] for event in properties.get("Events", {}).values()]
        for part in parts:
            found |= OF_SAM[part] if not part.startswith("AWS::") or "Serverless" in part else {part}
    return found


def test_what_cloudformation_calls_is_allowed(stack: template.Template) -> None:
    """Each type's schema says what its handlers need; `list` is for tools that look for resources."""
    refused = set()
    for kind in types(stack):
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        for name in handlers.keys() - {"list"}:
            for action in handlers[name]["permissions"]:
                used = not any(fnmatch.fnmatchcase(action, one) for one in NOT_USED)
                if used and known(action) is not None and not allowed(action):
                    refused.add(f"{kind}: {action}")
    assert refused == set()


# --- on what ---

OURS = f"{REGION}:{ACCOUNT}"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("lambda:GetAccountSettings", "*"),
        (
            "cloudformation:CreateChangeSet",
            f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31",
        ),
        ("cloudformation:CreateStack", f"arn:aws:cloudformation:{OURS}:stack/thumbnails-prod/*"),
        ("cloudformation:ExecuteChangeSet", f"arn:aws:cloudformation:{OURS}:changeSet/deploy-0a/1b"),
        ("lambda:CreateFunction", f"arn:aws:lambda:{OURS}:function:thumbnails-prod-api"),
        ("lambda:UpdateEventSourceMapping", f"arn:aws:lambda:{OURS}:event-source-mapping:0a-1b"),
        ("apigateway:POST", f"arn:aws:apigateway:{REGION}::/restapis"),
        ("apigateway:PATCH", f"arn:aws:apigateway:{REGION}::/restapis/a1b2/stages/live"),
        ("apigateway:PATCH", f"arn:aws:apigateway:{REGION}::/account"),
        ("apigateway:POST", f"arn:aws:apigateway:{REGION}::/usageplans/a1b2/keys"),
        ("apigateway:PUT", f"arn:aws:apigateway:{REGION}::/tags/arn%3Aaws%3Aapigateway"),
        ("logs:PutRetentionPolicy", f"arn:aws:logs:{OURS}:log-group:/aws/lambda/thumbnails-prod-api:*"),
        ("logs:CreateLogGroup", f"arn:aws:logs:{OURS}:log-group:/aws/apigateway/thumbnails-prod"),
        ("logs:DescribeLogGroups", "*"),
        ("sqs:CreateQueue", f"arn:aws:sqs:{OURS}:thumbnails-prod-RetryQueue-A1"),
        ("sns:CreateTopic", f"arn:aws:sns:{OURS}:thumbnails-prod-AlarmTopic-A1"),
        ("events:PutRule", f"arn:aws:events:{OURS}:rule/thumbnails-prod-ReconcileEveryFiveMinutes-A1"),
        ("cloudwatch:PutMetricAlarm", f"arn:aws:cloudwatch:{OURS}:alarm:thumbnails-prod-ApiSlow-A1"),
        ("cloudwatch:PutDashboard", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/thumbnails-prod"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/thumbnails-prod-ApiHandlerRole-A1"),
        ("s3:PutObject", f"arn:aws:s3:::thumbnails-artifacts-{ACCOUNT}-{REGION}/a.zip"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{OURS}:secret:RedisToken-A1-b2"),
    ],
)
def test_resources_are_named_as_aws_names_them(action: str, resource: str) -> None:
    assert allowed(action, resource)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/thumbnails-me"),
        ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/admin"),
        ("s3:GetObject", "arn:aws:s3:::payroll/a"),
        ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{OURS}:function:payroll"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{OURS}:secret:payroll-b2"),
        ("ec2:RunInstances", f"arn:aws:ec2:{OURS}:instance/*"),
    ],
)
def test_what_is_not_ours_is_left_out(action: str, resource: str) -> None:
    assert not allowed(action, resource)


@pytest.mark.slow
def test_iam_takes_the_policy(tmp_path: Path) -> None:
    properties = {"PolicyDocument": POLICY}
    resources = {"Deployer": {"Type": "AWS::IAM::ManagedPolicy", "Properties": properties}}
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    # I3042 wants pseudo parameters in place of the partition and the account.
    assert [str(match) for match in lint_file(path) if match.rule.id != "I3042"] == []
    assert len(re.sub(r"\s", "", json.dumps(POLICY))) <= MOST_CHARACTERS
