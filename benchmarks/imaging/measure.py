"""Runs the engines side by side and collects seconds, memory, bytes and similarity."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from statistics import median, quantiles

from PIL import Image

from benchmarks.imaging.contenders import RefusedError, Worker
from benchmarks.imaging.corpus import Sample
from benchmarks.imaging.similarity import reference, ssim
from chalicelib.spec import ThumbnailSpec

SPEC = ThumbnailSpec()

TIMED = ("service", "plain", "pyvips", "sharp", "floor")
ALTERNATIVES = ("pyvips", "sharp")
SMALL_MEGAPIXELS = 0.5
SEVERAL_OF = ("jpeg-2", "jpeg-12", "jpeg-12-progressive", "png-12", "webp-12", "avif-4", "jpeg-small")
"""Pictures of which several sizes are made, together and apart."""
REPEAT_SMALL = 20
"""How often a small picture's thumbnail is made in a row, as one is over within a millisecond or two."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of one run's ratios, and their quartiles."""

    median: float
    low: float
    high: float


def ratio(dividends: Iterable[float], divisors: Iterable[float]) -> Ratio:
    """Compare two engines round by round."""
    each = [dividend / divisor for dividend, divisor in zip(dividends, divisors, strict=True)]
    if len(each) == 1:
        return Ratio(each[0], each[0], each[0])
    low, _, high = quantiles(each, n=4, method="inclusive")
    return Ratio(median(each), low, high)


@dataclass(slots=True)
class Result:
    """What was measured of one picture, by engine; an engine that refuses the picture is missing.

    `seconds` are those computed, one value a round; `peak` is the process's most memory in megabytes and
    `growth` by how much that is more than when it was idle; `size` is the thumbnail's in bytes and
    `similarity` its SSIM; `unencoded` is this service's before the JPEG coding. `together` and `apart` are
    this service's seconds for four sizes from one decoding and from one for each, `largest` those for the
    largest size alone, of `SEVERAL_OF`.
    """

    sample: Sample
    seconds: dict[str, list[float]] = field(default_factory=dict)
    growth: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)
    size: dict[str, int] = field(default_factory=dict)
    similarity: dict[str, float] = field(default_factory=dict)
    unencoded: float | None = None
    together: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)

    def milliseconds(self, name: str) -> float:
        """An engine's median."""
        return median(self.seconds[name]) * 1000

    def to(self, name: str) -> Ratio | None:
        """This service's time as a share of another's."""
        return ratio(self.seconds["service"], self.seconds[name]) if name in self.seconds else None

    def to_faster(self) -> Ratio | None:
        """This service's time as a share of that of the alternative with the lower median."""
        present = [name for name in ALTERNATIVES if name in self.seconds]
        return self.to(min(present, key=self.milliseconds)) if present else None


def measure(sample: Sample, workers: dict[str, Worker], rounds: int) -> Result:
    """Time one picture in interleaved rounds, then measure the rest once.

    The engines take turns within each round, the first of one round being the last of the next, so that
    whatever else the machine does meets all of them alike.
    """
    result = Result(sample)
    path = sample.path()
    repeat = REPEAT_SMALL if sample.megapixels < SMALL_MEGAPIXELS else 1
    right = reference(path, SPEC)
    turns = []
    for name, worker in workers.items():
        try:
            made = worker.make(path, SPEC)
        except RefusedError:
            continue
        turns.append(name)
        if name != "floor":
            result.size[name] = len(made.thumbnail)
            result.similarity[name] = _similarity(made.thumbnail, right)
    result.seconds = {name: [] for name in turns}
    for _ in range(rounds):
        for name in turns:
            result.seconds[name].append(workers[name].make(path, SPEC, repeat=repeat).cpu_seconds)
        turns = turns[1:] + turns[:1]
    for name in turns:
        _measure_memory(result, name)
    if sample.name in SEVERAL_OF:
        _measure_several(result, rounds, repeat)
    with Worker("unencoded") as worker:
        result.unencoded = _similarity(worker.make(path, SPEC).thumbnail, right)
    return result


def _measure_several(result: Result, rounds: int, repeat: int) -> None:
    path = result.sample.path()
    with Worker("together") as together, Worker("apart") as apart, Worker("largest") as largest:
        turns = ((together, result.together), (apart, result.apart), (largest, result.largest))
        for worker, _ in turns:
            worker.make(path, SPEC)
        for _ in range(rounds):
            for worker, seconds in turns:
                seconds.append(worker.make(path, SPEC, repeat=repeat).cpu_seconds)


def _similarity(thumbnail: bytes, right: Image.Image) -> float:
    with Image.open(BytesIO(thumbnail)) as image:
        return ssim(image, right)


def _measure_memory(result: Result, name: str) -> None:
    with Worker(name) as worker:
        idle = worker.peak_megabytes()
        worker.make(result.sample.path(), SPEC)
        peak = worker.peak_megabytes()
    if idle is not None and peak is not None:
        result.peak[name] = peak
        result.growth[name] = peak - idle


@dataclass(frozen=True, slots=True)
class Throughput:
    """Thumbnails a second with one worker, and how many times that two threads or two processes make."""

    sample: Sample
    one: float
    threads: Ratio
    processes: Ratio


def throughput(sample: Sample, rounds: int, repeat: int) -> Throughput:
    """Compare one worker of this service with two threads of one process and with two processes."""
    path = sample.path()
    alone, threads, processes = [], [], []
    with Worker("service", cpu=None) as first, Worker("service", cpu=None) as second:
        for worker in (first, second):
            worker.make(path, SPEC)
        with ThreadPoolExecutor(2) as pool:
            for _ in range(rounds):
                alone.append(1 / first.make(path, SPEC, repeat=repeat).seconds)
                threads.append(1 / first.make(path, SPEC, repeat=repeat, threads=2).seconds)
                both = [pool.submit(worker.make, path, SPEC, repeat=repeat) for worker in (first, second)]
                processes.append(sum(1 / made.result().seconds for made in both))
    return Throughput(sample, median(alone), ratio(threads, alone), ratio(processes, alone))
