"""Virtual environments are made once, also when several processes want one in the same moment."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import venvs

pytestmark = pytest.mark.slow


def test_an_environment_is_made_once_and_anew_when_its_versions_change(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, versions = tmp_path / "new" / ".venv-test", tmp_path / "requirements.txt"
    together = threading.Barrier(3)

    def make(_: object) -> Path:
        together.wait(60)
        return venvs.make(folder, Path(sys.executable), of=[versions], arguments=["pip"])

    for text in ("one", "two"):
        versions.write_text(text)
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(make, range(3))) == {folder / "bin" / "python"}
        assert capfd.readouterr().out.count("Making .venv-test") == 1
