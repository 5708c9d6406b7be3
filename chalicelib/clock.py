"""The one clock. Code that needs the time takes it as an argument, so that tests can pass their own."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Tells the time, in milliseconds since the epoch."""


def now_ms() -> int:
    """Milliseconds since the epoch, by this machine's clock."""
    return time.time_ns() // 1_000_000
