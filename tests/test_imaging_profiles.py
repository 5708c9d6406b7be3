"""Embedded profiles that are large or broken: what is left out, and what stays in memory."""

import struct
import tracemalloc
from collections import OrderedDict
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms

from chalicelib.imaging import check, colour, headers
from chalicelib.imaging.headers.header import MAX_PROFILE
from chalicelib.imaging.profiles import for_conversion
from tests.pictures import encode
from tests.test_imaging_formats import WITH_PROFILE, assert_all, decoded, swapped_profile

STORED, BY_PROFILE = (30, 180, 60), (180, 30, 60)


def bitmap(profile: bytes) -> bytes:
    """A bitmap whose header is of version 5, which alone can embed a profile."""
    pixels = bytes(reversed(STORED)) * 120 * 80
    info = struct.pack("<IiiHHIIiiII", 124, 120, 80, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    info += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    head = struct.pack("<2sIHHI", b"BM", 14 + len(info) + len(pixels) + len(profile), 0, 0, 14 + len(info))
    return head + info + pixels + profile


def with_profile(source_format: str, profile: bytes) -> bytes:
    if source_format == "BMP":
        return bitmap(profile)
    options: dict[str, Any] = {"quality": 95} if source_format in {"JPEG", "WEBP", "AVIF"} else {}
    return encode(Image.new("RGB", (120, 80), STORED), source_format, icc_profile=profile, **options)


@pytest.mark.parametrize("source_format", [*WITH_PROFILE, "BMP"])
def test_a_profile_that_is_too_large_counts_as_none(source_format: str) -> None:
    profile = swapped_profile().ljust(MAX_PROFILE, b"\0")
    content = with_profile(source_format, profile)
    assert headers.read(content)[1].profile == profile
    assert_all(decoded(content), BY_PROFILE, tolerance=8)
    content = with_profile(source_format, profile + b"\0")
    assert check(content, max_pixels=120 * 80) is not None
    assert headers.read(content)[1].profile is None
    assert_all(decoded(content), STORED, tolerance=8)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "_transforms", OrderedDict(), raising=False)


def profiles(kind: str, count: int) -> Iterator[bytes]:
    """Different profiles of a megabyte, made as they are asked for."""
    start = swapped_profile() if kind == "valid" else b"nonsense"
    for number in range(count):
        yield start.ljust(1_000_000, b"\0") + bytes((number,))


@pytest.mark.parametrize("kind", ["valid", "broken"])
def test_profiles_do_not_stay_in_memory(kind: str) -> None:
    image = Image.new("RGB", (4, 4), STORED)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for profile in profiles(kind, 20):
            expected = BY_PROFILE if kind == "valid" else STORED
            assert_all(colour.to_srgb(image, profile)[0], expected, tolerance=8)
        del profile
        assert tracemalloc.get_traced_memory()[0] - before < 500_000
    finally:
        tracemalloc.stop()


def test_broken_profiles_drive_out_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = ImageCms.buildTransform

    def counted(*arguments: Any) -> ImageCms.ImageCmsTransform:
        built.append(arguments[2])
        return build(*arguments)

    monkeypatch.setattr(ImageCms, "buildTransform", counted)
    image = Image.new("RGB", (4, 4), STORED)
    valid = swapped_profile()
    for profile in (valid, *profiles("broken", 20), valid):
        colour.to_srgb(image, profile)
    assert built == ["RGB"]


def test_the_profiles_that_were_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def noted(content: bytes) -> BytesIO:
        opened.append(content)
        return BytesIO(content)

    monkeypatch.setattr(colour, "BytesIO", noted)
    image = Image.new("RGB", (4, 4), STORED)
    others, another = list(profiles("valid", 16)), swapped_profile()
    for profile in [*others, others[0], another, others[0], others[1]]:
        colour.to_srgb(image, profile)
    assert opened == list(map(for_conversion, [*others, another, others[1]]))
