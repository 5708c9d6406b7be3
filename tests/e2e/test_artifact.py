"""What `make package` has made: the same every time, and refused as soon as anything is wrong with it."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import ROOT, UserError, archive, checks, dependencies
from deploy.emulators import TARGETS
from tests.e2e import ministack


@pytest.fixture(scope="session")
def made(request: pytest.FixtureRequest) -> Path:
    if request.config.getoption("--target") != "ministack":
        pytest.skip("it is about the artifact; run it with `make e2e`")
    return ministack.ARTIFACT


@pytest.fixture
def artifact(made: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(made, tmp_path / "artifact")
    return tmp_path / "artifact"


def test_two_builds_are_the_same_byte_for_byte(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "some where else"
    for name in ("app.py", "chalicelib", "deploy", ".chalice", "requirements.txt", "requirements-dev.txt"):
        source = ROOT / name
        copy.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    (copy / ".venv-package").symlink_to(dependencies.TOOLS)
    subprocess.run([sys.executable, "-m", "deploy.package", "--architecture", "native"], cwd=copy, check=True)
    for name in ("code.zip", "template.json"):
        assert (copy / "build" / name).read_bytes() == (made / name).read_bytes(), name


def rename_handler(artifact: Path) -> None:
    path = artifact / "template.json"
    path.write_text(path.read_text().replace('"app.make_thumbnail"', '"app.make_nothing"'))


def other_machine(artifact: Path) -> None:
    library = next((artifact / "code" / "PIL").glob("_imaging.*.so"))
    content = bytearray(library.read_bytes())
    content[18:20] = b"\x28\x00"  # EM_ARM, which Lambda has never had
    library.write_bytes(content)


def built_here(artifact: Path) -> None:
    shutil.rmtree(artifact / "code" / "pillow.libs")


def idle_library(artifact: Path) -> None:
    folder = artifact / "code" / "pillow.libs"
    shutil.copy(next(folder.iterdir()), folder / "libidle.so.1")


def forgotten(artifact: Path) -> None:
    shutil.rmtree(artifact / "code" / "redis")


def unnamed(artifact: Path) -> None:
    shutil.rmtree(next((artifact / "code").glob("redis-*.dist-info")))


def other_version(artifact: Path) -> None:
    path = next((artifact / "code").glob("redis-*.dist-info")) / "METADATA"
    path.write_text(path.read_text().replace("\nVersion: ", "\nVersion: 1"))


def stowaway(artifact: Path) -> None:
    package = artifact / "code" / "stowaway"
    package.mkdir()
    (package / "__init__.py").touch()


def stale(artifact: Path) -> None:
    next((artifact / "code" / "chalicelib" / "__pycache__").iterdir()).unlink()


def broken(artifact: Path) -> None:
    path = artifact / "code" / "chalicelib" / "records" / "record.py"
    path.write_text(path.read_text() + "\nraise RuntimeError('broken')\n")
    # The compiled file is what is imported, so it is the one that must be bad.
    next((path.parent / "__pycache__").glob("record.*.pyc")).unlink()


def needy(artifact: Path) -> None:
    path = artifact / "code" / "chalicelib" / "records" / "record.py"
    path.write_text("import numpy\n" + path.read_text())


def smuggled(artifact: Path) -> None:
    with zipfile.ZipFile(artifact / "code.zip", "a") as zipped:
        zipped.writestr("extra.py", "")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (rename_handler, r"app\.make_nothing is not defined"),
        (other_machine, r"_imaging\..*\.so is for EM_ARM, not for"),
        (built_here, r"Pillow was built here"),
        (idle_library, r"libidle\.so\.1 is needed by nothing"),
        (forgotten, r"imports redis, which is not in it"),
        (unnamed, r"redis of requirements\.txt is not in it"),
        (other_version, r"redis is in it in version 1"),
        (stowaway, r"stowaway is in it, and nothing imports it"),
        (stale, r"chalicelib/\w+\.py is not precompiled"),
        (broken, r"cannot be imported: RuntimeError: broken"),
        (needy, r"chalicelib/records/record\.py imports numpy, which is not in it"),
        (smuggled, r"code\.zip does not hold what was checked"),
    ],
)
def test_what_is_wrong_with_it_is_said(artifact: Path, damage: Callable[[Path], None], sentence: str) -> None:
    tools = dependencies.TOOLS / "bin" / "python"
    architecture = checks.native_architecture()
    assert architecture is not None
    damage(artifact)
    if damage is not smuggled:
        archive.write(artifact / "code", artifact / "code.zip")
    with pytest.raises(UserError, match=sentence):
        checks.run(artifact, architecture, tools)


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("UNZIPPED_LIMIT", "the code has"),
        ("ZIPPED_LIMIT", "code.zip has"),
        ("TEMPLATE_LIMIT", "template.json has"),
    ],
)
def test_what_is_too_large_is_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch, limit: str, sentence: str
) -> None:
    monkeypatch.setattr(checks, limit, 1000)
    assert [failure for failure in checks.sizes(made) if failure.startswith(sentence)]


def test_it_holds_no_more_than_it_says(made: Path) -> None:
    code = made / "code"
    names = {path.name for path in code.iterdir() if path.suffix not in {".dist-info", ".so"}}
    assert names == {
        *("app.py", "chalicelib", "chalice", "__pycache__"),
        *("PIL", "pillow.libs", "pi_heif.libs", "isal", "redis", "hiredis", "multipart.py"),
        *("aws_lambda_powertools", "jmespath", "typing_extensions.py", "jwt", "cryptography"),
    }
    assert json.loads((made / "template.json").read_text())["Transform"] == "AWS::Serverless-2016-10-31"


@pytest.mark.parametrize("target", ["aws", "localstack"])
def test_no_resource_waits_for_itself(made: Path, tmp_path: Path, target: str) -> None:
    """CloudFormation refuses a circle, and the emulators look for none; SAM's macro adds references."""
    path = tmp_path / "template.json"
    whole = TARGETS[target](json.loads((made / "template.json").read_text()))
    for sound in (True, False):
        if not sound:  # as the tags of LocalStack's API would be
            whole["Resources"]["RestAPI"]["DependsOn"] = ["AccessLogs"]
            whole["Resources"]["AccessLogs"]["DependsOn"] = ["RestAPI"]
        path.write_text(json.dumps(whole))
        done = subprocess.run(
            [ministack.python(), Path(__file__).with_name("circles.py"), path],
            env={"AWS_DEFAULT_REGION": "eu-central-1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("circle" not in done.stdout) == sound, done.stdout
        assert int(done.stdout.split()[0]) > 50
