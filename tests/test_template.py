"""The stack's template as `make package` writes it: sound, and at one with the code that it deploys."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_file

import app
from chalicelib import naming
from chalicelib.auth import fetch
from chalicelib.http import cors
from chalicelib.settings import Settings
from deploy import ROOT, UserError, template
from deploy.emulators import TARGETS

Resources = dict[str, dict[str, Any]]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_cfn_lint_has_nothing_to_say(stack: template.Template, target: str, tmp_path: Path) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(TARGETS[target](stack)))
    assert [str(match) for match in lint_file(path)] == []


@pytest.mark.slow
def test_cfn_lint_would_speak(stack: template.Template, tmp_path: Path) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(stack).replace('"OwnRedis"', '"NoSuchCondition"', 1))
    assert lint_file(path)


def test_variants_leave_the_one_stack_as_it_is(stack: template.Template) -> None:
    before = json.dumps(stack)
    for adapt in TARGETS.values():
        adapt(stack)
    assert json.dumps(stack) == before


def test_each_function_has_a_role_logs_and_limits_of_its_own(stack: template.Template) -> None:
    functions = template.functions(stack)
    assert set(functions) == {
        "APIHandler",
        "Authorize",
        "MakeThumbnail",
        "MarkFailed",
        "Reconcile",
        "Rebuild",
        "Outbox",
        "Publish",
    }
    for part in ("Role", "LoggingConfig", "FunctionName"):
        assert len({json.dumps(properties[part]) for properties in functions.values()}) == len(functions)
    for properties in functions.values():
        assert properties["Architectures"] == ["arm64"]
        log_group = stack["Resources"][properties["LoggingConfig"]["LogGroup"]["Ref"]]
        assert log_group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_what_has_no_retention_does_not_log(resources: Resources) -> None:
    assert all(
        "RetentionInDays" in resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    )


def test_the_trigger_is_limited_to_originals(resources: Resources) -> None:
    events = resources["MakeThumbnail"]["Properties"]["Events"].values()
    rules = [event["Properties"]["Filter"]["S3Key"]["Rules"] for event in events]
    assert rules == [[{"Name": "prefix", "Value": prefix}] for prefix in (naming.UPLOADS, naming.ORIGINALS)]
    for event in events:
        assert event["Properties"]["Events"] == ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]


def test_only_the_service_writes_uploads(resources: Resources) -> None:
    statements = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (denied,) = [one for one in statements if one["Sid"] == "OnlyTheServiceWritesUploads"]
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", "*", "s3:PutObject")
    assert denied["Resource"] == {"Fn::Sub": "${Bucket.Arn}/" + naming.UPLOADS + "*"}
    allowed = denied["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    roles = {"ApiHandlerRole", "ReconcileRole", "RebuildRole"}
    assert {role["Fn::GetAtt"][0] for role in allowed} == roles
    assert roles <= resources.keys()


def test_runs_of_the_reconciler_do_not_overlap(resources: Resources) -> None:
    properties = resources["Reconcile"]["Properties"]
    (schedule,) = properties["Events"].values()
    assert (schedule["Type"], schedule["Properties"]["Schedule"]) == ("Schedule", "rate(5 minutes)")
    assert properties["Timeout"] < 5 * 60
    # Nor does one that found no room wait beside the next ones.
    assert properties["EventInvokeConfig"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    # It stops taking up work when a thumbnail could take the rest of its time.
    assert resources["MakeThumbnail"]["Properties"]["Timeout"] * 1000 < app.STOP_MS


def test_a_message_outlasts_the_function_that_handles_it(resources: Resources) -> None:
    timeout = resources["MarkFailed"]["Properties"]["Timeout"]
    assert resources["RetryQueue"]["Properties"]["VisibilityTimeout"] >= 6 * timeout


def test_failed_events_come_again_for_ten_days_and_can_be_moved_back_for_four(resources: Resources) -> None:
    queue, dead = (resources[name]["Properties"] for name in ("RetryQueue", "DeadLetterQueue"))
    tries = queue["RedrivePolicy"]["maxReceiveCount"]
    assert tries <= 1000, "SQS allows no more"
    days = tries * queue["VisibilityTimeout"] / (24 * 3600)
    assert days == pytest.approx(10, abs=0.02)
    # In both queues, the age of a message counts from when it was first sent.
    assert queue["MessageRetentionPeriod"] == dead["MessageRetentionPeriod"] == 14 * 24 * 3600
    (source,) = resources["MarkFailed"]["Properties"]["Events"].values()
    assert source["Properties"]["BatchSize"] == 1, "a picture that kills the function takes none with it"
    limit = resources["MarkFailed"]["Properties"]["MemorySize"]
    assert limit == resources["MakeThumbnail"]["Properties"]["MemorySize"]


class Watched(Mapping[str, str]):
    """An environment that knows what it was asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def test_every_setting_is_passed_with_its_own_default(stack: template.Template) -> None:
    variables = dict(stack["Globals"]["Function"]["Environment"]["Variables"])
    # It alone has all that is about tokens.
    variables |= stack["Resources"]["Authorize"]["Properties"]["Environment"]["Variables"]
    variables["OUTBOX_FUNCTION"] = {"Fn::If": ["EventsOn", "named by the stack", ""]}
    variables["AUTH_SECRET"] = {"Ref": "AuthSecret"}
    defaults = {
        name: str(stack["Parameters"][value["Ref"]]["Default"])
        for name, value in variables.items()
        if "Ref" in value
    }
    assert variables["ALLOWED_ORIGINS"] == {"Fn::Join": [",", {"Ref": "AllowedOrigins"}]}
    defaults["ALLOWED_ORIGINS"] = stack["Parameters"]["AllowedOrigins"]["Default"]
    required = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost"}
    environment = Watched(defaults | required)
    assert Settings.from_env(environment) == Settings.from_env(required)
    # Emulators alone set where clients reach S3.
    assert environment.asked == {*variables, "PUBLIC_STORAGE_URL"}


