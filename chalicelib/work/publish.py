"""Publish what the outbox holds until it is empty: each event at least once, those of a record in order.

It runs where the bus can be reached, and the outbox is read from elsewhere (`work.relay`).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from chalicelib.errors import EventBusUnavailable, Unavailable

Event = TypeVar("Event")


class Relay(Protocol[Event]):
    """`work.relay.relay` of this publisher."""

    def __call__(self, published: Sequence[Event], *, last: bool = False) -> Sequence[Event]:
        """Note what was published, and hand out what comes next."""


def publish(
    relay: Relay[Event],
    put: Callable[[Sequence[Event]], Sequence[Event]],
    time_is_up: Callable[[], bool],
) -> int:
    """Publish events until there are none, or until `time_is_up`, which is asked between batches.

    Args:
        relay: reads the outbox.
        put: hands events to the bus, and returns those that it has taken.
        time_is_up: whether to stop; the next run goes on.

    Returns:
        how many were published.

    Raises:
        Unavailable: the bus has refused some, or the outbox cannot be read. A later run publishes them.

    """
    try:
        return _publish(relay, put, time_is_up)
    except Exception:
        # The next run need not wait for the end of this one's turn, and shows whether it fails, too.
        with suppress(Unavailable):
            relay([], last=True)
        raise


def _publish(
    relay: Relay[Event],
    put: Callable[[Sequence[Event]], Sequence[Event]],
    time_is_up: Callable[[], bool],
) -> int:
    published: Sequence[Event] = []
    count = 0
    while events := relay(published):
        published = put(events)
        count += len(published)
        # Some may be refused, and come again in each batch: the others go on.
        if not published or time_is_up():
            relay(published, last=True)
            if len(published) < len(events):
                raise EventBusUnavailable
            break
    return count
