"""The parts of `make package` that need no packaging; the artifact itself is tested by `make e2e`."""

import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from deploy import RUNTIME, UserError, archive, checks, dependencies, interpreter
from deploy.stack import stack_of

ours = f"{sys.version_info.major}.{sys.version_info.minor}"


class TestInterpreter:
    @pytest.fixture(autouse=True)
    def nothing_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.delenv("PYENV_ROOT", raising=False)
        monkeypatch.delenv("UV_PYTHON_INSTALL_DIR", raising=False)
        # As if this Python were not the one: only what is put somewhere can be found.
        monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
        monkeypatch.setattr(interpreter, "VERSION", ours)
        monkeypatch.setattr(interpreter, "RUNTIME", sys.version_info[:2])

    @pytest.mark.parametrize(
        "place",
        [
            f"bin/python{ours}",
            "bin/python3",
            f".pyenv/versions/{ours}.9/bin/python{ours}",
            f".local/share/uv/python/cpython-{ours}.9-linux-x86_64-gnu/bin/python{ours}",
        ],
    )
    def test_it_is_found_where_it_may_be(self, tmp_path: Path, place: str) -> None:
        python = tmp_path / place
        python.parent.mkdir(parents=True)
        python.symlink_to(Path(sys.base_prefix, "bin", f"python{ours}"))
        assert interpreter.find() == python

    def test_a_name_proves_nothing(self, tmp_path: Path) -> None:
        """pyenv's shims say that the version is not selected, and fail."""
        shim = tmp_path / "bin" / f"python{ours}"
        shim.parent.mkdir()
        shim.write_text("#!/bin/sh\nexit 127\n")
        shim.chmod(0o755)
        with pytest.raises(UserError):
            interpreter.find()

    def test_another_version_is_refused_and_the_right_one_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(interpreter, "RUNTIME", (3, 99))
        monkeypatch.setattr(interpreter, "VERSION", "3.99")
        python = tmp_path / "bin" / "python3"
        python.parent.mkdir()
        python.symlink_to(Path(sys.base_prefix, "bin", f"python{ours}"))
        with pytest.raises(UserError, match=r"Python 3\.99 is needed.*uv python install 3\.99"):
            interpreter.find()


class TestArchive:
    def write(self, folder: Path, names: list[str], mode: int, age: int) -> bytes:
        for name in names:
            path = folder / "code" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(mode)
            os.utime(path, (age, age))
        archive.write(folder / "code", folder / "code.zip")
        return (folder / "code.zip").read_bytes()

    def test_the_same_files_make_the_same_archive(self, tmp_path: Path) -> None:
        names = ["app.py", "PIL/_imaging.cpython-313.so", "a/b.py", "a.py", "pillow.libs/libz.so.1"]
        first = self.write(tmp_path / "one", names, 0o600, 1_000_000_000)
        second = self.write(tmp_path / "two", names[::-1], 0o755, 1_700_000_000)
        assert first == second
        assert self.write(tmp_path / "three", [*names, "more.py"], 0o600, 1_000_000_000) != first

    def test_everybody_may_read_it(self, tmp_path: Path) -> None:
        self.write(tmp_path, ["app.py", "lib.so.1"], 0o600, 1_000_000_000)
        with zipfile.ZipFile(tmp_path / "code.zip") as zipped:
            modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in zipped.infolist()}
            assert modes == {"app.py": 0o644, "lib.so.1": 0o755}
            assert zipped.read("app.py") == b"app.py"


def test_what_is_not_used_is_removed(tmp_path: Path) -> None:
    kept = ["PIL/Image.py", "redis/client.py", "redis-8.dist-info/METADATA"]
    removed = [
        "PIL/ImageTk.py",
        "PIL/Image.pyi",
        "PIL/_imagingft.cpython-313.so",
        "redis/__pycache__/client.pyc",
    ]
    removed += [
        "bin/tool",
        "redis-8.dist-info/RECORD",
        "redis-8.dist-info/licenses/LICENSE",
        "x/tests/test_x.py",
    ]
    for name in kept + removed:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    dependencies.prune(tmp_path)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        kept
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os.path, json as j", {"os", "json"}),
        ("from PIL.Image import open", {"PIL"}),
        ("def f():\n    import redis", {"redis"}),
        ("from . import sibling", set()),
        ("if TYPE_CHECKING:\n    import stubs\nelse:\n    import real", {"real"}),
        ("try:\n    import fast\nexcept ImportError:\n    import slow", {"slow"}),
        ("try:\n    import one\nexcept ValueError:\n    import two", {"one", "two"}),
    ],
)
def test_what_a_file_imports(tmp_path: Path, source: str, found: set[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert checks.imports(path) == found


def test_the_runtime_is_one_that_the_requirements_were_made_for() -> None:
    assert RUNTIME >= (3, 11)


@pytest.mark.parametrize("stage", ["", "Prod", "-a", "a-", "a" * 17, "a_b", "a.b"])
def test_a_stage_that_no_bucket_can_be_named_after(stage: str) -> None:
    with pytest.raises(UserError, match="STAGE"):
        stack_of(stage, "ministack")


def test_an_emulator_is_never_taken_for_aws_nor_aws_for_an_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL"):
        stack_of("dev", "aws")  # tests always name an endpoint
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL"):
        stack_of("dev", "localstack")
