"""Installs what the functions need beside their runtime, and throws out what they never import."""

import shutil
from pathlib import Path

from deploy import ARCHITECTURES, ROOT, RUNTIME, venvs

TOOLS = ROOT / ".venv-package"
REQUIREMENTS = ROOT / "requirements.txt"
_LOCK = ROOT / "requirements-dev.txt"
# Lambda's Python 3.13 runs on Amazon Linux 2023, glibc 2.34. The oldest names cover all wheels before.
_PLATFORMS = [f"manylinux_2_{minor}" for minor in (34, 31, 28, 27, 26, 24, 17)] + ["manylinux2014"]

UNUSED = (
    "**/__pycache__",
    "**/tests",
    "**/*.pyi",
    "**/py.typed",
    "bin",
    # Fonts, windows and screens; Pillow imports these on request only.
    "PIL/_imagingft.*",
    "PIL/_imagingtk.*",
    "PIL/_tkinter_finder.py",
    "PIL/ImageFont.py",
    "PIL/ImageDraw*.py",
    "PIL/ImageGrab.py",
    "PIL/ImageQt.py",
    "PIL/ImageShow.py",
    "PIL/ImageTk.py",
    "PIL/ImageWin.py",
    "PIL/PSDraw.py",
    "PIL/*FontFile.py",
    "PIL/*StubImagePlugin.py",
    "PIL/Pdf*.py",
    # Only the module beneath it is used.
    "pi_heif",
    # Of these, the one compiled module is used that lies beside them.
    "cffi",
    "pycparser",
    # Of Powertools, the functions log; its event handlers and most utilities are for other uses.
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/[!_j]*",
)
"""What is installed with the requirements and that no function imports. Shared libraries that only
these needed go with them, see `orphaned_libraries`."""
METADATA = "METADATA"


def tools(python: Path) -> Path:
    """Make the environment that packages if need be: Chalice, and the requirements for this machine.

    Args:
        python: an interpreter of the runtime's version.

    Returns:
        the environment's interpreter.

    """
    return venvs.make(
        TOOLS,
        python,
        of=[REQUIREMENTS, _LOCK],
        arguments=["-r", REQUIREMENTS, "-c", _LOCK, "chalice", "boto3"],
    )


def install(python: Path, target: Path, architecture: str) -> None:
    """Install requirements.txt into `target` for `architecture`, as wheels only, and prune it.

    Raises:
        UserError: a wheel cannot be had; what pip says stands above.

    """
    platforms = [
        argument
        for name in _PLATFORMS
        for argument in ("--platform", f"{name}_{ARCHITECTURES[architecture]}")
    ]
    version = ".".join(map(str, RUNTIME))
    venvs.pip_install(
        python,
        *("--target", target, "--no-deps", "--no-compile", "--only-binary=:all:"),
        *("--python-version", version, "--implementation", "cp", *platforms),
        *("-r", REQUIREMENTS),
    )
    prune(target)


def prune(folder: Path) -> None:
    """Remove what is not used, and of each distribution's metadata all but what names it."""
    for pattern in UNUSED:
        for found in sorted(folder.glob(pattern)):
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink(missing_ok=True)
    for metadata in folder.glob("*.dist-info"):
        for found in sorted(metadata.iterdir()):
            if found.is_dir():
                shutil.rmtree(found)
            elif found.name != METADATA:
                found.unlink()
