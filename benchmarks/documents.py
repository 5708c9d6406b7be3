"""Where the documentation holds what a command has measured: between two markers that name the command."""

from pathlib import Path


def markers(command: str) -> tuple[str, str]:
    """Lines before and after what `make <command>` writes."""
    return f"<!-- make {command}: begin -->\n", f"<!-- make {command}: end -->\n"


def write(path: Path, command: str, text: str) -> None:
    """Put text between the command's markers in a document, in place of what was there."""
    begin, end = markers(command)
    before, found_begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise SystemExit(f"{path} lacks the markers {begin.strip()} and {end.strip()}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
