"""Regenerates docs/correctness.md; `make scorecard` installs the alternatives first.

Each case's picture is made anew and handed to this service and to the alternatives; `tests.samples.cases`
says what is right.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.imaging import browser
from benchmarks.imaging.contenders import LABELS, ROOT, RefusedError, Worker, available, version
from tests.samples.case import COARSE, HAIR, NOTICED, WHOLE, Case
from tests.samples.cases import GROUPS

COLUMNS = ("service", "thumbor", "pyvips", "sharp")
BROWSER = "Chromium"
PAGE = ROOT / "docs" / "correctness.md"

INTRODUCTION = f"""\
# Correctness

Hard pictures, what their thumbnails must be, and what this service and the alternatives make of them.
`make scorecard` regenerates this page, `tests/samples/cases.py` lists the cases, `make test-all` checks this
service's column.

Every picture is constructed so that the right answer is known beforehand: a chart of 24 known sRGB
colours, a single colour, or a dark mark in the exact centre. No program's output serves as a reference.

- Two numbers are the colour error, CIEDE2000: the mean and the worst of the chart's patches. Up to {NOTICED}
  at the worst patch counts as right; more is seen without comparing side by side. Alternatives that keep a
  colour profile in their output are measured through it.
- A number with px is how far the mark lies off the centre, in pixels of the thumbnail; up to {HAIR} is right.
- *wrong* means that the error is larger or the size another; *refused* that there is no thumbnail.
- Pictures of high dynamic range are right up to {COARSE}: one step of PQ's 8 bits is 4 % of the light. So are
  bitmaps of 4 bits a colour.
- Chromium makes no thumbnails: it shows the pictures of which the thumbnail is the whole, in a box of that
  size. It is what people compare with, and the reference where standards leave the choice: which of several
  statements about colour counts, what is ignored, and how highlights beyond white are brought down. Where
  nothing is brighter than white, it halves all light of PQ and HLG all the same, unless the file states its
  peak; this service measures the peak, and leaves such pictures as bright as they are
  ([decision](decisions/0012-colours-by-numbers.md)).

The chart is shown whole, at 96 x 64; other pictures go into a box of 100 x 100, cropped to fill it (`cover`)
unless `contain` is said. The alternatives are asked for the same: upright, sRGB, white under transparency,
never enlarged, JPEG of quality 85."""


def verdict(case: Case, worker: Worker | None, path: Path) -> tuple[bool | None, str]:
    """Whether an engine is right in a case (None: not installed), and the table's cell."""
    if worker is None:
        return None, "not installed"
    try:
        made = worker.make(path, case.spec)
    except RefusedError:
        return False, "**refused**"
    judged = case.judge(made.thumbnail)
    return judged.right, judged.figure if judged.right else f"**wrong**: {judged.figure}"


def in_browser(cases: list[Case]) -> dict[str, str]:
    """The table's cells of what a browser shows, by case, of those whose thumbnail is the whole picture."""
    path = browser.program()
    asked = [case for case in cases if case.spec == WHOLE]
    if path is None:
        return {}
    found = browser.shown(path, [(case.make(), case.size) for case in asked])
    cells = {}
    for case, image in zip(asked, found, strict=True):
        judged = case.judge(image) if image else None
        cells[case.name] = (
            "**refused**"
            if judged is None
            else judged.figure
            if judged.right
            else f"**wrong**: {judged.figure}"
        )
    return cells


def page(groups: Mapping[str, list[Case]]) -> str:
    """Run the cases of each group and write the page."""
    workers = {name: Worker(name) if available(name) else None for name in COLUMNS}
    by_browser = in_browser([case for cases in groups.values() for case in cases])
    sections: list[str] = []
    right = dict.fromkeys(COLUMNS, 0)
    with TemporaryDirectory() as folder:
        for group, cases in groups.items():
            rows = [
                f"## {group}",
                "",
                "| Picture | Expected | " + " | ".join(LABELS[name] for name in COLUMNS) + f" | {BROWSER} |",
                "|---|---|" + "---|" * (len(COLUMNS) + 1),
            ]
            for number, case in enumerate(cases):
                path = Path(folder) / f"{number}"
                path.write_bytes(case.make())
                cells: list[str] = []
                for name in COLUMNS:
                    is_right, cell = verdict(case, workers[name], path)
                    right[name] += bool(is_right)
                    cells.append(cell)
                cells.append(by_browser.get(case.name, ""))
                rows.append(f"| {case.name} | {case.expected} | " + " | ".join(cells) + " |")
            sections.append("\n".join(rows))
    count = sum(map(len, groups.values()))
    summary = "| | " + " | ".join(LABELS[name] for name in COLUMNS) + f" | {BROWSER} |"
    summary += "\n|---|" + "---|" * (len(COLUMNS) + 1) + f"\n| right, of {count} cases | "
    summary += " | ".join(str(right[name]) if workers[name] else "not installed" for name in COLUMNS)
    whole = [figure for figure in by_browser.values() if figure]
    right_ones = sum(not figure.startswith("**") for figure in whole)
    summary += f" | {right_ones} of {len(whole)} |" if whole else " | not installed |"
    for worker in workers.values():
        if worker:
            worker.close()
    known = [version(name) for name in COLUMNS if available(name)]
    known += [browser.version(program)] if (program := browser.program()) else []
    versions = ", ".join(filter(None, known))
    against = f"The alternatives: {versions}." if versions else "No alternative was installed."
    return "\n\n".join([INTRODUCTION, against, summary, *sections]) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(GROUPS), encoding="utf-8")
    print(f"Written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
