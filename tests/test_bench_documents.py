"""What is measured goes where the documentation holds it."""

from pathlib import Path

import pytest

from benchmarks.documents import markers, write


def test_a_table_goes_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "x.md"
    begin, end = markers("measure")
    other = "".join(markers("other"))
    document.write_text(f"above\n{begin}old\n{end}below\n{other}")
    write(document, "measure", "new\n")
    write(document, "measure", "newer\n")
    assert document.read_text() == f"above\n{begin}\nnewer\n\n{end}below\n{other}"
    document.write_text("no markers")
    with pytest.raises(SystemExit, match="markers"):
        write(document, "measure", "new")