@pytest.mark.parametrize(
    ("parameter", "variable", "field"),
    [
        ("MaxUploadBytes", "MAX_UPLOAD_BYTES", "max_upload_bytes"),
        ("MaxOriginalBytes", "MAX_ORIGINAL_BYTES", "max_original_bytes"),
        ("MaxPixels", "MAX_PIXELS", "max_pixels"),
        ("Retention", "RETENTION", "retention"),
    ],
)
def test_bounds_are_those_of_the_settings(
    stack: template.Template, parameter: str, variable: str, field: str
) -> None:
    required = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost"}
    most = stack["Parameters"][parameter]["MaxValue"]
    assert getattr(Settings.from_env(required | {variable: str(most)}), field) == most
    with pytest.raises(ValueError, match=variable):
        Settings.from_env(required | {variable: str(most + 1)})


@pytest.mark.parametrize(
    ("origin", "fits"),
    [
        ("*", True),
        ("https://a.example", True),
        ("http://localhost:3000", True),
        ("http://[::1]:3000", True),
        ("https://a.example/", False),
        ("https://*.a.example", False),
        ("a.example", False),
    ],
)
def test_origins_are_those_of_the_settings(stack: template.Template, origin: str, fits: bool) -> None:
    assert bool(re.fullmatch(stack["Parameters"]["AllowedOrigins"]["AllowedPattern"], origin)) == fits
    with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="ALLOWED_ORIGINS"):
        Settings.from_env({"BUCKET": "pictures", "REDIS_URL": "redis://localhost", "ALLOWED_ORIGINS": origin})


def test_without_a_redis_of_its_own_there_is_no_network_either(resources: Resources) -> None:
    ours = ("AWS::EC2::", "AWS::ElastiCache::", "AWS::SecretsManager::")
    assert {
        resource.get("Condition") for resource in resources.values() if resource["Type"].startswith(ours)
    } == {"OwnRedis", "OwnPlainRedis", "OwnRedisCluster"}


def test_the_gateway_knows_every_route_and_leaves_other_methods_to_the_app(resources: Resources) -> None:
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    assert {path: set(methods) for path, methods in paths.items()} == {
        path: {method.lower() for method in methods} | {template.ANY_METHOD}
        for path, methods in app.app.routes.items()
    }
    for methods in paths.values():
        assert len({json.dumps(method[template.INTEGRATION]) for method in methods.values()}) == 1


