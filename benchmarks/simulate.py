"""Uploads on their way to a thumbnail, simulated: API Gateway, the API function, the pipeline function.

    python -m benchmarks.simulate                           the table of docs/scaling.md
    python -m benchmarks.simulate --write docs/scaling.md   the same, into that file

A discrete-event simulation with Lambda's rules for concurrency, cold starts, throttling and asynchronous
retries. It needs nothing but Python, and the same seed gives the same table. Times are in seconds.
"""

import argparse
import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.documents import write
from benchmarks.lambda_model import (
    BACKOFF_FIRST,
    BACKOFF_LONGEST,
    OLDEST_EVENT,
    RETRY_AFTER_ERROR,
    Function,
    Pool,
    TokenBucket,
    Work,
)

SEED = 1

# Processor times are those of benchmarks.cold_start (warm: an upload 4 ms, a thumbnail of 2 megapixels 11 ms;
# once: 400 and 430 ms), the numbers of S3 requests those of benchmarks.redis_cost. S3's latency is the lower
# end of the 100 to 200 ms that Amazon S3's performance guidelines name for small objects. Limits are the
# stack's defaults: 20 for the pipeline, and for the API what is left of an account's 1,000.
API = Function(limit=980, work=Work(0.004, 1).draw, cold=0.4)
PIPELINE = Function(limit=20, work=Work(0.011, 3).draw, cold=0.43, waiting="backoff")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What arrives, and what meets it. `scale` divides rates, limits and bursts alike, to save time."""

    name: str
    rate: float
    seconds: float
    pipeline: Function = PIPELINE
    api: Function | None = API
    gateway: tuple[float, float] = (100, 200)
    """Uploads a second that API Gateway lets pass, and how many more in a burst; it counts methods apart."""
    burst_factor: float = 1.0
    """How many times the mean rate arrives during the first tenth of each minute; the rest arrives less."""
    failing: float = 0.001
    """Share of the pipeline's invocations that raise."""
    outage: tuple[float, float] | None = None
    """From when to when the API refuses, and every invocation raises, since Redis is away."""
    scale: int = 1

    def scaled(self) -> "Scenario":
        """The same with all that counts per second, or at once, divided by `scale`."""

        def part(function: Function) -> Function:
            fewer = max(1, function.new_environments // self.scale)
            return replace(function, limit=max(1, function.limit // self.scale), new_environments=fewer)

        return replace(
            self,
            rate=self.rate / self.scale,
            gateway=(self.gateway[0] / self.scale, self.gateway[1] / self.scale),
            api=None if self.api is None else part(self.api),
            pipeline=part(self.pipeline),
            scale=1,
        )

    def arrivals(self, chance: random.Random) -> Iterator[float]:
        """Moments of a Poisson process, by thinning one that is as fast as the fastest moment."""
        calm = (1 - self.burst_factor / 10) / 0.9
        fastest = self.rate * max(self.burst_factor, calm)
        now = chance.expovariate(fastest)
        while now < self.seconds:
            factor = self.burst_factor if now % 60 < 6 else calm
            if chance.random() * fastest < self.rate * factor:
                yield now
            now += chance.expovariate(fastest)

    def down(self, now: float) -> bool:
        """Tell whether Redis is away."""
        return self.outage is not None and self.outage[0] <= now < self.outage[1]


@dataclass(slots=True)
class Result:
    """What happened. Every upload is in `refused` (no 201), `ready` or `failed` (the on-failure queue)."""

    arrived: int = 0
    refused: int = 0
    failed: int = 0
    ready: list[float] = field(default_factory=list)
    """From the 201 to the thumbnail."""
    waits: list[float] = field(default_factory=list)
    """From the event to the start of the invocation that made the thumbnail."""
    throttled_api: int = 0
    throttled_events: int = 0
    cold_starts: int = 0
    peak_api: int = 0
    peak_pipeline: int = 0
    peak_backlog: int = 0
    ended: float = 0.0

    def percentile(self, share: float) -> float:
        """The time from 201 to ready that this share of the uploads stayed below; nan when none got there."""
        ordered = sorted(self.ready)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


@dataclass(slots=True)
class Event:
    """One upload after its 201, as the pipeline function's queue knows it."""

    accepted: float
    arrived: float = 0.0
    errors: int = 0
    throttled: int = 0


class Simulation:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario.scaled()
        self.chance = random.Random(seed)
        self.result = Result()
        self.api = None if self.scenario.api is None else Pool(self.scenario.api)
        self.pipeline = Pool(self.scenario.pipeline)
        self.gateway = TokenBucket(*self.scenario.gateway)
        self.waiting: deque[Event] = deque()
        self.backlog = 0
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    def run(self) -> Result:
        """Let everything arrive, and go on until every upload has ended."""
        arrivals = self.scenario.arrivals(self.chance)

        def arrive(now: float) -> None:
            self._upload(now)
            if (following := next(arrivals, None)) is not None:
                self._at(following, arrive)

        if (first := next(arrivals, None)) is not None:
            self._at(first, arrive)
        while self._agenda:
            now, _, action = heapq.heappop(self._agenda)
            action(now)
            self.result.ended = now
        self.result.cold_starts = self.pipeline.cold_starts + (self.api.cold_starts if self.api else 0)
        self.result.peak_api = self.api.peak if self.api else 0
        self.result.peak_pipeline = self.pipeline.peak
        return self.result

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._numbers), action))

    def _upload(self, now: float) -> None:
        self.result.arrived += 1
        if self.api is None:  # straight into the bucket
            self._accepted(now)
            return
        if not self.gateway.take(now) or self.scenario.down(now):
            self.result.refused += 1
            return
        takes = self.api.start(now, self.chance)
        if takes is None:
            self.result.throttled_api += 1
            self.result.refused += 1
            return
        self._at(now + takes, self._answered)

    def _answered(self, now: float) -> None:
        assert self.api is not None  # noqa: S101 - for the type checker
        self.api.end(now)
        self._accepted(now)

    def _accepted(self, now: float) -> None:
        event = Event(accepted=now, arrived=now)
        self._queued()
        self._attempt(now, event)

    def _queued(self) -> None:
        self.backlog += 1

    def _attempt(self, now: float, event: Event) -> None:
        takes = self.pipeline.start(now, self.chance)
        if takes is not None:
            self.backlog -= 1
            wait = now - event.arrived
            self._at(now + takes, lambda then: self._done(then, event, wait))
            return
        self.result.peak_backlog = max(self.result.peak_backlog, self.backlog)
        if self.pipeline.function.waiting == "line":
            self.waiting.append(event)
            return
        self.result.throttled_events += 1
        if now - event.accepted >= OLDEST_EVENT:
            self.backlog -= 1
            self.result.failed += 1
            return
        pause = min(BACKOFF_FIRST * 2**event.throttled, BACKOFF_LONGEST)
        event.throttled += 1
        # Spread, so that those which were refused together do not come back together.
        self._at(now + pause * self.chance.uniform(0.5, 1.5), lambda then: self._attempt(then, event))

    def _done(self, now: float, event: Event, wait: float) -> None:
        self.pipeline.end(now)
        if self.waiting:
            self._attempt(now, self.waiting.popleft())
        if not self.scenario.down(now) and self.chance.random() >= self.scenario.failing:
            self.result.ready.append(now - event.accepted)
            self.result.waits.append(wait)
        elif event.errors < len(RETRY_AFTER_ERROR):
            self._queued()
            pause = RETRY_AFTER_ERROR[event.errors]
            event.errors += 1
            event.arrived = now + pause
            self._at(now + pause, lambda then: self._attempt(then, event))
        else:
            self.result.failed += 1


