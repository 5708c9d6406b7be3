"""From the end of a record to the bus: the two functions, and what they call."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from chalice.local import LambdaContext
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.core import config as moto_config

import app
from chalicelib import naming, services
from chalicelib.bus import SOURCE
from chalicelib.errors import EventBusUnavailable
from tests.conftest import Api, picture
from tests.inside import hooks_of, s3_calls
from tests.test_least_privilege import FUNCTION, Grant, allowed, by_the_platform, policy_of


@pytest.fixture
def on_aws(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Events are on, moto's Lambda calls `app.outbox`; gives what a rule of EventBridge has sent to SQS."""
    monkeypatch.setenv("EVENTS", "true")
    monkeypatch.setenv("OUTBOX_FUNCTION", "outbox")
    made = (services.settings, services.store, services.processor, services.bus, services.outbox)
    for one in made:
        one.cache_clear()

    def invoke(_backend: object, name: str, _qualifier: object, body: Any, *_: object) -> bytes:
        assert name == "outbox"
        return json.dumps(app.outbox(json.loads(body), LambdaContext("outbox", 512, 20_000))).encode()

    monkeypatch.setitem(moto_config.default_user_config, "lambda", {"use_docker": False})
    monkeypatch.setattr(LambdaSimpleBackend, "invoke", invoke)
    # It would send a copy that a package makes which moto does not bring.
    monkeypatch.setattr("moto.events.models.EventTemplateParser.parse", lambda event, **_: event)
    queue_url = api.sqs.create_queue(QueueName="published")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:123456789012:published"
    events: Any = boto3.client("events")
    events.put_rule(Name="all", EventPattern=json.dumps({"source": [SOURCE]}))
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])

    def sent() -> list[dict[str, Any]]:
        taken = []
        while messages := api.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                api.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                taken.append(json.loads(message["Body"]))
        return taken

    sent()
    yield sent
    monkeypatch.undo()
    for one in made:
        one.cache_clear()


def run_publisher() -> int:
    published: int = app.publish({}, LambdaContext("publish", 512, 120_000))["published"]
    return published


def test_what_ends_comes_to_rules_of_eventbridge(
    api: Api, on_aws: Callable[[], list[dict[str, Any]]]
) -> None:
    good, bad = api.upload(), api.upload(picture()[:300])
    assert run_publisher() == 0, "nothing has ended"
    api.deliver()
    ready, failed = (api("GET", f"/{one['id']}").json() for one in (good, bad))
    assert run_publisher() == 2
    assert api("DELETE", f"/{good['id']}").json() == ready
    assert run_publisher() == 1
    assert run_publisher() == 0
    events = on_aws()
    assert {event["source"] for event in events} == {"thumbnails"}
    by_type = {event["detail-type"]: event["detail"] for event in events}
    assert len(events) == len(by_type) == len({one["event_id"] for one in by_type.values()}) == 3
    for kind, record in (
        ("Thumbnail Ready", ready),
        ("Thumbnail Failed", failed),
        ("Thumbnail Deleted", ready),
    ):
        detail = by_type[kind]
        assert detail["record"] == record
        assert (detail["bucket"], detail["key"]) == (api.bucket.name, naming.original(record["id"]))


def refuse_entries(parsed: dict[str, Any], **_: object) -> None:
    parsed["FailedEntryCount"] = 1
    parsed["Entries"][0] = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}


def break_request(**_: object) -> None:
    raise EndpointConnectionError(endpoint_url="https://events.us-east-1.amazonaws.com")


@pytest.mark.parametrize(
    ("hook", "refusal"),
    [
        ("after-call.events.PutEvents", refuse_entries),
        ("before-call.events.PutEvents", break_request),
        ("before-call.lambda.Invoke", break_request),
    ],
)
def test_what_is_refused_fails_the_run_and_comes_with_the_next(
    api: Api,
    on_aws: Callable[[], list[dict[str, Any]]],
    hook: str,
    refusal: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = api.upload()
    api.deliver()
    hooks = hooks_of(services.bus() if ".events." in hook else services.outbox())
    hooks.register(hook, refusal)
    for _ in range(2):
        with pytest.raises(EventBusUnavailable):
            run_publisher()
    refusals = [line for line in caplog.records if line.message == "events refused"]
    assert len(refusals) == 2 * (".events." in hook)
    assert all(getattr(line, "reasons", None) for line in refusals)
    on_aws()  # a request whose reply is lost may have been heard
    hooks.unregister(hook, refusal)
    assert run_publisher() == 1
    (event,) = on_aws()
    assert event["detail"]["record"]["id"] == record["id"]


def test_an_outbox_that_fails_fails_the_run(on_aws: object) -> None:
    def failed(parsed: dict[str, Any], **_: object) -> None:
        parsed["FunctionError"] = "Unhandled"

    hooks_of(services.outbox()).register("after-call.lambda.Invoke", failed)
    with pytest.raises(EventBusUnavailable):
        run_publisher()


def test_each_role_allows_what_its_function_does(
    api: Api, on_aws: Callable[[], list[dict[str, Any]]]
) -> None:
    used: set[Grant] = set()
    hooks_of(services.bus()).register(
        "before-call.events",
        lambda model, **_: used.add(
            Grant(
                f"events:{model.name}",
                "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default",
            )
        ),
    )
    hooks_of(services.outbox()).register(
        "before-call.lambda",
        lambda model, **_: used.add(
            Grant(f"lambda:{model.name}Function", f"{FUNCTION}:${{AWS::StackName}}-outbox")
        ),
    )
    api.upload()
    api.deliver()
    to_s3 = s3_calls(services.bucket(), services.processor().bucket)
    assert run_publisher() == 1
    assert used | by_the_platform("Publish") == allowed(policy_of("publish"))
    assert not to_s3
    assert by_the_platform("Outbox") == allowed(policy_of("outbox"))
