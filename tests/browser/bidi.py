"""Drives Debian's Firefox by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), which it speaks itself.

Playwright drives a build of Firefox of its own; for others it uses commands that a release with extended
support (153) does not know.
"""

import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser.websocket import WebSocket

Node = dict[str, str]
"""A node of the page, as commands refer to it."""
KEYS = {"Tab": "\ue004", "Enter": "\ue006", "Space": "\ue00d", "Escape": "\ue00c"}
_PATIENCE = 60


class Firefox:
    """One tab of a running Firefox; `said` is what its pages have written to the console as errors."""

    def __init__(self, connection: WebSocket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.said: list[str] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        # Without a window, the first tab never has the focus, and keys press no button there.
        self.tab: str = self.call("browsingContext.create", type="tab")["context"]
        self.call("browsingContext.activate", context=self.tab)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; return its result."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.receive())
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.said.append(message["params"]["text"])
            if message.get("id") == number:
                assert message["type"] == "success", message
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str) -> None:
        """Go to a page, and wait until it has loaded."""
        self.call("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def resize(self, width: int, height: int) -> None:
        """Give the page so many CSS pixels."""
        self.call(
            "browsingContext.setViewport", context=self.tab, viewport={"width": width, "height": height}
        )

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, which JSON can write."""
        answer = self.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self.tab},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + _PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, (
                f"never: {expression}\n{self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.1)

    def find(self, role: str, name: str) -> Node:
        """The one node with this role and accessible name; waits until it is there."""
        locator = {"type": "accessibility", "value": {"role": role, "name": name}}
        deadline = time.monotonic() + _PATIENCE
        while True:
            nodes = self.call("browsingContext.locateNodes", context=self.tab, locator=locator)["nodes"]
            if len(nodes) == 1:
                return {"sharedId": nodes[0]["sharedId"]}
            assert time.monotonic() < deadline, f"{len(nodes)} times {role} {name!r}"
            time.sleep(0.1)

    def select(self, css: str) -> Node:
        """The first node that a selector finds."""
        locator = {"type": "css", "value": css}
        (node,) = self.call("browsingContext.locateNodes", context=self.tab, locator=locator, maxNodeCount=1)[
            "nodes"
        ]
        return {"sharedId": node["sharedId"]}

    def choose(self, node: Node, *files: Path) -> None:
        """Choose files in a file field, as its dialogue would."""
        paths = [str(file) for file in files]
        self.call("input.setFiles", context=self.tab, element=node, files=paths)

    def click(self, node: Node) -> None:
        """Click on the middle of a node."""
        origin = {"type": "element", "element": node}
        moves = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": moves})

    def press(self, *keys: str) -> None:
        """Press keys one after another, named as in `KEYS`."""
        actions = [{"type": way, "value": KEYS[key]} for key in keys for way in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def _act(self, actions: dict[str, Any]) -> None:
        self.call("input.performActions", context=self.tab, actions=[actions])


@contextmanager
def running(program: str, profile: Path) -> Iterator[Firefox]:
    """Run Firefox without a window, with a profile of its own."""
    log = profile / "stderr.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not (found := re.search(r"WebDriver BiDi listening on ws://([\d.]+):(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        with WebSocket(found[1], int(found[2]), "/session") as connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        process.wait(30)
