"""The page, used as people use it."""

import re
import threading
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import FilePayload, Locator, Page, expect

from chalicelib import services
from tests.browser.conftest import Visit
from tests.browser.front import Answer, Asked, Front, error
from tests.conftest import Api, picture

MAKING = "The thumbnail is being made"
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


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": content}


def choose(page: Page, *chosen: str | FilePayload) -> None:
    given = [file(one, picture()) if isinstance(one, str) else one for one in chosen]
    page.get_by_label("Choose pictures").set_input_files(given)


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))


def thumbnail(page: Page, name: str) -> Locator:
    return page.get_by_role("img", name=f"Thumbnail of {name}", exact=True)


def names(page: Page) -> list[str]:
    return page.locator("#grid .name").all_text_contents()


def hand_over(page: Page, event: str, given: list[tuple[str, bytes]]) -> None:
    """Let the browser drop or paste files, as it does when a person does."""
    page.evaluate(
        """([event, given]) => {
            const data = new DataTransfer();
            for (const [name, bytes] of given) data.items.add(new File([new Uint8Array(bytes)], name));
            const target = document.getElementById("drop");
            const init = {bubbles: true, cancelable: true};
            const events = event === "paste"
                ? [new ClipboardEvent(event, {...init, clipboardData: data})]
                : ["dragover", "drop"].map(type => new DragEvent(type, {...init, dataTransfer: data}));
            for (const one of events) target.dispatchEvent(one);
        }""",
        [event, [(name, list(content)) for name, content in given]],
    )


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


def slow(page: Page, bytes_a_second: int) -> None:
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", limits)


def long(size: int, name: str) -> FilePayload:
    return file(name, picture() + bytes(size))


def test_each_upload_shows_its_progress_a_few_at_once(visit: Visit, api: Api) -> None:
    page = visit.open()
    slow(page, 400_000)
    choose(page, *(long(300_000, f"{number}.jpg") for number in range(5)))
    expect(page.get_by_role("progressbar")).to_have_count(3)
    expect(page.get_by_text("Waiting for its turn")).to_have_count(2)
    bar = page.get_by_role("progressbar", name="Upload of 0.jpg")
    seen: set[float] = set()
    while bar.is_visible() and len(seen) < 3:
        seen.add(float(bar.evaluate("bar => bar.value")))
    assert len(seen) >= 3, "it moves"
    expect(card(page, "1.jpg").get_by_text(re.compile(r"Uploading, \d+ %"))).to_be_visible()
    expect(page.get_by_text(MAKING)).to_have_count(5, timeout=20_000)


def test_an_upload_is_cancelled(visit: Visit, api: Api) -> None:
    page = visit.open()
    slow(page, 50_000)
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


def test_a_file_above_the_limit_goes_by_a_ticket(visit: Visit, api: Api) -> None:
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
    assert visit.front.count("POST", "/thumbnail/upload") == 2, "the ticket may be what was refused"
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
    losses = iter([True, True])
    visit.front.lose = lambda asked: asked.method == "POST" and next(losses, False)
    page = visit.open()
    choose(page, "once.jpg")
    expect(page.get_by_text("trying again in 1 s")).to_be_visible()
    expect(page.get_by_text(MAKING)).to_be_visible()
    posts = [one for one in visit.front.asked if one.method == "POST"]
    assert len(posts) == 3
    assert len({one.headers["idempotency-key"] for one in posts}) == 1
    assert len(api("GET").json()) == 1


def test_two_uploads_of_one_file_are_two(visit: Visit, api: Api) -> None:
    page = visit.open()
    for _ in range(2):
        choose(page, "same.jpg")
    expect(page.get_by_text(MAKING)).to_have_count(2)
    assert len(api("GET").json()) == 2


def refusing(times: int, method: str, path: str, answer: Answer) -> Any:
    left = iter(range(times))

    def refuse(asked: Asked) -> Answer | None:
        matches = asked.method == method and urlsplit(asked.path).path.endswith(path)
        return answer if matches and next(left, None) is not None else None

    return refuse


