"""`make screenshots`: docs/page-light.png and docs/page-dark.png, taken of the running service."""

import math
import sys
from io import BytesIO
from typing import Literal

from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, HOW_TO_GET_ONE, PROGRAM
from tests.browser.steps import scroll_through
from tests.service import ROOT, Service, eventually

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_SKIES = {
    "Morning in the hills.jpg": ((250, 214, 165), (122, 167, 199), 0.62),
    "IMG_8932.png": ((255, 244, 214), (86, 156, 214), 0.25),
    "Evening.heic": ((250, 140, 90), (88, 60, 120), 0.7),
    "dunes-03.tif": ((240, 220, 180), (180, 205, 220), 0.4),
    "North.webp": ((200, 225, 230), (60, 90, 130), 0.5),
    "Été à la mer.jpg": ((255, 200, 190), (150, 170, 220), 0.55),
}


def landscape(low: tuple[int, int, int], high: tuple[int, int, int], sun: float, seed: int) -> bytes:
    """Draw hills below a sky that goes from one colour to another."""
    width, height = 900, 900
    image = Image.new("RGB", (1, height))
    for y in range(height):
        part = min(1.0, y / (height * 0.65))
        image.putpixel((0, y), tuple(round(h + (lo - h) * part) for h, lo in zip(high, low, strict=True)))
    image = image.resize((width, height))
    draw = ImageDraw.Draw(image)
    at = width * (0.25 + 0.5 * (seed % 3) / 2), height * sun
    draw.circle(at, 70, fill=(255, 250, 230))
    for layer in range(3):
        base, shade = height * (0.62 + 0.12 * layer), 0.75 - 0.2 * layer
        line = [
            (
                x,
                base
                - 70 * math.sin(x / (120 + 60 * layer) + seed * (layer + 1))
                - 30 * math.sin(x / 47 + seed),
            )
            for x in range(0, width + 1, 5)
        ]
        colour = tuple(round(channel * shade) for channel in high)
        draw.polygon([*line, (width, height), (0, height)], fill=colour)
    out = BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def fill(service: Service, page: Page) -> None:
    """Let the page have pictures that are ready, one that failed, and one that is on its way."""
    for seed, (name, (low, high, sun)) in enumerate(reversed(_SKIES.items())):
        service.wait_for_end(service.upload(landscape(low, high, sun, seed), name)["id"])
    damaged = landscape((200, 200, 200), (90, 90, 90), 0.5, 1)
    service.wait_for_end(service.upload(damaged[: len(damaged) // 3], "damaged.jpg")["id"])
    page.goto(service.url)
    expect(page.get_by_role("listitem")).to_have_count(len(_SKIES) + 1)
    scroll_through(page)
    expect(page.get_by_role("img")).to_have_count(len(_SKIES))
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 150_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", limits)
    large = damaged + bytes(1_000_000)
    page.get_by_label("Choose pictures").set_input_files(
        {"name": "DSC_0417.jpg", "mimeType": "image/jpeg", "buffer": large}
    )
    bar = page.get_by_role("progressbar")
    eventually(lambda: bool(bar.evaluate("bar => bar.value > .4")), 20)


def main() -> None:
    """Write the files."""
    if PROGRAM is None:
        sys.exit(f"screenshots: {HOW_TO_GET_ONE}")
    with Service() as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        page = browser.new_page(
            viewport={"width": 900, "height": 600}, locale="en-GB", reduced_motion="reduce"
        )
        fill(service, page)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            shot = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
            small = shot.quantize(palette=shot.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
            small.save(ROOT / "docs" / f"page-{scheme}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
