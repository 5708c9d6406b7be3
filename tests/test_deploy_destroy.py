"""`make destroy`, when it was stopped half-way: what is left is found again, and nothing else."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from deploy import UserError, destroy
from deploy.stack import Stack
from tests.inside import cloudformation_of
from tests.test_deploy_account import ACCOUNT, REGION, aws, create, hand_out

__all__ = ["aws"]  # a fixture, which every test here needs

pytestmark = pytest.mark.slow

NAME = "thumbnails-prod"
USUAL = f"{NAME}-{ACCOUNT}-{REGION}"


def buckets() -> set[str]:
    return {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}


def filled(name: str) -> None:
    s3 = boto3.client("s3")
    if name not in buckets():
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="originals/a", Body=b"a")


def interrupted(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    """Let a removal end as soon as the stack is gone."""
    kept = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": bucket}}
    create(Resources={"Bucket": kept})
    filled(bucket)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("deploy.destroy._Pictures.remove", stop)
        with pytest.raises(KeyboardInterrupt):
            destroy.destroy(Stack(NAME), force=True)
    assert not Stack(NAME).exists()
    assert bucket in buckets()


@pytest.mark.parametrize("bucket", [USUAL, "of-another-name"])
def test_the_bucket_of_a_stack_that_is_gone_is_removed_by_the_same_rules(
    monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    interrupted(monkeypatch, bucket)
    with pytest.raises(UserError, match=f"{bucket} holds pictures"):
        destroy.destroy(Stack(NAME), force=False)
    with pytest.raises(UserError, match="no stack"):
        destroy.destroy(Stack(NAME), force=False, keep_bucket=True)
    assert bucket in buckets()
    destroy.destroy(Stack(NAME), force=True)
    assert bucket not in buckets()
    with pytest.raises(UserError, match="no stack"):
        destroy.destroy(Stack(NAME), force=True)
    filled("of-another-name")  # somebody else's now
    with pytest.raises(UserError, match="no stack"):
        destroy.destroy(Stack(NAME), force=True)


def test_a_bucket_that_another_stack_has_taken_over_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, USUAL)
    monkeypatch.setattr(Stack, "holder", lambda _, name: {USUAL: "thumbnails-new"}[name])
    with pytest.raises(UserError, match="thumbnails-new"):
        destroy.destroy(Stack(NAME), force=True)
    assert USUAL in buckets()


def resource(stack: str, name: str, status: str = "CREATE_COMPLETE") -> dict[str, Any]:
    return {
        "StackName": stack,
        "LogicalResourceId": "Bucket",
        "PhysicalResourceId": name,
        "ResourceType": "AWS::S3::Bucket",
        "ResourceStatus": status,
        "Timestamp": "2026-11-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("found", "holder"),
    [
        ([resource("thumbnails-new", "other"), resource("thumbnails-new", "b")], "thumbnails-new"),
        ([resource("thumbnails-new", "b", "DELETE_FAILED")], "thumbnails-new"),
        # No more than 100 are told.
        ([resource("thumbnails-new", f"role-{number}") for number in range(100)], "thumbnails-new"),
        ([resource("thumbnails-old", "a"), resource("thumbnails-old", "b", "DELETE_SKIPPED")], None),
        (None, None),
    ],
)
def test_which_stack_has_a_bucket(found: list[dict[str, Any]] | None, holder: str | None) -> None:
    stack = Stack(NAME)
    with Stubber(cloudformation_of(stack)) as stubber:
        if found is None:
            stubber.add_client_error(
                "describe_stack_resources", "ValidationError", "Stack for b does not exist"
            )
        else:
            asked = {"PhysicalResourceId": "b"}
            stubber.add_response("describe_stack_resources", {"StackResources": found}, asked)
        assert stack.holder("b") == holder


def listed(*keys: str) -> dict[str, Any]:
    return {"KeyCount": len(keys), "Contents": [{"Key": key} for key in keys]}


@pytest.mark.parametrize("ends", ["empty", "never", "refused"])
def test_what_is_written_meanwhile_is_removed_too(monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    create(Outputs={"BucketName": {"Value": USUAL}})
    stubber = hand_out(monkeypatch, "s3")
    for _ in range(6 if ends == "never" else 2):
        stubber.add_response("list_objects_v2", listed("uploads/late"))
        stubber.add_response("delete_objects", {})
        stubber.add_client_error("delete_bucket", "BucketNotEmpty", http_status_code=409)
    if ends != "never":
        stubber.add_response("list_objects_v2", listed())
    if ends == "empty":
        stubber.add_response("delete_bucket", {})
        destroy.destroy(Stack(NAME), force=True)
    else:
        if ends == "refused":
            stubber.add_client_error("delete_bucket", "AccessDenied", http_status_code=403)
        with pytest.raises((UserError, ClientError), match=r"a client still writes|AccessDenied"):
            destroy.destroy(Stack(NAME), force=True)
    stubber.assert_no_pending_responses()
