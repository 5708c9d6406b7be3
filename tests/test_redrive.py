"""When a redrive goes on and when it begins anew."""

from dataclasses import replace

import pytest

from chalicelib.errors import RetriesExhausted
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock
from tests.inside import small_pages
from tests.reconciler import Reconciler, stored

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def stopped(
    reconciler: Reconciler, uploader: Uploader, s3_clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> Reconciler:
    """Four pictures that have failed, of which a redrive has seen the two newest."""
    small_pages(monkeypatch, "redrive", 2)
    for _ in range(4):
        reconciler.processor.fail(stored(uploader).object_key, None, RetriesExhausted())
        s3_clock.advance(ms=5)
    assert replace(reconciler, time_is_up=lambda: True).redrive()[0] == {"redriven": 2}
    return reconciler


def fail_again(reconciler: Reconciler) -> None:
    """Let what was redriven fail once more, so that it is seen whether a redrive comes to it again."""
    for entry in reconciler.processor.store.index.newest(2, None):
        record = reconciler.processor.store.find(entry.record_id)
        assert record is not None
        reconciler.processor.fail(record.object_key, None, RetriesExhausted())


@pytest.mark.parametrize(
    ("later_ms", "redriven"), [(DAY_MS - 1, 2), (DAY_MS, 4), (2 * DAY_MS, 4)], ids=["goes on", "anew", "late"]
)
def test_one_that_stopped_a_day_ago_begins_anew(
    stopped: Reconciler, s3_clock: SettableClock, later_ms: int, redriven: int
) -> None:
    fail_again(stopped)
    s3_clock.advance(ms=later_ms)
    assert stopped.redrive() == ({"redriven": redriven}, True)


def test_one_of_the_future_begins_anew(stopped: Reconciler, s3_clock: SettableClock) -> None:
    """The clock was wrong when it began."""
    fail_again(stopped)
    s3_clock.advance(ms=-DAY_MS)
    assert stopped.redrive() == ({"redriven": 4}, True)


def test_another_one_begins_anew_and_comes_to_an_end_too(stopped: Reconciler) -> None:
    assert stopped.redrive() == ({"redriven": 2}, True)
    fail_again(stopped)
    assert stopped.redrive() == ({"redriven": 2}, True)


def test_each_code_has_a_checkpoint_of_its_own(stopped: Reconciler) -> None:
    fail_again(stopped)
    assert stopped.redrive(RetriesExhausted.code) == ({"redriven": 4}, True)
