"""The rebuild benchmark measures what it says: every picture, one HEAD each, listings by the thousand."""

import pytest

from benchmarks import rebuild

pytestmark = pytest.mark.slow


def test_calls_follow_from_the_number_of_pictures() -> None:
    run = rebuild.measure(1100)
    assert run.restored == 1100
    # One for each record; others save checkpoints, one a page, or are first calls of a script not yet loaded.
    assert 1100 <= run.redis["evalsha"] <= 1100 + 10
    assert run.s3["HeadObject"] == 1100
    # Originals in two pages, and for each page the thumbnails in its range; one client's own key among them;
    # then all thumbnails once more.
    assert run.s3["ListObjectsV2"] <= 2 + 4 + 1 + 2
    assert "| 1,100 |" in rebuild.table([run])
