"""Each role allows just what its function does: all calls of each function on all its ways are recorded.

What Lambda itself does in a function's name (logs, network, queues) is tied to the property of the
function that makes it do so.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from chalice.local import LambdaContext

import app
from chalicelib import naming, services, triggers
from chalicelib.objects.bucket import Bucket
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.work.audit import RECORDS_EVERY_MS
from deploy import ROOT, template
from local.owners import TRIAL, token
from tests.conftest import Api, SettableClock, keys_in, picture, report
from tests.inside import s3_of
from tests.processing import remove_and_die

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
ACTION = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
}
# A role that may not list a bucket is told 403, and not 404, of an object that is not there.
ASKS_FOR_WHAT_MAY_BE_MISSING = {"GetObject", "HeadObject"}

LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
NETWORK = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
FUNCTION = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function"
BUCKET = "arn:${AWS::Partition}:s3:::${AWS::StackName}-${AWS::AccountId}-${AWS::Region}"


class Grant(NamedTuple):
    """An action, and where: a part of the bucket, or another resource as the template names it."""

    action: str
    where: str


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment that makes its functions use all that they may."""
    monkeypatch.setenv("WATERMARK", "assets/logo.png")
    monkeypatch.setenv("THUMBNAIL_SIZES", "card=40x30:watermark")
    yield
    services.settings.cache_clear()


@pytest.fixture
def calls(api: Api, s3: "S3Client") -> Callable[[], set[Grant]]:
    """Record what the functions ask of S3; calling it returns what was recorded since the last time."""
    recorded: set[Grant] = set()
    s3.put_object(Bucket=api.bucket.name, Key="assets/logo.png", Body=picture(image_format="PNG"))

    def record(params: dict[str, Any], model: Any, **_: object) -> None:
        if model.name == "CopyObject":
            source = params["CopySource"].split("/")[1]
            recorded.add(Grant("s3:GetObject", f"{BUCKET}/{source}/*"))
        if "Key" in params:
            objects = [params["Key"]]
        else:
            objects = [item["Key"] for item in params.get("Delete", {}).get("Objects", [])]
        for key in objects:
            recorded.add(Grant(ACTION[model.name], f"{BUCKET}/{key.partition('/')[0]}/*"))
        if not objects or model.name in ASKS_FOR_WHAT_MAY_BE_MISSING:
            recorded.add(Grant("s3:ListBucket", BUCKET))

    def take() -> set[Grant]:
        taken = set(recorded)
        recorded.clear()
        return taken

    for adapter in (services.bucket(), services.processor().bucket):
        s3_of(adapter).meta.events.register("before-parameter-build.s3", record)
    return take


def allowed(policy: str) -> set[Grant]:
    """What a policy file grants; nothing with a wildcard, but the objects below a prefix."""
    found, denied = set(), set()
    for statement in json.loads((ROOT / ".chalice" / policy).read_text())["Statement"]:
        condition, grant, otherwise = statement.get(
            "Fn::If", ["OwnRedis", statement, {"Ref": "AWS::NoValue"}]
        )
        assert condition in {"OwnRedis", "EventsOn"}
        assert otherwise == {"Ref": "AWS::NoValue"}
        actions, where = grant["Action"], grant["Resource"]
        if grant["Effect"] == "Deny":
            denied.update(actions)
            function = policy.removeprefix("policy-").removesuffix(".json")
            arn = f"{FUNCTION}:${{AWS::StackName}}-{function}"
            # What Lambda does in the function's name has no such key; what the function's code does has.
            code_itself = {"ArnEquals": {"lambda:SourceFunctionArn": {"Fn::Sub": arn}}}
            assert (condition, where, grant["Condition"]) == ("OwnRedis", "*", code_itself)
            continue
        assert grant["Effect"] == "Allow"
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
            found.add(Grant(action, where if isinstance(where, str) else where["Fn::Sub"]))
    assert denied == {grant.action for grant in found if grant.action.startswith("ec2:")}
    return found


def by_the_platform(function: str) -> set[Grant]:
    """What Lambda does in the function's name, by what the stack says of the function."""
    stack = template.stack()
    properties = stack["Resources"][function]["Properties"]
    found = {Grant(action, f"${{{properties['LoggingConfig']['LogGroup']['Ref']}.Arn}}") for action in LOGS}
    assert stack["Globals"]["Function"]["VpcConfig"]["Fn::If"][0] == "OwnRedis"
    if properties.get("VpcConfig") != {"Ref": "AWS::NoValue"}:
        # Lambda needs these on everything: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
        found |= {Grant(action, "*") for action in NETWORK}
    with suppress(KeyError):
        destinations = stack["Resources"][f"{function}EventInvokeConfig"]["Properties"]["DestinationConfig"]
        queue = destinations["OnFailure"]["Destination"]["Fn::GetAtt"]
        found.add(Grant("sqs:SendMessage", f"${{{'.'.join(queue)}}}"))
        (name, _) = destinations["OnSuccess"]["Fn::If"][1]["Destination"]["Fn::GetAtt"]
        started = stack["Resources"][name]["Properties"]["FunctionName"]["Fn::Sub"]
        found.add(Grant("lambda:InvokeFunction", f"{FUNCTION}:{started}"))
    for event in properties.get("Events", {}).values():
        if event["Type"] == "SQS":
            queue = event["Properties"]["Queue"]["Fn::GetAtt"]
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
                found.add(Grant(f"sqs:{action}", f"${{{'.'.join(queue)}}}"))
    return found


