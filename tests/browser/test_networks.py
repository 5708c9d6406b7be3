"""What stands between the page and the service or has changed there, and folders of pictures."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.front import Answer, Asked
from tests.browser.steps import MAKING, card, choose, thumbnail
from tests.conftest import Api, picture

PORTAL: Answer = (200, {"Content-Type": "text/html"}, b"<h1>Welcome to our Wi-Fi</h1>")
REDIRECT: Answer = (302, {"Location": "https://portal.example/"}, b"")
IN_ITS_PLACE = "The network answered in the service's place"


@pytest.mark.parametrize("answer", [PORTAL, REDIRECT], ids=["a page", "a redirection"])
def test_a_captive_portal_is_told_from_the_service(visit: Visit, api: Api, answer: Answer) -> None:
    api.upload(filename="there.jpg")
    page = visit.open()
    expect(card(page, "there.jpg")).to_be_visible()
    visit.front.answer = lambda _: answer
    choose(page, "new.jpg")
    expect(card(page, "new.jpg").get_by_text(IN_ITS_PLACE)).to_be_visible()
    visit.front.answer = lambda _: None
    page.get_by_role("button", name="Try again new.jpg").click()
    expect(card(page, "new.jpg").get_by_text(MAKING)).to_be_visible()
    visit.front.answer = lambda asked: answer if "/api/" in asked.path else None
    page.reload()
    expect(page.locator("#trouble")).to_contain_text(IN_ITS_PLACE)
    visit.front.answer = lambda _: None
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("listitem")).to_have_count(2)
    # The browser follows an upload's redirection as far as the page's policy lets it.
    visit.strangers.clear()
    visit.said[:] = [said for said in visit.said if "portal.example" not in said]


@pytest.mark.parametrize(
    "content", [(b"Request Too Long", "text/plain"), (b'{"message":"Request Too Long"}', "application/json")]
)
def test_what_a_gateway_finds_too_large_goes_straight_to_the_bucket(
    visit: Visit, api: Api, content: tuple[bytes, str]
) -> None:
    def too_large(asked: Asked) -> Answer | None:
        body, content_type = content
        refused = asked.method == "POST" and asked.path.endswith("/thumbnail")
        return (413, {"Content-Type": content_type}, body) if refused else None

    visit.front.answer = too_large
    page = visit.open()
    choose(page, "large.jpg")
    expect(page.get_by_text(MAKING)).to_be_visible()
    api.deliver()
    expect(thumbnail(page, "large.jpg")).to_be_visible()


def test_a_page_from_before_a_restart_says_to_reload(visit: Visit, api: Api) -> None:
    ticket = api("POST", "/upload", json={"filename": "a.jpg"}).json()
    moved = json.dumps(ticket | {"url": "http://127.0.0.1:1/elsewhere"}).encode()
    visit.front.answer = lambda asked: (
        (201, {"Content-Type": "application/json"}, moved) if asked.path.endswith("/upload") else None
    )
    page = visit.open()
    choose(page, {"name": "big.bmp", "mimeType": "", "buffer": picture() + bytes(5_000_000)})
    expect(
        card(page, "big.bmp").get_by_text("restarted or changed since this page was opened")
    ).to_be_visible()
    with page.expect_navigation():
        page.get_by_role("button", name="Reload the page").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()


def test_a_bucket_that_cannot_be_reached_is_told_from_the_service(
    visit: Visit, api: Api, s3_endpoint: str
) -> None:
    def abort(route: Route) -> None:
        route.abort()

    visit.context.route(f"{s3_endpoint}/**", abort)
    page = visit.open()
    choose(page, {"name": "big.bmp", "mimeType": "", "buffer": picture() + bytes(5_000_000)})
    expect(card(page, "big.bmp").get_by_text("the storage for large files")).to_be_visible()


def test_folders_are_dropped_with_what_is_in_them(visit: Visit, api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "day 1" / "empty").mkdir(parents=True)
    (folder / "day 1" / "beach.JPG").write_bytes(picture())
    (folder / "hills.png").write_bytes(picture(image_format="PNG"))
    (folder / "notes.txt").write_text("notes")
    (folder / ".hidden.jpg").write_bytes(picture())
    (tmp_path / "alone.jpg").write_bytes(picture())
    page = visit.open()
    box = page.locator("#drop").bounding_box()
    assert box is not None
    session = visit.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder), str(tmp_path / "alone.jpg")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": box["x"] + 20, "y": box["y"] + 20, "data": data}
        session.send("Input.dispatchDragEvent", event)
    expect(page.get_by_text(MAKING)).to_have_count(3)
    # The notice alone: after a while, screen readers are told the same.
    expect(page.locator("#notice")).to_have_text("2 pictures from the folder; 2 other files are left out.")
    assert {record["filename"] for record in api("GET").json()} == {"alone.jpg", "beach.JPG", "hills.png"}


def test_a_folder_is_chosen(visit: Visit, api: Api, tmp_path: Path) -> None:
    (tmp_path / "beach.jpg").write_bytes(picture())
    (tmp_path / "notes.txt").write_text("notes")
    page = visit.open()
    page.get_by_label("Choose a folder").set_input_files(tmp_path)
    expect(page.get_by_text(MAKING)).to_have_count(1)
    expect(page.locator("#notice")).to_have_text("1 picture from the folder; 1 other file is left out.")
