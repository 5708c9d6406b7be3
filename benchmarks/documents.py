"""Where the documentation holds what a command has measured: between two markers that name the command."""

import os
from pathlib import Path

MOST_LOAD = 1.0
"""Of a load average above this, other programs have a part in all times."""


def markers(command: str) -> tuple[str, str]:
    """Lines before and after what `make <command>` writes."""
    return f"<!-- make {command}: begin -->\n", f"<!-- make {command}: end -->\n"


def write(path: Path, command: str, text: str) -> None:
    """Put text between the command's markers in a document, in place of what was there."""
    begin, end = markers(command)
    before, found_begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise SystemExit(f"{path} lacks the markers {begin.strip()} and {end.strip()}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def write_times(path: Path, command: str, text: str, load: float) -> None:
    """The same with times that were measured, and how busy the machine was before: see `conditions`."""
    write(path, command, f"{conditions(load)}\n\n{text}")


def load_average() -> float:
    """How many processes wanted a processor in the last minute, on average: to be asked before measuring."""
    return os.getloadavg()[0]


def conditions(load: float) -> str:
    """Say, beside times that were measured, whether the machine was quiet: `load` was its average before."""
    if load > MOST_LOAD:
        return (
            f"**The machine was busy** (load average {load:.1f} before): compare only what took turns, "
            "and measure again."
        )
    return f"The machine was quiet (load average {load:.1f} before)."
