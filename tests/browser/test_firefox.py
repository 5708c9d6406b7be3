"""The main paths of the page in Firefox: to upload, see and delete, by mouse and by keyboard, on a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.bidi import Firefox, running
from tests.browser.front import Front
from tests.conftest import Api, picture

PROGRAM = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
HOW_TO_GET_ONE = "there is no Firefox on PATH; install one, on Debian by: apt-get install firefox-esr"
SHOWN = "[...document.querySelectorAll('#grid img')].filter(one => one.complete && one.naturalWidth).length"


@pytest.fixture(scope="module")
def browser_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    if PROGRAM is None:
        pytest.skip(HOW_TO_GET_ONE)
    with running(PROGRAM, tmp_path_factory.mktemp("firefox")) as started:
        yield started


@pytest.fixture
def firefox(browser_process: Firefox, front: Front) -> Iterator[Firefox]:
    browser_process.said.clear()
    browser_process.resize(1000, 800)
    browser_process.open(front.url)
    yield browser_process
    browser_process.open("about:blank")
    # Until the page's script has named an icon, Firefox looks for one, which the policy refuses.
    assert [text for text in browser_process.said if "favicon.ico" not in text] == []


def test_a_picture_from_upload_to_removal(firefox: Firefox, front: Front, api: Api, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture())
    firefox.wait_for("!document.getElementById('empty').hidden")
    firefox.choose(firefox.select("#files"), tmp_path / "photo.jpg")
    firefox.wait_for("document.body.innerText.includes('The thumbnail is being made')")
    api.deliver()
    firefox.wait_for(f"{SHOWN} === 1")
    assert firefox.evaluate("document.querySelector('#grid img').alt") == "Thumbnail of photo.jpg"
    assert "X-Amz-Signature" in firefox.evaluate("document.querySelector('#grid img').src")
    firefox.click(firefox.find("button", "Delete photo.jpg"))
    firefox.wait_for("document.getElementById('confirm').open")
    firefox.click(firefox.find("button", "Delete"))
    firefox.wait_for("!document.getElementById('empty').hidden")
    assert api("GET").json() == []


def test_a_large_file_goes_straight_to_s3(firefox: Firefox, front: Front, api: Api, tmp_path: Path) -> None:
    (tmp_path / "big.jpg").write_bytes(picture() + bytes(5_000_000))
    firefox.choose(firefox.select("#files"), tmp_path / "big.jpg")
    firefox.wait_for("document.body.innerText.includes('The thumbnail is being made')")
    api.deliver()
    firefox.wait_for(f"{SHOWN} === 1")
    assert front.count("POST", "/thumbnail/upload") == 1


def test_a_picture_that_cannot_be_used_says_why(firefox: Firefox, api: Api, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(picture()[:400])
    firefox.choose(firefox.select("#files"), tmp_path / "broken.jpg")
    firefox.wait_for("document.body.innerText.includes('The thumbnail is being made')")
    api.deliver()
    firefox.wait_for("document.body.innerText.includes('The picture cannot be decoded')")


def test_with_the_keyboard_alone(firefox: Firefox, front: Front, api: Api) -> None:
    for name in ("second.jpg", "first.jpg"):
        api.upload(filename=name)
    api.deliver()
    firefox.open(front.url)
    firefox.wait_for(f"{SHOWN} === 2")
    focused = (
        "(at => at.ariaLabel ?? at.labels?.[0]?.textContent.trim() ?? at.textContent)(document.activeElement)"
    )
    order = []
    for _ in range(6):
        firefox.press("Tab")
        order.append(firefox.evaluate(focused))
    assert order[0].startswith("Choose pictures")
    assert order[1:] == [
        "Choose a folder",
        "Select all",
        *("Download first.jpg", "Delete first.jpg", "Select first.jpg"),
    ]
    firefox.press("Space")
    firefox.wait_for("document.body.innerText.includes('1 picture selected')")
    firefox.evaluate("document.querySelector('[aria-label=\"Delete first.jpg\"]').focus()")
    firefox.press("Enter")
    firefox.wait_for("document.getElementById('confirm').open")
    assert firefox.evaluate(focused) == "Keep", "Enter alone deletes nothing"
    firefox.press("Tab", "Enter")
    firefox.wait_for("document.querySelectorAll('#grid > li').length === 1")
    assert [record["filename"] for record in api("GET").json()] == ["second.jpg"]


def test_it_fits_on_a_phone(firefox: Firefox, front: Front, api: Api) -> None:
    for name in ("a.jpg", "x" * 255, "\u05e9\u05dc\u05d5\u05dd.jpg"):
        api.upload(filename=name)
    api.upload(picture()[:400], "broken.jpg")
    api.deliver()
    firefox.resize(320, 700)
    firefox.open(front.url)
    firefox.wait_for("document.querySelectorAll('#grid > li').length === 4")
    assert firefox.evaluate("innerWidth") == 320
    firefox.evaluate("[...document.querySelectorAll('#grid > li')].forEach(card => card.scrollIntoView())")
    firefox.wait_for(f"{SHOWN} === 3")
    assert firefox.evaluate("document.documentElement.scrollWidth") <= 320
    clipped = """[...document.querySelectorAll("button, a, p, h1, h2")].filter(one =>
        one.scrollWidth > one.clientWidth + 1 && !one.classList.contains("unseen") && one.checkVisibility()
    ).map(one => one.outerHTML)"""
    assert firefox.evaluate(clipped) == []
