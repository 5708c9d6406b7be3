"""Pictures are sent by the page: by request, by presigned upload, again, and not at all."""

import re
import threading
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from chalicelib import services
from tests.browser.conftest import Visit
from tests.browser.front import Asked
from tests.browser.steps import MAKING, card, choose, file, hand_over, it_moves, long, names, slow, thumbnail
from tests.conftest import Api, picture
from tests.service import eventually


def test_several_pictures_become_thumbnails_by_themselves(visit: Visit, api: Api) -> None:
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    choose(page, *(f"{letter}.jpg" for letter in "abcde"))
    expect(page.get_by_text("There are none yet.")).to_be_hidden()
    expect(page.get_by_text(MAKING)).to_have_count(5)
    assert names(page) == [f"{letter}.jpg" for letter in "edcba"], "as the list has them"
    api.deliver()
    for letter in "abcde":
        image = thumbnail(page, f"{letter}.jpg")
        expect(image).to_be_visible()
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [100, 100]
    expect(page.get_by_role("status")).to_contain_text("is ready.")
    assert len(api("GET").json()) == 5


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(visit: Visit, api: Api, way: str) -> None:
    page = visit.open()
    hand_over(page, way, [("one.jpg", picture()), ("two.png", picture(image_format="PNG"))])
    expect(page.get_by_text(MAKING)).to_have_count(2)
    api.deliver()
    for name in ("one.jpg", "two.png"):
        expect(thumbnail(page, name)).to_be_visible()


def test_each_upload_shows_its_progress_a_few_at_once(visit: Visit, api: Api) -> None:
    page = visit.open()
    network = slow(page, 20_000)
    choose(page, *(long(1_000_000, f"{number}.jpg") for number in range(5)))
    expect(page.get_by_role("progressbar", name="Upload of")).to_have_count(3)
    expect(page.get_by_text("Waiting for its turn")).to_have_count(2)
    expect(card(page, "1.jpg").get_by_text(re.compile(r"Uploading, \d+ %"))).to_be_visible()
    it_moves(page, page.get_by_role("progressbar", name="Upload of 0.jpg"))
    network.detach()
    expect(page.get_by_text(MAKING)).to_have_count(5)


def test_an_upload_is_cancelled(visit: Visit, api: Api) -> None:
    page = visit.open()
    slow(page, 5_000)
    choose(page, long(1_000_000, "slow.jpg"))
    page.get_by_role("button", name="Cancel slow.jpg").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    assert api("GET").json() == []


def test_what_is_no_picture_gets_the_apis_own_sentence(visit: Visit, api: Api) -> None:
    page = visit.open()
    choose(page, file("notes.txt", b"notes"), "good.jpg")
    sentence = api("POST", files={"image": ("notes.txt", b"notes")}).json()["error"]
    expect(card(page, "notes.txt").get_by_text(sentence)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text(f"notes.txt: {sentence}")
    expect(card(page, "good.jpg").get_by_text(MAKING)).to_be_visible()
    page.get_by_role("button", name="Dismiss notes.txt").click()
    assert names(page) == ["good.jpg"]


def test_a_broken_picture_ends_with_its_records_error(visit: Visit, api: Api) -> None:
    page = visit.open()
    choose(page, file("cut.jpg", picture()[:400]))
    expect(page.get_by_text(MAKING)).to_be_visible()
    api.deliver()
    (record,) = api("GET").json()
    expect(card(page, "cut.jpg").get_by_text(record["error"])).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text(record["error"])
    again = visit.open()
    expect(card(again, "cut.jpg").get_by_text(record["error"])).to_be_visible()


def test_a_file_above_the_limit_goes_by_a_presigned_upload(visit: Visit, api: Api) -> None:
    page = visit.open()
    out = BytesIO()
    Image.linear_gradient("L").resize((1500, 1200)).convert("RGB").save(out, "BMP")
    content = out.getvalue()
    assert len(content) > services.settings().max_upload_bytes
    choose(page, file("big <b>.bmp", content))
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert visit.front.count("POST", "/thumbnail") == 0
    assert visit.front.count("POST", "/thumbnail/upload") == 1
    api.deliver()
    expect(thumbnail(page, "big <b>.bmp")).to_be_visible()
    (record,) = api("GET").json()
    assert (record["filename"], record["size"]["original"]) == ("big <b>.bmp", len(content))


def test_what_s3_refuses_is_said_and_can_be_sent_again(visit: Visit, api: Api, s3_endpoint: str) -> None:
    page = visit.open()
    refusals = ["<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"]

    def answer(route: Any) -> None:
        if route.request.method == "POST" and refusals:
            cors = {"Access-Control-Allow-Origin": "*"}
            route.fulfill(status=403, headers=cors, content_type="application/xml", body=refusals.pop())
        else:
            route.continue_()

    page.route(f"{s3_endpoint}/**", answer)
    choose(page, long(5_000_000, "big.jpg"))
    expect(card(page, "big.jpg").get_by_text("Access Denied.")).to_be_visible()
    assert page.locator("#access").is_hidden(), "S3 knows no tokens of ours"
    page.get_by_role("button", name="Try again big.jpg").click()
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert visit.front.count("POST", "/thumbnail/upload") == 2, "the presigned upload may be what was refused"
    api.deliver()
    assert len(api("GET").json()) == 1


def test_a_file_above_every_limit_is_not_sent(visit: Visit) -> None:
    page = visit.open()
    # Made in the browser: it is too much to hand over.
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(50_000_001)], "huge.jpg"));
            dispatchEvent(new DragEvent("drop", {cancelable: true, dataTransfer: data}));
        }"""
    )
    expect(card(page, "huge.jpg").get_by_text("at most 50 MB are accepted")).to_be_visible()
    assert not [one for one in visit.front.asked if one.method == "POST"]


def test_an_upload_whose_answer_is_lost_is_repeated_and_stays_one(visit: Visit, api: Api) -> None:
    losing = threading.Event()
    losing.set()
    visit.front.lose = lambda asked: asked.method == "POST" and losing.is_set()
    page = visit.open()
    choose(page, "once.jpg")
    expect(page.get_by_text("trying again in")).to_be_visible()

    def posts() -> list[Asked]:
        return [one for one in visit.front.asked if one.method == "POST"]

    lost = len(posts())
    assert lost >= 1
    losing.clear()
    # The list may show the record that the first one made before the last one is sent.
    eventually(lambda: len(posts()) > lost, seconds=60)
    expect(page.get_by_text("trying again in")).to_be_hidden()
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert len({one.headers["idempotency-key"] for one in posts()}) == 1
    assert len(api("GET").json()) == 1


def test_two_uploads_of_one_file_are_two(visit: Visit, api: Api) -> None:
    page = visit.open()
    for _ in range(2):
        choose(page, "same.jpg")
    expect(page.get_by_text(MAKING)).to_have_count(2)
    assert len(api("GET").json()) == 2
