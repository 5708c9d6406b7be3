"""`make package`: app.py, chalicelib and requirements.txt -> build/code.zip and build/template.json.

build/code/           what code.zip holds, unpacked
build/code.zip        the code of all functions
build/template.json   the stack (AWS SAM); its CodeUri is ./code.zip
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from deploy import (
    ARCHITECTURES,
    BUILD,
    ROOT,
    RUNTIME,
    UserError,
    archive,
    checks,
    dependencies,
    elf,
    interpreter,
    template,
)

CODE, CODE_ZIP, TEMPLATE = "code", "code.zip", "template.json"
# Where Lambda unpacks the code: tracebacks then name the real files, and no path of this machine.
_TASK_ROOT = "/var/task"


def main() -> None:
    """Build, and say what came out; exit with one sentence if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package", description=__doc__)
    parser.add_argument("--architecture", choices=[*sorted(ARCHITECTURES), "native"], default="arm64")
    parser.add_argument("--out", type=Path, default=BUILD, help="the folder to write, which is emptied first")
    chosen = parser.parse_args()
    try:
        build(_native() if chosen.architecture == "native" else chosen.architecture, chosen.out)
    except UserError as error:
        sys.exit(f"package: {error}")


def _native() -> str:
    architecture = checks.native_architecture()
    if architecture is None:
        raise UserError("what Lambda runs does not run on this system; choose arm64 or x86_64.")
    return architecture


def build(architecture: str, out: Path) -> None:
    """Write the artifact into `out`, checked.

    Raises:
        UserError: no fitting Python, no fitting wheel, or a check that failed.

    """
    python = interpreter.find()
    tools = dependencies.tools(python)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    code = out / CODE
    with tempfile.TemporaryDirectory() as scratch:
        project, packaged = Path(scratch, "project"), Path(scratch, "packaged")
        stage(project)
        dependencies.install(tools, project / "vendor", architecture)
        stack = template.run_chalice(tools, project, architecture, packaged)
        with zipfile.ZipFile(packaged / "deployment.zip") as theirs:
            theirs.extractall(code)
    for orphan in elf.orphans(code):
        orphan.unlink()
    _compile(tools, code)
    for properties in template.functions(stack).values():
        properties["CodeUri"] = f"./{CODE_ZIP}"
    (out / TEMPLATE).write_text(json.dumps(stack, indent=1, sort_keys=True) + "\n")
    archive.write(code, out / CODE_ZIP)
    checks.run(out, architecture, tools)
    zipped = (out / CODE_ZIP).read_bytes()
    print(
        f"{out / CODE_ZIP}: {architecture}, Python {'.'.join(map(str, RUNTIME))}, {len(zipped) / 1e6:.1f} MB "
        f"({checks.size(code) / 1e6:.1f} MB unpacked), sha256 {hashlib.sha256(zipped).hexdigest()}"
    )


def stage(project: Path) -> None:
    """Copy what Chalice reads, and nothing that lies about beside it."""
    shutil.copytree(ROOT / "chalicelib", project / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / ".chalice", project / ".chalice", ignore=shutil.ignore_patterns("deployments", "deployed")
    )
    shutil.copy(ROOT / "app.py", project)
    # What is in vendor/ need not be installed by Chalice, which would leave no room for precompiling it.
    (project / "requirements.txt").touch()


def _compile(tools: Path, code: Path) -> None:
    """Precompile everything: Lambda's code folder is read-only, so every cold start would do it anew.

    The compiled files are never compared with their sources (PEP 552, unchecked), and no hash seed
    leaves its mark in them.
    """
    command: list[str | Path] = [
        tools,
        "-m",
        "compileall",
        "-q",
        "-j",
        "1",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    done = subprocess.run(
        [*command, "-s", str(code), "-p", _TASK_ROOT, code],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        check=False,
    )
    if done.returncode:
        raise UserError("some of the code cannot be compiled; the message stands above.")


if __name__ == "__main__":
    main()
