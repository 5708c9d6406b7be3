"""The decision records are numbered without gaps, and the documentation's index lists all of its pages."""

import re

from tests.service import ROOT

DOCS = ROOT / "docs"
INDEX = (DOCS / "README.md").read_text(encoding="utf-8")


def test_records_are_numbered_without_gaps_and_listed() -> None:
    records = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert numbers == [f"{number:04d}" for number in range(1, len(records) + 1)]
    listed = re.findall(r"^- (\d{4}) \[(.+)\]\(decisions/(.+)\)$", INDEX, re.MULTILINE)
    headings = [path.read_text(encoding="utf-8").splitlines()[0] for path in records]
    assert [f"# {number}: {title}" for number, title, _ in listed] == headings
    assert [name for *_, name in listed] == [path.name for path in records]


def test_every_page_is_listed() -> None:
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"^\| \[[^]]+\]\(([^)/]+)\) \|", INDEX, re.MULTILINE))
