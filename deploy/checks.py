"""What must hold of an artifact before it is deployed; each failed check is a sentence."""

import ast
import json
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import ARCHITECTURES, RUNTIME, UserError, elf, template
from deploy.dependencies import METADATA, REQUIREMENTS

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, deployment package.
UNZIPPED_LIMIT = 250 * 1024 * 1024
ZIPPED_LIMIT = 50 * 1024 * 1024
# CloudFormation's limit of a template in S3.
TEMPLATE_LIMIT = 1024 * 1024
# Part of the runtime: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
RUNTIME_BRINGS = frozenset({"boto3", "botocore", "s3transfer", "urllib3", "jmespath", "dateutil", "six"})


def run(out: Path, architecture: str, tools: Path) -> None:
    """Check the artifact in `out`, all checks before the verdict.

    Args:
        out: the folder that `make package` writes.
        architecture: Lambda's name of what it was built for.
        tools: an interpreter of the runtime's version.

    Raises:
        UserError: at least one check failed; the sentence lists them all.

    """
    code = out / "code"
    failures = [
        *requirements(code),
        *libraries(code, architecture),
        *precompiled(code),
        *sizes(out),
        *handlers(out, tools, native=architecture == native_architecture()),
    ]
    if failures:
        raise UserError("the artifact is not fit to be deployed:\n  " + "\n  ".join(failures))


def native_architecture() -> str | None:
    """Lambda's name of this machine's architecture; None where Lambda's libraries do not run at all."""
    if platform.system() != "Linux":
        return None
    names = {linux: name for name, linux in ARCHITECTURES.items()}
    return names.get(platform.machine())


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def requirements(code: Path) -> Iterator[str]:
    """Every requirement is there in its pinned version, with what it needs itself, and nothing else."""
    installed, wanted = _installed(code), _wanted()
    for name, requirement in wanted.items():
        if not re.fullmatch(r"==[^*]+", str(requirement.specifier)):
            yield f"requirements.txt does not pin {name} to one version."
        if name not in installed:
            yield f"{name} of requirements.txt is not in it."
        elif not requirement.specifier.contains(installed[name][0]):
            yield f"{name} is in it in version {installed[name][0]}, not {requirement.specifier}."
    for name, (_, needs) in installed.items():
        if name not in wanted:
            yield f"{name} is in it and not in requirements.txt."
        for need in needs - installed.keys() - RUNTIME_BRINGS:
            yield f"{name} needs {need}, which requirements.txt does not name."


def _installed(code: Path) -> dict[str, tuple[str, set[str]]]:
    """Name -> version and names of what it needs, of each distribution."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in code.glob(f"*.dist-info/{METADATA}"):
        said = HeaderParser().parsestr(path.read_text())
        needs = map(Requirement, said.get_all("Requires-Dist", []))
        found[canonicalize_name(said["Name"])] = (
            said["Version"],
            {canonicalize_name(need.name) for need in needs if _applies(need)},
        )
    return found


def _wanted() -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    requirements = (Requirement(line) for line in lines if line)
    return {str(canonicalize_name(one.name)): one for one in requirements if _applies(one)}


def _applies(requirement: Requirement) -> bool:
    version = ".".join(map(str, RUNTIME))
    environment = {"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
    environment |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def libraries(code: Path, architecture: str) -> Iterator[str]:
    """Native libraries are all for the right architecture, none is idle, and Pillow's are there."""
    found = elf.libraries(code)
    if not any(path.match("PIL/_imaging.*.so") for path in found):
        yield "Pillow's extension module is not in it."
    if not any(path.parent.name == "pillow.libs" for path in found):
        yield "Pillow was built here and not taken as a wheel: its libraries (pillow.libs) are not in it."
    for path in found:
        if (other := elf.architecture(path)) != architecture:
            yield f"{path.relative_to(code)} is for {other}, not for {architecture}."
    for path in elf.orphans(code):
        yield f"{path.relative_to(code)} is needed by nothing."


