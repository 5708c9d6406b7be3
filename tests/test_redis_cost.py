"""What docs/scaling.md says of the cost of records and requests is still so."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_documentation_has_the_figures_that_are_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.aws.redis_cost", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    requests, records, poll = done.stdout.strip().split("\n\n")
    assert len(requests.splitlines()) == 11
    assert f"\n{requests}\n" in document, "put the tables of benchmarks.aws.redis_cost into docs/scaling.md"
    rows = records.splitlines()
    assert len(rows) == 7
    for row in rows[2:]:
        _, name, size, *_ = (cell.strip() for cell in row.split("|"))
        (line,) = [line for line in document.splitlines() if line.startswith(f"| {name} |")]
        documented = int(line.split("|")[2].replace(",", ""))
        # Hash tables double at times, so that the share of one record depends on how many there are.
        assert int(size.replace(",", "")) == pytest.approx(documented, rel=0.15)
    assert poll.startswith("A poll takes ")
