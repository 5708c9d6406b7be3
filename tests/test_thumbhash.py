"""The placeholder: what decoders show of it is the thumbnail, roughly, and on average nearly exactly."""

import json
import shutil
import subprocess
from base64 import b64decode
from functools import partial
from io import BytesIO
from math import cos, pi

import pytest
from PIL import Image, ImageStat

from chalicelib.imaging import make_thumbnail
from chalicelib.imaging.thumbhash import thumbhash
from chalicelib.spec import Fit, ThumbnailSpec
from deploy import ROOT
from tests.pictures import chart, encode, photo

PACKAGE = ROOT / ".bench" / "node_modules" / "thumbhash" / "thumbhash.js"


def wave(x: float, y: float, across: int, down: int) -> float:
    """The value of a wave at a place of 0 to 1 in the picture."""
    return 2 * cos(pi * x * across) * cos(pi * y * down)


def decoded(placeholder: str) -> Image.Image:
    """Draw an opaque ThumbHash, as its author describes it: from the bits to the waves that are summed."""
    data = b64decode(placeholder, validate=True)
    head, tail = int.from_bytes(data[:3], "little"), int.from_bytes(data[3:5], "little")
    assert head >> 23 == 0, "it says that there is alpha"
    landscape = tail >> 15
    across, down = (7, tail & 7) if landscape else (tail & 7, 7)
    nibbles = iter([half for byte in data[5:] for half in (byte & 15, byte >> 4)])

    def waves(across: int, down: int, scale: float) -> dict[tuple[int, int], float]:
        return {
            (x, y): (next(nibbles) / 7.5 - 1) * scale
            for y in range(down)
            for x in range(across)
            if (x or y) and x * down < across * (down - y)
        }

    light = waves(max(3, across), max(3, down), (head >> 18 & 31) / 31)
    yellow = waves(3, 3, (tail >> 3 & 63) / 63 * 1.25)
    magenta = waves(3, 3, (tail >> 9 & 63) / 63 * 1.25)
    ratio = across / down
    width, height = (32, round(32 / ratio)) if ratio > 1 else (round(32 * ratio), 32)
    pixels = bytearray()
    for row in range(height):
        for column in range(width):
            basis = partial(wave, (column + 0.5) / width, (row + 0.5) / height)
            light_at, yellow_at, magenta_at = (
                mean + sum(value * basis(*at) for at, value in parts.items())
                for mean, parts in (
                    ((head & 63) / 63, light),
                    ((head >> 6 & 63) / 31.5 - 1, yellow),
                    ((head >> 12 & 63) / 31.5 - 1, magenta),
                )
            )
            blue = light_at - 2 / 3 * yellow_at
            red = (3 * light_at - blue + magenta_at) / 2
            pixels += bytes(max(0, min(255, round(255 * one))) for one in (red, red - magenta_at, blue))
    return Image.frombytes("RGB", (width, height), bytes(pixels))


def by_its_author(placeholder: str) -> Image.Image:
    """Draw a ThumbHash by the reference of its author, npm's `thumbhash`."""
    if not shutil.which("node") or not PACKAGE.exists():
        pytest.skip("the reference decoder is npm's thumbhash, which `make scorecard` installs where npm is")
    script = (
        f"import({json.dumps(PACKAGE.as_uri())}).then(({{thumbHashToRGBA}}) => {{"
        "const {w, h, rgba} = thumbHashToRGBA(Buffer.from(process.argv[1], 'base64'));"
        "console.log(JSON.stringify([w, h, [...rgba]])); });"
    )
    ran = subprocess.run(["node", "-e", script, placeholder], capture_output=True, text=True, check=True)
    width, height, rgba = json.loads(ran.stdout)
    image = Image.frombytes("RGBA", (width, height), bytes(rgba))
    assert image.getchannel("A").getextrema() == (255, 255)
    return image.convert("RGB")


PICTURES = {
    "photo": photo(300, 200),
    "upright": photo(150, 500),
    "chart": chart(),
    "strip": photo(600, 12),
    "one pixel": Image.new("RGB", (1, 1), (200, 40, 90)),
    "black": Image.new("RGB", (50, 50)),
    "white": Image.new("RGB", (50, 50), "white"),
    "blue": Image.new("RGB", (9, 90), (0, 0, 255)),
    "gradient": Image.linear_gradient("L").convert("RGB"),
    "grey": Image.effect_noise((80, 60), 40).convert("RGB"),
}


@pytest.mark.parametrize("decode", [decoded, by_its_author])
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("fit", Fit)
def test_it_decodes_to_the_mean_colour_of_the_thumbnail(name: str, fit: Fit, decode: object) -> None:
    made = make_thumbnail(encode(PICTURES[name], "PNG"), ThumbnailSpec(fit=fit), max_pixels=10**6)
    assert len(made.placeholder) <= 36
    assert callable(decode)
    shown = decode(made.placeholder)
    with Image.open(BytesIO(made.content)) as thumbnail:
        expected = ImageStat.Stat(thumbnail).mean
    assert ImageStat.Stat(shown).mean == pytest.approx(expected, abs=6)


@pytest.mark.parametrize("name", ["photo", "upright", "gradient"])
def test_it_looks_like_the_picture(name: str) -> None:
    image = PICTURES[name]
    shown = decoded(thumbhash(image))
    assert (shown.width > shown.height) == (image.width > image.height)
    light = image.convert("L").resize((8, 8), Image.Resampling.BOX).tobytes()
    pairs = list(zip(shown.convert("L").resize((8, 8), Image.Resampling.BOX).tobytes(), light, strict=True))
    assert sum(abs(one - other) for one, other in pairs) / len(pairs) < 16


def test_a_large_picture_has_the_hash_of_its_small_self() -> None:
    """Averaging to 32 pixels first costs at most the last bit of a coefficient."""
    image = photo(96, 64)
    small = image.resize((32, 21), Image.Resampling.BOX)
    assert ImageStat.Stat(decoded(thumbhash(image))).mean == pytest.approx(
        ImageStat.Stat(decoded(thumbhash(small))).mean, abs=3
    )