def precompiled(code: Path) -> Iterator[str]:
    """Each source file has its compiled one, made to be used without a look at the source."""
    tag = f"cpython-{''.join(map(str, RUNTIME))}"
    for source in code.rglob("*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
        # PEP 552: the second word's lowest bits are 1 for a hash, 2 for one that is checked.
        if not compiled.exists() or compiled.read_bytes()[4:8] != b"\x01\0\0\0":
            yield f"{source.relative_to(code)} is not precompiled."


def sizes(out: Path) -> Iterator[str]:
    """Lambda and CloudFormation take it, and the archive holds just what was checked."""
    for name, have, limit in (
        ("the code", size(out / "code"), UNZIPPED_LIMIT),
        ("code.zip", (out / "code.zip").stat().st_size, ZIPPED_LIMIT),
        ("template.json", (out / "template.json").stat().st_size, TEMPLATE_LIMIT),
    ):
        if have > limit:
            yield f"{name} has {have:,} bytes; at most {limit:,} are taken."
    with zipfile.ZipFile(out / "code.zip") as zipped:
        names = {
            path.relative_to(out / "code").as_posix() for path in (out / "code").rglob("*") if path.is_file()
        }
        if set(zipped.namelist()) != names or zipped.testzip() is not None:
            yield "code.zip does not hold what was checked."


def handlers(out: Path, tools: Path, *, native: bool) -> Iterator[str]:
    """Every handler can be imported, and all that is shipped is of use.

    For an architecture that is not this machine's, the check is static: each handler is defined, and
    each import of our code is met by the artifact, the standard library or the runtime.
    """
    code = out / "code"
    stack = json.loads((out / "template.json").read_text())
    names = sorted({properties["Handler"] for properties in template.functions(stack).values()})
    ours = {path.name.partition(".")[0] for path in code.iterdir()}
    for path in [code / "app.py", *sorted((code / "chalicelib").rglob("*.py"))]:
        for name in sorted(imports(path) - ours - sys.stdlib_module_names - RUNTIME_BRINGS):
            yield f"{path.relative_to(code)} imports {name}, which is not in it."
    for name in names:
        if name.rpartition(".")[2] not in defines(code / "app.py"):
            yield f"{name} is not defined."
    if native:
        yield from _import_all(code, tools, names)


def imports(source: Path) -> set[str]:
    """Top-level names of the modules that a source file needs when it runs, sooner or later.

    What it can do without, an import whose ImportError it handles, is left out.
    """
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.Try) and _is_done_without(node):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _is_done_without(node: ast.If | ast.Try) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    caught = [handler.type for handler in node.handlers]
    return any(isinstance(name, ast.Name) and name.id == "ImportError" for name in caught)


def defines(source: Path) -> set[str]:
    """Names that a source file gives to functions and values at its top level."""
    body = ast.parse(source.read_text()).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assigned = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return functions | {target.id for target in assigned if isinstance(target, ast.Name)}


def _import_all(code: Path, tools: Path, names: list[str]) -> Iterator[str]:
    """Import with the code, the standard library and what the runtime brings, and with nothing else."""
    installed = next((tools.parent.parent / "lib").glob("python*/site-packages"))
    with tempfile.TemporaryDirectory() as brings:
        for found in installed.iterdir():
            if found.name.removesuffix(".py") in RUNTIME_BRINGS:
                Path(brings, found.name).symlink_to(found)
        done = subprocess.run(
            # No site-packages, no environment, nothing written beside what is to be shipped.
            [tools, "-I", "-S", "-B", Path(__file__).with_name("import_check.py"), code, brings, *names],
            capture_output=True,
            text=True,
            check=False,
        )
    yield from done.stdout.splitlines()
    if done.returncode:
        yield f"the import of the handlers died: {done.stderr.strip()}"
