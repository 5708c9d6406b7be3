"""Bounds of CPU time that hold on a slow machine and beside others, too."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOOPS = 2_000_000
_LOOPS_SECONDS = 0.05
"""What that many rounds of an empty loop take on a machine of 2020."""


@contextmanager
def cpu_within(seconds: float) -> Iterator[None]:
    """Fail if what is done inside takes more CPU time of this process than that, on a machine of 2020.

    Where it takes longer, a known piece of work is timed right afterwards, and the bound moves with that.
    """
    began = time.process_time()
    try:
        yield
    finally:
        _check(time.process_time() - began, seconds)


def _check(spent: float, seconds: float) -> None:
    if spent >= seconds:
        began = time.process_time()
        for _ in range(_LOOPS):
            pass
        slowness = (time.process_time() - began) / _LOOPS_SECONDS
        assert spent < seconds * max(1.0, slowness), f"{spent:.1f} s of CPU, slowed down {slowness:.1f} times"
