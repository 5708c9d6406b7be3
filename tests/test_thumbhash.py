"""The placeholder: what decoders show of it is the thumbnail, roughly, and on average nearly exactly."""

import json
import shutil
import subprocess
from io import BytesIO

import pytest
from PIL import Image, ImageStat

from chalicelib.imaging import make_thumbnail
from chalicelib.imaging.thumbhash import thumbhash
from chalicelib.spec import Fit, ThumbnailSpec
from deploy import ROOT
from tests.pictures import chart, encode, photo
from tests.thumbhashes import decoded

PACKAGE = ROOT / ".bench" / "node_modules" / "thumbhash" / "thumbhash.js"


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
    """Averaging to 16 pixels first costs at most the last bit of a coefficient."""
    image = photo(96, 64)
    small = image.resize((16, 11), Image.Resampling.BOX)
    assert ImageStat.Stat(decoded(thumbhash(image))).mean == pytest.approx(
        ImageStat.Stat(decoded(thumbhash(small))).mean, abs=3
    )
