"""What the processes of `make run` ask of glibc's memory management."""

import os
from pathlib import Path

import pytest
from chalice.package import YAMLTemplateSerializer

from deploy import ROOT
from local.processes import MEMORY, Child
from tests.inside import pid_of

TEMPLATE = ROOT / ".chalice" / "stack" / "functions.yaml"


def test_the_thresholds_are_those_of_the_pipeline_in_lambda() -> None:
    stack = YAMLTemplateSerializer().load_template(TEMPLATE.read_text(), str(TEMPLATE))
    variables = stack["Resources"]["MakeThumbnail"]["Properties"]["Environment"]["Variables"]
    assert variables == {name: value for name, value in MEMORY.items() if "THRESHOLD" in name}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux tells")
@pytest.mark.parametrize("own", [{}, {"MALLOC_ARENA_MAX": "7"}], ids=["by default", "set by the user"])
def test_each_process_is_given_them_unless_the_user_has_set_others(
    own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MEMORY:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    child = Child("local.servers", "redis")
    child.start()
    try:
        assert child.first_line()
        given = Path(f"/proc/{pid_of(child)}/environ").read_bytes().decode()
        told = dict(line.split("=", 1) for line in given.rstrip("\0").split("\0"))
        assert {name: told.get(name) for name in MEMORY} == MEMORY | own
        assert told["PATH"] == os.environ["PATH"]
    finally:
        child.stop()
