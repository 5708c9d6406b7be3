"""A deployment with both `RETENTION` and `RETENTION_AFTER_DOWNLOAD`: a picture ends at the earlier end."""

from collections.abc import Iterator

import pytest

from tests.conftest import Api, SettableClock, keys_in
from tests.test_expiry import deployed, end_of, forget_settings

SHORT, LONG = 60, 600


@pytest.fixture(params=[(SHORT, LONG), (LONG, SHORT)], ids=["retention is shorter", "retention is longer"])
def ending(api: Api, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API of a deployment that has both."""
    retention, after_download = request.param
    deployed(monkeypatch, RETENTION=str(retention), RETENTION_AFTER_DOWNLOAD=str(after_download))
    yield api
    forget_settings()


def test_a_downloaded_picture_ends_at_the_earlier_end(ending: Api, clock: SettableClock) -> None:
    api = ending
    record = api.upload()
    api.deliver()
    path = f"/{record['id']}"
    downloaded_ms = clock()
    assert api("GET", f"{path}/download").status_code == 200
    shown = api("GET", path).json()
    end = end_of(shown)
    # Both count from about now; the machine may take some of the difference for itself.
    assert downloaded_ms < end < downloaded_ms + (SHORT + LONG) // 2 * 1000
    clock.advance(ms=end - clock() - 30_000)
    assert api("GET", path).json() == shown
    assert api("GET").json() == [shown]
    assert api.reconcile().get("expired") is None
    clock.advance(ms=30_000)
    for below in ("", "/download"):
        assert api("GET", path + below).status_code == 404
    assert api("DELETE", path).status_code == 404
    assert api("GET").json() == []
    assert api.reconcile()["expired"] == 1
    assert keys_in(api.bucket) == []


def test_a_picture_without_a_download_ends_with_its_retention(ending: Api, clock: SettableClock) -> None:
    api = ending
    record = api.upload()
    end = end_of(record)
    api.deliver()
    assert end_of(api("GET", f"/{record['id']}").json()) == end
    clock.advance(ms=end - clock())
    assert api("GET", f"/{record['id']}").status_code == 404
    assert api.reconcile()["expired"] == 1
