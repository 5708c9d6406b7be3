"""localstack-compose.yml: at one with what it starts, and valid for Docker where Docker is."""

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from deploy import ROOT

FILE = ROOT / "localstack-compose.yml"


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def test_functions_reach_valkey_on_the_network_that_it_is_on(compose: dict[str, Any]) -> None:
    services = compose["services"]
    ((key, network),) = compose["networks"].items()
    assert all(service["networks"] == [key] for service in services.values())
    environment = services["localstack"]["environment"]
    assert environment["LAMBDA_DOCKER_NETWORK"] == network["name"]
    assert environment["MAIN_CONTAINER_NAME"] == services["localstack"]["container_name"]
    assert "redis://valkey:6379" in (ROOT / "deploy" / "localstack.sh").read_text()


def test_a_token_is_passed_through_and_none_is_needed(compose: dict[str, Any]) -> None:
    localstack = compose["services"]["localstack"]
    assert localstack["image"] == "localstack/localstack:${LOCALSTACK_VERSION:-4.14.0}"
    # A name without a value: Compose takes it from its own environment, and leaves it out if it is not there.
    assert localstack["environment"]["LOCALSTACK_AUTH_TOKEN"] is None


def test_images_are_pinned_and_ports_are_this_machines_own(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert re.search(r":[^/]*\d", service["image"])
        assert "latest" not in service["image"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_deploying_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["deploy"]["depends_on"] == {
        name: {"condition": "service_healthy"} for name in services if name != "deploy"
    }
    assert all("healthcheck" in services[name] for name in services["deploy"]["depends_on"])
    command = services["deploy"]["command"][-1]
    assert (ROOT / command.removeprefix("/source/")).is_file()


def test_the_script_copies_all_that_packaging_reads() -> None:
    script = (ROOT / "deploy" / "localstack.sh").read_text()
    for name in ("app.py", "chalicelib", ".chalice", "deploy", "requirements.txt", "requirements-dev.txt"):
        assert f"/source/{name}" in script
    subprocess.run(["sh", "-n", str(ROOT / "deploy" / "localstack.sh")], check=True)


def test_docker_takes_it() -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no docker with its compose plugin here")
    environment = os.environ | {"LOCALSTACK_PORT": "4600", "LOCALSTACK_AUTH_TOKEN": "from outside"}
    done = subprocess.run(
        [docker, "compose", "-f", str(FILE), "config", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    localstack = json.loads(done.stdout)["services"]["localstack"]
    assert localstack["ports"][0]["published"] == "4600"
    assert "from outside" in localstack["environment"].values()


def test_localstack_is_given_the_time_to_remove_the_functions_containers(compose: dict[str, Any]) -> None:
    localstack = compose["services"]["localstack"]
    granted = int(localstack["stop_grace_period"].removesuffix("s"))
    assert int(localstack["environment"]["SHUTDOWN_TIMEOUT"]) < granted
    assert localstack["environment"]["DISABLE_EVENTS"] == "1"


def test_the_engine_of_cloudformation_is_the_one_that_can_update(compose: dict[str, Any]) -> None:
    environment = compose["services"]["localstack"]["environment"]
    assert environment["PROVIDER_OVERRIDE_CLOUDFORMATION"] == "engine-legacy"


def test_a_workflow_deploys_twice_and_leaves_no_container() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "e2e.yml").read_text())
    job = workflow["jobs"]["localstack"]
    assert job["env"]["COMPOSE_FILE"] == FILE.name
    steps = [step["run"] for step in job["steps"] if "run" in step]
    order = ["up --detach", "up deploy", "--target localstack", "compose down", "docker ps --all --quiet"]
    places = [next(n for n, step in enumerate(steps) if words in step) for words in order]
    assert places == sorted(places)
    (deploying,) = (step for step in steps if "up deploy" in step)
    assert "for time in first second" in deploying
    last = next(step for step in job["steps"] if "docker ps --all --quiet" in step.get("run", ""))
    assert last["if"] == "always()"
    for step in steps:
        subprocess.run(["sh", "-n", "-c", step], check=True)
