"""The rebuild benchmark measures what it says: every picture, its HEADs, listings by the thousand."""

import pytest

from benchmarks.service import rebuild

pytestmark = pytest.mark.slow


def test_calls_follow_from_the_number_of_pictures() -> None:
    run = rebuild.measure(1100)
    assert run.restored == 1100
    # One for each record; others save checkpoints, one a page, or are first calls of a script not yet loaded.
    assert 1100 <= run.redis["evalsha"] <= 1100 + 10
    # Nine in ten have a thumbnail: its metadata, and whether the original still has its version.
    assert run.s3["HeadObject"] == 2 * 990 + 110
    # Thumbnails in a page, uploads in two, clients' own keys in one, whatever the keys.
    assert run.s3["ListObjectsV2"] <= 1 + 2 + 1
    assert "| 1,100 |" in rebuild.table([run])
