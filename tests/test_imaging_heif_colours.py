"""AVIF in BT.2020's luma and chroma of narrow range, with an ICC profile beside that, in any order."""

from dataclasses import replace
from functools import cache

import pytest
from PIL import Image, ImageCms

from chalicelib.imaging.colour import to_srgb
from chalicelib.imaging.spaces import Levels, of_cicp
from chalicelib.spec import Fit, ThumbnailSpec
from tests.pictures import encode
from tests.samples import containers
from tests.samples.containers import Coded
from tests.test_imaging_formats import at, decoded, near
from tests.test_imaging_spaces import with_cicp

SIZE = (96, 64)
STRIPES = [(255, 255, 255), (0, 0, 0), (200, 60, 40), (40, 160, 60)]
AS_BT2020 = [(255, 255, 255), (0, 0, 0), (205, 65, 40), (36, 149, 61)]
"""The stripes, whose luma and chroma are BT.601's, by BT.2020's matrix."""
BT2020, PQ, SRGB = 9, 16, 13


@cache
def stripes() -> Coded:
    """In narrow range."""
    image = Image.new("RGB", SIZE)
    for index, colour in enumerate(STRIPES):
        image.paste(colour, (24 * index, 0, 24 * index + 24, 64))
    return containers.coded(encode(image, "AVIF", quality=95, range="limited", subsampling="4:4:4"))


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", [b"prof", b"rICC"])
def test_levels_do_not_depend_on_the_order_of_numbers_and_profile(kind: bytes, order: int) -> None:
    colours = [containers.nclx(BT2020, PQ, 9, full_range=False), kind + srgb_profile()][::order]
    content = containers.heif([stripes()], SIZE, colours=colours)
    found = decoded(content, ThumbnailSpec(fit=Fit.CONTAIN))
    seen = [at(found, (index + 0.5) / 4, 0.5) for index in range(4)]
    assert all(near(*pair, 3) for pair in zip(seen, AS_BT2020, strict=True)), seen


def test_levels_do_not_depend_on_the_order_where_the_profile_names_pq() -> None:
    numbers = containers.nclx(BT2020, SRGB, 9, full_range=False)
    profile = b"prof" + with_cicp(BT2020, PQ, 0, 1)
    first, second = (
        decoded(containers.heif([stripes()], SIZE, colours=colours))
        for colours in ([numbers, profile], [profile, numbers])
    )
    assert first.tobytes() == second.tobytes()
    assert near(at(first, 0.37, 0.5), (0, 0, 0), 3)


@pytest.mark.parametrize("levels", Levels)
def test_a_profile_that_names_pq_leaves_the_levels_to_the_file(levels: Levels) -> None:
    image = Image.new("RGB", (4, 4), (120, 90, 60))
    numbers, told = of_cicp(BT2020, SRGB, levels), of_cicp(BT2020, PQ)
    assert told is not None
    found, _ = to_srgb(image, with_cicp(BT2020, PQ, 0, 1), numbers)
    expected, _ = to_srgb(image, None, replace(told, levels=levels))
    assert found.tobytes() == expected.tobytes()
