"""Dependabot is told of every file that pins something."""

from pathlib import PurePosixPath

import yaml

from tests.service import ROOT

HIDDEN = (".venv", ".bench", "build")


def test_every_folder_of_pins_is_watched() -> None:
    config = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    watched = {update["package-ecosystem"]: update for update in config["updates"]}
    pins = [path.relative_to(ROOT) for path in ROOT.rglob("requirements*.txt")]
    folders = {str(PurePosixPath("/", path.parent)) for path in pins if not path.parts[0].startswith(HIDDEN)}
    assert folders == set(watched["pip"]["directories"])
    assert watched["github-actions"]["directory"] == "/"
