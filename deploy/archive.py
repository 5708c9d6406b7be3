"""A folder -> a zip, byte for byte the same whenever and wherever it is made."""

import zipfile
from pathlib import Path

# The earliest date that a zip can carry: real ones would differ between two builds.
_DATE = (1980, 1, 1, 0, 0, 0)
_FILE, _PROGRAM = 0o100644, 0o100755


def write(folder: Path, archive: Path) -> None:
    """Put all files of `folder` into `archive`: sorted, without dates, readable for everybody."""
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DATE)
                entry.create_system = 3  # Unix, whatever this machine is: only then the mode counts
                entry.external_attr = (_PROGRAM if ".so" in path.suffixes else _FILE) << 16
                out.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
