"""What events cost in calls: none while they are off, and one of Redis for each end while they are on."""

import pytest

from tests.faults.events import WITH_EVENTS, EventWorld
from tests.faults.operations import OPERATIONS
from tests.faults.world import World


@pytest.mark.slow
def test_without_events_each_operation_takes_the_steps_that_it_would_take(redis_url: str) -> None:
    with World.open(redis_url) as without:
        before = {one.name: without.steps(one) for one in OPERATIONS if not one.losses_only}
    with EventWorld.open(redis_url) as with_events:
        after = {one.name: with_events.steps(one) for one in WITH_EVENTS if one.name in before}
    announced = "EVALSHA reschedule outbox"
    assert not [name for name, steps in before.items() if announced in steps]
    ends = {name: steps for name, steps in after.items() if announced in steps}
    assert {name: [step for step in steps if step != announced] for name, steps in after.items()} == before
    assert {"thumbnail of an upload", "of a broken picture", "delete, ready", "expiry"} <= ends.keys()
    assert not {"upload", "presigned upload", "end after a download"} & ends.keys()
