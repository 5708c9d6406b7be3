"""Profiles that ask for more time or memory than they have bytes, and what lcms sees of a profile."""

import struct
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from chalicelib.imaging import colour, profiles
from chalicelib.imaging.headers.header import MAX_PROFILE
from tests.cost import cpu_within
from tests.pictures import encode
from tests.samples.profiles import ADOBE_RGB, cmyk_profile, gamma_curve, grey_profile, rgb_profile
from tests.test_imaging_formats import assert_all, decoded, swapped_profile
from tests.test_imaging_limits import MEASURE

STORED, BY_PROFILE = (30, 180, 60), (180, 30, 60)
IDENTITY = struct.pack(">9l", *(65536 if index % 4 == 0 else 0 for index in range(9)))
RAMP = struct.pack(">2H", 0, 65535)
CURVE = b"curv" + bytes(8)
"""A straight line."""
Tags = dict[bytes, bytes]


def with_tags(profile: bytes, tags: Tags, same: dict[bytes, bytes] | None = None) -> bytes:
    """Add tags to a profile; those of `same` are where another tag is. Its version becomes 4.3."""
    (count,) = struct.unpack_from(">L", profile, 128)
    entries = [struct.unpack_from(">4s2L", profile, 132 + 12 * index) for index in range(count)]
    contents = {name: profile[start : start + size] for name, start, size in entries} | tags
    same = same or {}
    at = 132 + 12 * (len(contents) + len(same))
    places, body = {}, b""
    for name, content in contents.items():
        places[name] = (at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    places |= {name: places[other] for name, other in same.items()}
    table = b"".join(struct.pack(">4s2L", name, *place) for name, place in places.items())
    head = struct.pack(">L", at + len(body)) + profile[4:8] + b"\x04\x30\0\0" + profile[12:128]
    return head + struct.pack(">L", len(places)) + table + body


def program(element: bytes, count: int) -> bytes:
    """Elements that are all the same bytes (multiProcessElementsType; ICC.1:2022, 10.16)."""
    places = struct.pack(">2L", 16 + 8 * count, len(element)) * count
    return b"mpet" + bytes(4) + struct.pack(">2HL", 3, 3, count) + places + element


def black(count: int) -> bytes:
    """A program whose first element makes everything black."""
    return program(b"matf" + bytes(4) + struct.pack(">2H", 3, 3) + bytes(48), count)


def tables(count: int, grid: int) -> bytes:
    head = b"clut" + bytes(4) + struct.pack(">2H", 3, 3) + bytes((grid,) * 3) + bytes(13)
    return program(head + bytes(grid**3 * 3 * 4), count)


def lut(kind: bytes, channels: tuple[int, int], grid: int, values: bytes) -> bytes:
    """A table of colours, which is to have `grid` nodes to a side, and has these values."""
    inputs, outputs = channels
    head = kind + bytes(4) + bytes((inputs, outputs, grid, 0)) + IDENTITY
    if kind == b"mft2":
        return head + struct.pack(">2H", 2, 2) + RAMP * inputs + values + RAMP * outputs
    return head + bytes(range(256)) * inputs + values + bytes(range(256)) * outputs


def mab(channels: tuple[int, int], grid: int, values: bytes, curve: bytes = CURVE) -> bytes:
    """The same in the form of version 4; all of its curves are the same bytes."""
    inputs, outputs = channels
    curves, matrix = curve * max(channels), IDENTITY + bytes(12)
    head = b"mAB " + bytes(4) + bytes((inputs, outputs, 0, 0))
    places = (32, 32 + len(curves), 32, 32 + len(curves) + len(matrix), 32)
    table = bytes((grid,) * inputs).ljust(16, b"\0") + bytes((1, 0, 0, 0)) + values
    return head + struct.pack(">5L", *places) + curves + matrix + table


def cmyk(tags: Tags) -> bytes:
    return with_tags(cmyk_profile("ink", lambda *_: (10, 20, 30), 2), tags)


SWAPPED = swapped_profile()
HOSTILE: dict[str, Callable[[], bytes]] = {
    "a program of 30,000 elements": lambda: with_tags(SWAPPED, {b"D2B0": black(30_000)}),
    "a program of 30,000 elements, for black": lambda: with_tags(SWAPPED, {b"D2B1": black(30_000)}),
    "a program of 300 tables": lambda: with_tags(SWAPPED, {b"D2B0": tables(300, 33)}),
    "a table without values, 8 bits": lambda: with_tags(SWAPPED, {b"A2B0": lut(b"mft1", (3, 3), 255, b"")}),
    "a table without values, 16 bits": lambda: with_tags(SWAPPED, {b"A2B0": lut(b"mft2", (3, 3), 255, b"")}),
    "a table without values, version 4": lambda: with_tags(SWAPPED, {b"A2B0": mab((3, 3), 255, b"")}),
    "a table without values, for black": lambda: with_tags(
        SWAPPED, {b"A2B1": lut(b"mft1", (3, 3), 255, b"")}
    ),
    "a table of 15 inks": lambda: with_tags(SWAPPED, {b"A2B0": lut(b"mft1", (15, 15), 3, b"")}),
    "a table of inks without values": lambda: cmyk({b"A2B0": lut(b"mft1", (4, 3), 80, b"")}),
}


def picture(profile: bytes) -> bytes:
    mode = "CMYK" if profile[16:20] == b"CMYK" else "RGB"
    image = Image.new(mode, (16, 16), (9, 99, 20, 1) if mode == "CMYK" else STORED)
    return encode(image, "TIFF" if mode == "CMYK" else "PNG", icc_profile=profile)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_profile_that_asks_for_much_takes_little(kind: str, tmp_path: Path) -> None:
    profile = HOSTILE[kind]()
    content = picture(profile)
    with cpu_within(1):
        thumbnail = decoded(content)
    if profile[16:20] == b"RGB ":
        assert_all(thumbnail, BY_PROFILE, tolerance=8)  # by its matrix, which it has as well
    warm = tmp_path / "warm"
    warm.write_bytes(picture(SWAPPED))
    assert measured(content, warm) < 6 * len(profile) + 16_000_000


def measured(content: bytes, warm: Path) -> int:
    """Return the bytes by which a picture raises the peak of a process that is done with `warm`."""
    command = [sys.executable, "-c", MEASURE, str(warm)]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    return int(done.stdout.split()[0])


LARGEST: dict[str, Callable[[], bytes]] = {
    "8 bits": lambda: with_tags(
        SWAPPED, {b"A2B0": lut(b"mft1", (3, 3), 110, b"\x55" * 110**3 * 3)}, {b"A2B1": b"A2B0"}
    ),
    "16 bits": lambda: with_tags(
        SWAPPED, {b"A2B0": lut(b"mft2", (3, 3), 87, b"\x55" * 87**3 * 6)}, {b"A2B1": b"A2B0"}
    ),
    "version 4": lambda: with_tags(
        SWAPPED,
        {
            b"A2B0": mab(
                (3, 3), 105, b"\x55" * 105**3 * 3, CURVE[:8] + struct.pack(">L", 32_766) + RAMP * 16_383
            )
        },
        {b"A2B1": b"A2B0"},
    ),
    "inks": lambda: cmyk({b"A2B0": lut(b"mft1", (4, 3), 33, b"\x55" * 33**4 * 3)}),
}


@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_tables_are_read_and_take_a_small_multiple(kind: str, tmp_path: Path) -> None:
    profile = LARGEST[kind]()
    assert MAX_PROFILE * 0.8 < len(profile) <= MAX_PROFILE
    mode = "CMYK" if kind == "inks" else "RGB"
    image = gradient(mode)
    with cpu_within(1):
        found, _ = colour.to_srgb(image, profile)
    assert found.tobytes() == whole(profile, image).tobytes()
    warm = tmp_path / "warm"
    warm.write_bytes(picture(SWAPPED if mode == "RGB" else cmyk({})))
    assert measured(picture(profile), warm) < 12 * MAX_PROFILE + 16_000_000


def whole(profile: bytes, image: Image.Image) -> Image.Image:
    """Convert by a profile of which lcms sees all."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB").apply(image)


def gradient(mode: str) -> Image.Image:
    bands = [
        Image.linear_gradient("L").rotate(90 * turn)
        for turn in range(len(Image.new(mode, (1, 1)).getbands()))
    ]
    return Image.merge(mode, bands) if len(bands) > 1 else bands[0]


USUAL: dict[str, Callable[[], bytes]] = {
    "matrix": lambda: rgb_profile("a", ADOBE_RGB, gamma_curve(2.2)),
    "matrix, version 4": lambda: with_tags(SWAPPED, {}),
    "grey": lambda: grey_profile("b", 1.8),
    "inks": lambda: cmyk_profile("c", lambda *inks: tuple(200 * (1 - ink * inks[3]) for ink in inks[:3])),
    "table, version 4": lambda: with_tags(SWAPPED, {b"A2B0": mab((3, 3), 3, bytes(range(0, 243, 3)))}),
    "another black": lambda: with_tags(
        SWAPPED,
        {b"A2B1": mab((3, 3), 2, bytes(range(50, 74))), b"A2B0": mab((3, 3), 2, bytes(range(80, 104)))},
    ),
    "curves alone": lambda: with_tags(SWAPPED, {b"A2B0": mab((3, 3), 2, b"")[:16] + bytes(16) + CURVE * 3}),
}


@pytest.mark.parametrize("kind", USUAL)
def test_colours_are_those_of_the_whole_profile(kind: str) -> None:
    profile = USUAL[kind]()
    mode = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}[profile[16:20]]
    image = gradient(mode)
    assert colour.to_srgb(image, profile)[0].tobytes() == whole(profile, image).tobytes()


def test_a_profile_that_ends_anywhere() -> None:
    profile = USUAL["another black"]()
    for end in range(len(profile)):
        assert len(profiles.for_conversion(profile[:end])) <= max(end, 132)
        assert profiles.hdr_space(profile[:end]) is None
