"""What is looked at in an account before anything is made in it, and what is left behind there."""

import json
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from deploy import UserError, deploy, destroy, template
from deploy.account import Account, Concurrency, reservations
from deploy.artifacts import Artifacts, Version
from deploy.stack import Stack
from tests.inside import s3_of

pytestmark = pytest.mark.slow

REGION = "eu-central-1"
ACCOUNT = "123456789012"


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS in this process; nothing leads to the real one."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ARTIFACTS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    # moto knows no protection, and is never busy; tests/test_deploy_stack.py has both.
    monkeypatch.setattr(Stack, "protect", lambda *_, **__: None)
    monkeypatch.setattr("time.sleep", lambda _: None)
    boto3.DEFAULT_SESSION = None
    # It empties all of moto's services, those of the session's server in this process included.
    buckets = dict(s3_backends[ACCOUNT]["aws"].buckets)
    queues = dict(sqs_backends[ACCOUNT]["us-east-1"].queues)
    with mock_aws():
        yield
    s3_backends[ACCOUNT]["aws"].buckets.update(buckets)
    sqs_backends[ACCOUNT]["us-east-1"].queues.update(queues)
    boto3.DEFAULT_SESSION = None


def hand_out(monkeypatch: pytest.MonkeyPatch, service: str) -> Stubber:
    """Let the code under test get a client of a service that answers what the test says."""
    client, real = boto3.client(service), boto3.client
    monkeypatch.setattr(
        boto3, "client", lambda name, **said: client if name == service else real(name, **said)
    )
    stubber = Stubber(client)
    stubber.activate()
    return stubber


# --- whose account, and where ---


def test_no_region_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(UserError, match="AWS_DEFAULT_REGION"):
        Account.find(None)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"])
def test_credentials_that_are_refused_are_a_sentence(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    hand_out(monkeypatch, "sts").add_client_error("get_caller_identity", code, "refused")
    with pytest.raises(UserError, match="aws sso login"):
        Account.find(None)


def test_bad_input_is_refused_before_packaging_and_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was packaged or made")

    monkeypatch.setattr("deploy.package.build", never)
    monkeypatch.setattr("deploy.deploy.deploy", never)
    monkeypatch.setattr(Account, "concurrency", lambda _: Concurrency(1000, 1000))
    for stage, parameters, said in (
        ("No Such", "", "STAGE must be"),
        ("prod", "nonsense", "Name=value"),
        ("prod", "ThumbnailSize=2000x2000", "ThumbnailSize"),
        ("prod", "PipelineConcurrency=950", "lets the stack reserve 900"),
    ):
        monkeypatch.setattr("sys.argv", ["deploy", "--stage", stage, "--parameters", parameters])
        with pytest.raises(SystemExit) as ended:
            deploy.main()
        assert said in str(ended.value)
    buckets = boto3.client("s3").list_buckets()["Buckets"]
    assert buckets == []


# --- quotas ---

NOTHING = {"PipelineConcurrency": "0", "ApiConcurrency": "0"}


@pytest.mark.parametrize(
    ("found", "named", "current", "planned", "short"),
    [
        (Concurrency(10, 10), {}, {}, NOTHING, True),
        (Concurrency(50, 50), {}, {}, {"PipelineConcurrency": "20", "ApiConcurrency": "20"}, True),
        (Concurrency(100, 100), {}, {}, NOTHING, True),
        (Concurrency(1000, 1000), {}, {}, {"PipelineConcurrency": "20", "ApiConcurrency": "100"}, False),
        # Other functions of the account have reserved most of it.
        (Concurrency(1000, 130), {}, {}, {"PipelineConcurrency": "15", "ApiConcurrency": "15"}, True),
        (Concurrency(1000, 90), {}, {}, NOTHING, True),
        (Concurrency(50, 50), {"ApiConcurrency": "30"}, {}, {"PipelineConcurrency": "10"}, True),
        (Concurrency(10, 10), NOTHING, {}, {}, False),
        # A deployment keeps what it has, and what it has reserved itself counts as room.
        (Concurrency(1000, 880), {}, {"PipelineConcurrency": "20"}, {}, False),
        (Concurrency(1000, 110), {"PipelineConcurrency": "30"}, {"PipelineConcurrency": "20"}, {}, False),
    ],
)
def test_what_the_quota_allows_is_reserved(
    found: Concurrency, named: dict[str, str], current: dict[str, str], planned: dict[str, str], short: bool
) -> None:
    chosen, sentence = reservations(found, named, current)
    assert chosen == planned
    assert (sentence is not None) == short
    whole = NOTHING | current | named | chosen
    own = sum(int(current.get(name, 0)) for name in NOTHING)
    left = found.unreserved + own - sum(map(int, whole.values()))
    assert left >= min(found.kept, found.unreserved), "CloudFormation would fail"
    if short:
        assert "429 or 503" in str(sentence)
        assert "servicequotas" in str(sentence)


@pytest.mark.parametrize(
    ("found", "named", "current"),
    [
        (Concurrency(10, 10), {"PipelineConcurrency": "1"}, {}),
        (Concurrency(1000, 1000), {"ApiConcurrency": "901"}, {}),
        (Concurrency(1000, 110), {"PipelineConcurrency": "31"}, {"PipelineConcurrency": "20"}),
        (Concurrency(50, 30), {"ApiConcurrency": "30"}, {"PipelineConcurrency": "20"}),
    ],
)
def test_more_than_the_quota_is_refused(
    found: Concurrency, named: dict[str, str], current: dict[str, str]
) -> None:
    with pytest.raises(UserError, match="higher quota"):
        reservations(found, named, current)


# --- the first API of an account ---


@pytest.mark.parametrize(
    ("answer", "may"),
    [
        ({"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/logs"}, True),
        ({}, False),
        (("NotFoundException", "Invalid Customer identifier specified"), False),
    ],
)
def test_an_account_without_an_api_has_no_role_that_may_log(
    monkeypatch: pytest.MonkeyPatch, answer: Any, may: bool
) -> None:
    stubber = hand_out(monkeypatch, "apigateway")
    if isinstance(answer, dict):
        stubber.add_response("get_account", answer)
    else:
        stubber.add_client_error("get_account", *answer)
    assert Account(ACCOUNT, None).gateway_may_log() == may


def test_other_refusals_are_not_taken_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_out(monkeypatch, "apigateway").add_client_error("get_account", "AccessDeniedException")
    with pytest.raises(ClientError):
        Account(ACCOUNT, None).gateway_may_log()


# --- the plan ---


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "concurrency", lambda _: Concurrency(1000, 1000))
    monkeypatch.setattr(Account, "zones", lambda _: ("eu-central-1a", "eu-central-1b"))
    monkeypatch.setattr(Account, "gateway_may_log", lambda _: False)


