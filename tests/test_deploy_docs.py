"""docs/deploy.md and docs/operations.md list what the stack has, and the sums are right."""

import re
from typing import Any

import pytest

from deploy import ROOT, template

DOCS = (ROOT / "docs" / "deploy.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def rows(title: str, document: str = DOCS) -> list[list[str]]:
    """The cells of the body of the first table after a title."""
    lines = document.split(title, 1)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


@pytest.fixture(scope="module")
def stack() -> template.Template:
    return template.stack()


def test_every_parameter_with_its_default(stack: template.Template) -> None:
    documented: dict[str, Any] = {}
    for names, defaults, _ in rows("## Parameters"):
        values = re.findall(r"`([^`]*)`", defaults) or [defaults]
        documented |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))
    said = dict.fromkeys(
        ("RedisUrl", "AuthIssuer", "AuthJwksUrl", "AuthSecret", "AuthClientId", "AlarmEmail"), "none"
    )
    said["CreateApiLogsRole"] = "by itself"
    assert documented == {
        name: said.get(name, str(parameter["Default"])) for name, parameter in stack["Parameters"].items()
    }


def test_every_alarm(stack: template.Template) -> None:
    documented = [name for name, _, _ in rows("## Alarms", OPERATIONS)]
    resources = stack["Resources"].items()
    assert sorted(documented) == sorted(
        f"`{name}`" for name, resource in resources if resource.get("Type") == "AWS::CloudWatch::Alarm"
    )


def test_every_metric() -> None:
    documented = {
        name for names, *_ in rows("## Metrics", OPERATIONS) for name in re.findall(r"`(\w+)`", names)
    }
    source = (ROOT / "chalicelib" / "metrics.py").read_text()
    assert documented == set(re.findall(r'Metric\("(\w+)"', source))


@pytest.mark.parametrize("title", ["**An idle month**", "**A million thumbnails**"])
def test_costs_add_up(title: str) -> None:
    prices = []
    for _, _, dollars in rows(title):
        if dollars.startswith("**"):
            break
        prices.append(float(dollars))
    assert len(prices) >= 6
    assert sum(prices) == pytest.approx(float(dollars.strip("*")))


def test_what_make_is_told_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", DOCS, re.MULTILINE)):
        assert re.search(rf"^([a-z-]+ )*{target}( [a-z-]+)*:", makefile, re.MULTILINE), target
