"""`make deploy` and `make destroy`, as their user runs them, against MiniStack."""

import subprocess
from functools import partial

import boto3
import pytest
import requests

from deploy import smoke, template
from tests.conftest import picture
from tests.e2e import ministack

STAGE = "another"
API = "/api/v1/thumbnail"
PAGE = "https://b.example"


def test_a_stack_from_its_making_to_its_end(
    ministack_endpoint: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ministack.environment(ministack_endpoint).items():
        monkeypatch.setenv(name, value)
    run = partial(ministack.command, ministack_endpoint, stage=STAGE)
    deploy = partial(run, "deploy", "--build", str(ministack.ARTIFACT), "--parameters")
    environment = partial(
        boto3.client("lambda").get_function_configuration, FunctionName=f"thumbnails-{STAGE}-make-thumbnail"
    )

    refused(run("destroy"), "no stack")
    refused(deploy("NoSuchParameter=1"), "NoSuchParameter")
    refused(deploy("nonsense"), "Name=value")
    first = deploy(f"RedisUrl={redis_url} ThumbnailSize=40x40 AllowedOrigins={PAGE}")
    assert first.returncode == 0, first.stderr
    url = first.stdout.split(API)[0].rpartition(" ")[2]
    assert allowed(url + API) == PAGE
    record = requests.post(url + API, files={"image": ("kept.jpg", picture())}, timeout=60).json()

    # An update changes what is said, and nothing else: the URL, the pictures and other parameters stay.
    second = deploy("ThumbnailFit=contain")
    assert second.returncode == 0, second.stderr
    assert second.stdout.split(API)[0].rpartition(" ")[2] == url
    variables = environment()["Environment"]["Variables"]
    assert (variables["THUMBNAIL_SIZE"], variables["THUMBNAIL_FIT"]) == ("40x40", "contain")
    assert requests.get(f"{url}{API}/{record['id']}", timeout=60).json()["id"] == record["id"]
    assert deploy("").returncode == 0, "nothing to change is no failure"
    smoke.test(url, None, None)

    # Of several origins, the API names the one that asks; the gateway cannot. (For MiniStack, which joins no
    # lists in conditions, one origin is several, too.)
    assert deploy(f"AllowedOrigins=https://a.example,{PAGE}").returncode == 0
    assert [allowed(url + path) for path in (API, "/nothing/here")] == [PAGE, "*"]

    refused(run("destroy"), "FORCE=1")
    assert requests.get(f"{url}{API}/{record['id']}", timeout=60).status_code == 200
    forced = run("destroy", "--force")
    assert forced.returncode == 0, forced.stderr
    buckets = [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    assert not [name for name in buckets if name.startswith(f"thumbnails-{STAGE}-")]
    refused(run("destroy"), "no stack")


def allowed(url: str) -> str | None:
    """Whose pages may read what `PAGE` is answered."""
    reply = requests.get(url, headers={"Origin": PAGE}, timeout=60)
    return reply.headers.get("Access-Control-Allow-Origin")


def test_the_stack_makes_its_own_redis_and_network_and_leaves_none_of_it(
    ministack_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that CloudFormation does for it; MiniStack runs no Redis, so the smoke test cannot pass."""
    for name, value in ministack.environment(ministack_endpoint).items():
        monkeypatch.setenv(name, value)
    done = ministack.command(ministack_endpoint, "deploy", "--build", str(ministack.ARTIFACT), stage="own")
    refused(done, "smoke test failed")
    cloudformation = boto3.client("cloudformation")
    made = {
        resource["LogicalResourceId"]: resource["ResourceStatus"]
        for resource in cloudformation.describe_stack_resources(StackName="thumbnails-own")["StackResources"]
    }
    assert set(made.values()) == {"CREATE_COMPLETE"}
    stack = template.stack()["Resources"]
    ours = {name for name, resource in stack.items() if resource.get("Condition") == "OwnRedis"}
    assert ours <= made.keys()
    variables = boto3.client("lambda").get_function_configuration(FunctionName="thumbnails-own-api")[
        "Environment"
    ]["Variables"]
    secret = boto3.client("secretsmanager").list_secrets()["SecretList"][0]["ARN"]
    password = boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    assert variables["REDIS_URL"].startswith(f"rediss://:{password}@")
    assert variables["REDIS_URL"].endswith(":6379")

    assert ministack.command(ministack_endpoint, "destroy", "--force", stage="own").returncode == 0
    assert boto3.client("elasticache").describe_replication_groups()["ReplicationGroups"] == []


def refused(done: "subprocess.CompletedProcess[str]", why: str) -> None:
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stack_that_cannot_be_made_leaves_nothing_and_says_why(
    ministack_endpoint: str, redis_url: str
) -> None:
    deploy = partial(ministack.command, ministack_endpoint, "deploy", "--build", str(ministack.ARTIFACT))
    failed = deploy("--parameters", f"RedisUrl={redis_url} ThumbnailFit=stretch", stage="broken")
    refused(failed, "ThumbnailFit")
    refused(ministack.command(ministack_endpoint, "destroy", stage="broken"), "no stack")
