"""Photo-like pictures, made by a seeded generator and kept in a folder that git ignores.

Overlapping shapes of all sizes, gradients, and texture with the 1/f spectrum of natural scenes under a little
sensor noise: statistics that make files as large, and decoders as busy, as photos do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import hypot
from pathlib import Path
from typing import Any
from zlib import compress, crc32

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.imaging.contenders import INSTALLED
from tests.pictures import chunk
from tests.samples import containers, pictures, profiles
from tests.samples.colour import to_linear

FOLDER = INSTALLED / f"corpus-{crc32(Path(__file__).read_bytes()):08x}"
"""Another one after every change of this module."""

SMALL = (300, 362)


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of the corpus: its name without a dot, what it is in words, its size, and how to write it."""

    name: str
    title: str
    size: tuple[int, int]
    write: Callable[[Path, tuple[int, int]], None]

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.size[0] * self.size[1] / 1e6

    @property
    def format(self) -> str:
        """The file's format, as `--only` takes it."""
        return self.name.split("-")[0]

    def path(self) -> Path:
        """Where the file is; writes it first if need be."""
        path = FOLDER / self.name
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            self.write(unfinished, self.size)
            unfinished.rename(path)
        return path


def photo(size: tuple[int, int], seed: int = 1) -> Image.Image:
    """A picture with the statistics of a photo; the same seed and size give the same picture."""
    width, height = size
    random = np.random.default_rng(seed)
    scene = _shapes(size, random)
    texture = _texture(size, random)
    noise = random.standard_normal((height, width), dtype=np.float32)
    channels = []
    for plane, gain in zip(scene.split(), (1.0, 0.9, 0.8), strict=True):
        values = np.asarray(plane, dtype=np.float32)
        values = values * (1 + texture * (0.16 * gain)) + noise * 2
        channels.append(Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)))
    return Image.merge("RGB", channels)


def _shapes(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A sky over dead leaves: shapes whose sizes follow a power law, as those of things in photos do."""
    width, height = size
    ramp = Image.linear_gradient("L").resize(size)
    scene = Image.merge(
        "RGB", [ramp.point(lambda value, low=low: low + value // 3) for low in (70, 110, 150)]
    )
    draw = ImageDraw.Draw(scene)
    diagonal = hypot(width, height)
    for _ in range(900):
        reach = diagonal * 0.004 / max(0.02, random.random())
        x, y = random.random() * width, (0.25 + 0.8 * random.random()) * height
        grey = random.integers(20, 235)
        colour = tuple(int(np.clip(grey + random.integers(-45, 46), 0, 255)) for _ in range(3))
        angles = np.sort(random.random(random.integers(3, 9))) * 2 * np.pi
        radii = reach * (0.5 + 0.5 * random.random(angles.size))
        corners = [(x + r * np.cos(a), y + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]
        if random.random() < 0.5:
            draw.ellipse((x - reach / 2, y - reach / 3, x + reach / 2, y + reach / 3), fill=colour)
        else:
            draw.polygon(corners, fill=colour)
    return scene


def _texture(size: tuple[int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """Noise of standard deviation about 1 whose amplitude falls as 1/f: every octave carries the same share.

    The two finest octaves are damped, as by a lens.
    """
    width, height = size
    octaves = max(1, min(width, height).bit_length() - 3)
    field = np.zeros((4, 4), dtype=np.float32)
    for octave in reversed(range(octaves)):
        shape = (max(4, width >> octave), max(4, height >> octave))
        damped = {0: 0.35, 1: 0.7}.get(octave, 1.0)
        field = np.asarray(Image.fromarray(field).resize(shape, Image.Resampling.BICUBIC))
        field = field + damped * random.standard_normal((shape[1], shape[0]), dtype=np.float32)
    return field / np.float32(octaves**0.5)


def _with_pillow(path: Path, size: tuple[int, int], kind: str, mode: str = "RGB", **options: Any) -> None:
    image = photo(size)
    if mode == "RGBA":
        # A vignette: opaque inside, fading out to transparent corners.
        image.putalpha(Image.radial_gradient("L").resize(size).point(lambda far: min(255, (255 - far) * 3)))
    elif mode == "P":
        image = image.quantize(255)
    elif mode == "CMYK":
        image = _inked(image)
    image.save(path, kind, **options)


def _inked(image: Image.Image) -> Image.Image:
    """Separate into inks, black in place of most of the grey."""
    inks = 255 - np.asarray(image)
    black = (inks.min(axis=2) * 0.8).astype(np.uint8)
    planes = [Image.fromarray(inks[..., index] - black) for index in range(3)]
    return Image.merge("CMYK", [*planes, Image.fromarray(black)])


def _png_paeth(path: Path, size: tuple[int, int]) -> None:
    """Filter all rows by Paeth, as libpng's encoder does with most rows of photos."""
    here = np.asarray(photo(size)).astype(np.int16)
    left, above, corner = (np.zeros_like(here) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = here[:, :-1], here[:-1], here[:-1, :-1]
    # PNG specification, 9.4: the neighbour that is nearest to left + above - corner, in this order.
    far = [abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)]
    nearest = np.where(
        (far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], above, corner)
    )
    rows = (here - nearest).astype(np.uint8).reshape(size[1], -1)
    filtered = np.insert(rows, 0, 4, axis=1).tobytes()
    out = BytesIO()
    Image.new("RGB", size).save(out, "PNG")
    path.write_bytes(out.getvalue()[:33] + chunk(b"IDAT", compress(filtered)) + chunk(b"IEND", b""))