DECLARED = template.stack()


def prepare(given: dict[str, str]) -> deploy.Plan:
    return deploy.prepare(Stack("thumbnails-prod"), Account(ACCOUNT, None), DECLARED, given)


@pytest.mark.usefixtures("roomy")
def test_a_first_deployment_names_its_zones_and_limits() -> None:
    (step,) = prepare({"Retention": "60"}).steps
    assert step == {
        "Retention": "60",
        "PipelineConcurrency": "20",
        "ApiConcurrency": "100",
        "ZoneA": "eu-central-1a",
        "ZoneB": "eu-central-1b",
        "CreateApiLogsRole": "true",
    }


@pytest.mark.usefixtures("roomy")
def test_another_redis_needs_no_zones() -> None:
    for redis in ({"RedisUrl": "redis://a"}, {"RedisUrlName": "prod/redis"}):
        assert "ZoneA" not in prepare(redis).steps[0]


def create(status: str | None = None, **content: Any) -> None:
    """A stack that is there already, in any state."""
    said = {"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}} | content
    boto3.client("cloudformation").create_stack(
        StackName="thumbnails-prod",
        TemplateBody=json.dumps(said),
        Parameters=[{"ParameterKey": name, "ParameterValue": ""} for name in content.get("Parameters", {})],
    )
    if status:
        from moto.cloudformation.models import cloudformation_backends

        (stack,) = cloudformation_backends[ACCOUNT][REGION].stacks.values()
        stack.status = status


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("ROLLBACK_COMPLETE", "make destroy"),
        ("DELETE_FAILED", "make destroy"),
        ("UPDATE_IN_PROGRESS", "under way"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
    ],
)
def test_a_stack_that_takes_no_update_is_told_of(status: str, said: str) -> None:
    create(status)
    with pytest.raises(UserError, match=said):
        prepare({})


@pytest.mark.usefixtures("roomy")
def test_a_bucket_of_an_earlier_deployment_is_taken_over_on_demand() -> None:
    name = f"thumbnails-prod-{ACCOUNT}-{REGION}"
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    with pytest.raises(UserError, match=f"BucketName={name}"):
        prepare({})
    assert prepare({"BucketName": name}).adopted == name
    assert prepare({"BucketName": "another-bucket"}).adopted is None, "it is made"


