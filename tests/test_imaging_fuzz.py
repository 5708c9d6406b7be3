"""Damaged pictures: whatever the bytes, the outcome is a thumbnail or one of our errors.

Warnings count as errors here (see pyproject.toml). `make fuzz` runs the last test for as long as is asked.
"""

import base64
import os
import struct
import time
import zlib
from collections.abc import Callable
from functools import cache, partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chalicelib.errors import PictureError
from chalicelib.imaging import check, make_thumbnail
from chalicelib.spec import Fit, ThumbnailSpec
from tests import heif_kinds, pictures
from tests.pictures import chart, encode, photo
from tests.test_imaging_camera_colours import told_colours
from tests.test_imaging_formats import CHARTS, cmyk_jpeg, swapped_profile
from tests.test_imaging_png import KINDS, picture

MAX_PIXELS = 1_000_000
MAX_SECONDS = 5
SPECS = [ThumbnailSpec(20, 30), ThumbnailSpec(50, 50, fit=Fit.CONTAIN)]

SEEDS: dict[str, Callable[[], bytes]] = {
    **{kind: make for kind, make in CHARTS.items() if "large" not in kind},
    "JPEG in CMYK": lambda: cmyk_jpeg(adobe=False),
    "JPEG with everything": lambda: encode(
        chart(64, 48),
        "JPEG",
        exif=b"Exif\0\0" + pictures.exif(6),
        icc_profile=swapped_profile(),
        comment=b"x",
    ),
    "PNG with everything": lambda: encode(
        chart(64, 48).convert("RGBA"), "PNG", exif=pictures.exif(6), icc_profile=swapped_profile()
    ),
    "WebP with everything": lambda: encode(
        chart(64, 48).convert("RGBA"), "WEBP", exif=pictures.exif(6), icc_profile=swapped_profile()
    ),
    "AVIF with everything": lambda: encode(
        chart(64, 48), "AVIF", exif=pictures.exif(6), icc_profile=swapped_profile()
    ),
    "HEIC with everything": lambda: encode(
        chart(64, 48), "HEIF", exif=pictures.exif(6), icc_profile=swapped_profile()
    ),
    "TIFF with a profile": lambda: encode(photo(64, 48), "TIFF", icc_profile=swapped_profile()),
    "TIFF of 16 bits": lambda: pictures.gray_tiff((32, 32), 16, bytes(range(256)) * 8, photometric=0),
    "BMP in runs": lambda: pictures.bmp((16, 16), 8, 1, bytes(1024), b"\x10\1\0\0" * 16 + b"\0\1"),
    **{f"PNG {kind}": partial(picture, *kind, interlaced=True) for kind in KINDS},
    **{
        f"{kind}, {name}": partial(make, kind)
        for kind in ("HEIC", "AVIF")
        for name, make in heif_kinds.KINDS.items()
    },
    **told_colours(),
}


@cache
def seed(kind: str) -> bytes:
    return SEEDS[kind]()


def outcome(content: bytes, spec: ThumbnailSpec = SPECS[0]) -> str:
    """Run the whole path; return what came of it."""
    began = time.process_time()
    try:
        check(content, max_pixels=MAX_PIXELS)
        thumbnail = make_thumbnail(content, spec, max_pixels=MAX_PIXELS)
    except PictureError as error:
        return type(error).__name__ if str(error).endswith(".") else f"no sentence: {error}"
    finally:
        assert time.process_time() - began < MAX_SECONDS
    assert thumbnail.content.startswith(b"\xff\xd8")
    assert 1 <= thumbnail.width <= spec.width
    assert 1 <= thumbnail.height <= spec.height
    return "thumbnail"


@pytest.mark.parametrize("kind", SEEDS)
def test_truncation(kind: str) -> None:
    content = seed(kind)
    # Every boundary of the header, then about a hundred places in the rest.
    step = max(1, len(content) // 100)
    outcomes = {
        outcome(content[:length])
        for length in [*range(min(len(content), 120)), *range(120, len(content), step)]
    }
    assert outcomes <= {"thumbnail", "UndecodablePicture", "UnsupportedFormat", "TooManyPixels"}
    assert "UndecodablePicture" in outcomes
    assert outcome(content) == "thumbnail"


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_every_byte_of_the_header_flipped(kind: str) -> None:
    content = seed(kind)
    for index in range(min(len(content), 250)):
        mask = (0x01, 0x80, 0xFF)[index % 3]
        outcome(content[:index] + bytes((content[index] ^ mask,)) + content[index + 1 :])


class Damaged(bytes):
    """Bytes whose representation is short enough for a report, and can be pasted into Python."""

    def __repr__(self) -> str:
        return f"zlib.decompress(base64.b85decode({base64.b85encode(zlib.compress(self, 9))!r}))"


@st.composite
def mutated(draw: st.DrawFn) -> Damaged:
    """A real file with some bytes changed, cut out, repeated, or taken from another file."""
    content = bytearray(seed(draw(st.sampled_from(sorted(SEEDS)))))
    for _ in range(draw(st.integers(1, 6))):
        # Half of the changes go to the header.
        most = min(len(content), draw(st.sampled_from([64, 400, 1 << 24])))
        at = draw(st.integers(0, max(0, most - 1)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["replace", "flip", "cut", "repeat", "graft", "extreme"])):
            case "replace":
                content[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[at : at + length]
            case "repeat":
                content[at:at] = content[at : at + length] * draw(st.integers(1, 50))
            case "graft":
                other = seed(draw(st.sampled_from(sorted(SEEDS))))
                start = draw(st.integers(0, len(other) - 1))
                content[at : at + length] = other[start : start + length]
            case "extreme":
                content[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1"])
                )
    return Damaged(content)


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "400")),
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(content=mutated(), spec=st.sampled_from(SPECS))
def test_mutations(content: bytes, spec: ThumbnailSpec) -> None:
    assert not outcome(content, spec).startswith("no sentence")


def tiff_whose_profile_is_of_longs() -> bytes:
    content = seed("TIFF with a profile")
    entry = struct.pack("<HH", 34675, 7)
    assert entry in content
    return content.replace(entry, struct.pack("<HH", 34675, 4))


def heic_whose_exif_is_of_another_type() -> bytes:
    """pi-heif's own reader of metadata crashes the process on this one."""
    content = seed("HEIC with everything")
    at = content.index(b"Exif\0")
    return content[:at] + b"Fxif" + content[at + 4 :]


# What fuzzing has found, and what it has to come to.
REPRODUCERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a profile that is no bytes": (tiff_whose_profile_is_of_longs, "thumbnail"),
    "a HEIC whose Exif is no Exif": (heic_whose_exif_is_of_another_type, "thumbnail"),
    "an offset of 64 bits": (lambda: b"II+\0\x08\0\0\0" + b"\xff" * 8, "UndecodablePicture"),
}


@pytest.mark.parametrize("name", REPRODUCERS)
def test_reproducer(name: str) -> None:
    make, expected = REPRODUCERS[name]
    assert outcome(make()) == expected
