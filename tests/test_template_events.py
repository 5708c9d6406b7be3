"""What the stack has for events: nothing while they are off, and two functions that publish them."""

import json
from typing import Any

import pytest

import app
from chalicelib.work.relay import TURN_MS
from deploy import template

Resources = dict[str, dict[str, Any]]
OURS = {"Outbox", "OutboxRole", "OutboxLogs", "Publish", "PublishRole", "PublishLogs", "EventsUnpublished"}


def mentions(part: Any) -> bool:
    text = json.dumps(part)
    return any(f'"{name}"' in text or f"{name}.Arn" in text for name in OURS) or "-publish" in text


def chosen(part: Any) -> Any:
    """What is left of a part of the template while events are off."""
    if isinstance(part, dict):
        if list(part) == ["Fn::If"] and part["Fn::If"][0] == "EventsOn":
            return chosen(part["Fn::If"][2])
        return {name: chosen(value) for name, value in part.items()}
    return [chosen(value) for value in part] if isinstance(part, list) else part


def test_they_are_off_unless_they_are_asked_for(stack: template.Template) -> None:
    assert stack["Parameters"]["Events"]["Default"] == "false"
    assert stack["Conditions"]["EventsOn"] == {"Fn::Equals": [{"Ref": "Events"}, "true"]}


def test_nothing_of_them_is_there_while_they_are_off(resources: Resources) -> None:
    assert {name for name, one in resources.items() if one.get("Condition") == "EventsOn"} == OURS
    left = {name: chosen(one) for name, one in resources.items() if name not in OURS}
    assert not [name for name, one in left.items() if mentions(one)]
    assert mentions(resources["MakeThumbnailEventInvokeConfig"]), "the finder finds"
    assert mentions(resources["MakeThumbnailRole"]), "the finder finds"


def test_the_publisher_is_outside_of_redis_network_and_the_outbox_in_it(resources: Resources) -> None:
    assert resources["Publish"]["Properties"]["VpcConfig"] == {"Ref": "AWS::NoValue"}
    assert "VpcConfig" not in resources["Outbox"]["Properties"]
    variables = resources["Publish"]["Properties"]["Environment"]["Variables"]
    assert variables == {"REDIS_URL": "redis://localhost", "OUTBOX_FUNCTION": {"Ref": "Outbox"}}


def test_a_publisher_is_gone_before_another_one_gets_its_turn(resources: Resources) -> None:
    timeout = resources["Publish"]["Properties"]["Timeout"]
    assert timeout * 1000 < TURN_MS
    assert timeout * 1000 > app.STOP_MS


def test_it_runs_every_minute_and_after_each_thumbnail(resources: Resources) -> None:
    properties = resources["Publish"]["Properties"]
    (schedule,) = properties["Events"].values()
    assert (schedule["Type"], schedule["Properties"]["Schedule"]) == ("Schedule", "rate(1 minute)")
    # What is refused now is published by the next run: a run that comes late is of no use.
    assert properties["EventInvokeConfig"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    success = resources["MakeThumbnailEventInvokeConfig"]["Properties"]["DestinationConfig"]["OnSuccess"]
    started = {"Destination": {"Fn::GetAtt": ["Publish", "Arn"]}}
    assert success == {"Fn::If": ["EventsOn", started, {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize("name", ["Outbox", "Publish"])
def test_what_is_made_has_nothing_to_do_with_s3(resources: Resources, name: str) -> None:
    (policy,) = resources[f"{name}Role"]["Properties"]["Policies"]
    assert "s3:" not in json.dumps(policy)
