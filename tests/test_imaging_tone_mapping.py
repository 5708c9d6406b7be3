"""What becomes of pictures that are brighter than a screen: PQ and HLG."""

from itertools import pairwise

import pytest
from PIL import Image

from chalicelib.imaging import spaces, tone_mapping
from tests.test_imaging_formats import near
from tests.test_imaging_spaces import BT2020, HLG, PQ, WHITE, pq, shown

# What Chromium 156 shows of 24 even steps of light up to a peak, where the file says that this is the peak.
CHROMIUM = {
    400: "0 73 103 124 142 157 170 183 194 204 214 224 232 237 241 243 246 247 249 251 252 253 254 255",
    1000: "0 92 127 154 175 193 204 212 218 223 227 230 234 236 239 242 244 246 248 249 251 252 254 255",
    4000: "0 175 204 213 218 223 226 230 232 235 237 239 241 243 244 246 247 248 250 251 252 253 254 255",
}


@pytest.mark.parametrize("peak", CHROMIUM)
def test_highlights_are_mapped_as_in_chromium(peak: int) -> None:
    image = Image.new("RGB", (24, 4))
    for step in range(24):
        level = round(255 * pq(peak * step / 23 / 203))
        image.paste((level, level, level), (step, 0, step + 1, 4))
    space = spaces.of_cicp(BT2020, PQ)
    assert space is not None
    found = tone_mapping.to_srgb(image, space, None)
    expected = [int(level) for level in CHROMIUM[peak].split()]
    levels = [found.getpixel((step, 0)) for step in range(24)]
    assert all(near(pixel, (level,) * 3, 3) for pixel, level in zip(levels, expected, strict=True)), levels  # type: ignore[arg-type]


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_tones_rise_without_steps(transfer: int) -> None:
    image = Image.merge("RGB", [Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90)] * 3)
    space = spaces.of_cicp(BT2020, transfer)
    assert space is not None
    row = tone_mapping.to_srgb(image, space, None).convert("L").crop((0, 0, 256, 1)).tobytes()
    assert all(one <= other <= one + 12 for one, other in pairwise(row))
    assert (row[0], row[-1]) == (0, 255)


def test_sparks_and_what_is_transparent_do_not_darken() -> None:
    grey, bright = (round(255 * pq(level)) for level in (0.2, 40))
    image = Image.new("RGB", (100, 100), (grey, grey, grey))
    space = spaces.of_cicp(BT2020, PQ)
    assert space is not None
    plain = shown(image, None, space).getpixel((99, 99))
    image.paste((bright,) * 3, (0, 0, 9, 9))
    assert shown(image, None, space).getpixel((99, 99)) == plain
    image.paste((bright,) * 3, (0, 0, 50, 50))
    lit = shown(image, None, space).getpixel((99, 99))
    assert lit != plain
    alpha = Image.new("L", (100, 100), 255)
    alpha.paste(0, (0, 0, 50, 50))
    image.putalpha(alpha)
    hidden = shown(image.convert("RGBa"), None, space)
    assert hidden.getpixel((99, 99)) == plain
    assert hidden.getpixel((5, 5)) == WHITE


@pytest.mark.parametrize("size", [(1, 1), (1, 7)])
@pytest.mark.parametrize("level", [0, 1, 255])
@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_tone_mapping_of_extremes(transfer: int, level: int, size: tuple[int, int]) -> None:
    space = spaces.of_cicp(BT2020, transfer)
    assert space is not None
    for colour in ((level, level, level), (level, 0, 0), (0, level, 255)):
        assert tone_mapping.to_srgb(Image.new("RGB", size, colour), space, None).size == size
        assert (
            tone_mapping.to_srgb(Image.new("RGB", size, colour), space, Image.new("L", size, 0)).size == size
        )
