"""A recovery walks twice: when it notices a loss, and when no change of before is in progress any more."""

from typing import TYPE_CHECKING

from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock
from tests.reconciler import Reconciler, stored

if TYPE_CHECKING:
    import redis


def test_the_first_walk_begins_with_the_loss_and_the_second_when_it_may(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", s3_clock: SettableClock
) -> None:
    stored(uploader)
    reconciler.recover()
    redis_server.flushall()
    assert reconciler.recover()["originals seen"] == 1
    s3_clock.advance(ms=IN_FLIGHT_MS - 1)
    assert reconciler.recover() == {}
    s3_clock.advance(ms=1)
    assert reconciler.recover()["originals seen"] == 1
    assert reconciler.recover() == {}