def policy_of(function: str) -> str:
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    assert config["autogen_policy"] is False
    name: str = config["stages"][template.CHALICE_STAGE]["lambda_functions"][function]["iam_policy_file"]
    return name


def empty(bucket: Bucket, s3: "S3Client", prefix: str) -> None:
    """Lose all objects below a prefix."""
    for key in keys_in(bucket, prefix):
        s3.delete_object(Bucket=bucket.name, Key=key)


def test_the_api(api: Api, s3: "S3Client", calls: Callable[[], set[Grant]]) -> None:
    used = set()
    for content in (picture(), picture()[:300]):
        record = api.upload(content)
        api("GET", f"/{record['id']}/download")
        used |= calls()
        api.deliver()
        calls()  # the pipeline's
        api("GET")
        api("GET", f"/{record['id']}")
        api("GET", f"/{record['id']}/download")
        if (given := api("GET", f"/{record['id']}/url")).ok:
            # What the role signs, it has to be allowed itself when its holder sends it.
            key = urlsplit(given.json()["url"]).path.removeprefix(f"/{api.bucket.name}/")
            used.add(Grant("s3:GetObject", f"{BUCKET}/{key.partition('/')[0]}/*"))
        api("DELETE", f"/{record['id']}")
        used |= calls()
    assert api.session.get(f"{api.url}/api/v1/system/health", timeout=60).ok
    used |= calls()
    # Thumbnails that are lost: a download repairs the record.
    s3.put_object(Bucket=api.bucket.name, Key="originals/a.jpg", Body=picture())
    lost = [api.upload()["id"], naming.record_id("originals/a.jpg")]
    api.deliver()
    calls()
    for record_id in lost:
        empty(api.bucket, s3, f"thumbnails/{record_id}/")
        assert api("GET", f"/{record_id}/download").status_code == 409
        api("DELETE", f"/{record_id}")
    used |= calls()
    assert used | by_the_platform("APIHandler") == allowed(policy_of("api_handler"))


def make_everything(
    api: Api,
    s3: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
    process: Callable[[], None],
    redis_server: "redis.Redis",
) -> None:
    """Lead `process` along all ways of an event, whichever function takes it."""
    for content in (picture(), picture()[:300]):
        s3.put_object(Bucket=api.bucket.name, Key="originals/a.jpg", Body=content)
        process()
    gone = api.upload()
    s3.delete_object(Bucket=api.bucket.name, Key=naming.original(gone["id"]))
    process()
    late = api.upload()
    content = s3.get_object(Bucket=api.bucket.name, Key=naming.original(late["id"]))["Body"].read()
    api("DELETE", f"/{late['id']}")
    s3.put_object(Bucket=api.bucket.name, Key=naming.original(late["id"]), Body=content)
    process()
    assert keys_in(api.bucket, "originals/") == ["originals/a.jpg"]
    assert keys_in(api.bucket, "uploads/") == []
    # Originals that are not kept, and the record of one that is lost.
    alone = replace(services.processor(), keep_originals=False)
    monkeypatch.setattr(triggers, "processor", lambda: alone)
    s3.put_object(Bucket=api.bucket.name, Key="originals/b.jpg", Body=picture())
    process()
    redis_server.flushall()
    s3.put_object(Bucket=api.bucket.name, Key="originals/b.jpg", Body=picture())
    s3.delete_object(Bucket=api.bucket.name, Key="originals/b.jpg")
    process()
    assert api("GET").json()[0]["ready"] is True


def test_making_a_thumbnail(
    api: Api,
    s3: "S3Client",
    calls: Callable[[], set[Grant]],
    monkeypatch: pytest.MonkeyPatch,
    redis_server: "redis.Redis",
) -> None:
    used = set()

    def deliver() -> None:
        calls()  # the API's
        api.deliver()
        used.update(calls())

    make_everything(api, s3, monkeypatch, deliver, redis_server)
    assert used | by_the_platform("MakeThumbnail") == allowed(policy_of("make_thumbnail"))


