"""What people see, hear and reach: layout, contrast, keyboard, names that mean harm."""

from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.front import error
from tests.browser.steps import MAKING, hand_over, names, scroll_through, while_it_runs
from tests.conftest import Api, picture

HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "'\"><script>alert(1)</script>.jpg",
    "\u202egpj.exe",
    "\u05e9\u05dc\u05d5\u05dd\u200f.jpg",
    "a" * 251 + ".jpg",
    "two\nlines.jpg",
    "${alert(1)}`.jpg",
    "%3Cb%3E.jpg",
]


def test_hostile_file_names_do_nothing(visit: Visit, api: Api) -> None:
    page = visit.open()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    page.on("dialog", lambda dialog: visit.said.append(dialog.message))
    for name in HOSTILE:
        api.upload(filename=name)
    hand_over(page, "drop", [(name, picture(301, 200)) for name in HOSTILE])
    expect(page.get_by_text(MAKING)).to_have_count(len(HOSTILE))
    api.deliver()
    page = visit.open()
    expect(page.get_by_role("listitem")).to_have_count(2 * len(HOSTILE))
    scroll_through(page)
    expect(page.get_by_role("img")).to_have_count(2 * len(HOSTILE))
    assert page.locator("#grid b, #grid script, #grid img:not([alt^=Thumbnail])").count() == 0
    shown = names(page)
    for name in HOSTILE:
        assert name.replace("\u202e", "\ufffd").replace("\n", "\ufffd") in shown
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name=f"Delete {HOSTILE[0]}").first.click()
    expect(page.get_by_role("heading", name=f"Delete {HOSTILE[0]}?")).to_be_visible()


def test_with_the_keyboard_alone(visit: Visit, api: Api) -> None:
    for name in ("second.jpg", "first.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    page.on("filechooser", lambda _: None)  # from now on, none is shown
    expect(page.get_by_role("img")).to_have_count(2)

    def focused() -> str:
        label: str = page.evaluate(
            "(at => at.ariaLabel ?? at.labels?.[0]?.textContent ?? at.textContent)(document.activeElement)"
        )
        return " ".join(label.split())

    page.keyboard.press("Tab")
    assert focused().startswith("Choose pictures")
    outline = "getComputedStyle(document.getElementById('drop')).outlineStyle"
    assert page.evaluate(outline) == "solid", "the focus is seen"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    order = []
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(focused())
        # The folder's input is out of sight: its label shows the focus.
        outlined = "getComputedStyle(document.activeElement.closest('.button') ?? document.activeElement)"
        assert page.evaluate(f"{outlined}.outlineStyle") == "solid"
    assert order == [
        "Choose a folder",
        "Select all",
        *("Download first.jpg", "Delete first.jpg", "Select first.jpg"),
        *("Download second.jpg", "Delete second.jpg", "Select second.jpg"),
    ]
    page.keyboard.press("Space")
    expect(page.get_by_text("1 picture selected")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert focused() == "Keep", "Enter alone deletes nothing"
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert focused() == "Delete second.jpg"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused() == "Delete"
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem")).to_have_count(1)
    assert "first.jpg" in focused(), "the focus goes on with what is left"


@pytest.mark.parametrize("left", [1, 2])
def test_deleting_several_leaves_the_focus_where_one_goes_on(visit: Visit, api: Api, left: int) -> None:
    for number in range(3 + left):
        api.upload(filename=f"{number}.jpg")
    api.deliver()
    page = visit.open()
    for number in range(3):
        page.get_by_role("checkbox", name=f"Select {number}.jpg").check()
    page.get_by_role("button", name="Delete selected").focus()
    for key in ("Enter", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("listitem")).to_have_count(left)
    if left > 1:
        expect(page.get_by_role("button", name="Select all")).to_be_focused()
    else:
        expect(page.get_by_label("Choose pictures")).to_be_focused()


def test_a_deletion_that_fails_keeps_the_focus_with_its_card(visit: Visit, api: Api) -> None:
    for name in ("a.jpg", "b.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    refused = error(403, "An API key is missing.")
    visit.front.answer = lambda asked: refused if asked.method == "DELETE" else None
    page.get_by_role("button", name="Delete a.jpg").focus()
    for key in ("Enter", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_text("It could not be deleted. An API key is missing.")).to_be_visible()
    # A moment later: the browser takes the focus from what is disabled when it draws.
    within = "document.activeElement.closest('li')?.querySelector('.name').textContent"
    while_it_runs(page, lambda: page.evaluate(within) == "a.jpg")


def test_the_browser_holds_the_page_to_its_policy(visit: Visit) -> None:
    page = visit.open()
    page.evaluate("fetch('https://elsewhere.example/').catch(() => {})")
    with pytest.raises(PlaywrightError, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>'")
    while_it_runs(page, lambda: any("connect-src" in said for said in visit.said))
    visit.said.clear()
    visit.strangers.clear()


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(visit: Visit, api: Api, width: int, scheme: Any) -> None:
    for name in ("a.jpg", "x" * 255, "\u202e" * 20 + "y"):
        api.upload(filename=name)
    api.upload(picture()[:400], "broken.jpg")
    api.deliver()
    page = visit.open()
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    expect(page.get_by_role("listitem")).to_have_count(4)
    scroll_through(page)
    expect(page.get_by_role("img")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    clipped = """[...document.querySelectorAll("button, a, p, h1, h2")].filter(one =>
        one.scrollWidth > one.clientWidth + 1 && !one.classList.contains("unseen") && one.checkVisibility()
    ).map(one => one.outerHTML)"""
    assert page.evaluate(clipped) == []
    assert page.evaluate(TOO_FAINT) == []
    assert page.evaluate("document.getAnimations().length") == 0


# WCAG 2.2, success criterion 1.4.3: a contrast of 4.5 between text and what lies behind it.
TOO_FAINT = """(() => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => {
        const [r, g, b] = channels(colour).slice(0, 3).map(c => c / 255)
            .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = one => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (channels(colour)[3] !== 0) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    return [...document.querySelectorAll("body *")].filter(one => one.checkVisibility()
        && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())).map(one => {
        const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
        return [one.outerHTML, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
    }).filter(([, contrast]) => contrast < 4.5);
})()"""
