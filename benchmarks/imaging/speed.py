"""Speed, memory and similarity of thumbnails, against the alternatives and the decoders alone.

    make bench-imaging                       installs the alternatives, writes docs/performance.md
    python -m benchmarks.imaging.speed --only png  one format, with what is installed here
    python -m benchmarks.imaging.speed --quick     a minute or less

One run interleaves all engines round by round, each in a process of its own on one processor; only
ratios within a run mean anything on a machine that does other things, too.
"""

import argparse
import os
import platform
import sys
from contextlib import ExitStack

from benchmarks.documents import conditions, load_average
from benchmarks.imaging import report
from benchmarks.imaging.contenders import LABELS, ROOT, Worker, available, version
from benchmarks.imaging.corpus import QUICK, SAMPLES, Sample
from benchmarks.imaging.measure import TIMED, Result, Throughput, measure, throughput

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- imaging: begin -->", "<!-- imaging: end -->"

ROUNDS, QUICK_ROUNDS = 15, 3
SCALING = ("jpeg-2", "jpeg-12", "jpeg-24", "jpeg-50")
THROUGHPUT_OF = ("jpeg-12", "png-4-alpha", "jpeg-small")


def chosen(*, quick: bool, only: str | None) -> list[Sample]:
    """The files to measure."""
    return [
        sample
        for sample in SAMPLES
        if (not quick or sample.name in QUICK) and (only is None or sample.format == only)
    ]


def run(samples: list[Sample], rounds: int) -> tuple[list[Result], list[Throughput]]:
    """Measure the files with the engines that are installed."""
    names = [name for name in TIMED if available(name)]
    missing = [LABELS[name] for name in TIMED if name not in names]
    if missing:
        print(f"Left out, as not installed: {', '.join(missing)}.", file=sys.stderr)
    results = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name)) for name in names}
        for sample in samples:
            print(f"{sample.title} ...", file=sys.stderr, flush=True)
            results.append(measure(sample, workers, rounds))
    return results, [
        throughput(sample, rounds, repeat=4 if sample.megapixels > 1 else 100)
        for sample in samples
        if sample.name in THROUGHPUT_OF
    ]


SETTING = """\
`make bench-imaging` regenerates this section. Measured on {machine}; {versions}.

Every engine runs in a process of its own, pinned to one processor. Times are the processor's, medians of
{rounds} interleaved rounds, with the quartiles of the rounds' ratios in parentheses. The thumbnails are the
default ones: 100 x 100, cropped to fill, quality 85. `benchmarks/imaging/corpus.py` makes the pictures,
with the statistics of photos."""

TIME = """\
Below 1, this service is faster. The floor is the decoder alone at the cheapest scale that still covers the
box: libjpeg-turbo at an eighth (a half for the small one; all scans of a progressive file), libwebp scaling
as it decodes, inflating alone for PNG, whole pictures for AVIF, HEIC and GIF. This service's time is with
the placeholder (ThumbHash, some 0.3 ms), which no other makes."""

MEMORY = "By how much a fresh process grows at most while it makes one thumbnail, in MB, the file included."

QUALITY = """\
SSIM to a reference without shortcuts: decoded whole, one LANCZOS resize of the exact crop, then converted to
sRGB. The first column is the picture before it becomes a JPEG."""

GROWTH = """\
Baseline JPEG from 2 to 50 MP; the peak is that of the whole process, interpreter and libraries included."""

SEVERAL = """\
The default thumbnail with three named sizes (200 x 200, 400 x 300 and, whole, 1024 x 1024), from one
decoding as the service makes them, against one run for each of the four, and against the largest alone."""

THROUGHPUT_SETTING = """\
One process with one thread, one with two threads, and two processes, on all processors. Elapsed time:
whatever else the machine did meanwhile lowers the gain of a second worker, at most 2."""


def section(results: list[Result], measured: list[Throughput], rounds: int, load: float) -> str:
    """The generated part of the page; `load` is the machine's average before."""
    versions = ", ".join(filter(None, (version(name) for name in TIMED if available(name))))
    scaled = [result for result in results if result.sample.name in SCALING]
    parts = [
        "## Imaging",
        SETTING.format(machine=machine(), versions=versions, rounds=rounds),
        conditions(load),
        *("### Time", TIME, report.speed(results)),
        *("### Memory", MEMORY, report.memory(results)),
        *("### Similarity and size", QUALITY, report.quality(results)),
    ]
    if any(result.together for result in results):
        parts += ["### Several sizes", SEVERAL, report.several(results)]
    if len(scaled) > 1:
        parts += ["### Growth", GROWTH, report.scaling(scaled)]
    if measured:
        parts += ["### Throughput", THROUGHPUT_SETTING, report.workers(measured)]
    return "\n\n".join(parts)


def machine() -> str:
    """The machine in general terms."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    return f"{processors} {kind} cores, {platform.system()}, Python {platform.python_version()}"


def write(text: str) -> None:
    """Put the section into the page, in place of what was between its marks."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    if BEGIN not in page:
        page += f"\n{BEGIN}\n{END}\n"
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure and print; with `--write` into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    formats = sorted({sample.format for sample in SAMPLES})
    parser.add_argument("--quick", action="store_true", help="a few small pictures, few rounds")
    parser.add_argument("--only", choices=formats, help="one format")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} unless told, {QUICK_ROUNDS} with --quick")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.write and (options.quick or options.only):
        parser.error("the page holds full runs only: --write goes without --quick and --only")
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    load = load_average()
    results, measured = run(chosen(quick=options.quick, only=options.only), rounds)
    text = section(results, measured, rounds, load)
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
