"""Pages of the list: their size, their order, and the link from each to the next."""

import json

import pytest

from app import V1
from chalicelib import naming
from chalicelib.errors import BadParameter
from chalicelib.http.paging import LIST_LIMIT, next_link, parse_limit
from chalicelib.http.representation import show_fitting
from chalicelib.records.codec import as_json
from chalicelib.records.record import UNRESTRICTED, Record, State
from chalicelib.records.store import RecordStore
from tests.conftest import Api, assert_error

MAX_RESPONSE = 6_291_456
"""Lambda's limit, in bytes of JSON."""
BAD_LIMITS = ["0", "-1", "1001", "ten", "", "1.5", "٣", "²", " 5", "+5", "1_0", "1" * 400]


@pytest.mark.parametrize(("text", "limit"), [(None, LIST_LIMIT), ("1", 1), ("007", 7), ("1000", 1000)])
def test_a_limit_is_a_whole_number_up_to_the_most_that_a_page_has(text: str | None, limit: int) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", BAD_LIMITS)
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="from 1 to 1000"):
        parse_limit(text)


def test_the_link_to_the_next_page_keeps_path_and_limit() -> None:
    link = next_link("/live/api/v1/thumbnail", 3, "abc_-")
    assert link == {"Link": '</live/api/v1/thumbnail?limit=3&cursor=abc_->; rel="next"'}
    assert next_link("/api/v1/thumbnail", 3, None) == {}


def test_newest_first_in_pages_that_join_without_gap_or_overlap(api: Api) -> None:
    uploaded = [api.upload(filename=f"{number}.jpg")["filename"] for number in range(7)]
    seen: list[str] = []
    url, pages = f"{api.url}{V1}/thumbnail?limit=3", 0
    while url:
        reply = api.session.get(url, timeout=60)
        seen += [record["filename"] for record in reply.json()]
        url = api.url + reply.links["next"]["url"] if "next" in reply.links else ""
        pages += 1
    assert seen == uploaded[::-1]
    assert pages == 3


@pytest.mark.parametrize(
    ("name", "count", "pages"),
    [("photo.jpg", 1000, 1), ("\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 338, 900, 1), ("\x01" * 1014, 1000, 3)],
    ids=["plain", "wide", "widest"],
)
def test_a_page_fits_into_the_response_of_a_function(
    api: Api, store: RecordStore, name: str, count: int, pages: int
) -> None:
    key = naming.ORIGINALS + name
    records = [
        Record(naming.new_id(), key, name, created_ms, 1, state=State.PENDING, etag="e")
        for created_ms in range(count)
    ]
    for record in records:
        store.create(record)
    seen: list[str] = []
    url, read = f"{api.url}{V1}/thumbnail", 0
    while url:
        reply = api.session.get(url, timeout=60)
        assert len(json.dumps(reply.text)) < MAX_RESPONSE - 10_000, "headers need room, too"
        seen += [record["id"] for record in reply.json()]
        url = api.url + reply.links["next"]["url"] if "next" in reply.links else ""
        read += 1
    assert seen == [record.id for record in reversed(records)]
    assert read == pages


@pytest.mark.parametrize("fitting", range(4))
def test_a_page_that_is_cut_short_goes_on_where_it_was_cut(store: RecordStore, fitting: int) -> None:
    for number in range(3):
        store.create(Record(naming.new_id(), "uploads/x", f"{number}.jpg", number, 1))
    page = store.page(3, None, UNRESTRICTED)
    size = len(json.dumps(json.dumps(as_json(page.records[0]))))
    shown, cursor = show_fitting(page, as_json, size * fitting)
    at_least = max(fitting, 1)
    assert [record["filename"] for record in shown] == ["2.jpg", "1.jpg", "0.jpg"][:at_least]
    if at_least == 3:
        assert cursor is None
    else:
        assert store.page(3, cursor, UNRESTRICTED).records == page.records[at_least:]


def test_the_last_page_has_no_next(api: Api) -> None:
    api.upload()
    for limit in (1, 2, LIST_LIMIT):
        assert "Link" not in api("GET", params={"limit": limit}).headers


def test_an_empty_list(api: Api) -> None:
    reply = api("GET")
    assert (reply.status_code, reply.json()) == (200, [])


@pytest.mark.parametrize("limit", BAD_LIMITS)
def test_bad_limits(api: Api, limit: str) -> None:
    assert "1000" in assert_error(api("GET", params={"limit": limit}), 400)


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "AAAA", "é", "MTIzNDU2Nzg5MDEyMzp4", "A" * 500])
def test_bad_cursors(api: Api, cursor: str) -> None:
    assert "cursor" in assert_error(api("GET", params={"cursor": cursor}), 400)
