"""Lambda's rules, as far as `benchmarks.simulate` needs them. Times are in seconds."""

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".
RETRY_AFTER_ERROR = (60.0, 120.0)
BACKOFF_FIRST, BACKOFF_LONGEST = 1.0, 300.0
OLDEST_EVENT = 6 * 3600.0
# Lambda Developer Guide, "Lambda scaling behavior": 1,000 more environments in 10 seconds, refilled evenly.
NEW_ENVIRONMENTS, NEW_ENVIRONMENTS_IN = 1000, 10.0


@dataclass(frozen=True, slots=True)
class Work:
    """How long an invocation takes: processor time, and requests to S3 that are waited for in turn.

    One request's latency is lognormal: half take less than `latency`, one in twenty more than twice that.
    """

    processor: float
    requests: int
    latency: float = 0.1
    sigma: float = 0.42

    def draw(self, chance: random.Random) -> float:
        """Take a sample."""
        median = math.log(self.latency)
        return self.processor + sum(chance.lognormvariate(median, self.sigma) for _ in range(self.requests))


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function: most invocations at once, its work, and what a new environment adds to the first.

    `waiting` is what a caller does when there is no room: None to be refused, else whether events wait
    in line ("line"), or come back after ever longer pauses as Lambda's own queue lets them ("backoff").
    """

    limit: int
    work: Callable[[random.Random], float]
    cold: float
    waiting: str | None = None
    new_environments: int = NEW_ENVIRONMENTS
    kept: float = 600.0


class TokenBucket:
    """Gives `rate` tokens a second, of which at most `size` are saved; full at the beginning."""

    def __init__(self, rate: float, size: float) -> None:
        self.rate, self.size, self.tokens, self.at = rate, size, size, 0.0

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Pool:
    """The environments of a function."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.busy = self.peak = self.cold_starts = 0
        self._idle: deque[float] = deque()
        self._new = TokenBucket(function.new_environments / NEW_ENVIRONMENTS_IN, function.new_environments)

    def start(self, now: float, chance: random.Random) -> float | None:
        """Begin an invocation and return how long it takes; None when it is throttled."""
        while self._idle and now - self._idle[0] > self.function.kept:
            self._idle.popleft()
        if self.busy >= self.function.limit:
            return None
        cold = 0.0
        if self._idle:
            self._idle.pop()  # the one used last, so that the others may go
        elif self._new.take(now):
            cold = self.function.cold
            self.cold_starts += 1
        else:
            return None
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        return cold + self.function.work(chance)

    def end(self, now: float) -> None:
        """End an invocation; its environment stays for a while."""
        self.busy -= 1
        self._idle.append(now)
