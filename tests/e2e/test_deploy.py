"""`make deploy` and `make destroy`, as their user runs them, against MiniStack."""

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import redis
import requests

from deploy import UserError, archive, smoke, template
from deploy.stack import Stack
from local.owners import token
from tests.conftest import picture
from tests.e2e import ministack
from tests.service import eventually

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

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

    # What may be replaced wants a yes; without one, nothing changes.
    unasked = run(
        "deploy", "--build", str(ministack.ARTIFACT), "--parameters", "ThumbnailFit=contain", YES=""
    )
    refused(unasked, "Nothing was done")
    assert "may be replaced" in unasked.stdout
    assert environment()["Environment"]["Variables"]["THUMBNAIL_FIT"] == "cover"

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
    assert done.returncode == 1
    # Which of both depends on MiniStack's password, which may hold a slash.
    assert re.search("smoke test failed|the functions refuse their settings: REDIS_URL", done.stderr)
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

    # A standby comes and goes in two updates each, and subnets stay where they are.
    zones = [parameter(cloudformation, name) for name in ("ZoneA", "ZoneB")]
    assert all(zones)
    for nodes, failover in ((2, "enabled"), (1, "disabled")):
        done = ministack.command(
            *(ministack_endpoint, "deploy", "--build", str(ministack.ARTIFACT)),
            *("--parameters", f"RedisNodes={nodes}"),
            stage="own",
        )
        assert done.stdout.count("Updating thumbnails-own") == 2
        (group,) = boto3.client("elasticache").describe_replication_groups()["ReplicationGroups"]
        assert group["AutomaticFailover"] == failover
        # MiniStack does not show the nodes that it is told of.
        found = [parameter(cloudformation, name) for name in ("RedisNodes", "RedisFailover")]
        assert found == [str(nodes), "true"]
    assert [parameter(cloudformation, name) for name in ("ZoneA", "ZoneB")] == zones

    assert ministack.command(ministack_endpoint, "destroy", "--force", stage="own").returncode == 0
    assert boto3.client("elasticache").describe_replication_groups()["ReplicationGroups"] == []


def parameter(cloudformation: "CloudFormationClient", name: str) -> str:
    (stack,) = cloudformation.describe_stacks(StackName="thumbnails-own")["Stacks"]
    return next(one["ParameterValue"] for one in stack["Parameters"] if one["ParameterKey"] == name)


def refused(done: "subprocess.CompletedProcess[str]", why: str) -> None:
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stack_that_cannot_be_made_leaves_nothing_and_says_why(
    ministack_endpoint: str, redis_url: str
) -> None:
    deploy = partial(ministack.command, ministack_endpoint, "deploy", "--build", str(ministack.ARTIFACT))
    # A name that exists, and of which CloudFormation alone knows that it leads to no secret.
    failed = deploy("--parameters", "RedisUrlName=no/such/secret", stage="broken")
    refused(failed, "no/such/secret")
    refused(ministack.command(ministack_endpoint, "destroy", stage="broken"), "no stack")


def broken(folder: Path) -> Path:
    """A build that passes for one, whose functions die at their start."""
    build = folder / "build"
    shutil.copytree(ministack.ARTIFACT, build)
    app = build / "code" / "app.py"
    app.write_text(app.read_text() + "\nraise RuntimeError('broken')\n")
    # The compiled file is what is imported.
    (build / "code" / "__pycache__" / "app.cpython-313.pyc").unlink()
    archive.write(build / "code", build / "code.zip")
    return build


def test_a_version_that_fails_is_taken_back(ministack_endpoint: str, redis_url: str, tmp_path: Path) -> None:
    run = partial(ministack.command, ministack_endpoint, stage="back")
    good, bad = ("--build", str(ministack.ARTIFACT)), ("--build", str(broken(tmp_path)))
    refused(run("rollback"), "no stack")
    first = run("deploy", *good, "--parameters", f"RedisUrl={redis_url} ThumbnailSize=40x40")
    assert first.returncode == 0, first.stdout + first.stderr
    url = first.stdout.split(API)[0].rpartition(" ")[2]
    pulse = f"{url}/api/v1/system/pulse"

    failed = run("deploy", *bad, "--parameters", "ThumbnailSize=50x50")
    refused(failed, "make rollback STAGE=back")
    assert requests.get(pulse, timeout=60).status_code >= 500
    back = run("rollback")
    assert back.returncode == 0, back.stdout + back.stderr
    assert "Smoke test passed" in back.stdout
    by_itself = run("deploy", *bad, ROLLBACK="1")
    refused(by_itself, "the one before is back")
    assert requests.get(pulse, timeout=60).status_code == 200
    assert run("destroy").returncode == 0


