"""What may import what, and other rules of the whole that no single test would notice broken."""

import ast
import re
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SHIPPED = sorted([ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py")])
# Lambda's Python brings these, and Chalice copies itself into the package.
BROUGHT = {"boto3", "botocore", "chalice"}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


@dataclass(frozen=True)
class Imports(ast.NodeVisitor):
    """All modules that a file imports when it runs, anywhere in it; imports for types alone do not count."""

    found: set[str]

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "imports name the whole module"
        # `from chalicelib import keys` imports chalicelib.keys.
        self.found.update(f"{node.module}.{alias.name}" for alias in node.names)


def imports(source: str) -> set[str]:
    visitor = Imports(set())
    visitor.visit(ast.parse(source))
    return visitor.found


IMPORTS = {module_name(path): imports(path.read_text(encoding="utf-8")) for path in SHIPPED}


def imported(module: str, *, following: bool = True) -> set[str]:
    """What a module imports, directly or through ours: packages by their name, our own modules in full."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for name in IMPORTS[waiting.pop()]:
            own = our_module(name)
            found = own or name.partition(".")[0]
            if found not in seen:
                seen.add(found)
                if own and following:
                    waiting.append(own)
    return seen


def our_module(name: str) -> str | None:
    """The shipped module that a dotted name is, or is in."""
    while name and name not in IMPORTS:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path", {"os.path"}),
        ("from chalice.app import Chalice", {"chalice.app.Chalice"}),
        ("def f():\n    import redis", {"redis"}),
        ("if TYPE_CHECKING:\n    import redis\nelse:\n    import boto3", {"boto3"}),
        ("if True:\n    import redis", {"redis"}),
    ],
)
def test_the_reader_of_imports_sees_them_all(source: str, expected: set[str]) -> None:
    assert imports(source) == expected


def test_the_follower_of_imports_follows_them() -> None:
    assert {
        "chalicelib.pipeline",
        "chalicelib.record",
        "chalicelib.spec",
        "redis",
        "boto3",
        "PIL",
    } <= imported("app")


def test_app_alone_imports_chalice() -> None:
    assert [name for name in IMPORTS if "chalice" in imported(name, following=False)] == ["app"]


def test_nothing_imports_app() -> None:
    assert not [name for name in IMPORTS if "app" in imported(name, following=False)]


PURE = {"errors", "spec", "settings", "keys", "record", "upload", "disposition", "events", "clock", "cors"}
PURE |= {"tokens", "ticket"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("chalicelib.catalogue", {"chalicelib.bucket", "boto3", "botocore", "PIL"}),
        ("chalicelib.bucket", {"chalicelib.catalogue", "redis", "PIL"}),
        *(
            (f"chalicelib.{name}", {"boto3", "botocore", "redis", "PIL", "aws_lambda_powertools"})
            for name in PURE
        ),
        *(
            (name, {"chalicelib.settings", "chalicelib.catalogue", "chalicelib.bucket"})
            for name in IMPORTS
            if name.startswith("chalicelib.imaging")
        ),
        # The connection is handed in.
        ("chalicelib.tokens", {"chalicelib.fetch", "http", "socket"}),
        *(
            (f"chalicelib.{name}", {"chalicelib.settings", "chalicelib.clients", "boto3", "os"})
            for name in ("intake", "pipeline", "reconcile", "removal")
        ),
    ],
)
def test_what_a_module_knows_nothing_of(module: str, forbidden: set[str]) -> None:
    assert not imported(module) & forbidden


def test_the_clock_alone_knows_the_time() -> None:
    told = {"time", "datetime"}
    # A record writes a moment that it is given; app.py measures how long things take.
    assert [name for name in IMPORTS if told & imported(name, following=False)] == [
        "app",
        "chalicelib.clock",
        "chalicelib.record",
    ]


@pytest.mark.parametrize("module", [name for name in IMPORTS if name.startswith("chalicelib.imaging")])
def test_imaging_has_no_way_to_the_outside(module: str) -> None:
    outside = {
        "boto3",
        "botocore",
        "redis",
        "os",
        "pathlib",
        "socket",
        "subprocess",
        "time",
        "datetime",
        "logging",
    }
    # The one exception finds the libraries that lie beside Pillow, once, when they are imported.
    allowed = {"pathlib"} if module == "chalicelib.imaging.decoders.bundled" else set()
    assert not imported(module, following=False) & (outside - allowed)


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


def third_party() -> set[str]:
    """Packages that shipped code imports, by their names on the package index."""
    owners = packages_distributions()
    top = set().union(*(imported(name, following=False) for name in IMPORTS)) - IMPORTS.keys()
    outside = top - sys.stdlib_module_names - {"chalicelib"}
    return {canonicalize_name(owners[name][0]) if name in owners else name for name in outside}


def test_shipped_code_imports_nothing_that_is_not_shipped() -> None:
    assert third_party() - BROUGHT <= requirements().keys()


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
