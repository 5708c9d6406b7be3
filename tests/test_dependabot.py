"""Dependabot is told of every file that pins something."""

from pathlib import PurePosixPath

import yaml

from tests.service import ROOT


def test_every_folder_of_pins_is_watched() -> None:
    config = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    watched = {update["package-ecosystem"]: update for update in config["updates"]}
    # Environments and copies of the project, which git does not know, hold others.
    known = [
        *ROOT.glob("*.txt"),
        *ROOT.glob("[!.b]*/**/requirements*.txt"),
        *ROOT.glob("benchmarks/**/*.txt"),
    ]
    pins = [path.relative_to(ROOT) for path in known if path.name.startswith("requirements")]
    folders = {str(PurePosixPath("/", path.parent)) for path in pins}
    assert folders == set(watched["pip"]["directories"])
    assert watched["github-actions"]["directory"] == "/"
