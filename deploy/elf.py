"""What the native libraries of an artifact say of themselves (ELF; System V ABI, chapters 4 and 5)."""

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

_MACHINES = {"EM_AARCH64": "arm64", "EM_X86_64": "x86_64"}


def libraries(folder: Path) -> list[Path]:
    """All shared libraries below `folder`, extension modules included."""
    return sorted(path for path in folder.rglob("*.so*") if path.is_file())


def architecture(library: Path) -> str:
    """Lambda's name of the architecture that a library is for, or what else its header says."""
    try:
        with library.open("rb") as file:
            machine = str(ELFFile(file)["e_machine"])
    except ELFError:
        return "no ELF file"
    return _MACHINES.get(machine, machine)


def needed(library: Path) -> set[str]:
    """Names of the libraries that the loader must find for this one."""
    with library.open("rb") as file:
        return {
            str(tag.needed)  # type: ignore[attr-defined]  # DT_NEEDED tags get it
            for section in ELFFile(file).iter_sections()
            if isinstance(section, DynamicSection)
            for tag in section.iter_tags("DT_NEEDED")
        }


def orphans(folder: Path) -> list[Path]:
    """Bundled libraries (`*.libs/`) that no extension module needs, directly or through others."""
    bundled = {path.name: path for path in libraries(folder) if path.parent.suffix == ".libs"}
    reached: set[str] = set()
    waiting = [path for path in libraries(folder) if path.parent.suffix != ".libs"]
    while waiting:
        for name in needed(waiting.pop()) & bundled.keys() - reached:
            reached.add(name)
            waiting.append(bundled[name])
    return [path for name, path in sorted(bundled.items()) if name not in reached]
