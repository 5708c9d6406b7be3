"""The one clock. Whoever needs the time is handed it, so that tests can hand in their own."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Tells the time, in milliseconds since the epoch."""


def now_ms() -> int:
    """Milliseconds since the epoch, by this machine's clock."""
    return time.time_ns() // 1_000_000
