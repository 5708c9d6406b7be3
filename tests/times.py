"""The table of docs/testing.md: how long the tests of each module take.

    python -m tests.times --write docs/testing.md build/junit/*.xml

Reads what pytest has written of a run (`--junitxml`). Times are those of single tests, added up: of tests
that run side by side, they come to more than the run itself took.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import documents

COMMAND = "test-times"
SLOW = "slow"
"""The property by which tests/conftest.py tells a test that `make test` leaves out."""
_OTHERS_BELOW_SECONDS = 2.0


@dataclass
class Module:
    """The tests of one module: how many, their seconds, and how many of each `make test` runs."""

    name: str
    tests: int = 0
    seconds: float = 0.0
    quick_tests: int = 0
    quick_seconds: float = 0.0
    slowest: tuple[float, str] = field(default=(0.0, ""))

    def add(self, name: str, seconds: float, *, is_slow: bool) -> None:
        """Count a test."""
        self.tests += 1
        self.seconds += seconds
        self.quick_tests += not is_slow
        self.quick_seconds += 0 if is_slow else seconds
        self.slowest = max(self.slowest, (seconds, name))


def read(paths: Sequence[Path]) -> tuple[list[Module], float]:
    """The modules, longest first, and how long the runs took one after the other, in seconds."""
    modules: dict[str, Module] = {}
    took = 0.0
    for path in paths:
        for suite in ElementTree.parse(path).iter("testsuite"):  # noqa: S314 - pytest has written it
            took += float(suite.get("time", "0"))
            for case in suite.iter("testcase"):
                name = str(case.get("classname")).split(".Test")[0]
                is_slow = any(item.get("name") == SLOW for item in case.iter("property"))
                module = modules.setdefault(name, Module(name))
                module.add(str(case.get("name")), float(case.get("time", "0")), is_slow=is_slow)
    return sorted(modules.values(), key=lambda module: -module.seconds), took


def table(modules: Sequence[Module], took: float) -> str:
    """Say it in Markdown."""
    tests, quick = sum(module.tests for module in modules), sum(module.quick_tests for module in modules)
    lines = [
        f"{tests:,} tests in {took / 60:.0f} minutes, of which `make test` runs {quick:,}; "
        f"{os.cpu_count()} cores, {os.getloadavg()[2]:.1f} processes ready to run at a time.",
        "",
        "| Module | Tests | Seconds | In `make test` | Seconds | Slowest |",
        "|---|--:|--:|--:|--:|---|",
    ]
    shown = [module for module in modules if module.seconds >= _OTHERS_BELOW_SECONDS]
    others = Module(f"{len(modules) - len(shown)} others")
    for module in modules[len(shown) :]:
        others.tests += module.tests
        others.seconds += module.seconds
        others.quick_tests += module.quick_tests
        others.quick_seconds += module.quick_seconds
    for module in [*shown, others]:
        seconds, name = module.slowest
        slowest = f"{seconds:.1f}: `{name.partition('[')[0]}`" if name else ""
        lines.append(
            f"| {module.name.removeprefix('tests.')} | {module.tests} | {module.seconds:.1f} "
            f"| {module.quick_tests} | {module.quick_seconds:.1f} | {slowest} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Writes how long the tests of each module take.")
    parser.add_argument("--write", type=Path, required=True, help="document to put the table into")
    parser.add_argument("reports", type=Path, nargs="+", help="what pytest has written by --junitxml")
    chosen = parser.parse_args(arguments)
    documents.write(chosen.write, COMMAND, table(*read(chosen.reports)))


if __name__ == "__main__":
    main()
