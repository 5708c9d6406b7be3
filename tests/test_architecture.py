"""Rules of the whole that no single test would notice broken; pyproject.toml has the layers."""

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


def test_nothing_imports_app() -> None:
    assert "app" not in GRAPH.modules


def test_only_the_clock_tells_the_time() -> None:
    # A record's codec writes a time that it is given; the SDK dates what it signs; triggers measure how long
    # things take.
    assert GRAPH.find_modules_that_directly_import("time") == {"chalicelib.clock", "chalicelib.triggers"}
    assert GRAPH.find_modules_that_directly_import("datetime") == {
        "chalicelib.records.codec",
        "chalicelib.objects.signing",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=module_name)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def reads_environment(source: str) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"})
        or (isinstance(node, ast.alias) and node.name in {"environ", "environb", "getenv"})
        for node in ast.walk(ast.parse(source))
    )


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['A']", "from os import environ", "import os as o\no.getenv('A')"]
)
def test_the_finder_of_environment_reads_finds_them(source: str) -> None:
    assert reads_environment(source)


def test_settings_alone_reads_the_environment() -> None:
    readers = [module_name(path) for path in SHIPPED if reads_environment(path.read_text(encoding="utf-8"))]
    assert readers == ["chalicelib.settings"]


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


def undocumented(source: str) -> list[str]:
    """Public classes, functions and methods without a docstring; the module itself as an empty name."""
    module = ast.parse(source)
    places: list[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]] = [("", module)]
    for _, node in places:
        if not isinstance(node, ast.FunctionDef):
            places += [
                (inner.name, inner)
                for inner in node.body
                if isinstance(inner, ast.ClassDef | ast.FunctionDef) and not inner.name.startswith("_")
            ]
    return [name for name, node in places if not ast.get_docstring(node)]


def test_the_finder_of_what_is_undocumented_finds_it() -> None:
    source = "class A:\n    'Told.'\n    def b(self): ...\n    def _c(self): ...\ndef d(): ...\n"
    assert undocumented(source) == ["", "d", "b"]


@pytest.mark.parametrize("path", SHIPPED, ids=module_name)
def test_everything_public_is_documented(path: Path) -> None:
    assert undocumented(path.read_text(encoding="utf-8")) == []
