"""What a deployment's stack tells its user, by CloudFormation's own answers."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import ANY, Stubber

from deploy import UserError, changes, operation
from deploy.destroy import destroy
from deploy.stack import Stack
from tests.inside import cloudformation_of

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import ChangeTypeDef

NAME = "thumbnails-prod"
ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/thumbnails-prod/1"
CHANGE_SET = "arn:aws:cloudformation:eu-central-1:123456789012:changeSet/deploy/1"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
TEMPLATE: dict[str, Any] = {"Parameters": {"RedisNodes": {}, "AuthSecret": {}}}


def event(name: str, status: str, reason: str | None = None, of: str | None = "ours") -> dict[str, Any]:
    found = {
        "StackId": ID,
        "EventId": f"{name}-{status}",
        "StackName": NAME,
        "LogicalResourceId": name,
        "PhysicalResourceId": ID if name == NAME else f"physical-{name}",
        "ResourceStatus": status,
        "Timestamp": NOW,
    }
    found |= {} if reason is None else {"ResourceStatusReason": reason}
    return found | ({} if of is None else {"ClientRequestToken": of})


def stack_is(status: str, **more: Any) -> dict[str, Any]:
    found = {"StackId": ID, "StackName": NAME, "StackStatus": status, "CreationTime": NOW}
    return {"Stacks": [found | more]}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Stack(NAME)


@pytest.fixture
def cloudformation(stack: Stack) -> Iterator[Stubber]:
    with Stubber(cloudformation_of(stack)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def no_stack(stubber: Stubber) -> None:
    stubber.add_client_error("describe_stacks", "ValidationError", f"Stack with id {NAME} does not exist")


def pages(stubber: Stubber, *events: list[dict[str, Any]]) -> None:
    for number, page in enumerate(events):
        more = {"NextToken": f"page-{number + 1}"} if number + 1 < len(events) else {}
        asked = {"StackName": ID} | ({"NextToken": f"page-{number}"} if number else {})
        stubber.add_response("describe_stack_events", {"StackEvents": page} | more, asked)


def wait(stack: Stack, wanted: str) -> None:
    operation.wait(cloudformation_of(stack), ID, "ours", wanted=wanted, seconds=0)


def test_the_reason_is_found_behind_hundreds_of_events_of_the_clean_up(
    stack: Stack, cloudformation: Stubber
) -> None:
    clean_up = [event(f"Resource{number}", "DELETE_COMPLETE") for number in range(300)]
    failure = [
        event("Redis", "CREATE_FAILED", "Resource creation cancelled"),
        event("Routes", "CREATE_FAILED", "a later failure"),
        event("Network", "CREATE_FAILED", "The maximum number of VPCs has been reached."),
        event(NAME, "CREATE_IN_PROGRESS", "User Initiated"),
    ]
    cloudformation.add_response("describe_stacks", stack_is("DELETE_COMPLETE"), {"StackName": ID})
    pages(cloudformation, clean_up[:100], clean_up[100:200], clean_up[200:], failure)
    with pytest.raises(UserError) as failed:
        wait(stack, "CREATE_COMPLETE")
    lines = str(failed.value).splitlines()
    assert lines[1:] == [
        "  Network: The maximum number of VPCs has been reached.",
        "  Routes: a later failure",
    ]
    assert "removed again" in lines[0]


def test_reasons_of_earlier_operations_are_not_told(stack: Stack, cloudformation: Stubber) -> None:
    cloudformation.add_response("describe_stacks", stack_is("UPDATE_ROLLBACK_COMPLETE"), {"StackName": ID})
    earlier = [event("Redis", "UPDATE_FAILED", "of yesterday", of) for of in ("theirs", None)]
    pages(cloudformation, [event("Api", "UPDATE_FAILED", "of today"), *earlier])
    with pytest.raises(UserError, match="as it was before") as failed:
        wait(stack, "UPDATE_COMPLETE")
    assert "of today" in str(failed.value)
    assert "of yesterday" not in str(failed.value)


def test_only_so_many_pages_are_read(stack: Stack, cloudformation: Stubber) -> None:
    """Pages of older operations would be asked for: the stubber would fail the test."""
    first = {"StackEvents": [event("Api", "UPDATE_COMPLETE")], "NextToken": "1"}
    second = {"StackEvents": [event("Api", "UPDATE_COMPLETE", of="theirs")], "NextToken": "2"}
    cloudformation.add_response("describe_stack_events", first, {"StackName": ID})
    cloudformation.add_response("describe_stack_events", second, {"StackName": ID, "NextToken": "1"})
    assert len(operation.events(cloudformation_of(stack), ID, "ours")) == 1


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        ("ROLLBACK_COMPLETE", "make destroy"),
        ("DELETE_FAILED", "run the same command again"),
        ("SOMETHING_NEW", "the stack is SOMETHING_NEW"),
    ],
)
def test_how_a_stack_is_left_is_said(stack: Stack, cloudformation: Stubber, status: str, left: str) -> None:
    cloudformation.add_response("describe_stacks", stack_is(status, StackStatusReason="why"))
    pages(cloudformation, [])
    with pytest.raises(UserError, match=left) as failed:
        wait(stack, "UPDATE_COMPLETE")
    assert "why" in str(failed.value)


def test_progress_is_shown_while_it_takes_minutes(
    stack: Stack, cloudformation: Stubber, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [event("Redis", "CREATE_IN_PROGRESS"), event("Bucket", "CREATE_COMPLETE")]
    second = [event("Api", "CREATE_FAILED", "Too many APIs."), *first]
    for status, page in (("CREATE_IN_PROGRESS", first), ("CREATE_FAILED", second)):
        cloudformation.add_response("describe_stacks", stack_is(status))
        pages(cloudformation, [*page, event(NAME, "CREATE_IN_PROGRESS")])
    cloudformation.add_response("describe_stacks", stack_is("DELETE_COMPLETE"))
    pages(cloudformation, second)
    with pytest.raises(UserError, match="Too many APIs"):
        operation.wait(cloudformation_of(stack), ID, "ours", wanted="CREATE_COMPLETE", seconds=1)
    said = capsys.readouterr().out
    assert "1 resources done, in progress: Redis" in said
    assert said.count("failed: Api: Too many APIs.") == 1


def test_a_new_stack_is_protected_and_leaves_nothing_when_it_fails(
    stack: Stack, cloudformation: Stubber
) -> None:
    asked = {
        "StackName": NAME,
        "TemplateURL": "https://b/t.json",
        "Parameters": [{"ParameterKey": "RedisNodes", "ParameterValue": "2"}],
        "Tags": ANY,
        "Capabilities": ANY,
        "OnFailure": "DELETE",
        "EnableTerminationProtection": True,
        "ClientRequestToken": ANY,
    }
    no_stack(cloudformation)
    cloudformation.add_response("create_stack", {"StackId": ID}, asked)
    cloudformation.add_response("describe_stacks", stack_is("CREATE_COMPLETE"), {"StackName": ID})
    stack.create("https://b/t.json", {"RedisNodes": "2"})


def change_set(stubber: Stubber, found: list[dict[str, Any]]) -> None:
    """What CloudFormation is asked and answers until a change set of an update is known."""
    present = [{"ParameterKey": name, "ParameterValue": "****"} for name in ("AuthSecret", "Gone")]
    stubber.add_response("describe_stacks", stack_is("UPDATE_COMPLETE", Parameters=present))
    asked = {
        "StackName": NAME,
        "ChangeSetName": ANY,
        "ChangeSetType": "UPDATE",
        "TemplateURL": "https://b/t.json",
        "Parameters": [
            {"ParameterKey": "RedisNodes", "ParameterValue": "2"},
            {"ParameterKey": "AuthSecret", "UsePreviousValue": True},
        ],
        "Tags": ANY,
        "Capabilities": ANY,
    }
    stubber.add_response("create_change_set", {"Id": CHANGE_SET, "StackId": ID}, asked)
    for _ in range(2):  # to wait for it, and to read it
        done = {"Status": "CREATE_COMPLETE", "Changes": found}
        stubber.add_response("describe_change_set", done, {"ChangeSetName": CHANGE_SET})


def change(name: str, kind: str, action: str = "Modify", replacement: str = "False") -> dict[str, Any]:
    resource = {"LogicalResourceId": name, "ResourceType": kind, "Action": action, "Replacement": replacement}
    return {"Type": "Resource", "ResourceChange": resource}


REDIS_REPLACED = change("Redis", "AWS::ElastiCache::ReplicationGroup", replacement="True")


@pytest.mark.parametrize("found", [[], [change("Api", "AWS::Lambda::Function")]])
def test_what_loses_nothing_is_done_without_a_question(
    stack: Stack, cloudformation: Stubber, found: list[dict[str, Any]]
) -> None:
    change_set(cloudformation, found)
    execution = {"ChangeSetName": CHANGE_SET, "ClientRequestToken": ANY}
    cloudformation.add_response("execute_change_set", {}, execution)
    cloudformation.add_response("describe_stacks", stack_is("UPDATE_COMPLETE"), {"StackName": ID})
    stack.update(TEMPLATE, "https://b/t.json", {"RedisNodes": "2"})


@pytest.mark.parametrize("answer", ["", "n", "no", "nobody"])
def test_a_replacement_wants_a_yes(
    stack: Stack, cloudformation: Stubber, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.delenv("YES", raising=False)
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: answer != "nobody")
    monkeypatch.setattr("sys.stdin", terminal)
    change_set(cloudformation, [REDIS_REPLACED])
    cloudformation.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET})
    with pytest.raises(UserError, match=r"(?i)nothing was done"):
        stack.update(TEMPLATE, "https://b/t.json", {"RedisNodes": "2"})


@pytest.mark.parametrize("answer", ["y", "YES=1"])
def test_a_yes_lets_it_go_on(
    stack: Stack,
    cloudformation: Stubber,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
) -> None:
    terminal = io.StringIO("y\n" if answer == "y" else "")
    monkeypatch.setattr(terminal, "isatty", lambda: answer == "y")
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setenv("YES", "1" if answer == "YES=1" else "")
    change_set(cloudformation, [REDIS_REPLACED])
    cloudformation.add_response("execute_change_set", {})
    cloudformation.add_response("describe_stacks", stack_is("UPDATE_COMPLETE"), {"StackName": ID})
    stack.update(TEMPLATE, "https://b/t.json", {"RedisNodes": "2"})
    assert "Redis (AWS::ElastiCache::ReplicationGroup) is replaced by a new one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (change("Bucket", "AWS::S3::Bucket", "Remove"), "Bucket (AWS::S3::Bucket) is removed"),
        (change("Network", "AWS::EC2::VPC", replacement="Conditional"), "may be replaced"),
        (change("Api", "AWS::Lambda::Function", "Add"), None),
        (change("RestAPIDeployment1", "AWS::ApiGateway::Deployment", "Remove"), None),
        (change("Permission", "AWS::Lambda::Permission", replacement="Conditional"), None),
    ],
)
def test_what_counts_as_a_loss(found: "ChangeTypeDef", said: str | None) -> None:
    lines = changes.losses([found])
    assert (lines == []) if said is None else (said in lines[0])


@pytest.mark.parametrize(
    "why", ["The submitted information didn't contain changes.", "No updates are to be performed."]
)
def test_nothing_to_change_is_no_failure(stack: Stack, cloudformation: Stubber, why: str) -> None:
    cloudformation.add_response("describe_stacks", stack_is("UPDATE_COMPLETE"))
    cloudformation.add_response("create_change_set", {"Id": CHANGE_SET, "StackId": ID})
    for _ in range(2):
        cloudformation.add_response("describe_change_set", {"Status": "FAILED", "StatusReason": why})
    cloudformation.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET})
    stack.update(TEMPLATE, "https://b/t.json", {})


def test_a_template_that_is_refused_is_named(stack: Stack, cloudformation: Stubber) -> None:
    cloudformation.add_response("describe_stacks", stack_is("UPDATE_COMPLETE"))
    cloudformation.add_response("create_change_set", {"Id": CHANGE_SET, "StackId": ID})
    for _ in range(2):
        refused = {"Status": "FAILED", "StatusReason": "Transform failed: no such type"}
        cloudformation.add_response("describe_change_set", refused)
    cloudformation.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET})
    with pytest.raises(UserError, match="nothing was changed: Transform failed"):
        stack.update(TEMPLATE, "https://b/t.json", {})


def test_a_bucket_is_taken_over_by_an_import(stack: Stack, cloudformation: Stubber) -> None:
    asked = {
        "StackName": NAME,
        "ChangeSetName": ANY,
        "ChangeSetType": "IMPORT",
        "TemplateURL": "https://b/bucket.json",
        "ResourcesToImport": [
            {
                "ResourceType": "AWS::S3::Bucket",
                "LogicalResourceId": "Bucket",
                "ResourceIdentifier": {"BucketName": "kept"},
            }
        ],
    }
    no_stack(cloudformation)
    cloudformation.add_response("create_change_set", {"Id": CHANGE_SET, "StackId": ID}, asked)
    cloudformation.add_response("describe_change_set", {"Status": "CREATE_COMPLETE"})
    cloudformation.add_response("execute_change_set", {})
    cloudformation.add_response("describe_stacks", stack_is("IMPORT_COMPLETE"), {"StackName": ID})
    stack.adopt("Bucket", "https://b/bucket.json", "kept")


def left_empty(stubber: Stubber) -> None:
    """A change set of a new stack has failed or was not executed; its stack is removed, and waited for."""
    stubber.add_response("describe_stacks", stack_is("REVIEW_IN_PROGRESS"), {"StackName": NAME})
    stubber.add_response("delete_stack", {}, {"StackName": NAME, "ClientRequestToken": ANY})
    stubber.add_response("describe_stacks", stack_is("DELETE_IN_PROGRESS"), {"StackName": ID})
    pages(stubber, [])
    stubber.add_response("describe_stacks", stack_is("DELETE_COMPLETE"), {"StackName": ID})


def test_an_empty_stack_that_was_left_is_not_in_the_way_of_a_new_one(
    stack: Stack, cloudformation: Stubber
) -> None:
    left_empty(cloudformation)
    cloudformation.add_response("create_stack", {"StackId": ID})
    cloudformation.add_response("describe_stacks", stack_is("CREATE_COMPLETE"), {"StackName": ID})
    stack.create("https://b/t.json", {})


def test_an_empty_stack_that_was_left_is_not_in_the_way_of_the_next_take_over(
    stack: Stack, cloudformation: Stubber
) -> None:
    left_empty(cloudformation)
    cloudformation.add_response("create_change_set", {"Id": CHANGE_SET, "StackId": ID})
    cloudformation.add_response("describe_change_set", {"Status": "CREATE_COMPLETE"})
    cloudformation.add_response("execute_change_set", {})
    cloudformation.add_response("describe_stacks", stack_is("IMPORT_COMPLETE"), {"StackName": ID})
    stack.adopt("Bucket", "https://b/bucket.json", "kept")


def test_an_empty_stack_that_was_left_is_removed_by_destroy(
    stack: Stack, cloudformation: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_empty(cloudformation)
    monkeypatch.setattr("deploy.destroy._Pictures", lambda _: SimpleNamespace(exists=lambda: False))
    no_stack(cloudformation)
    with pytest.raises(UserError, match="no stack"):
        destroy(stack, force=False)


def test_the_protection_goes_before_the_stack(stack: Stack, cloudformation: Stubber) -> None:
    cloudformation.add_response("describe_stacks", stack_is("DELETE_FAILED"), {"StackName": NAME})
    off = {"StackName": NAME, "EnableTerminationProtection": False}
    cloudformation.add_response("update_termination_protection", {}, off)
    cloudformation.add_response("delete_stack", {}, {"StackName": NAME, "ClientRequestToken": ANY})
    cloudformation.add_response("describe_stacks", stack_is("DELETE_COMPLETE"), {"StackName": ID})
    stack.delete()


def test_a_stack_without_outputs_says_so(stack: Stack, cloudformation: Stubber) -> None:
    for _ in range(2):
        cloudformation.add_response("describe_stacks", stack_is("CREATE_FAILED"))
    with pytest.raises(UserError, match=r"CREATE_FAILED.* tells no EndpointURL"):
        stack.url()
