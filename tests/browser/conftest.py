"""A real browser before the real service; pages break no policy and ask no other host."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.browser.front import Front
from tests.conftest import Api

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 60_000
"""For what comes by itself, however busy the machine is."""
expect.set_options(timeout=WAIT_MS)
HOW_TO_GET_ONE = "there is no Chromium or Chrome on PATH; install one, on Debian by: apt-get install chromium"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip(HOW_TO_GET_ONE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def front(api: Api) -> Iterator[Front]:
    with Front(api.url) as served:
        yield served


@dataclass
class Visit:
    """A browser's pages of one test, and what was seen of them."""

    context: BrowserContext
    front: Front
    allowed: set[str]
    said: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    """What was asked for as an image, of S3: memory's own do not count."""

    def open(self, url: str | None = None, *, title: str = "Thumbnails") -> Page:
        page = self.context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(url or self.front.url)
        assert page.title() == title
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        # The browser tells of each answer that is an error, which many tests are about.
        if not message.text.startswith("Failed to load resource"):
            self.said.append(message.text)

    def ask(self, request: Request) -> None:
        address = urlsplit(request.url)
        if request.resource_type == "image" and address.scheme != "blob":
            self.images.append(request.url)
        if address.scheme != "blob" and f"{address.scheme}://{address.netloc}" not in self.allowed:
            self.strangers.append(request.url)


@pytest.fixture
def visit(browser: Browser, front: Front, s3_endpoint: str) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB", timezone_id="UTC")
    visited = Visit(context, front, {front.origin, s3_endpoint})
    context.on("request", visited.ask)
    yield visited
    context.close()
    assert visited.said == []
    assert visited.strangers == []