def test_a_kept_bucket_is_taken_over_by_a_new_stack(
    ministack_endpoint: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ministack.environment(ministack_endpoint).items():
        monkeypatch.setenv(name, value)
    run = partial(ministack.command, ministack_endpoint, stage="kept")
    deploy = partial(run, "deploy", "--build", str(ministack.ARTIFACT), "--parameters")
    first = deploy(f"RedisUrl={redis_url}")
    url, bucket = re.findall(r"^(?:API|Bucket): (\S+)$", first.stdout, re.MULTILINE)
    record = requests.post(url, files={"image": ("kept.jpg", picture())}, timeout=60).json()
    eventually(lambda: requests.get(f"{url}/{record['id']}", timeout=60).json()["ready"], 30)
    kept = run("destroy", "--keep-bucket")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    server: redis.Redis = redis.Redis.from_url(redis_url)
    server.flushall()
    server.close()

    refused(deploy(f"RedisUrl={redis_url}"), f"BucketName={bucket}")
    again = deploy(f"RedisUrl={redis_url} BucketName={bucket}")
    assert again.returncode == 0, again.stdout + again.stderr
    url, found = re.findall(r"^(?:API|Bucket): (\S+)$", again.stdout, re.MULTILINE)
    assert found == bucket
    assert run("maintain", "rebuild").returncode == 0
    assert [one["id"] for one in requests.get(url, timeout=60).json()] == [record["id"]]
    # What is put into the bucket now is noticed by the new stack's function.
    boto3.client("s3").put_object(Bucket=bucket, Key="originals/new.jpg", Body=picture())
    eventually(lambda: len(requests.get(url, timeout=60).json()) == 2, 30)
    assert run("destroy", "--force").returncode == 0


def test_settings_that_the_functions_refuse_are_named(
    ministack_endpoint: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot be deployed, but changed by other hands."""
    for name, value in ministack.environment(ministack_endpoint).items():
        monkeypatch.setenv(name, value)
    run = partial(ministack.command, ministack_endpoint, stage="settings")
    done = run("deploy", "--build", str(ministack.ARTIFACT), "--parameters", f"RedisUrl={redis_url}")
    assert done.returncode == 0, done.stdout + done.stderr
    client = boto3.client("lambda")
    for function in ("api", "reconcile"):
        name = f"thumbnails-settings-{function}"
        variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables | {"THUMBNAIL_SIZE": "2000x2000"}}
        )
    with pytest.raises(UserError, match="refuse their settings: THUMBNAIL_SIZE must be"):
        smoke.run(Stack("thumbnails-settings", endpoint=ministack_endpoint))
    assert run("destroy").returncode == 0


def test_secrets_come_from_secrets_manager(
    ministack_endpoint: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ministack.environment(ministack_endpoint).items():
        monkeypatch.setenv(name, value)
    secret = {"AUTH_ISSUER": "me", "AUTH_SECRET": 'a secret of $32 "characters", or more'}
    client = boto3.client("secretsmanager")
    client.create_secret(Name="named/redis", SecretString=redis_url)
    client.create_secret(Name="named/auth", SecretString=secret["AUTH_SECRET"])
    run = partial(ministack.command, ministack_endpoint, stage="named")
    done = run(
        *("deploy", "--build", str(ministack.ARTIFACT), "--parameters"),
        "RedisUrlName=named/redis AuthSecretName=named/auth AuthIssuer=me AuthAlgorithm=HS256",
        SMOKE_TOKEN=token("smoke", secret | {"AUTH_ALGORITHM": "HS256"}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Smoke test passed" in done.stdout
    assert run("destroy").returncode == 0
