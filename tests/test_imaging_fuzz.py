"""Damaged pictures: whatever the bytes, the outcome is a thumbnail or one of our errors.

Warnings count as errors here (see pyproject.toml). `make fuzz` runs the last test for as long as is asked.
"""

import base64
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chalicelib.errors import PictureError
from chalicelib.imaging import check, make_thumbnail
from chalicelib.spec import Fit, ThumbnailSpec
from tests import heif_kinds, jpegs, pictures
from tests.cost import cpu_within
from tests.pictures import chart, encode, photo
from tests.test_imaging_bmp import ALPHA_MASKS, MASKS, bmp, masked
from tests.test_imaging_camera_colours import told_colours
from tests.test_imaging_formats import CHARTS, cmyk_jpeg, swapped_profile
from tests.test_imaging_gif import gif
from tests.test_imaging_png import KINDS, picture
from tests.test_imaging_tiff import BY_NAME
from tests.tiff_pixels import SIZE
from tests.tiffs import Written, write

MAX_PIXELS = 1_000_000
MAX_SECONDS = 5
SPECS = [ThumbnailSpec(20, 30), ThumbnailSpec(50, 50, fit=Fit.CONTAIN)]

ODD_TIFFS = [
    "grey of 12 bits, black is 0", "grey of 16 bits, white is 0, alpha", "RGB of 10 bits",
    "RGB of 16 bits, multiplied by alpha", "CMYK of 8 bits, alpha", "palette of 4 bits, 8 in the map, alpha",
    "CIE L*a*b* of 16 bits, alpha", "float of 16, RGB", "not a number, 3 of 32", "no data: -9999, 3 of 32",
    "unsigned of 32", "measured, signed of 16",
]  # fmt: skip
"""Kinds of TIFF that Pillow does not read."""


def masked_bmp(kind: str) -> bytes:
    bits, masks = (MASKS | ALPHA_MASKS)[kind]
    return bmp(masked(masks), bits, compression=6 if len(masks) > 3 else 3, masks=masks)


def odd_tiff(name: str, number: int) -> bytes:
    """One of `ODD_TIFFS`: in strips that are not compressed, or in tiles that are."""
    kind = BY_NAME[name]
    ways: tuple[dict[str, Any], ...] = (
        {"rows": 7, "order": ">"},
        {"tile": 16, "compression": "deflate", "separate": len(name) % 2 == 1},
    )
    return write(SIZE, kind.pixel, replace(kind.how, **ways[number]))


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
    "TIFF in YCbCr": lambda: write(
        (40, 30), lambda x, y: (x * 6, 90, y * 8), Written(6, subsampling=(2, 1), rows=8)
    ),
    "TIFF of 16 bits": lambda: pictures.gray_tiff((32, 32), 16, bytes(range(256)) * 8, photometric=0),
    "BMP in runs": lambda: pictures.bmp((16, 16), 8, 1, bytes(1024), b"\x10\1\0\0" * 16 + b"\0\1"),
    **{f"PNG {kind}": partial(picture, *kind, interlaced=True) for kind in KINDS},
    "PNG with a transparent colour of 16 bits": lambda: picture(
        16, 2, interlaced=False, transparency=b"\1\2\3\4\5\6"
    ),
    "GIF with a small frame": lambda: gif((31, 17, 50, 41), transparent=1),
    "JPEG without its end": lambda: encode(chart(64, 48), "JPEG")[:-2],
    "progressive JPEG without its end": lambda: encode(chart(64, 48), "JPEG", progressive=True)[:-2],
    "JPEG 4:1:1": lambda: jpegs.write(photo(70, 50), ((4, 1), (1, 1), (1, 1)), restart=2),
    **{f"BMP {kind}": partial(masked_bmp, kind) for kind in ("444", "10 10 10 2", "1555")},
    "BMP of 2 bits": lambda: bmp(lambda x, y: (x + y) % 4, 2, palette=[(9, 9, 9), (200, 9, 9), (9, 9, 200)]),
    **{f"TIFF, {name}, {number}": partial(odd_tiff, name, number) for name in ODD_TIFFS for number in (0, 1)},
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
    try:
        with cpu_within(MAX_SECONDS):
            check(content, max_pixels=MAX_PIXELS)
            thumbnail = make_thumbnail(content, spec, max_pixels=MAX_PIXELS)
    except PictureError as error:
        return type(error).__name__ if str(error).endswith(".") else f"no sentence: {error}"
    assert thumbnail.content.startswith(b"\xff\xd8")
    assert 1 <= thumbnail.width <= spec.width
    assert 1 <= thumbnail.height <= spec.height
    return "thumbnail"


@pytest.mark.slow
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
@pytest.mark.slow
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
