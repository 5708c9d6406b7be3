"""What the stack gives to those who run it: secrets, alarms, names that stay, and the ways to reach it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from chalicelib.settings import Settings
from deploy import ROOT, template
from deploy.account import WANTED
from deploy.emulators import TARGETS, localstack_urls, show_s3_at

Resources = dict[str, dict[str, Any]]


def test_secrets_are_where_they_are_used_alone(stack: template.Template) -> None:
    shared = stack["Globals"]["Function"]["Environment"]["Variables"]
    assert "AUTH_SECRET" not in shared
    holders = {
        name
        for name, properties in template.functions(stack).items()
        if "AuthSecret" in json.dumps(properties.get("Environment", {}))
    }
    assert holders == {"Authorize"}
    own = stack["Resources"]["Authorize"]["Properties"]["Environment"]["Variables"]
    assert own["REDIS_URL"] == "redis://localhost", "it gets no password of Redis"
    assert not [name for name in ("RedisUrl", "AuthSecret") if not stack["Parameters"][name]["NoEcho"]]


@pytest.mark.parametrize("algorithm", ["RS256", "HS256"])
def test_functions_without_the_secret_still_know_of_owners(stack: template.Template, algorithm: str) -> None:
    """For HS256, they get a combination that the settings take, and by which no token could be checked."""
    shared = stack["Globals"]["Function"]["Environment"]["Variables"]
    chosen = {
        name: of["Fn::If"][1] for name, of in shared.items() if of.get("Fn::If", [""])[0] == "SharedSecret"
    }
    assert set(chosen) == {"AUTH_ALGORITHM", "AUTH_JWKS_URL"}
    given = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost", "AUTH_ISSUER": "me"}
    given |= chosen if algorithm == "HS256" else {"AUTH_JWKS_URL": "https://me.example/keys"}
    auth = Settings.from_env(given).auth
    assert auth is not None
    assert auth.secret == b""
    assert (auth.jwks_url or "").startswith("https://authorize.invalid/") == (algorithm == "HS256")


def test_the_first_api_of_an_account_comes_before_the_accounts_settings(resources: Resources) -> None:
    """API Gateway has no account to set anything of where no API was ever made."""
    account = resources["ApiLogsAccount"]
    assert account["DependsOn"] == "RestAPI"
    # The stage needs the setting; a tag of the API itself would make a circle.
    properties = resources["RestAPI"]["Properties"]
    assert "ApiLogsAccount" in json.dumps(properties["Tags"])
    assert not properties.get("PropagateTags")
    for name in ("ApiLogsRole", "ApiLogsAccount", "Bucket"):
        assert resources[name]["DeletionPolicy"] == "RetainExceptOnCreate", "a failed creation leaves nothing"


def test_alarms_go_by_the_name_that_the_api_has(resources: Resources) -> None:
    properties = resources["RestAPI"]["Properties"]
    stack_name = {"Ref": "AWS::StackName"}
    assert (properties["Name"], properties["DefinitionBody"]["info"]["title"]) == (stack_name, stack_name)
    assert {"Name": "ApiName", "Value": stack_name} in resources["ApiErrors"]["Properties"]["Dimensions"]


def test_one_parameter_names_the_bucket_everywhere(stack: template.Template) -> None:
    usual = "${AWS::StackName}-${AWS::AccountId}-${AWS::Region}"
    named = {"Fn::If": ["NamesBucket", {"Ref": "BucketName"}, {"Fn::Sub": usual}]}
    assert stack["Resources"]["Bucket"]["Properties"]["BucketName"] == named
    assert stack["Globals"]["Function"]["Environment"]["Variables"]["BUCKET"] == named
    text = json.dumps(stack)
    assert text.count(usual) == text.count(json.dumps(named)), "nothing else names it"
    for policy in (ROOT / ".chalice").glob("policy-*.json"):
        assert text.count("${PicturesBucket}/") >= policy.read_text().count(usual + "/")


def test_zones_stay_as_they_were(resources: Resources) -> None:
    for letter, number in (("A", 0), ("B", 1)):
        first = {"Fn::Select": [number, {"Fn::GetAZs": ""}]}
        zone = resources[f"Subnet{letter}"]["Properties"]["AvailabilityZone"]
        assert zone == {"Fn::If": ["ZonesNamed", {"Ref": f"Zone{letter}"}, first]}


def test_defaults_reserve_nothing(stack: template.Template) -> None:
    """A new account has ten concurrent executions, all of which must stay unreserved."""
    for name in WANTED:
        assert stack["Parameters"][name]["Default"] == 0


def test_every_alarm_reaches_both_who_are_told(resources: Resources) -> None:
    told = [
        {"Fn::If": ["SendsAlarms", {"Ref": "AlarmTopic"}, {"Ref": "AWS::NoValue"}]},
        {"Fn::If": ["TellsTopic", {"Ref": "AlarmTopicArn"}, {"Ref": "AWS::NoValue"}]},
    ]
    alarms = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) > 12
    assert all(alarm["AlarmActions"] == alarm["OKActions"] == told for alarm in alarms)


UNSIGNED = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA"  # {"alg":"RS256","kid":"a"}, {}


@pytest.mark.parametrize(
    "settings",
    [{"AUTH_JWKS_URL": "https://127.0.0.1:1/keys"}, {"AUTH_ALGORITHM": "HS256"}],
    ids=["the issuer is down", "a parameter is wrong"],
)
def test_an_authorizer_that_refuses_all_rings(resources: Resources, settings: dict[str, str]) -> None:
    """The filter counts the very line that the authorizer writes then."""
    required = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost", "AUTH_ISSUER": "me"}
    arn = "arn:aws:execute-api:us-east-1:123456789012:abc123/live/GET/api/v1/thumbnail"
    event = {"type": "TOKEN", "methodArn": arn, "authorizationToken": f"Bearer {UNSIGNED}"}
    done = subprocess.run(
        [sys.executable, "-c", f"import app; app.authorize({event}, None)"],
        cwd=ROOT,
        env=os.environ | required | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    message = json.loads(done.stdout.splitlines()[-1])["message"]
    assert (
        resources["TokensUncheckedCount"]["Properties"]["FilterPattern"] == f'{{ $.message = "{message}" }}'
    )
    access = json.loads(resources["RestAPI"]["Properties"]["AccessLogSetting"]["Format"])
    assert resources["UnauthorizedCount"]["Properties"]["FilterPattern"] == '{ $.status = "401" }'
    assert access["status"] == "$context.status"
    for name in ("TokensUnchecked", "TokensRefused"):
        assert resources[name]["Condition"] == "OwnersOn"


def test_an_outage_rings_though_no_invocation_fails(resources: Resources) -> None:
    alarm = resources["RetryQueueAge"]["Properties"]
    # SQS leaves messages that were received three times out of ApproximateAgeOfOldestMessage.
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesNotVisible"
    assert alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": ["RetryQueue", "QueueName"]}
    # Three tries have failed by then, which is what a picture gets that kills the function.
    seconds = alarm["EvaluationPeriods"] * alarm["Period"]
    assert alarm["Threshold"] == 1
    assert 2 * resources["RetryQueue"]["Properties"]["VisibilityTimeout"] < seconds <= 3600


def test_localstack_sends_bytes_to_browsers(stack: template.Template) -> None:
    there = TARGETS["localstack"](stack)["Resources"]["RestAPI"]["Properties"]["BinaryMediaTypes"]
    assert {"image~1*", "text~1html"} <= set(there)
    aws = stack["Resources"]["RestAPI"]["Properties"]["BinaryMediaTypes"]
    assert there[: len(aws)] == aws, "AWS's are as they were"


def test_both_urls_of_localstack_are_told() -> None:
    assert localstack_urls("http://localhost:4600") == [
        "http://localhost:4600/_aws/execute-api/thumbnails/live",
        "http://thumbnails.execute-api.localhost:4600/live",
    ]


def test_presigned_uploads_name_localstack_as_clients_reach_it(stack: template.Template) -> None:
    there = TARGETS["localstack"](stack)
    show_s3_at(there, "http://localhost:4566")
    variables = there["Globals"]["Function"]["Environment"]["Variables"]
    required = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost"}
    given = required | {name: of for name, of in variables.items() if isinstance(of, str)}
    assert Settings.from_env(given).public_storage_url == "http://localhost:4566"
    assert "PUBLIC_STORAGE_URL" not in json.dumps(stack)


def test_s3_expires_pictures_and_not_the_watermark(resources: Resources) -> None:
    rules = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = [rule["Fn::If"] for rule in rules if "Fn::If" in rule]
    assert [condition for condition, *_ in expiring] == ["Expires"] * 3
    assert {rule["Prefix"] for _, rule, _ in expiring} == {"uploads/", "originals/", "thumbnails/"}
    assert not [rule for rule in rules if "ExpirationInDays" in rule]