def test_it_waits_as_long_as_it_is_told_to(visit: Visit, api: Api) -> None:
    busy = error(
        429, "There are too many requests at the moment; try again in a second.", {"Retry-After": "3"}
    )
    record = api.upload(filename="later.jpg")
    page = visit.open()
    expect(page.get_by_text(MAKING)).to_be_visible()
    visit.front.asked.clear()
    visit.front.answer = refusing(1, "GET", record["id"], busy)
    page.wait_for_timeout(4500)
    polls = [one.at for one in visit.front.asked if one.path.endswith(record["id"])]
    assert len(polls) >= 1
    api.deliver()
    expect(thumbnail(page, "later.jpg")).to_be_visible()
    polls = [one.at for one in visit.front.asked if one.path.endswith(record["id"])]
    assert polls[1] - polls[0] >= 3


def test_it_asks_ever_more_seldom_and_not_while_nobody_looks(visit: Visit, api: Api) -> None:
    record = api.upload(filename="slow.jpg")
    page = visit.open()
    page.wait_for_timeout(4500)
    polls = [one.at for one in visit.front.asked if one.path.endswith(record["id"])]
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert gaps
    assert gaps == sorted(gaps)
    set_hidden(page, hidden=True)
    seen = len(visit.front.asked)
    api.deliver()
    page.wait_for_timeout(3000)
    assert len(visit.front.asked) == seen
    set_hidden(page, hidden=False)
    expect(thumbnail(page, "slow.jpg")).to_be_visible(timeout=3000)