def _heic(path: Path, size: tuple[int, int], tile: tuple[int, int]) -> None:
    image = photo(size)
    tiles = []
    for top in range(0, image.height, tile[1]):
        for left in range(0, image.width, tile[0]):
            part = image.crop((left, top, left + tile[0], top + tile[1]))
            out = BytesIO()
            pillow_heif.from_pillow(part).save(out, quality=60, enc_params={"preset": "veryfast"})
            tiles.append(containers.coded(out.getvalue()))
    path.write_bytes(containers.heif(tiles, tile, size[0] // tile[0]))


def _jpeg_p3(path: Path, size: tuple[int, int]) -> None:
    profile = profiles.rgb_profile("Display P3", profiles.DISPLAY_P3, profiles.tone_curve(to_linear))
    _with_pillow(path, size, "JPEG", quality=90, icc_profile=profile)


def _jpeg_cmyk(path: Path, size: tuple[int, int]) -> None:
    # 11 nodes to a side make a profile of 90 KB, tables as printers' profiles have.
    profile = profiles.cmyk_profile("inks", pictures.printed, grid=11)
    _with_pillow(path, size, "JPEG", mode="CMYK", quality=90, icc_profile=profile)


_JPEG = partial(_with_pillow, kind="JPEG", quality=90)
_PROGRESSIVE = partial(_with_pillow, kind="JPEG", quality=90, progressive=True)

SAMPLES = [
    Sample("jpeg-2", "JPEG 2 MP", (1632, 1224), _JPEG),
    Sample("jpeg-12", "JPEG 12 MP", (4000, 3000), _JPEG),
    Sample("jpeg-24", "JPEG 24 MP", (6000, 4000), _JPEG),
    Sample("jpeg-50", "JPEG 50 MP", (8688, 5792), _JPEG),
    Sample("jpeg-12-p3", "JPEG 12 MP, Display P3", (4000, 3000), _jpeg_p3),
    Sample("jpeg-12-cmyk", "JPEG 12 MP, CMYK", (4000, 3000), _jpeg_cmyk),
    Sample("jpeg-8-progressive", "progressive JPEG 8 MP", (3264, 2448), _PROGRESSIVE),
    Sample("jpeg-12-progressive", "progressive JPEG 12 MP", (4000, 3000), _PROGRESSIVE),
    Sample("png-12", "PNG 12 MP, RGB", (4000, 3000), partial(_with_pillow, kind="PNG")),
    Sample("png-12-paeth", "PNG 12 MP, RGB, all rows by Paeth", (4000, 3000), _png_paeth),
    Sample("png-4-alpha", "PNG 4 MP, RGBA", (2448, 1632), partial(_with_pillow, kind="PNG", mode="RGBA")),
    Sample("webp-12", "WebP 12 MP", (4000, 3000), partial(_with_pillow, kind="WEBP", quality=80)),
    Sample("avif-4", "AVIF 4 MP", (2448, 1632), partial(_with_pillow, kind="AVIF", quality=70, speed=8)),
    Sample("heic-12", "HEIC 12 MP, tiles of 512 x 512", (4096, 3072), partial(_heic, tile=(512, 512))),
    Sample("gif-1", "GIF 1 MP", (1200, 900), partial(_with_pillow, kind="GIF", mode="P")),
    Sample("jpeg-small", "JPEG 300 x 362", SMALL, _JPEG),
    Sample("png-small", "PNG 300 x 362", SMALL, partial(_with_pillow, kind="PNG")),
    Sample("webp-small", "WebP 300 x 362", SMALL, partial(_with_pillow, kind="WEBP", quality=80)),
    Sample("gif-small", "GIF 300 x 362", SMALL, partial(_with_pillow, kind="GIF", mode="P")),
    Sample("avif-small", "AVIF 300 x 362", SMALL, partial(_with_pillow, kind="AVIF", quality=70, speed=8)),
    Sample("heic-small", "HEIC 300 x 362", SMALL, partial(_heic, tile=SMALL)),
]
"""All files, in the order of the tables."""

QUICK = ("jpeg-2", "jpeg-small", "png-small", "webp-small", "gif-small")
"""The files of `--quick`: small, and none that is slow to write."""
