"""What a crop by attention keeps and costs, beside one in the middle and libvips' attention.

    make bench-crop                     installs what is compared with, writes the tables into docs/imaging.md
    python -m benchmarks.imaging.crop   with what is installed here, to the terminal

The times are those of the processor, taken turn by turn in this process: their ratios hold on a busy machine.
"""

import argparse
import random
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from time import process_time

from PIL import Image

from benchmarks import documents
from benchmarks.imaging.contenders import ROOT
from benchmarks.imaging.corpus import SAMPLES, Sample
from benchmarks.imaging.measure import REPEAT_SMALL, SMALL_MEGAPIXELS, ratio
from chalicelib.imaging import attention, make_thumbnail
from chalicelib.imaging.geometry import plan
from chalicelib.spec import Crop, ThumbnailSpec
from tests.samples.scenes import COUNT, Scene, scene

PAGE = ROOT / "docs" / "imaging.md"
MIDDLE, ATTENTION = ThumbnailSpec(), ThumbnailSpec(crop=Crop.ATTENTION)
ROUNDS = 15
TIMED = (
    "jpeg-small",
    "png-small",
    "webp-small",
    "gif-small",
    "jpeg-2",
    "jpeg-12",
    "jpeg-12-progressive",
    "png-12",
    "webp-12",
    "gif-1",
    "avif-4",
)
WINDOWS = 8
"""Cut out of each photograph: its subject lies elsewhere in each."""
SHAPES = (4 / 3, 3 / 2, 16 / 9, 2, 3 / 4, 2 / 3, 9 / 16, 1 / 2)
SUBJECTS = {
    "astronaut": (0.29, 0.0, 0.58, 0.37),
    "camera": (0.32, 0.11, 0.53, 0.37),
    "cat": (0.28, 0.23, 0.76, 0.92),
    "coffee": (0.26, 0.0, 0.70, 0.75),
    "rocket": (0.46, 0.30, 0.54, 0.98),
}
"""Photographs of scikit-image's: left, top, right and bottom of the head or the thing, marked by hand, as
fractions of the picture."""

Part = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a crop in pixels of the upright picture."""


def kept(image: Image.Image, spec: ThumbnailSpec, start: tuple[int, int] | None = None) -> Part:
    """The part of an upright picture that becomes its thumbnail.

    Args:
        image: of mode RGB.
        spec: box and crop; the picture is at least as large as the box.
        start: where attention has cut what it could choose from, if that is known.

    """
    wanted = plan(*image.size, 1, spec)
    if spec.crop is not Crop.ATTENTION:
        return wanted.box
    across, down = wanted.factors
    small = image.resize(wanted.size, Image.Resampling.LANCZOS, wanted.box)
    columns, rows = start or attention.place(small, (spec.width, spec.height), spec.background)
    left, top = wanted.box[0] + columns * across, wanted.box[1] + rows * down
    return left, top, left + spec.width * across, top + spec.height * down


def by_libvips(image: Image.Image) -> Part:
    """The square that libvips' `smartcrop` cuts out by attention."""
    pyvips = import_module("pyvips")  # not there where the alternatives are not installed
    side = min(image.size)
    whole = pyvips.Image.new_from_memory(image.tobytes(), *image.size, 3, "uchar")
    part = whole.copy(interpretation="srgb").smartcrop(side, side, interesting="attention")
    return -part.xoffset, -part.yoffset, side - part.xoffset, side - part.yoffset


def photographs() -> list[Scene]:
    """Windows of photographs whose subjects were marked; the same ones each time."""
    data = import_module("skimage.data")
    chosen = random.Random(1)
    found = []
    for name, fractions in SUBJECTS.items():
        image = Image.fromarray(getattr(data, name)()).convert("RGB")
        width, height = image.size
        box = [round(part * side) for part, side in zip(fractions, (width, height) * 2, strict=True)]
        for _ in range(WINDOWS):
            window = _window((width, height), (box[0], box[1], box[2], box[3]), chosen)
            left, top = window[:2]
            moved = box[0] - left, box[1] - top, box[2] - left, box[3] - top
            found.append(Scene(name, image.crop(window), moved))
    return found


def _window(
    size: tuple[int, int], box: tuple[int, int, int, int], chosen: random.Random
) -> tuple[int, int, int, int]:
    """Choose a window with all of the box in it, whose middle square has room for the box."""
    while True:
        shape, width = chosen.choice(SHAPES), int(chosen.uniform(0.4, 1) * size[0])
        height = int(width / shape)
        needed = max(box[2] - box[0], box[3] - box[1]) / 0.95
        lefts = max(0, box[2] - width), min(box[0], size[0] - width)
        tops = max(0, box[3] - height), min(box[1], size[1] - height)
        if min(width, height) >= needed and lefts[0] <= lefts[1] and tops[0] <= tops[1]:
            left, top = chosen.randint(*lefts), chosen.randint(*tops)
            return left, top, left + width, top + height


def subjects() -> str:
    """Count the pictures whose subject a square crop keeps whole, to a pixel of a thumbnail of 100 x 100."""
    ways: dict[str, Callable[[Image.Image], Part]] = {
        "middle": lambda image: kept(image, MIDDLE),
        "attention": lambda image: kept(image, ATTENTION),
    }
    sets = {"drawn": [scene(seed) for seed in range(COUNT)]}
    sets["drawn, four times as many"] = [scene(seed) for seed in range(COUNT, 5 * COUNT)]
    if find_spec("skimage"):
        sets["photographs"] = photographs()
    if find_spec("pyvips"):
        ways["libvips' attention"] = by_libvips
    rows = [f"| pictures | | {' | '.join(ways)} |", "|---|---:|" + "---:|" * len(ways)]
    for name, scenes in sets.items():
        counts = [
            sum(one.is_within(way(one.image), min(one.image.size) / 100) for one in scenes)
            for way in ways.values()
        ]
        shares = " | ".join(f"{100 * count / len(scenes):.0f} %" for count in counts)
        rows.append(f"| {name} | {len(scenes)} | {shares} |")
    return "\n".join(rows)


def times(samples: list[Sample], rounds: int) -> str:
    """Time thumbnails of 100 x 100 with either crop, in turns."""
    rows = ["| picture | attention, ms | times the middle | quartiles |", "|---|---:|---:|---:|"]
    for sample in samples:
        content = sample.path().read_bytes()
        repeat = REPEAT_SMALL if sample.megapixels < SMALL_MEGAPIXELS else 1
        taken: dict[ThumbnailSpec, list[float]] = {MIDDLE: [], ATTENTION: []}
        for number in range(rounds + 1):
            for spec in (MIDDLE, ATTENTION) if number % 2 else (ATTENTION, MIDDLE):
                start = process_time()
                for _ in range(repeat):
                    make_thumbnail(content, spec, max_pixels=100_000_000)
                taken[spec].append((process_time() - start) / repeat)
        found = ratio(taken[ATTENTION][1:], taken[MIDDLE][1:])  # the first round warms up
        milliseconds = sorted(taken[ATTENTION][1:])[rounds // 2] * 1000
        rows.append(
            f"| {sample.title} | {milliseconds:.1f} | {found.median:.2f} "
            f"| {found.low:.2f} to {found.high:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure and print; with `--write` into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two small pictures, few rounds")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    names = ("jpeg-small", "jpeg-2") if options.quick else TIMED
    samples = [sample for sample in SAMPLES if sample.name in names]
    text = f"{subjects()}\n\n{times(samples, 3 if options.quick else ROUNDS)}"
    print(text)
    if options.write:
        documents.write(PAGE, "bench-crop", text)


if __name__ == "__main__":
    main()
