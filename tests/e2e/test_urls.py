"""URLs of thumbnails, as the function's own role signs them, and records found by object keys."""

from urllib.parse import quote

import pytest
import requests

from chalicelib import naming
from tests.conftest import picture
from tests.e2e.target import Target

KEYS = ["originals/team1/photo.jpg", "originals/a b+c &=%.jpg", "originals/\u5199\u771f/\U0001f30d.jpg"]


def test_a_url_shows_the_thumbnail_until_it_is_deleted(target: Target) -> None:
    record = target.upload(picture())
    target.end_of(record["id"])
    given = target("GET", f"/{record['id']}/url?seconds=60").json()
    (listed,) = (one for one in target("GET", "?urls=60").json() if one["id"] == record["id"])
    content = target("GET", f"/{record['id']}/download").content
    for url in (given["url"], listed["url"]):
        shown = requests.get(url, timeout=60)
        assert (shown.status_code, shown.content) == (200, content)
        assert shown.headers["Content-Type"] == "image/jpeg"
    assert target("GET", f"/{record['id']}/url?seconds=59").status_code == 400
    assert target("DELETE", f"/{record['id']}").status_code == 200
    assert requests.get(given["url"], timeout=60).status_code in {403, 404}
    assert target("GET", f"/{record['id']}/url").status_code == 404


@pytest.mark.parametrize("key", KEYS)
def test_a_record_is_found_by_its_key(target: Target, key: str) -> None:
    s3, bucket = target.storage
    query = "?key=" + quote(key, safe="")
    s3.put_object(Bucket=bucket, Key=key, Body=picture())
    ready = target.end_of(naming.record_id(key))
    (record,) = target("GET", query).json()
    assert record == ready
    assert record["key"] == key
    assert target("DELETE", f"/{record['id']}").json() == record
    assert target("GET", query).json() == []
