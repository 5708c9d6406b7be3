"""Lets schemathesis look for answers that the API's description does not have."""

import re
import subprocess
import sys
from pathlib import Path

from tests.service import ROOT

_COMMAND = Path(sys.executable).with_name("schemathesis")
_CONFIG = ROOT / "tests" / "schemathesis.toml"


def explore(url: str, *options: str | Path, description: str | Path = "") -> tuple[bool, str]:
    """Send requests that the description allows, and such as it does not; the same ones each time.

    Args:
        url: where the service is.
        options: of schemathesis's command line.
        description: the file or URL of another one than the service gives.

    Returns:
        whether all answers were as described, and the report.

    """
    done = subprocess.run(
        [
            *(_COMMAND, "--config-file", _CONFIG, "run"),
            *(description or f"{url}/api/v1/openapi.json", "--url", url, "--no-color", *options),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


def operations_tested(report: str) -> int:
    """How many operations a report says were tried."""
    found = re.search(r"Tested: (\d+)", report)
    return int(found[1]) if found else 0
