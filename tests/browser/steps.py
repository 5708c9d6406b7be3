"""What people do on the page, and where its parts are."""

from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, CDPSession, FilePayload, Locator, Page

from tests.browser.front import Answer, Asked
from tests.conftest import picture

MAKING = "The thumbnail is being made"


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


def scroll_through(page: Page) -> None:
    """Let each card come into view, for as long as the browser takes to notice."""
    page.evaluate(
        """async () => {
            for (const card of document.querySelectorAll("#grid > li")) {
                card.scrollIntoView();
                await new Promise(done => {
                    const observer = new IntersectionObserver(entries => {
                        if (card.isConnected && !entries.some(entry => entry.isIntersecting)) return;
                        observer.disconnect();
                        done();
                    });
                    observer.observe(card);
                });
            }
            scrollTo(0, 0);
        }"""
    )


def slow(page: Page, bytes_a_second: int) -> CDPSession:
    """Slow uploads down, until the session that is returned is detached: then the rest is sent."""
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
    session = page.context.new_cdp_session(page)
    session.send("Network.emulateNetworkConditions", limits)
    return session


def it_moves(page: Page, bar: Locator) -> None:
    seen: set[float] = set()

    def values() -> int:
        seen.add(float(bar.evaluate("bar => bar.value")))
        return len(seen)

    while_it_runs(page, lambda: values() >= 3)


def long(size: int, name: str) -> FilePayload:
    return file(name, picture() + bytes(size))


def refusing(times: int, method: str, path: str, answer: Answer) -> Callable[[Asked], Answer | None]:
    left = iter(range(times))

    def refuse(asked: Asked) -> Answer | None:
        matches = asked.method == method and urlsplit(asked.path).path.endswith(path)
        return answer if matches and next(left, None) is not None else None

    return refuse


def while_it_runs(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for what the page, or a route of it, does."""
    for _ in range(1200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("not within 60 s")


def without_refresh(context: BrowserContext) -> None:
    """Let pages not ask for their lists anew, for a test that counts requests, however long it takes."""
    context.add_init_script(
        """{
            const start = setInterval;
            window.setInterval = (call, pause) => pause < 10_000 ? start(call, pause) : 0;
        }"""
    )


def set_hidden(page: Page, *, hidden: bool) -> None:
    """Tell the page that its tab is hidden or shown: a headless browser always says that it is shown."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
