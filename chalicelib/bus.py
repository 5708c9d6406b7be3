"""EventBridge's default bus, and the function that reads the outbox. Knows neither Redis nor S3."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import EventBusUnavailable

SOURCE = "thumbnails"
"""What rules name as `source`."""
ENTRIES = 10
"""Most events of one PutEvents request."""


class BusEvent(NamedTuple):
    """An event as consumers get it: `detail` is JSON; the time is in milliseconds since the epoch."""

    detail_type: str
    detail: str
    time_ms: int


class Bus:
    """EventBridge's default bus."""

    def __init__(self, client: Any) -> None:
        """Use a client of EventBridge."""
        self._events = client

    def put(self, events: Sequence[BusEvent]) -> list[str | None]:
        """Put events onto the bus, in their order; tell of each why it was refused, None if it was taken.

        A request that fails as a whole is the last one: of the events from there on, none is taken.
        """
        refused: list[str | None] = []
        for start in range(0, len(events), ENTRIES):
            part = events[start : start + ENTRIES]
            try:
                reply = self._events.put_events(
                    Entries=[
                        {
                            "Source": SOURCE,
                            "DetailType": event.detail_type,
                            "Detail": event.detail,
                            "Time": event.time_ms / 1000,
                        }
                        for event in part
                    ]
                )
            except (BotoCoreError, ClientError) as error:
                return refused + [str(error)] * (len(events) - len(refused))
            refused += [
                f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')}" if "ErrorCode" in entry else None
                for entry in reply["Entries"]
            ]
        return refused


class RemoteFunction:
    """A Lambda function that is called for its answer."""

    def __init__(self, client: Any, name: str) -> None:
        """Call the function `name` through a client of Lambda."""
        self._lambda = client
        self._name = name

    def __call__(self, payload: object) -> Any:
        """Give the function's answer.

        Raises:
            EventBusUnavailable: Lambda does not answer, or the function has failed.

        """
        try:
            reply = self._lambda.invoke(FunctionName=self._name, Payload=json.dumps(payload).encode())
            answer = json.loads(reply["Payload"].read())
        except (BotoCoreError, ClientError, ValueError) as error:
            raise EventBusUnavailable from error
        if "FunctionError" in reply:
            raise EventBusUnavailable
        return answer
