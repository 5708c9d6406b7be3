"""The processes of a service on this machine, and the processor time that they have used."""

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import psutil

from local.hosts import is_local


def service_processes(url: str) -> list[psutil.Process]:
    """Find the process that listens at a URL, and all that were started with it; none on another machine.

    The runner of `make run` counts as well, which has started what listens.
    """
    parts = urlsplit(url)
    if not is_local(parts.netloc):
        return []
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = [
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid
        if connection.laddr and connection.laddr.port == port
    ]
    if not found:
        return []
    first = min(found, key=lambda process: process.create_time())
    runner = first.parent()
    if runner is not None and runner.pid != os.getpid() and runner.cmdline()[1:] == ["-m", "local"]:
        first = runner
    return [first, *first.children(recursive=True)]


def processor_seconds(processes: Sequence[psutil.Process]) -> float:
    """User and system time that the processes have used so far, in seconds, without their children's."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))