def set_hidden(page: Page, *, hidden: bool) -> None:
    """Tell the page that its tab is hidden or shown: a headless browser always says that it is shown."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_list_in_pages(visit: Visit, api: Api) -> None:
    visit.front.page_of = 3
    for number in range(7):
        api.upload(filename=f"{number}.jpg")
    api.deliver()
    page = visit.open()
    items, more = page.get_by_role("listitem"), page.get_by_role("button", name="More")
    for shown in (3, 6):
        expect(items).to_have_count(shown)
        more.focus()
        page.keyboard.press("Enter")
        expect(items.nth(shown)).to_be_focused()
    expect(items).to_have_count(7)
    assert names(page) == [f"{number}.jpg" for number in reversed(range(7))]
    expect(more).to_be_hidden()
    expect(page.get_by_role("img")).to_have_count(7)


def test_many_that_wait_are_asked_for_at_once(visit: Visit, api: Api) -> None:
    for number in range(20):
        api.upload(filename=f"{number}.jpg")
    page = visit.open()
    expect(page.get_by_text(MAKING)).to_have_count(20)
    api.deliver()
    expect(page.get_by_role("img")).to_have_count(20)
    assert visit.front.count("GET", "/thumbnail") <= 4
    assert not [one for one in visit.front.asked if re.search("thumbnail/[^/]+$", one.path)]


def test_a_list_that_fails_says_so_and_is_asked_for_again(visit: Visit, api: Api) -> None:
    api.upload(filename="there.jpg")
    down = error(
        503, "The record store (Redis) cannot be reached; try again in a moment.", {"Retry-After": "0"}
    )
    visit.front.answer = refusing(4, "GET", "/thumbnail", down)
    page = visit.open()
    expect(page.locator("#trouble")).to_contain_text("Redis")
    page.get_by_role("button", name="Try again").click()
    expect(card(page, "there.jpg")).to_be_visible()
    expect(page.locator("#trouble")).to_be_empty()


def test_a_download_has_the_files_own_name(visit: Visit, api: Api, tmp_path: Path) -> None:
    for name in ("IMG_8932.png", "日本語 🌍.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    for name, saved in (
        ("IMG_8932.png", "IMG_8932.thumbnail.jpg"),
        ("日本語 🌍.jpg", "日本語 🌍.thumbnail.jpg"),
    ):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {name}").click()
        assert download.value.suggested_filename == saved
        download.value.save_as(tmp_path / "saved.jpg")
        with Image.open(tmp_path / "saved.jpg") as image:
            assert (image.format, image.size) == ("JPEG", (100, 100))


def test_deleting_is_asked_for_first(visit: Visit, api: Api) -> None:
    for name in ("keep.jpg", "go.jpg"):
        api.upload(filename=name)
    api.deliver()
    page = visit.open()
    page.get_by_role("button", name="Delete go.jpg").click()
    dialog = page.get_by_role("dialog", name="Delete go.jpg?")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_be_hidden()
    assert len(api("GET").json()) == 2
    page.get_by_role("button", name="Delete go.jpg").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("listitem")).to_have_count(1)
    assert names(page) == ["keep.jpg"]
    assert [record["filename"] for record in api("GET").json()] == ["keep.jpg"]
    expect(page.get_by_role("status")).to_contain_text("go.jpg is deleted.")


def test_what_others_have_deleted_goes(visit: Visit, api: Api) -> None:
    record = api.upload(filename="gone.jpg")
    api.deliver()
    page = visit.open()
    expect(thumbnail(page, "gone.jpg")).to_be_visible()
    api("DELETE", f"/{record['id']}")
    page.get_by_role("button", name="Delete gone.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()


def test_hostile_file_names_do_nothing(visit: Visit, api: Api) -> None:
    page = visit.open()
    page.on("dialog", lambda dialog: visit.said.append(dialog.message))
    for name in HOSTILE:
        api.upload(filename=name)
    hand_over(page, "drop", [(name, picture(301, 200)) for name in HOSTILE])
    expect(page.get_by_text(MAKING)).to_have_count(len(HOSTILE))
    api.deliver()
    page = visit.open()
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
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(focused())
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["Download first.jpg", "Delete first.jpg", "Download second.jpg", "Delete second.jpg"]
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


def test_the_browser_holds_the_page_to_its_policy(visit: Visit) -> None:
    page = visit.open()
    page.evaluate("fetch('https://elsewhere.example/').catch(() => {})")
    with pytest.raises(PlaywrightError, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>'")
    page.wait_for_timeout(200)
    assert [said for said in visit.said if "connect-src" in said]
    visit.said.clear()
    visit.strangers.clear()


@pytest.fixture
def guarded(front: Front) -> Front:
    """The service as one that wants a token: a stand-in, which tells no owners apart."""
    front.token = "s3cret"  # noqa: S105
    return front


def test_a_token_is_asked_for_kept_for_the_tab_and_sent(visit: Visit, guarded: Front, api: Api) -> None:
    api.upload(filename="mine.jpg")
    api.deliver()
    page = visit.open()
    field = page.get_by_label("Access token")
    expect(field).to_be_focused()
    assert field.get_attribute("type") == "password"
    expect(page.locator("#trouble")).to_have_text("This needs a token; send it as Authorization: Bearer.")
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    expect(field).to_be_visible()
    field.fill("s3cret")
    page.get_by_role("button", name="Use token").click()
    expect(thumbnail(page, "mine.jpg")).to_be_visible()
    expect(field).to_be_hidden()
    assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    downloads = [one for one in guarded.asked if one.path.endswith("/download")]
    assert [one.headers["authorization"] for one in downloads] == ["Bearer s3cret"]
    assert not [one for one in guarded.asked if "s3cret" in one.path]
    choose(page, "more.jpg", long(5_000_000, "big.jpg"))
    expect(page.get_by_text(MAKING)).to_have_count(2)
    page.get_by_role("button", name="Forget the token").click()
    expect(field).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0


def test_uploads_that_lacked_the_token_follow_when_it_is_there(
    visit: Visit, guarded: Front, api: Api
) -> None:
    page = visit.open()
    choose(page, "early.jpg")
    expect(card(page, "early.jpg").get_by_text("This needs a token")).to_be_visible()
    page.get_by_label("Access token").fill("s3cret")
    page.keyboard.press("Enter")
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert len(api("GET").json()) == 1


def test_the_token_goes_to_the_service_and_nowhere_else(
    visit: Visit, guarded: Front, s3_endpoint: str
) -> None:
    page = visit.open()
    page.get_by_label("Access token").fill("s3cret")
    page.keyboard.press("Enter")
    sent: list[dict[str, str]] = []
    page.on(
        "request",
        lambda request: sent.append(request.headers) if request.url.startswith(s3_endpoint) else None,
    )
    choose(page, long(5_000_000, "big.jpg"))
    expect(page.get_by_text(MAKING)).to_be_visible()
    assert sent
    assert not [headers for headers in sent if "authorization" in headers]


def test_thumbnails_are_let_go_of(visit: Visit, api: Api) -> None:
    api.upload(filename="seen.jpg")
    api.deliver()
    page = visit.open()
    url = thumbnail(page, "seen.jpg").get_attribute("src")
    assert url is not None
    assert url.startswith("blob:")
    page.get_by_role("button", name="Delete seen.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    loaded = """url => new Promise(done => {
        Object.assign(new Image(), {src: url, onload: () => done(true), onerror: () => done(false)});
    })"""
    assert page.evaluate(loaded, url) is False


@pytest.mark.parametrize("prefix", ["/live", "/_aws/execute-api/thumbnails/live"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_it_works_below_a_stage(visit: Visit, api: Api, prefix: str, slash: str) -> None:
    for number in range(3):
        api.upload(filename=f"{number}.jpg")
    with Front(api.url, prefix) as front:
        front.page_of = 2
        visit.allowed.add(front.origin)
        page = visit.open(f"{front.origin}{prefix}{slash}")
        expect(page.get_by_role("listitem")).to_have_count(2)
        page.get_by_role("button", name="More").click()
        expect(page.get_by_role("listitem")).to_have_count(3)
        choose(page, "staged.jpg", long(5_000_000, "big.jpg"))
        expect(card(page, "staged.jpg").get_by_text(MAKING)).to_be_visible()
        expect(card(page, "big.jpg").get_by_text(MAKING)).to_be_visible()
        api.deliver()
        expect(page.get_by_role("img")).to_have_count(5, timeout=10_000)
        assert {one.path for one in front.asked if not one.path.startswith(prefix)} == set()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sets variables of the deployment for one test; read anew when the page is."""
    yield monkeypatch
    monkeypatch.undo()
    services.settings.cache_clear()
    services.page.cache_clear()


