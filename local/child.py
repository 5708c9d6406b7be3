"""What every child process of `python -m local` does: end when told to, and when its parent is gone."""

import os
import signal
import sys
import threading
from typing import NoReturn


def end_with_parent() -> None:
    """Exit on SIGTERM, and when the other end of standard input closes, as it does when the parent dies."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=_exit_on_end_of_input, daemon=True).start()


def _exit_on_end_of_input() -> NoReturn:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(5)
    os._exit(1)
