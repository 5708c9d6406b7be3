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
    [(0, 5, {}), (1, 3, {}), (2, 4, {}), (3, 3, {"OWNERS": "1"})],
    ids=["first", "idempotency", "large files", "owners"],
)
def test_the_sessions_print_what_is_shown(
    tmp_path: Path, number: int, count: int, environment: dict[str, str]
) -> None:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", blocks[number], re.MULTILINE)
    assert len(steps) == count
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "photo.jpg", tmp_path / "docs")
    (tmp_path / "scan.tif").write_bytes(picture(2600, 2100, image_format="TIFF"))
    # One shell for all of them, as in a terminal.
    script = "\n".join(f"{command}\necho; echo '{MARK}'" for command, _ in steps)
    # What make would run, but for whether all is installed, which this environment would not show.
    script = re.sub(r"make token SUB=(\w+)", rf"cd {ROOT} && {sys.executable} -m local.owners \1", script)
    # A person waits a second or two; a busy machine may take longer to make the thumbnail.
    ready = f"curl -sS {ADDRESS}/api/v1/thumbnail | grep -q '\"ready\":true'"
    script = re.sub(r"; sleep [12]\b", f"; until {ready}; do sleep 0.2; done", script)
    with Service(environment) as service:
        ran = subprocess.run(
            ["bash", "-euc", script.replace(ADDRESS, service.url)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=180,
        )
    printed = ran.stdout.split(MARK)
    for (command, shown), output in zip(steps, printed, strict=False):
        assert shape(output) == shape(shown), command


CLIENTS = {
    "python": ([sys.executable, "-c"], "import sys; print(len(thumbnail(*sys.argv[1:])))"),
    "javascript": (
        ["node", "-e"],
        "const [path, base] = process.argv.slice(1);"
        "const file = new File([require('fs').readFileSync(path)], 'photo.jpg');"
        "thumbnail(file, base).then(async (blob) => console.log((await blob.arrayBuffer()).byteLength),"
        " (error) => { console.error(error.message); process.exitCode = 1; });",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("language", CLIENTS)
def test_the_clients_wait_for_their_thumbnail_and_tell_of_an_error(language: str, tmp_path: Path) -> None:
    start, call = CLIENTS[language]
    if not shutil.which(start[0]):
        pytest.skip(f"the client in {language} needs {start[0]}, which is not here")
    (code,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 16
    broken, photo = tmp_path / "broken.jpg", ROOT / "docs" / "photo.jpg"
    broken.write_bytes(picture()[:400])
    with Service() as service:

        def client(path: Path) -> subprocess.CompletedProcess[str]:
            command = [*start, f"{code}\n{call}", str(path), service.url]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        done = client(photo)
        assert done.returncode == 0, done.stderr
        assert 500 < int(done.stdout) < 10_000
        for path in (broken, ROOT / "README.md"):
            assert client(path).returncode == 1


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
    # OUTBOX_FUNCTION is the stack's alone.
    assert {*listed, "OUTBOX_FUNCTION"} - {"AWS_ENDPOINT_URL"} == set(re.findall(r'env, "([A-Z_]+)"', source))


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