def apply() -> None:
    services.settings.cache_clear()
    services.page.cache_clear()
    services.processor.cache_clear()


def test_a_picture_that_ends_says_when(visit: Visit, api: Api, settings: pytest.MonkeyPatch) -> None:
    settings.setenv("RETENTION", "86400")
    apply()
    record = api.upload(filename="day.jpg")
    api.deliver()
    page = visit.open()
    expect(card(page, "day.jpg").get_by_text("Kept until")).to_be_visible()
    assert card(page, "day.jpg").locator("time").get_attribute("datetime") == record["expires"]


def test_where_a_download_ends_a_picture_it_is_asked_for(
    visit: Visit, api: Api, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.setenv("RETENTION_AFTER_DOWNLOAD", "60")
    apply()
    record = api.upload(filename="once.jpg")
    api.deliver()
    page = visit.open()
    expect(card(page, "once.jpg").get_by_text("Showing it starts its end.")).to_be_visible()
    assert "expires" not in api("GET", f"/{record['id']}").json()
    page.get_by_role("button", name="Show once.jpg").click()
    expect(thumbnail(page, "once.jpg")).to_be_visible()
    expect(card(page, "once.jpg").get_by_text("Kept until")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download once.jpg").click()
    download.value.save_as(tmp_path / "saved.jpg")
    assert visit.front.count("GET", f"/thumbnail/{record['id']}/download") == 1


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


def test_a_late_answer_does_not_bring_back_what_left(visit: Visit, api: Api) -> None:
    """The thumbnail is on its way while its picture is deleted."""
    arrived, go_on = threading.Event(), threading.Event()

    def wait(asked: Asked) -> None:
        if asked.path.endswith("/download"):
            arrived.set()
            go_on.wait(10)

    visit.front.answer = wait
    api.upload(filename="slow.jpg")
    api.deliver()
    page = visit.open()
    assert arrived.wait(10)
    page.get_by_role("button", name="Delete slow.jpg").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are none yet.")).to_be_visible()
    go_on.set()
    page.wait_for_timeout(500)
    expect(page.get_by_role("listitem")).to_have_count(0)
