"""The deployed reconciler and rebuild, called by the commands that operators use."""

from typing import Any

import boto3
import redis

from tests.conftest import picture
from tests.e2e import ministack
from tests.e2e.target import Target


def test_redis_is_lost_and_rebuilt(target: Target, ministack_endpoint: str, redis_url: str) -> None:
    contents = [*(picture(seed=seed) for seed in range(3)), picture()[:300]]
    ids = [target.end_of(target.upload(content)["id"])["id"] for content in contents]

    def listed() -> list[dict[str, Any]]:
        return [record for record in target("GET").json() if record["id"] in ids]

    before = listed()
    assert [record["id"] for record in before] == ids[::-1]
    server: redis.Redis = redis.Redis.from_url(redis_url, decode_responses=True)
    server.flushall()
    assert listed() == []
    done = ministack.command(ministack_endpoint, "maintain", "rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "records restored" in done.stdout
    broken = before[0]
    assert listed() == [{name: broken[name] for name in broken if name != "error"}, *before[1:]]
    # What was not ready is due in a quarter of an hour, and fails again then.
    server.zadd("due", {broken["id"]: 1})
    done = ministack.command(ministack_endpoint, "maintain", "reconcile")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retried: failed" in done.stdout
    assert listed() == before
    server.close()
    target.remove(*ids)


def test_the_reconciler_is_called_by_itself(target: Target, ministack_endpoint: str) -> None:
    assert target.name == "ministack"
    events = boto3.Session("test", "test", region_name="us-east-1").client(
        "events", endpoint_url=ministack_endpoint
    )
    schedules = {rule["Name"]: rule.get("ScheduleExpression") for rule in events.list_rules()["Rules"]}
    assert "rate(5 minutes)" in schedules.values(), schedules
