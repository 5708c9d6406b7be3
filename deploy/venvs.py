"""Virtual environments that are made once, and anew when what they are made of has changed."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from deploy import UserError


def make(folder: Path, python: Path, *, of: list[Path], arguments: list[str | Path]) -> Path:
    """Make an environment if need be; a process that wants the same one meanwhile waits for it.

    Args:
        folder: where it is, or shall be.
        python: the interpreter that it is for.
        of: the files with the versions; when one changes, the environment is made anew.
        arguments: what pip is told to install.

    Returns:
        the environment's interpreter.

    """
    made, stamp = folder / "bin" / "python", folder / ".made-of"
    parts = [
        *(path.read_bytes() for path in of),
        str(python).encode(),
        *(a.encode() for a in arguments if isinstance(a, str)),
    ]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made.exists() and stamp.exists() and stamp.read_text() == digest):
            print(f"Making {folder.name} (the first time takes a minute) ...", flush=True)
            run([python, "-m", "venv", "--clear", folder])
            pip_install(made, *arguments)
            stamp.write_text(digest)
    return made


def pip_install(python: Path, *arguments: str | Path) -> None:
    """Let the pip of an environment install something.

    Raises:
        UserError: it cannot; what pip says stands above.

    """
    command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*command, "--no-warn-script-location", *arguments])


def run(command: list[str | Path]) -> None:
    """Run a command whose output is for the user to see.

    Raises:
        UserError: it failed.

    """
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
        raise UserError(f"this failed, its message stands above: {' '.join(map(str, command))}")
