"""From the end of a record to the bus: the outbox in a real Redis, the two functions, and what they call."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from chalice.local import LambdaContext
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.core import config as moto_config

import app
from chalicelib import naming, services
from chalicelib.bus import SOURCE
from chalicelib.clients import redis_client
from chalicelib.errors import EventBusUnavailable, RecordStoreUnavailable
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Failure, Finished, Record, RemovalScope
from chalicelib.records.store import RecordStore
from chalicelib.work.publish import publish
from chalicelib.work.relay import BATCH, TURN_MS, Waiting, relay
from chalicelib.work.sweep import UNREADABLE_MS
from tests.conftest import Api, SettableClock, found, picture
from tests.inside import hooks_of, s3_calls
from tests.lifecycle_steps import KEPT_FOR_EVER, version
from tests.test_least_privilege import FUNCTION, Grant, allowed, by_the_platform, policy_of

if TYPE_CHECKING:
    import redis


@pytest.fixture
def store(redis_url: str, redis_server: "redis.Redis", clock: SettableClock) -> RecordStore:
    return RecordStore(redis_client(redis_url, timeout=2), clock, publishes=True)


def finished(store: RecordStore, number: int = 0, result: Finished | Failure | None = None) -> Record:
    record_id = f"{number:08x}-0000-4000-8000-000000000000"
    fresh = replace(version(KEPT_FOR_EVER, "a", None), id=record_id, object_key=naming.original(record_id))
    claimed = store.claim_version(fresh)
    store.finish(claimed, result or Finished(3609))
    return found(store, record_id)


def remove(store: RecordStore, record: Record) -> None:
    removing = store.start_removal(record, RemovalScope.ANY, UNRESTRICTED)
    assert removing is not None
    assert store.finish_removal(removing, "t")


def kinds(waiting: Sequence[Waiting]) -> list[str]:
    return [one.event.kind.value for one in waiting]


# --- the outbox ---


def test_what_is_noted_is_handed_out_until_it_is_published(store: RecordStore) -> None:
    record = finished(store)
    (waiting,) = relay(store, "a", [])
    assert kinds([waiting]) == ["ready"]
    assert relay(store, "a", []) == [waiting], "until it is reported as published"
    assert relay(store, "a", [waiting.receipt]) == []
    assert found(store, record.id).outbox == ()
    assert store.outbox.due(10) == []
    assert relay(store, "a", [waiting.receipt]) == [], "which may be said twice"


def test_events_of_one_record_come_one_after_the_other(store: RecordStore) -> None:
    remove(store, finished(store))
    (ready,) = relay(store, "a", [])
    (deleted,) = relay(store, "a", [ready.receipt])
    assert kinds([ready, deleted]) == ["ready", "deleted"]
    assert relay(store, "a", [deleted.receipt]) == []


def test_an_event_that_is_noted_while_another_is_published_is_not_lost(
    store: RecordStore, clock: SettableClock
) -> None:
    record = finished(store)
    (ready,) = relay(store, "a", [])
    clock.advance(ms=1)
    remove(store, record)
    assert kinds(relay(store, "a", [ready.receipt])) == ["deleted"]


def test_one_publisher_at_a_time_gets_events(store: RecordStore, clock: SettableClock) -> None:
    finished(store)
    (waiting,) = relay(store, "a", [])
    assert relay(store, "b", []) == []
    assert relay(store, "a", []) == [waiting]
    clock.advance(ms=TURN_MS - 1000)
    assert relay(store, "b", []) == []
    clock.advance(ms=1000)
    assert relay(store, "b", []) == [waiting], "the first one has died"
    assert relay(store, "a", [waiting.receipt]) == [], "and if it has not, its word counts, and no more"
    assert relay(store, "b", []) == []


@pytest.mark.parametrize("last", [True, False])
def test_a_turn_ends_with_the_last_request_and_with_the_last_event(store: RecordStore, last: bool) -> None:
    finished(store)
    (waiting,) = relay(store, "a", [])
    assert relay(store, "a", [] if last else [waiting.receipt], last=last) == []
    if not last:
        finished(store, 1)
    assert len(relay(store, "b", [])) == 1


def test_a_turn_that_a_faster_clock_began_is_one(store: RecordStore, clock: SettableClock) -> None:
    finished(store)
    relay(store, "a", [])
    clock.advance(ms=-50)
    finished(store, 1)
    assert relay(store, "b", []) == []


def test_a_turn_of_the_future_is_none(store: RecordStore, clock: SettableClock) -> None:
    finished(store)
    clock.advance(ms=10 * TURN_MS)
    relay(store, "a", [])
    clock.advance(ms=-10 * TURN_MS)
    finished(store, 1)
    assert relay(store, "b", []) != []


def test_an_entry_without_an_event_is_removed_when_no_change_can_be_in_progress(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    entry = {"4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10": clock()}
    redis_server.zadd(naming.OUTBOX, entry)
    assert relay(store, "a", []) == []
    assert redis_server.zcard(naming.OUTBOX) == 1
    clock.advance(ms=IN_FLIGHT_MS)
    assert relay(store, "a", []) == []
    assert redis_server.zcard(naming.OUTBOX) == 0


def test_entries_without_events_keep_no_others_waiting(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    redis_server.zadd(naming.OUTBOX, {naming.new_id(): clock() - 1000 for _ in range(2 * BATCH + 1)})
    finished(store)
    assert kinds(relay(store, "a", [])) == ["ready"]


def test_a_record_of_another_release_waits_for_it(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = finished(store)
    redis_server.hset(naming.record(record.id), "format", "3")
    assert relay(store, "a", []) == []
    redis_server.hset(naming.record(record.id), "format", "2")
    assert relay(store, "a", []) == []
    clock.advance(ms=UNREADABLE_MS + 1000)
    (waiting,) = relay(store, "a", [])
    redis_server.hset(naming.record(record.id), "format", "3")
    assert relay(store, "a", [waiting.receipt]) == []


def test_a_batch_is_bounded(store: RecordStore) -> None:
    for number in range(BATCH + 1):
        finished(store, number)
    first = relay(store, "a", [])
    assert len(first) == BATCH
    assert len(relay(store, "a", [one.receipt for one in first])) == 1


def test_without_events_nothing_is_noted(redis_url: str, redis_server: "redis.Redis") -> None:
    store = RecordStore(redis_client(redis_url, timeout=2))
    record = finished(store)
    remove(store, record)
    assert redis_server.keys(naming.OUTBOX) == []
    assert found(store, record.id).outbox == ()


def test_a_removal_that_is_published_is_forgotten_as_early_as_any(
    store: RecordStore, redis_server: "redis.Redis"
) -> None:
    record = finished(store)
    remove(store, record)
    key = naming.record(record.id)
    assert redis_server.ttl(key) > 24 * 3600
    (ready,) = relay(store, "a", [])
    (deleted,) = relay(store, "a", [ready.receipt])
    relay(store, "a", [deleted.receipt])
    assert redis_server.ttl(key) == pytest.approx(24 * 3600, abs=5), "it had an Idempotency-Key"
    assert "outbox" not in redis_server.hgetall(key)


def test_a_picture_that_is_put_again_does_not_lose_the_event_of_its_removal(store: RecordStore) -> None:
    record = finished(store)
    remove(store, record)
    again = replace(version(record, "b", None), outbox=())
    claimed = store.claim_version(again, revive=found(store, record.id).tombstone)
    store.finish(claimed, Finished(1))
    told: list[Waiting] = []
    while waiting := relay(store, "a", [one.receipt for one in told[-1:]]):
        told += waiting
    assert kinds(told) == ["ready", "deleted", "ready"]


# --- the loop ---


def test_what_the_bus_refuses_is_published_by_a_later_run(store: RecordStore) -> None:
    for number in range(3):
        finished(store, number)
    taken: list[str] = []

    def reads(name: str) -> Callable[..., list[Waiting]]:
        return lambda published, last=False: relay(store, name, [one.receipt for one in published], last=last)

    def put_two(events: Sequence[Waiting]) -> Sequence[Waiting]:
        taken.extend(one.receipt.record_id for one in events[1:])
        return events[1:]

    with pytest.raises(EventBusUnavailable):
        publish(reads("a"), put_two, lambda: False)
    assert len(taken) == 2
    (waiting,) = relay(store, "b", [], last=False)
    assert waiting.receipt.record_id not in taken
    relay(store, "b", [], last=True)

    def fail(_: Sequence[Waiting]) -> Sequence[Waiting]:
        raise RecordStoreUnavailable

    with pytest.raises(RecordStoreUnavailable):
        publish(reads("c"), fail, lambda: False)
    assert publish(reads("d"), lambda events: events, lambda: False) == 1
    assert publish(reads("e"), lambda events: events, lambda: False) == 0


def test_it_stops_when_its_time_is_up_and_gives_up_its_turn(store: RecordStore) -> None:
    for number in range(BATCH + 1):
        finished(store, number)

    def reads(published: Sequence[Waiting], last: bool = False) -> list[Waiting]:
        return relay(store, "a", [one.receipt for one in published], last=last)

    assert publish(reads, lambda events: events, lambda: True) == BATCH
    assert len(relay(store, "b", [])) == 1


def test_those_behind_one_that_is_always_refused_are_published(store: RecordStore) -> None:
    for number in range(BATCH + 20):
        finished(store, number)
    first = store.outbox.due(1)[0].record_id
    taken: list[str] = []

    def reads(published: Sequence[Waiting], last: bool = False) -> list[Waiting]:
        return relay(store, "a", [one.receipt for one in published], last=last)

    def put(events: Sequence[Waiting]) -> Sequence[Waiting]:
        good = [one for one in events if one.receipt.record_id != first]
        taken.extend(one.receipt.record_id for one in good)
        return good

    with pytest.raises(EventBusUnavailable):
        publish(reads, put, lambda: False)
    assert len(set(taken)) == len(taken) == BATCH + 19


# --- the functions ---


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
