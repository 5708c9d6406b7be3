"""What the AWS account allows and holds, looked at before anything is made in it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy import UserError

if TYPE_CHECKING:
    from types_boto3_apigateway import APIGatewayClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_s3 import S3Client
    from types_boto3_sts import STSClient

WANTED = {"PipelineConcurrency": 20, "ApiConcurrency": 100}
"""Concurrent executions that a first deployment reserves where the account has room for them."""
# Lambda keeps so many of an account's concurrent executions unreserved: 100, says the Lambda Developer Guide
# ("Configuring reserved concurrency"); in new accounts, whose quota is 10 or 50, it names 10 in its refusals.
_LARGE_QUOTA, _KEPT, _KEPT_IN_NEW_ACCOUNTS = 100, 100, 10
QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/lambda/quotas/L-B99A9384"
_ZONES = 2


class Concurrency(NamedTuple):
    """Lambda's quota of concurrent executions in this account and region."""

    quota: int
    """How many there are."""
    unreserved: int
    """How many of them no function has reserved."""

    @property
    def kept(self) -> int:
        """How many must stay unreserved."""
        return _KEPT if self.quota >= _LARGE_QUOTA else _KEPT_IN_NEW_ACCOUNTS

    def free(self, own: int) -> int:
        """How many may be reserved by a stack that has reserved `own` of them already."""
        return max(0, self.unreserved + own - self.kept)


class Account(NamedTuple):
    """The account and region in which the SDK works."""

    number: str
    """Twelve digits."""
    endpoint: str | None
    """URL of an emulator, None for AWS."""

    @classmethod
    def find(cls, endpoint: str | None) -> "Account":
        """Ask AWS whose credentials these are.

        Raises:
            UserError: there is no region, or there are no valid credentials.

        """
        if boto3.Session().region_name is None:
            raise UserError("no region is chosen; set AWS_DEFAULT_REGION (such as eu-central-1).")
        sts: STSClient = boto3.client("sts", endpoint_url=endpoint)
        try:
            return cls(sts.get_caller_identity()["Account"], endpoint)
        except (BotoCoreError, ClientError) as error:
            raise UserError(
                f"AWS does not take the credentials ({error}); log in with `aws sso login`, or set "
                "AWS_PROFILE or the variables of an access key."
            ) from error

    def concurrency(self) -> Concurrency:
        """Lambda's quota, and what is left of it."""
        client: LambdaClient = boto3.client("lambda", endpoint_url=self.endpoint)
        limit = client.get_account_settings()["AccountLimit"]
        return Concurrency(limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"])

    def gateway_may_log(self) -> bool:
        """Tell whether API Gateway has been allowed to write logs in this account and region."""
        gateway: APIGatewayClient = boto3.client("apigateway", endpoint_url=self.endpoint)
        try:
            return bool(gateway.get_account().get("cloudwatchRoleArn"))
        except ClientError as error:
            # Where API Gateway was never used, it knows no account.
            if error.response["Error"]["Code"] == "NotFoundException":
                return False
            raise

    def zones(self) -> tuple[str, str]:
        """Two availability zones for a new network.

        Raises:
            UserError: the region has fewer.

        """
        ec2 = boto3.client("ec2", endpoint_url=self.endpoint)
        found = ec2.describe_availability_zones(
            Filters=[
                {"Name": "state", "Values": ["available"]},
                {"Name": "zone-type", "Values": ["availability-zone"]},
            ]
        )["AvailabilityZones"]
        names = sorted(zone["ZoneName"] for zone in found)[:_ZONES]
        if len(names) < _ZONES:
            raise UserError("this region has fewer than two availability zones; Redis's network needs two.")
        return names[0], names[1]

    def zone_of(self, subnet: str) -> str:
        """The availability zone that a subnet is in."""
        ec2 = boto3.client("ec2", endpoint_url=self.endpoint)
        zone: str = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailabilityZone"]
        return zone

    def has_bucket(self, name: str) -> bool:
        """Tell whether this account has a bucket of a name.

        Raises:
            UserError: another account has it.

        """
        s3: S3Client = boto3.client("s3", endpoint_url=self.endpoint)
        try:
            s3.head_bucket(Bucket=name, ExpectedBucketOwner=self.number)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in {"404", "NoSuchBucket"}:
                return False
            if code in {"403", "AccessDenied"}:
                raise UserError(
                    f"the bucket {name} does not belong to account {self.number}, or these credentials may "
                    "not use it; name another with the parameter BucketName."
                ) from error
            raise
        return True

    def region(self) -> str:
        """Name of the region."""
        return str(boto3.Session().region_name)


def reservations(
    found: Concurrency, named: Mapping[str, str], current: Mapping[str, str]
) -> tuple[dict[str, str], str | None]:
    """Decide how much concurrency a stack reserves.

    Args:
        found: the account's.
        named: parameters that the user gives.
        current: parameters that the stack has; empty for a first deployment.

    Returns:
        parameters to set beside those that are named, and a sentence if that is less than the service wants.

    Raises:
        UserError: what is named is more than the account lets a stack reserve.

    """
    own = sum(int(current.get(name, 0)) for name in WANTED)
    free = found.free(own)
    asked = {name: int(named.get(name, current.get(name, 0))) for name in WANTED}
    if named.keys() & WANTED.keys() and sum(asked.values()) > free:
        raise UserError(
            f"{' and '.join(f'{name}={number}' for name, number in asked.items())} reserve "
            f"{sum(asked.values())} concurrent executions, and this account lets the stack reserve {free}: "
            f"its quota is {found.quota}, of which {found.kept} must stay unreserved. Choose less, or ask "
            f"for a higher quota: {QUOTA_PAGE}"
        )
    if current:
        return {}, None
    left = free - sum(asked.values())
    planned = {}
    for name in (name for name in WANTED if name not in named):
        # The pipeline gets half of what there is, and the API the rest.
        share = left // 2 if name == "PipelineConcurrency" and "ApiConcurrency" not in named else left
        planned[name] = min(WANTED[name], share)
        left -= planned[name]
    if all(planned[name] == WANTED[name] for name in planned):
        return {name: str(number) for name, number in planned.items()}, None
    reserved = " and ".join(f"{name}={number}" for name, number in planned.items())
    return {name: str(number) for name, number in planned.items()}, (
        f"This account may run {found.quota} functions at a time, of which {found.kept} must stay "
        f"unreserved: {reserved} (0 reserves nothing). All functions share the rest, "
        f"so a burst of uploads can slow the API down, whose clients then get 429 or 503. "
        f"Ask for a higher quota, and deploy again "
        f'with PARAMETERS="PipelineConcurrency=20 ApiConcurrency=100": {QUOTA_PAGE}'
    )
