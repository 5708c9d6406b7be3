"""What a byte buys in colour, beside 4:2:0 and beside sharp: `make bench-quality`.

    .bench/python/bin/python -m benchmarks.imaging.quality           print the tables
    .bench/python/bin/python -m benchmarks.imaging.quality --write   put them into docs/performance.md

Two judges see colours, unlike the SSIM of `benchmarks.imaging.similarity`. SSIMULACRA 2 weighs structure and
edges in XYB, a space of opponent colours: 100 is identical, and what it says is worse the more contours a
picture has for its pixels. CIEDE2000 is the colour difference of each pixel, of which the mean and the 95th
percentile are shown; 1 is just noticeable on flat ground.

The pictures are square and their thumbnails whole, so that no engine crops otherwise than another. Nothing
here is a time: the figures are the same on every machine with the same versions.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import geometric_mean, mean
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import color, data
from ssimulacra2 import compute_ssimulacra2

from benchmarks.documents import write
from benchmarks.imaging.contenders import ROOT, Worker, available, version
from benchmarks.imaging.corpus import photo
from benchmarks.imaging.report import table
from benchmarks.imaging.similarity import reference
from chalicelib.spec import ThumbnailSpec

PAGE = ROOT / "docs" / "performance.md"
SPEC = ThumbnailSpec()
SIDE = 1200
QUALITIES = (75, 80, 85, 90, 92)
SHARP_QUALITIES = range(60, 101)
"""Where sharp's quality of the same score is looked for."""

_PURE = ("red", "blue", "lime", "magenta", "cyan", "yellow", "black")
_WORDS = (
    ("SALE", "red", "white"),
    ("Menu", "white", "#0050c8"),
    ("50 %", "yellow", "#c00000"),
    ("Open", "#008000", "white"),
    ("Blue", "blue", "yellow"),
)


def text() -> Image.Image:
    """Coloured words on coloured grounds, as on a poster."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    line = SIDE // len(_WORDS)
    font = ImageFont.load_default(line - 10)
    for number, (words, ink, ground) in enumerate(_WORDS):
        draw.rectangle((0, number * line, SIDE, (number + 1) * line), fill=ground)
        draw.text((60, number * line - 25), words, font=font, fill=ink)
    return image


def saturated() -> Image.Image:
    """Stripes, discs and triangles of pure colours side by side."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for number in range(20):
        draw.rectangle((number * 60, 0, number * 60 + 60, 600), fill=_PURE[number % len(_PURE)])
    for number in range(12):
        box = (number * 100 + 10, 620, number * 100 + 90, 700)
        draw.ellipse(box, fill=_PURE[number % len(_PURE)])
    draw.polygon([(0, SIDE), (600, 720), (SIDE, SIDE)], fill="red")
    draw.polygon([(300, SIDE), (600, 820), (900, SIDE)], fill="blue")
    return image


def shipped(name: str, left: int, top: int, side: int) -> Callable[[], Image.Image]:
    """Return how to get a square of a picture that scikit-image ships."""

    def opened() -> Image.Image:
        with Image.open(Path(data.__file__).parent / name) as image:
            return image.convert("RGB").crop((left, top, left + side, top + side))

    return opened


def _kite() -> Image.Image:
    with Image.open(ROOT / "docs" / "photo.jpg") as image:
        return image.convert("RGB").crop((300, 0, 1300, 1000))


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "text in colours": text,
    "saturated edges": saturated,
    "skin: a face": shipped("astronaut.png", 125, 0, 200),
    "a person in an orange suit": shipped("astronaut.png", 6, 6, 500),
    "coffee on a table": shipped("coffee.png", 100, 0, 400),
    "a cat": shipped("chelsea.png", 80, 0, 300),
    "a motorcycle": shipped("motorcycle_left.png", 120, 0, 500),
    "the photo of the README": _kite,
    "the benchmark's photo": lambda: photo((SIDE, SIDE)),
}
"""All pictures, in the order of the tables."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A thumbnail beside the reference: bytes, SSIMULACRA 2, CIEDE2000 on average and its 95th percentile."""

    size: int
    score: float
    difference: float
    worst: float


