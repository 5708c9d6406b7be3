"""This service's column of the scorecard: colours and geometry of hard pictures, right by construction."""

from dataclasses import replace

import pytest

from chalicelib.imaging import make_thumbnail
from tests.samples.case import Case
from tests.samples.cases import GROUPS

pytestmark = pytest.mark.slow

CASES = [pytest.param(case, id=f"{group}: {case.name}") for group, cases in GROUPS.items() for case in cases]

LIMIT = 2.5
"""CIEDE2000: tighter than what the scorecard calls right."""
COARSE = {"AVIF, BT.2020 PQ", "BMP, 4 bits a colour", "BMP, 4 bits a colour, and alpha"}
"""By the scorecard's limit: 8 bits of PQ, rounded once more by libavif on their way from luma and chroma, and
colours of 4 bits."""


@pytest.mark.parametrize("case", CASES)
def test_the_thumbnail_is_right(case: Case) -> None:
    thumbnail = make_thumbnail(case.make(), case.spec, max_pixels=100_000_000)
    verdict = replace(case, limit=case.limit if case.name in COARSE else LIMIT).judge(thumbnail.content)
    assert verdict.right, (
        f"{verdict.figure}; expected: {case.expected}, {case.size[0]} x {case.size[1]} pixels"
    )