def test_trying_again_what_failed(
    api: Api,
    s3: "S3Client",
    calls: Callable[[], set[Grant]],
    monkeypatch: pytest.MonkeyPatch,
    redis_server: "redis.Redis",
) -> None:
    used = set()

    def fail() -> None:
        events = api.events()
        calls()  # the API's
        assert api.fail(*map(report, events)) == []
        used.update(calls())

    make_everything(api, s3, monkeypatch, fail, redis_server)
    assert used | by_the_platform("MarkFailed") == allowed(policy_of("mark_failed"))


def test_asking_for_tokens(
    api: Api, calls: Callable[[], set[Grant]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TRIAL.items():
        monkeypatch.setenv(name, value)
    services.settings.cache_clear()
    arn = "arn:aws:execute-api:us-east-1:123456789012:abc123/live/GET/api/v1/thumbnail"
    event = {"type": "TOKEN", "methodArn": arn, "authorizationToken": f"Bearer {token('alice', TRIAL)}"}
    assert app.authorize(event, None)["principalId"] == "alice"
    monkeypatch.undo()
    services.settings.cache_clear()
    services.tokens.cache_clear()
    assert calls() | by_the_platform("Authorize") == allowed(policy_of("authorize"))


def leftovers(api: Api, s3: "S3Client", clock: SettableClock, redis_server: "redis.Redis") -> None:
    """A picture of every kind that the reconciler has something to do with, and old enough."""
    lost, removed, former = api.upload(), api.upload(), api.upload()
    api.deliver()
    api.upload()
    api.events()
    s3.put_object(Bucket=api.bucket.name, Key="originals/a.jpg", Body=picture())
    s3.put_object(
        Bucket=api.bucket.name, Key=naming.thumbnail(naming.new_id(), "e-0123456789abcdef"), Body=b"x"
    )
    empty(api.bucket, s3, f"thumbnails/{lost['id']}/")
    remove_and_die(api.store, api.bucket, removed["id"])
    # As release 1 has stored it.
    api.bucket.copy(naming.original(former["id"]), naming.ORIGINALS + former["id"])
    s3.delete_object(Bucket=api.bucket.name, Key=naming.original(former["id"]))
    redis_server.hset(naming.record(former["id"]), "object_key", naming.ORIGINALS + former["id"])
    api.events()
    clock.advance(ms=IN_FLIGHT_MS + 1000)


def put_late(api: Api, s3: "S3Client") -> None:
    """An upload that lands after its removal."""
    late = api.upload()
    content = s3.get_object(Bucket=api.bucket.name, Key=naming.original(late["id"]))["Body"].read()
    api("DELETE", f"/{late['id']}")
    s3.put_object(Bucket=api.bucket.name, Key=naming.original(late["id"]), Body=content)
    api.events()


def test_reconciling(
    api: Api,
    s3: "S3Client",
    calls: Callable[[], set[Grant]],
    clock: SettableClock,
    redis_server: "redis.Redis",
) -> None:
    leftovers(api, s3, clock, redis_server)
    put_late(api, s3)
    calls()  # the API's and the pipeline's
    counts: Counter[str] = Counter()
    for _ in range(3):
        counts.update(api.reconcile())
        clock.advance(ms=RECORDS_EVERY_MS)
    assert counts["uploads moved"] == counts["originals removed"] == 1
    used = calls()
    assert all(record["ready"] for record in api("GET").json())
    assert used | by_the_platform("Reconcile") == allowed(policy_of("reconcile"))


def test_rebuilding(
    api: Api,
    s3: "S3Client",
    calls: Callable[[], set[Grant]],
    clock: SettableClock,
    redis_server: "redis.Redis",
) -> None:
    leftovers(api, s3, clock, redis_server)
    calls()
    redis_server.flushall()

    def refuse() -> None:
        reply: Any = {"Error": {"Code": "KMS.DisabledException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        raise ClientError(reply, "HeadObject")

    # S3 refuses one original in the listing's walk, and hands it out a moment later.
    uploads = keys_in(api.bucket, naming.UPLOADS)
    alone = [key for key in uploads if not keys_in(api.bucket, naming.thumbnails(naming.record_id(key)))]
    watch_head(services.processor().bucket, alone[0], refuse)
    context = LambdaContext("rebuild", 2048, 900_000)
    assert app.rebuild({}, context)["done"]
    used = calls()
    put_late(api, s3)
    clock.advance(ms=RECORDS_EVERY_MS)
    calls()
    counts = app.rebuild({}, context)["counts"]
    assert counts["originals removed"] == 1
    used |= calls()
    assert used | by_the_platform("Rebuild") == allowed(policy_of("rebuild"))


def watch_head(bucket: Bucket, key: str, refuse: Callable[[], None]) -> None:
    """Refuse the next HeadObject call about a key."""
    left = [refuse]

    def run(params: dict[str, Any], **_: object) -> None:
        if left and params["url_path"].endswith(key):
            left.pop()()

    s3_of(bucket).meta.events.register("before-call.s3.HeadObject", run)