@pytest.mark.usefixtures("roomy")
def test_what_a_stack_chose_by_itself_is_not_changed_by_naming_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket would be replaced by another, and Redis with its network."""
    monkeypatch.setattr(Account, "zone_of", lambda _, subnet: "eu-central-1c" if subnet else "")
    named = {"Type": "String", "Default": ""}
    create(
        Parameters={"BucketName": named, "ZoneA": named, "ZoneB": named},
        Resources={
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "pictures"}},
            "SubnetA": {"Type": "AWS::SQS::Queue"},
            "SubnetB": {"Type": "AWS::SQS::Queue"},
        },
    )
    with pytest.raises(UserError, match="BucketName cannot be changed from pictures"):
        prepare({"BucketName": "another"})
    with pytest.raises(UserError, match="ZoneA cannot be changed from eu-central-1c"):
        prepare({"ZoneA": "eu-central-1a", "ZoneB": "eu-central-1b"})
    assert prepare({"BucketName": "pictures"}).steps


def test_a_bucket_of_somebody_else_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stubber = hand_out(monkeypatch, "s3")
    asked = {"Bucket": "theirs", "ExpectedBucketOwner": ACCOUNT}
    stubber.add_client_error("head_bucket", "403", http_status_code=403, expected_params=asked)
    with pytest.raises(UserError, match="does not belong to account 123456789012"):
        Account(ACCOUNT, None).has_bucket("theirs")


# --- the bucket of artifacts ---


def test_every_call_names_the_owner_of_the_artifacts(tmp_path: Any) -> None:
    artifacts = Artifacts(ACCOUNT, endpoint=None)
    seen: dict[str, Any] = {}
    s3_of(artifacts).meta.events.register(
        "provide-client-params.s3", lambda params, model, **_: seen.__setitem__(model.name, params)
    )
    code = tmp_path / "code.zip"
    code.write_bytes(b"code")
    whole = {"Resources": {"Api": {"Type": "AWS::Serverless::Function", "Properties": {}}}}
    artifacts.ensure()
    artifacts.put_code(whole, code)
    url = artifacts.put_template(whole)
    assert url.startswith("https://")
    assert artifacts.remembered("thumbnails-prod") is None
    good = Version(whole, {"Retention": "60"})
    artifacts.remember("thumbnails-prod", good)
    assert artifacts.remembered("thumbnails-prod") == good
    assert {"CreateBucket", "HeadBucket", "PutObject", "GetObject", "PutPublicAccessBlock"} <= seen.keys()
    del seen["CreateBucket"]  # it is this account's, or it fails
    assert {params.get("ExpectedBucketOwner") for params in seen.values()} == {ACCOUNT}


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_bucket_that_somebody_else_made_under_that_name_is_not_used(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    stubber = hand_out(monkeypatch, "s3")
    if when == "before":
        stubber.add_client_error("head_bucket", "403", http_status_code=403)
    else:
        stubber.add_client_error("head_bucket", "404", http_status_code=404)
        stubber.add_client_error("create_bucket", "BucketAlreadyExists", http_status_code=409)
    with pytest.raises(UserError, match="ARTIFACTS_BUCKET"):
        Artifacts(ACCOUNT, endpoint=None).ensure()


def test_another_bucket_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "mine")
    assert Artifacts(ACCOUNT, endpoint=None).bucket == "mine"


# --- the end ---


@pytest.mark.parametrize("outputs", [{}, {"Outputs": {"BucketName": {"Value": "gone"}}}])
def test_a_removal_that_stopped_half_way_is_finished(outputs: dict[str, Any]) -> None:
    """The bucket is gone, or the stack has never told its name."""
    create("DELETE_FAILED", **outputs)
    stack = Stack("thumbnails-prod")
    destroy.destroy(stack, force=False)
    assert not stack.exists()


@pytest.mark.parametrize("way", ["force", "keep_bucket", "neither"])
def test_pictures_are_removed_kept_or_in_the_way(way: str) -> None:
    s3 = boto3.client("s3")
    create(Outputs={"BucketName": {"Value": "pictures"}})
    s3.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": REGION})
    for number in range(1001 if way == "force" else 1):
        s3.put_object(Bucket="pictures", Key=f"uploads/{number}", Body=b"")
    s3.put_object(Bucket="pictures", Key="state/heartbeat", Body=b"")
    stack = Stack("thumbnails-prod")
    if way == "neither":
        with pytest.raises(UserError, match=r"FORCE=1.*KEEP_BUCKET=1"):
            destroy.destroy(stack, force=False)
    else:
        destroy.destroy(stack, force=way == "force", keep_bucket=way == "keep_bucket")
    assert stack.exists() == (way == "neither")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert ("pictures" in buckets) == (way != "force")


def test_the_services_own_heartbeat_is_not_in_the_way() -> None:
    create(Outputs={"BucketName": {"Value": "pictures"}})
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="pictures", Key="state/heartbeat", Body=b"")
    stack = Stack("thumbnails-prod")
    destroy.destroy(stack, force=False)
    assert not stack.exists()
    assert "pictures" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def test_an_object_that_cannot_be_removed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    create(Outputs={"BucketName": {"Value": "pictures"}})
    stubber = hand_out(monkeypatch, "s3")
    for noted in ("head_bucket", "put_object"):
        stubber.add_response(noted, {})
    stubber.add_response("list_objects_v2", {"KeyCount": 1, "Contents": [{"Key": "originals/a"}]})
    refused = {"Errors": [{"Key": "originals/a", "Message": "Object Lock"}]}
    stubber.add_response("delete_objects", refused)
    with pytest.raises(UserError, match=r"originals/a in pictures cannot be removed: Object Lock"):
        destroy.destroy(Stack("thumbnails-prod"), force=True)
