"""The stack as it is deployed: fixtures, which conftest.py offers to all tests."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy import package, template


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The template, made by Chalice under this Python: it only differs in the runtime's name."""
    folder = tmp_path_factory.mktemp("stack")
    package.stage(folder / "project")
    made = template.run_chalice(Path(sys.executable), folder / "project", "arm64", folder / "out")
    for properties in template.functions(made).values():
        properties["Runtime"] = "python3.13"
        properties["CodeUri"] = {"Bucket": "artifacts", "Key": "code.zip"}
    return made


@pytest.fixture(scope="session")
def resources(stack: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The template's resources, by their logical ids."""
    found: dict[str, dict[str, Any]] = stack["Resources"]
    return found


@cache
def gateway_responses() -> dict[str, Any]:
    """What the stack tells API Gateway to answer by itself, by kind of error."""
    found: dict[str, Any] = template.stack()["Resources"]["RestAPI"]["Properties"]["GatewayResponses"]
    return found
