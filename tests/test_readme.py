"""What the README shows is run, and what it lists is compared with the code."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import app
from chalicelib.http.errors import STATUS
from chalicelib.settings import Settings
from tests.conftest import picture
from tests.service import ROOT, Service

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8080"
MARK = "=== next ==="


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's body."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def shape(output: str) -> str:
    """Output with all that differs from run to run taken out."""
    output = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", output)
    return re.sub(r'("(?:original|thumbnail)":)\d+', r"\1<bytes>", output).strip()


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("curl"), reason="the README's sessions are curl's, and there is no curl here"
)
@pytest.mark.parametrize(
    ("number", "count", "environment"),
    [(0, 5, {}), (1, 4, {}), (2, 3, {"OWNERS": "1"})],
    ids=["first", "large files", "owners"],
)
def test_the_sessions_print_what_is_shown(
    tmp_path: Path, number: int, count: int, environment: dict[str, str]
) -> None:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", blocks[number], re.MULTILINE)
    assert len(steps) == count
    (tmp_path / "photo.jpg").write_bytes(picture(1200, 800))
    (tmp_path / "scan.tif").write_bytes(picture(2600, 2100, image_format="TIFF"))
    # One shell for all of them, as in a terminal.
    script = "\n".join(f"{command}\necho; echo '{MARK}'" for command, _ in steps)
    # What make would run, but for whether all is installed, which this environment would not show.
    script = re.sub(r"make token SUB=(\w+)", rf"cd {ROOT} && {sys.executable} -m local.owners \1", script)
    with Service(environment) as service:
        ran = subprocess.run(
            ["bash", "-euc", script.replace(ADDRESS, service.url)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    printed = ran.stdout.split(MARK)
    for (command, shown), output in zip(steps, printed, strict=False):
        assert shape(output) == shape(shown), command


def test_make_token_makes_one() -> None:
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "token", "SUB=alice"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.endswith('python -m local.owners "alice"\n')


def test_the_settings_are_those_of_the_code() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows(section("Settings"))}
    plain = {name: shown.strip("`") for name, shown in listed.items() if re.fullmatch("`[^`]*`", shown)}
    required = {"BUCKET": "bucket", "REDIS_URL": "redis://localhost"}
    assert Settings.from_env(required | plain) == Settings.from_env(required)
    source = (ROOT / "chalicelib/settings.py").read_text()
    assert set(listed) - {"AWS_ENDPOINT_URL"} == set(re.findall(r'env, "([A-Z_]+)"', source))


def test_the_routes_are_those_of_the_code() -> None:
    listed = {
        (method, path)
        for row in rows(section("The API").split("Every error")[0])
        for method, path in re.findall(r"`(GET|POST|DELETE) ([^?`]+)", row[1])
    }
    served = {
        (method, path) for path, methods in app.app.routes.items() for method in methods if method != "HEAD"
    }
    assert listed == {(method, path.replace("{record_id}", "{id}")) for method, path in served}
    for path, methods in app.app.routes.items():
        assert ("GET" in methods) == ("HEAD" in methods), path


def test_the_statuses_are_those_of_the_code() -> None:
    errors = rows(section("The API").split("Every error")[1])
    listed = {int(status) for row in errors for status in row[0].split(",")}
    assert set(STATUS.values()) <= listed
    assert listed - set(STATUS.values()) == {403, 405, 429}, "the gateway's own"


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
