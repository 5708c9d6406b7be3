"""What a browser shows of the scorecard's pictures, whole and at the thumbnail's size: one page with all."""

import shutil
import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CELL = 104
"""Pixels from one picture to the next on the page, across and down."""
COLUMNS = 10


def program() -> str | None:
    """The browser on PATH, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def version(path: str) -> str:
    """Name and version of a browser."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return " ".join(said.stdout.split()[:2])


def shown(path: str, pictures: Sequence[tuple[bytes, tuple[int, int]]]) -> list[bytes | None]:
    """Have pictures shown in boxes of 96 x 96 pixels, on white, never enlarged.

    Args:
        path: of the browser.
        pictures: each with the size that it shall have, at which it is cut out of the screenshot.

    Returns:
        PNGs; None where the browser shows nothing.

    """
    with TemporaryDirectory() as folder:
        cells = []
        for index, (content, _) in enumerate(pictures):
            (Path(folder) / f"{index}").write_bytes(content)
            place = f"left:{index % COLUMNS * CELL}px;top:{index // COLUMNS * CELL}px"
            cells.append(f'<img src="{index}" style="{place}" onerror="this.remove()">')
        style = "body{margin:0;background:#fff}img{position:absolute;max-width:96px;max-height:96px}"
        page = Path(folder) / "page.html"
        page.write_text(f"<!doctype html><style>{style}</style>{''.join(cells)}", encoding="utf-8")
        screenshot = Path(folder) / "screenshot.png"
        rows = -(-len(pictures) // COLUMNS)
        subprocess.run(
            [
                path,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                f"--window-size={COLUMNS * CELL},{rows * CELL + 200}",
                f"--screenshot={screenshot}",
                page.as_uri(),
            ],
            capture_output=True,
            check=True,
            timeout=120,
        )
        whole = Image.open(screenshot).convert("RGB")
    found: list[bytes | None] = []
    for index, (_, (width, height)) in enumerate(pictures):
        left, top = index % COLUMNS * CELL, index // COLUMNS * CELL
        cell = whole.crop((left, top, left + width, top + height))
        out = BytesIO()
        cell.save(out, "PNG")
        nothing = cell.getextrema() == ((255, 255),) * 3
        found.append(None if nothing else out.getvalue())
    return found