def test_parameters_decide_whether_tokens_and_keys_are_asked_for(stack: template.Template) -> None:
    properties = stack["Resources"]["RestAPI"]["Properties"]
    asked = {
        (method, path): how.get("security")
        for path, methods in properties["DefinitionBody"]["paths"].items()
        for method, how in methods.items()
    }
    by_parameter = {
        "Fn::If": [
            "OwnersOn",
            {"Fn::If": ["LimitsClients", [{"authorize": [], "api_key": []}], [{"authorize": []}]]},
            {"Fn::If": ["LimitsClients", [{"api_key": []}], {"Ref": "AWS::NoValue"}]},
        ]
    }
    # Methods that a path does not take are answered by the app, with 405 to every client.
    opened = {
        (method, path)
        for path in ("/", f"{app.V1}/openapi.json", f"{app.V1}/system/pulse")
        for method in ("get", "head")
    }
    assert asked == {
        (method, path): None if method == template.ANY_METHOD or (method, path) in opened else by_parameter
        for method, path in asked
    }
    assert stack["Conditions"]["OwnersOn"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AuthIssuer"}, ""]}]}
    assert properties["AlwaysDeploy"] is True
    definitions = properties["DefinitionBody"]["securityDefinitions"]
    assert definitions["api_key"] == {"type": "apiKey", "name": "x-api-key", "in": "header"}
    authorizer = definitions["authorize"]
    said = authorizer["x-amazon-apigateway-authorizer"]
    assert said["authorizerResultTtlInSeconds"] == app.AUTHORIZED_SECONDS
    assert "${Authorize.Arn}" in said["authorizerUri"]["Fn::Sub"]


def test_the_authorizer_is_where_it_can_reach_the_issuer(resources: Resources) -> None:
    functions = {name: one for name, one in resources.items() if one["Type"] == "AWS::Serverless::Function"}
    outside = {name for name, one in functions.items() if "VpcConfig" in one["Properties"]}
    assert outside == {"Authorize", "Publish"}
    assert functions["Authorize"]["Properties"]["VpcConfig"] == {"Ref": "AWS::NoValue"}
    # It fails by itself before Lambda or the gateway gives up on it: once to connect, once for the answer.
    assert functions["Authorize"]["Properties"]["Timeout"] > 2 * fetch.SECONDS


def test_the_secret_is_not_shown(stack: template.Template) -> None:
    assert stack["Parameters"]["AuthSecret"]["NoEcho"] is True


def test_errors_of_the_gateway_have_our_form(resources: Resources) -> None:
    responses = resources["RestAPI"]["Properties"]["GatewayResponses"]
    assert {kind: response.get("StatusCode") for kind, response in responses.items()} == {
        "MISSING_AUTHENTICATION_TOKEN": 404,
        "UNAUTHORIZED": 401,
        "ACCESS_DENIED": 403,
        "INVALID_SIGNATURE": 404,
        "INVALID_API_KEY": 403,
        "REQUEST_TOO_LARGE": 413,
        "THROTTLED": 429,
        "QUOTA_EXCEEDED": 429,
        "INTEGRATION_FAILURE": 503,
        "INTEGRATION_TIMEOUT": 503,
        "AUTHORIZER_FAILURE": 503,
        "AUTHORIZER_CONFIGURATION_ERROR": 503,
        "DEFAULT_4XX": None,
        "DEFAULT_5XX": None,
    }
    for kind, response in responses.items():
        ((media_type, body),) = response["ResponseTemplates"].items()
        assert media_type == "application/json"
        assert list(json.loads(body)) == ["error"]
        assert json.loads(body)["error"].endswith(".")
        headers = response["ResponseParameters"]["Headers"]
        assert headers["Access-Control-Expose-Headers"] == f"'{', '.join(cors.EXPOSED)}'"
        text, values = headers["Access-Control-Allow-Origin"]["Fn::Sub"]
        first = {"Fn::Select": [0, {"Ref": "AllowedOrigins"}]}
        assert (text, values) == ("'${Origin}'", {"Origin": {"Fn::If": ["OneOrigin", first, "*"]}})
        asks = response.get("StatusCode") in {401, 403} and kind != "INVALID_API_KEY"
        assert ("WWW-Authenticate" in headers) == asks


def test_the_gateway_names_the_origin_if_there_is_one(stack: template.Template) -> None:
    origins = {"Ref": "AllowedOrigins"}
    first, all_of_them = stack["Conditions"]["OneOrigin"]["Fn::Equals"]
    assert first == {"Fn::Select": [0, origins]}
    assert all_of_them == {"Fn::Join": [",", origins]}


def test_a_preflight_needs_no_token(resources: Resources) -> None:
    for methods in resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"].values():
        assert "options" not in methods
        assert set(methods[template.ANY_METHOD]) <= {template.INTEGRATION, "parameters"}


def test_each_client_has_limits_where_they_are_set(stack: template.Template) -> None:
    plan = stack["Resources"]["ClientPlan"]
    assert plan["Condition"] == "LimitsClients"
    assert stack["Conditions"]["LimitsClients"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ClientRate"}, 0]}]}
    properties = plan["Properties"]
    assert properties["ApiStages"] == [{"ApiId": {"Ref": "RestAPI"}, "Stage": {"Ref": "RestAPI.Stage"}}]
    assert properties["Throttle"] == {
        "RateLimit": {"Ref": "ClientRate"},
        "BurstLimit": {"Ref": "ClientBurst"},
    }


def test_access_logs_are_json(resources: Resources) -> None:
    entry = json.loads(resources["RestAPI"]["Properties"]["AccessLogSetting"]["Format"])
    assert entry["status"] == "$context.status"


def test_the_page_on_costs_counts_the_methods(resources: Resources) -> None:
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    methods = sum(len(of_path) for of_path in paths.values())
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert (
        f"with {methods} methods at `ThrottleRate=100`, an open API may take {methods * 100:,} requests"
        in page
    )


@pytest.mark.parametrize("name", ["Redis", "ShardedRedis"])
def test_zones_are_used_by_the_update_after_the_one_that_changes_nodes(
    resources: Resources, name: str
) -> None:
    """ElastiCache refuses both in one; deploy.parameters.steps makes two, with RedisFailover off between."""
    assert resources[name]["Properties"]["MultiAZEnabled"] == {"Fn::If": ["HasStandby", True, False]}


def test_bytes_pass_the_gateway_both_ways(resources: Resources) -> None:
    types = {name.replace("~1", "/") for name in resources["RestAPI"]["Properties"]["BinaryMediaTypes"]}
    assert types == {*app.app.api.binary_types, "*/*"}


def test_the_dashboard_is_json_with_redis_and_without(resources: Resources) -> None:
    body, widget = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    _, plain, others = widget["RedisWidget"]["Fn::If"]
    _, sharded, none = others["Fn::If"]
    for redis in (plain, sharded, none):
        text = redis["Fn::Sub"] if isinstance(redis, dict) else redis
        widgets = json.loads(body.replace("${RedisWidget}", text))["widgets"]
        searched = " ".join(
            row[0]["expression"]
            for widget in widgets
            for row in widget["properties"]["metrics"]
            if isinstance(row[0], dict)
        )
        for name in ("Uploads", "Rejected", "Thumbnails", "QueueToReady", "DecodeTime"):
            assert f'MetricName="{name}" service="${{BucketName}}"' in searched
        assert len(widgets) == (8 if text else 7)


def test_two_files_may_not_say_something_of_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("Resources: {Bucket: {Type: AWS::S3::Bucket}}")
    monkeypatch.setattr(template, "STACK", tmp_path)
    with pytest.raises(UserError, match=r"b\.yaml.*Bucket"):
        template.stack()


def test_the_url_on_localstack_is_the_one_that_is_written_down(stack: template.Template) -> None:
    api = TARGETS["localstack"](stack)["Resources"]["RestAPI"]["Properties"]
    url = f"/_aws/execute-api/{api['Tags']['_custom_id_']}/{api['StageName']}/api/v1/thumbnail"
    assert api["PropagateTags"] is True
    for name in ("localstack-compose.yml", "docs/deploy.md"):
        assert f"http://localhost:4566{url}\n" in (ROOT / name).read_text()


def test_nothing_of_localstacks_stack_needs_a_paid_service(stack: template.Template) -> None:
    text = json.dumps(TARGETS["localstack"](stack))
    assert "OwnRedis" not in text
    assert "OwnPlainRedis" not in text
    assert "ElastiCache" not in text
