"""Finds a Python of the Lambda runtime's version on this machine.

Precompiled code only serves the version that made it, and Chalice names the runtime after the
interpreter that runs it; under an older one it would even build Pillow against this machine's libraries.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy import RUNTIME, UserError

VERSION = ".".join(map(str, RUNTIME))


def find() -> Path:
    """Look at this interpreter, PATH, pyenv and uv, in this order.

    Raises:
        UserError: none is installed.

    """
    for candidate in _candidates():
        if _is_right(candidate):
            return candidate
    raise UserError(
        f"Python {VERSION} is needed: the Lambda runtime's version. This is Python "
        f"{sys.version_info.major}.{sys.version_info.minor}, and neither PATH nor pyenv nor uv has it. "
        f"Install it with `uv python install {VERSION}`, `pyenv install {VERSION}` or your system's packages."
    )


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for name in (f"python{VERSION}", "python3", "python"):
        if found := shutil.which(name):
            yield Path(found)
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{VERSION}*/bin/python{VERSION}"), reverse=True)
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python"))
    yield from sorted(uv.glob(f"cpython-{VERSION}*/bin/python{VERSION}"), reverse=True)


def _is_right(python: Path) -> bool:
    # A name proves nothing: pyenv's shims are there for versions that are not selected.
    question = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != {RUNTIME})"
    try:
        return (
            subprocess.run([python, "-c", question], capture_output=True, timeout=30, check=False).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