def simulate(scenario: Scenario, seed: int = SEED) -> Result:
    """Run a scenario; its counts are per `scale`."""
    return Simulation(scenario, seed).run()


# API Gateway's first quota of an account and region.
QUOTA = (10_000, 5_000)


def of(limit: int) -> Function:
    """The pipeline with another limit."""
    return replace(PIPELINE, limit=limit)


SCENARIOS = [
    Scenario("10/s", 10, 600),
    Scenario("10/s on average, 50/s for the first six seconds of each minute", 10, 600, burst_factor=5),
    Scenario("1,000 put straight into the bucket within a second", 1_000, 1, api=None),
    Scenario("10/s, Redis away for two minutes", 10, 600, outage=(120, 240)),
    Scenario(
        "10/s straight into the bucket, Redis away for two minutes", 10, 600, api=None, outage=(120, 240)
    ),
    Scenario(
        "10/s straight into the bucket, Redis away for ten minutes", 10, 900, api=None, outage=(120, 720)
    ),
    Scenario("1,000/s for a minute, the stack's defaults", 1_000, 60, api=replace(API, limit=100)),
    Scenario("1,000/s for a minute, the gateway's quota, 100 at once", 1_000, 60, of(100), gateway=QUOTA),
    Scenario("1,000/s for a minute, the gateway's quota, 500 at once", 1_000, 60, of(500), gateway=QUOTA),
    Scenario("that, 5,000/s for the first six seconds", 1_000, 60, of(500), burst_factor=5, gateway=QUOTA),
    Scenario(
        "100,000/s for a minute, all quotas as an account first has them",
        100_000,
        60,
        of(500),
        replace(API, limit=500),
        scale=100,
        gateway=QUOTA,
    ),
    Scenario(
        "100,000/s for five minutes, quotas of 110,000/s, 15,000 and 40,000 at once",
        100_000,
        300,
        of(40_000),
        replace(API, limit=15_000),
        gateway=(110_000, 55_000),
        scale=200,
    ),
]


def table(scenarios: Sequence[Scenario] = SCENARIOS) -> str:
    """Make a Markdown table of what happens in each scenario, in its real size whatever the scale."""
    lines = [
        "| uploads | 201 | refused | ready after (s): half | 95 % | 99 % | API and pipeline at once "
        "| cold starts | throttled events | longest backlog | given up | all ended after (s) |",
        "|---|" + "--:|" * 11,
    ]
    for scenario in scenarios:
        result, by = simulate(scenario), scenario.scale
        times = " | ".join(f"{result.percentile(share):,.1f}" for share in (0.5, 0.95, 0.99))
        counts = [
            f"{(len(result.ready) + result.failed) * by:,}",
            f"{result.refused * by:,}",
            times,
            f"{result.peak_api * by:,} + {result.peak_pipeline * by:,}",
            *(
                f"{n * by:,}"
                for n in (result.cold_starts, result.throttled_events, result.peak_backlog, result.failed)
            ),
            f"{result.ended:,.0f}",
        ]
        lines.append(f"| {scenario.name} | {' | '.join(counts)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print or write; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Simulates uploads on their way to a thumbnail.")
    parser.add_argument("--write", type=Path, help="document to put the table into")
    options = parser.parse_args(arguments)
    if options.write:
        write(options.write, "simulate", table())
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
