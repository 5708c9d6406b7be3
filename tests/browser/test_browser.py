"""The page, used as people use it."""

from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.conftest import Api, picture


def files(*names: str) -> Any:
    return [
        {"name": name, "mimeType": "image/jpeg", "buffer": picture(300 + number, 200)}
        for number, name in enumerate(names)
    ]


def choose(page: Page, *names: str) -> None:
    page.get_by_label("Choose pictures").set_input_files(files(*names))


def test_several_pictures_become_thumbnails_by_themselves(visit: Visit, api: Api) -> None:
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    choose(page, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    expect(page.get_by_text("The thumbnail is being made")).to_have_count(5)
    api.deliver()
    for name in "abcde":
        expect(page.get_by_role("img", name=f"Thumbnail of {name}.jpg")).to_be_visible()
