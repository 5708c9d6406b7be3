"""How Lambda and SQS deliver S3's events: three tries, then the retry queue, in simulated time.

Lambda invokes a function with an event up to three times, pausing one and two minutes, and then reports it
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html): here to the retry
queue. Its consumer gets a batch of reports at a time; those that it gives back, and all of a batch whose
invocation died, can be seen again `VISIBILITY_MS` after they were received.
"""

import heapq
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability.deployment import MINUTE_MS, RECONCILE_MS, Deployment

PAUSES_MS = (MINUTE_MS, 2 * MINUTE_MS)
STACK = Path(__file__).parents[2] / ".chalice" / "stack" / "functions.yaml"


def _deployed(name: str) -> int:
    return int(re.findall(rf"\b{name}: (\d+)", STACK.read_text(encoding="utf-8"))[0])


BATCH = _deployed("BatchSize")
"""How many reports the consumer gets, as it is deployed."""
CONSUMERS = _deployed("MaximumConcurrency")
"""Invocations of the consumer that may run at the same time, as it is deployed."""
VISIBILITY_MS = _deployed("VisibilityTimeout") * 1000
"""How long SQS hides a message that is being processed, as it is deployed."""
RETENTION_MS = _deployed("maxReceiveCount") * VISIBILITY_MS
"""For how long the queue delivers a message, as it is deployed."""
PICTURE_MS = 1000
"""What processing one picture is taken to cost, and finding out that Redis or S3 is away."""


class KilledAtTheTimeLimit(BaseException):
    """Stands for Lambda, which stops the function's process: no handler of the service sees it."""


@dataclass(order=True)
class _Delivery:
    at_ms: int
    number: int
    event: dict[str, Any] = field(compare=False)
    tries: int = field(compare=False, default=0)
    died: bool = field(compare=False, default=False)
    queued_ms: int | None = field(compare=False, default=None)
    """When Lambda's report went into the retry queue; None before."""

    def report(self) -> dict[str, Any]:
        answer = {"errorType": "BucketUnavailable", "errorMessage": "An object store that is away."}
        if self.died:
            answer = {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 60.00 seconds"}
        context = {"condition": "RetriesExhausted", "approximateInvokeCount": 3}
        return {"requestContext": context, "requestPayload": self.event, "responsePayload": answer}


class LambdaAndSqs:
    """Delivers events to a deployment and moves its clock."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._waiting: list[_Delivery] = []
        self._numbers = itertools.count()
        self._free_ms = [0] * CONSUMERS
        self._reconcile_ms = deployment.clock.ms
        self.reconciles = True
        """Whether EventBridge calls the reconciler every five minutes, too."""
        self.done_ms: dict[str, int] = {}
        """When the retry queue was rid of the events of each object key."""
        self.dropped = 0
        """How many reports the queue has moved to the dead-letter queue."""

    def __len__(self) -> int:
        """How many events wait for a try, or in the retry queue."""
        return len(self._waiting)

    def notify(self, *events: dict[str, Any]) -> None:
        for event in events:
            self._push(_Delivery(self._deployment.clock.ms, next(self._numbers), event))

    def _push(self, delivery: _Delivery) -> None:
        heapq.heappush(self._waiting, delivery)

    def run(self, ms: int) -> None:
        """Let time pass, and do what comes due."""
        end = self._deployment.clock.ms + ms
        while self._step(end):
            pass
        self._deployment.clock.ms = end

    def drain(self) -> int:
        """Deliver until nothing waits any more; give how long that took, in milliseconds."""
        began = self._deployment.clock.ms
        while self._waiting:
            self._step(began + RETENTION_MS)
        return self._deployment.clock.ms - began

    def _step(self, end_ms: int) -> bool:
        delivery_ms = self._waiting[0].at_ms if self._waiting else end_ms + 1
        reconcile_ms = self._reconcile_ms if self.reconciles else end_ms + 1
        if min(delivery_ms, reconcile_ms) > end_ms:
            return False
        clock = self._deployment.clock
        if reconcile_ms <= delivery_ms:
            clock.ms = max(clock.ms, reconcile_ms)
            self._reconcile_ms = clock.ms + RECONCILE_MS
            self._reconcile()
            return True
        clock.ms = max(clock.ms, delivery_ms)
        delivery = heapq.heappop(self._waiting)
        if delivery.queued_ms is None:
            self._try(delivery)
        else:
            self._consume(delivery)
        return True

    def _reconcile(self) -> None:
        try:
            self._deployment.reconcile(after_ms=0)
        except Exception:  # noqa: BLE001 - EventBridge calls it again; what it could do is done
            return
        except KilledAtTheTimeLimit:
            return

    def _try(self, delivery: _Delivery) -> None:
        """Invoke the function itself."""
        now_ms = self._deployment.clock.ms
        try:
            self._deployment.process(delivery.event)
        except (Exception, KilledAtTheTimeLimit) as error:  # noqa: BLE001 - Lambda tries again whatever it is
            delivery.died = isinstance(error, KilledAtTheTimeLimit)
            if delivery.tries < len(PAUSES_MS):
                delivery.at_ms = now_ms + PAUSES_MS[delivery.tries]
            else:
                delivery.at_ms = delivery.queued_ms = now_ms
            delivery.tries += 1
            self._push(delivery)

    def _consume(self, first: _Delivery) -> None:
        """Invoke the retry queue's consumer with what can be seen, if it has room."""
        now_ms = self._deployment.clock.ms
        free = min(range(CONSUMERS), key=self._free_ms.__getitem__)
        if self._free_ms[free] > now_ms:
            first.at_ms = self._free_ms[free]
            self._push(first)
            return
        batch = [first]
        while (
            self._waiting
            and len(batch) < BATCH
            and self._waiting[0].at_ms <= now_ms
            and self._waiting[0].queued_ms is not None
        ):
            batch.append(heapq.heappop(self._waiting))
        self._free_ms[free] = now_ms + PICTURE_MS * len(batch)
        try:
            again = self._deployment.retry([delivery.report() for delivery in batch])
        except KilledAtTheTimeLimit:
            again = list(range(len(batch)))
        for delivery in batch:
            self.done_ms[delivery.event["Records"][0]["s3"]["object"]["key"]] = now_ms
        for place in again:
            delivery = batch[place]
            delivery.at_ms = now_ms + VISIBILITY_MS
            if delivery.at_ms - (delivery.queued_ms or 0) > RETENTION_MS:
                self.dropped += 1
            else:
                self._push(delivery)
