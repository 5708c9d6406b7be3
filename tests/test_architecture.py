"""Rules of the whole that neither ruff nor import-linter knows; pyproject.toml has theirs."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SHIPPED = sorted([ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py")])
# Lambda's Python brings these, and Chalice copies itself into the package.
BROUGHT = {"boto3", "botocore", "chalice"}
# Used where they are importable, and not on Lambda.
OPTIONAL = {"kornia_rs", "numpy"}
MOST_LINES = 400
GRAPH = grimp.build_graph("chalicelib", include_external_packages=True, exclude_type_checking_imports=True)
APP_IMPORTS = {
    alias.name if isinstance(node, ast.Import) else str(node.module)
    for node in ast.walk(ast.parse((ROOT / "app.py").read_text(encoding="utf-8")))
    if isinstance(node, ast.Import | ast.ImportFrom)
    for alias in node.names
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


@pytest.mark.parametrize("path", SHIPPED, ids=module_name)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def requirements() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    return {canonicalize_name(one.name): one for one in found}


def imported_packages() -> set[str]:
    """Top-level modules from outside that shipped code imports when it runs."""
    found = {name for module in GRAPH.modules for name in GRAPH.find_modules_directly_imported_by(module)}
    return {name.partition(".")[0] for name in found | APP_IMPORTS} - {"chalicelib"}


def third_party() -> set[str]:
    """Packages that shipped code imports, by their names on the package index."""
    owners = packages_distributions()
    outside = imported_packages() - sys.stdlib_module_names
    return {canonicalize_name(owners[name][0]) if name in owners else name for name in outside}


def test_shipped_code_imports_nothing_that_is_not_shipped() -> None:
    assert third_party() - BROUGHT - OPTIONAL <= requirements().keys()


def needs(one: Requirement) -> set[str]:
    """What a requirement needs itself, on whatever system, with the extras that are asked for."""
    if one.marker is not None and not one.marker.evaluate():
        return set()  # it is not installed here
    return {
        canonicalize_name(need.name)
        for need in map(Requirement, requires(one.name) or [])
        if "extra" not in str(need.marker)
        or any(need.marker and need.marker.evaluate({"extra": extra}) for extra in one.extras)
    }


def test_nothing_is_shipped_for_nothing() -> None:
    wanted = requirements()
    used = third_party()
    while more := set().union(*(needs(wanted[name]) for name in wanted.keys() & used)) - used:
        used |= more
    assert wanted.keys() <= used
    assert not wanted.keys() & BROUGHT


def test_what_lambda_gets_is_pinned_exactly_and_is_what_is_tested() -> None:
    tested = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    for name, wanted in requirements().items():
        assert [one.operator for one in wanted.specifier] == ["=="], name
        assert re.search(rf"^{name}{re.escape(str(wanted.specifier))}( |$)", tested, re.MULTILINE), name
