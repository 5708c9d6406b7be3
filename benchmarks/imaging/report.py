"""Tables of what was measured, in Markdown."""

from collections.abc import Sequence
from statistics import mean, median

from benchmarks.imaging.contenders import LABELS
from benchmarks.imaging.measure import ALTERNATIVES, Ratio, Result, Throughput, ratio

NOTHING = "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column aligned left, the others right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown(ratio: Ratio | None) -> str:
    """A ratio with its quartiles."""
    return NOTHING if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def speed(results: list[Result]) -> str:
    """Time per picture, as ratios."""
    header = ["Picture", "File, MB", "This service, ms", "to the floor", "to pyvips", "to sharp"]
    header += ["to the faster of both", "to plain Pillow"]
    rows = [
        [
            result.sample.title,
            f"{result.sample.path().stat().st_size / 1e6:.2f}",
            f"{result.milliseconds('service'):.1f}",
            *(shown(result.to(name)) for name in ("floor", "pyvips", "sharp")),
            shown(result.to_faster()),
            shown(result.to("plain")),
        ]
        for result in results
    ]
    return table(header, rows)


def memory(results: list[Result]) -> str:
    """Peak memory per picture and engine."""
    names = ("service", "plain", *ALTERNATIVES)
    header = ["Picture", *(LABELS[name] for name in names)]
    rows = [
        [result.sample.title, *(_number(result.growth.get(name), "{:.0f}") for name in names)]
        for result in results
    ]
    return table(header, rows)


def quality(results: list[Result]) -> str:
    """Similarity and bytes of the thumbnails."""
    names = ("service", "plain", *ALTERNATIVES)
    header = ["Picture", "this service, before coding"]
    header += [f"{LABELS[name]}, SSIM" for name in names] + [f"{LABELS[name]}, bytes" for name in names]
    rows = [
        [
            result.sample.title,
            _number(result.unencoded, "{:.4f}"),
            *(_number(result.similarity.get(name), "{:.3f}") for name in names),
            *(_number(result.size.get(name), "{}") for name in names),
        ]
        for result in results
    ]
    # Means only over pictures that every engine takes, as they are compared with each other.
    common = [result for result in results if all(name in result.size for name in names)]
    if len(common) > 1:
        rows.append(
            [
                f"mean of the {len(common)} that all take",
                f"{mean(result.unencoded or 0 for result in common):.4f}",
                *(f"{mean(result.similarity[name] for result in common):.3f}" for name in names),
                *(f"{mean(result.size[name] for result in common):.0f}" for name in names),
            ]
        )
    return table(header, rows)


def scaling(results: list[Result]) -> str:
    """How time and memory grow with the picture."""
    header = ["Baseline JPEG", "ms per MP", "floor, ms per MP", "peak memory of the process, MB"]
    rows = [
        [
            f"{result.sample.megapixels:.1f} MP",
            f"{result.milliseconds('service') / result.sample.megapixels:.2f}",
            _number(
                result.milliseconds("floor") / result.sample.megapixels
                if "floor" in result.seconds
                else None,
                "{:.2f}",
            ),
            _number(result.peak.get("service"), "{:.0f}"),
        ]
        for result in results
    ]
    return table(header, rows)


def several(results: list[Result]) -> str:
    """Time for several sizes from one decoding."""
    rows = [
        [
            result.sample.title,
            f"{median(result.together) * 1000:.1f}",
            shown(ratio(result.together, result.apart)),
            shown(ratio(result.together, result.largest)),
        ]
        for result in results
        if result.together
    ]
    return table(["Picture", "four sizes, ms", "to four runs", "to the largest alone"], rows)


def workers(measured: list[Throughput]) -> str:
    """Thumbnails a second with one worker and with two."""
    header = ["Picture", "1 worker, thumbnails/s", "2 threads, times that", "2 processes, times that"]
    rows = [
        [one.sample.title, f"{one.one:.1f}", shown(one.threads), shown(one.processes)] for one in measured
    ]
    return table(header, rows)


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)