def judge(thumbnail: bytes, right: Image.Image) -> Judged:
    """Compare a thumbnail with what it should look like; both are sRGB and of one size."""
    with Image.open(BytesIO(thumbnail)) as image:
        shown = image.convert("RGB")
    differences = color.deltaE_ciede2000(*(color.rgb2lab(np.asarray(one)) for one in (right, shown)))
    kept = BytesIO()
    right.save(kept, "PNG")
    return Judged(
        len(thumbnail),
        float(compute_ssimulacra2(kept, BytesIO(thumbnail))),
        float(differences.mean()),
        float(np.percentile(differences, 95)),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one picture; `by_quality` has this service's picture as 4:4:4 and as 4:2:0."""

    name: str
    by_quality: dict[tuple[str, int], Judged]
    sharp: Judged | None
    sharp_alike: tuple[int, Judged] | None
    """sharp's lowest quality, with 4:4:4, whose score is not below this service's."""


def measured(name: str, path: Path, sharp: dict[str, Worker]) -> Row:
    """Judge one picture's thumbnails."""
    right = reference(path, SPEC)
    with Worker("unencoded") as worker, Image.open(BytesIO(worker.make(path, SPEC).thumbnail)) as image:
        image.load()
    found = {}
    for chroma in ("4:4:4", "4:2:0"):
        for quality in QUALITIES:
            out = BytesIO()
            image.save(out, "JPEG", quality=quality, optimize=True, subsampling=chroma)
            found[chroma, quality] = judge(out.getvalue(), right)
    if not sharp:
        return Row(name, found, None, None)
    default = judge(sharp["sharp"].make(path, SPEC).thumbnail, right)
    ours = found["4:4:4", SPEC.quality]
    for quality in SHARP_QUALITIES:
        spec = ThumbnailSpec(quality=quality)
        other = judge(sharp["sharp-444"].make(path, spec).thumbnail, right)
        if other.score >= ours.score:
            return Row(name, found, default, (quality, other))
    return Row(name, found, default, None)


def by_quality(rows: Sequence[Row]) -> str:
    """This service's pictures as 4:4:4 and 4:2:0 at several qualities: means over all pictures."""
    default_sizes = [row.by_quality["4:4:4", SPEC.quality].size for row in rows]
    lines = []
    for chroma, quality in rows[0].by_quality:
        all_judged = [row.by_quality[chroma, quality] for row in rows]
        sizes = zip(all_judged, default_sizes, strict=True)
        share = geometric_mean(one.size / default for one, default in sizes)
        lines.append(
            [
                f"{chroma}, {quality}",
                f"{share:.2f}",
                f"{mean(one.score for one in all_judged):.1f}",
                f"{min(one.score for one in all_judged):.1f}",
                f"{mean(one.difference for one in all_judged):.2f}",
                f"{mean(one.worst for one in all_judged):.2f}",
            ]
        )
    header = ["Chroma, quality", "bytes, to 4:4:4 at 85", "SSIMULACRA 2, mean", "lowest"]
    return table([*header, "CIEDE2000, mean", "95th percentile, mean"], lines)


def beside_sharp(rows: Sequence[Row]) -> str:
    """Bytes and judgements of the defaults, and sharp's bytes where it is judged alike."""
    lines, ratios = [], []
    for row in rows:
        ours = row.by_quality["4:4:4", SPEC.quality]
        half = row.by_quality["4:2:0", SPEC.quality]
        cells = [row.name, *map(_cell, (ours, half, row.sharp))]
        if row.sharp_alike is None:
            cells += ["none up to 100", "-"] if row.sharp else ["-", "-"]
        else:
            quality, other = row.sharp_alike
            ratios.append(ours.size / other.size)
            cells += [f"{other.size} at {quality}", f"{ratios[-1]:.2f}"]
        lines.append(cells)
    if ratios:
        lines.append(["geometric mean", "", "", "", "", f"{geometric_mean(ratios):.2f}"])
    header = ["Picture", "this service, 4:4:4", "the same, 4:2:0", "sharp"]
    return table([*header, "sharp with 4:4:4, judged alike: bytes", "this service to those"], lines)


def _cell(one: Judged | None) -> str:
    return "-" if one is None else f"{one.size}: {round(one.score)}, {one.worst:.1f}"


def report() -> str:
    """Judge all pictures and write the tables."""
    workers = {name: Worker(name) for name in ("sharp", "sharp-444") if available(name)}
    try:
        with TemporaryDirectory() as folder:
            rows = []
            for number, (name, make) in enumerate(PICTURES.items()):
                path = Path(folder) / f"{number}.png"
                make().save(path)
                rows.append(measured(name, path, workers))
    finally:
        for worker in workers.values():
            worker.close()
    return "\n\n".join(
        [
            f"Means over {len(rows)} pictures:",
            by_quality(rows),
            "Each picture at quality 85, as *bytes: SSIMULACRA 2, CIEDE2000's 95th percentile*"
            + (f" ({version('sharp')}):" if workers else ":"),
            beside_sharp(rows),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print or write the tables."""
    parser = argparse.ArgumentParser(description="Judges thumbnails in colour.")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    text = report()
    if parser.parse_args(arguments).write:
        write(PAGE, "bench-quality", text)
    print(text)


if __name__ == "__main__":
    main()
