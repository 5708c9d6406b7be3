"""Imports an unpacked artifact as Lambda would, and prints a line for each thing that is wrong with it.

`checks` runs this file by itself, in an interpreter that has nothing else to import.
"""

import importlib
import sys
from pathlib import Path


def main(code: Path, brings: str, handlers: list[str]) -> None:
    """Import the handlers and every module of the project; then list which packages were used."""
    sys.path[:0] = [str(code), brings]
    modules = {handler.rpartition(".")[0] for handler in handlers}
    for path in (code / "chalicelib").rglob("*.py"):
        modules.add(".".join(path.relative_to(code).with_suffix("").parts).removesuffix(".__init__"))
    for module in sorted(modules):
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever it is, Lambda would meet it too
            print(f"{module} cannot be imported: {type(error).__name__}: {error}")
    for handler in handlers:
        module, _, name = handler.rpartition(".")
        if not callable(getattr(sys.modules.get(module), name, None)):
            print(f"{handler} cannot be called.")
    for path in sorted(code.iterdir()):
        name = path.name.partition(".")[0]
        if path.suffix not in {".dist-info", ".libs"} and name != "__pycache__" and name not in sys.modules:
            print(f"{path.name} is in it, and nothing imports it.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
