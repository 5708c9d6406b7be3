"""Reads what `python -X importtime` writes, and adds it up by package."""

import re
import sys
from collections.abc import Mapping

_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)
STANDARD_LIBRARY = "standard library"


def read_import_times(text: str) -> dict[str, float]:
    """Milliseconds that each module took by itself, without what it imported in turn."""
    return {name: int(microseconds) / 1000 for microseconds, name in _LINE.findall(text)}


def by_package(modules: Mapping[str, float]) -> dict[str, float]:
    """The same by top-level package, the greatest first; the standard library is one."""
    sums: dict[str, float] = {}
    for name, milliseconds in modules.items():
        top = name.partition(".")[0]
        package = STANDARD_LIBRARY if top.lstrip("_") in _STANDARD or top in _STANDARD else top
        sums[package] = sums.get(package, 0.0) + milliseconds
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


_STANDARD = sys.stdlib_module_names | {
    "zipimport",
    "site",
    "sitecustomize",
    "usercustomize",
    "frozen_importlib",
}
