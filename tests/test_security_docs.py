"""docs/security.md names tests that exist."""

import re

import pytest

from deploy import ROOT

NAMED = sorted(
    set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "security.md").read_text()))
)


def test_it_names_many() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_each_exists(path: str, test: str) -> None:
    source = (ROOT / path).read_text()
    assert not test or re.search(rf"^ *def {test}\(", source, re.MULTILINE), test
