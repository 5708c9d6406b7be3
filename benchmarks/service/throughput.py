"""The whole service under load: `make bench`.

    python -m benchmarks.service.throughput                               a service of its own
    python -m benchmarks.service.throughput --write docs/measuring.md     the same, into that file
    python -m benchmarks.service.throughput --url URL --against URL       two that run already, in turns

Clients come in waves. In each wave every client uploads one photo and asks for its record until it is
ready. Between waves, while the service is idle, the same photos are thumbnailed in this process: that
is the time that imaging alone takes, measured on the same bytes under the same conditions.

Of a service on this machine, the processor time of all its processes is measured as well: other programs
change it far less than they change what a clock shows. Two services take turns wave by wave, so that whatever
else the machine does meets both of them alike.
"""

import argparse
import contextlib
import itertools
import os
import queue
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import psutil
import requests
from PIL import Image

from benchmarks.documents import conditions, load_average, write
from benchmarks.service.processes import processor_seconds, service_processes
from chalicelib.imaging import make_thumbnail
from chalicelib.spec import ThumbnailSpec

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"300 x 362": (300, 362), "2 megapixels": (1632, 1224), "12 megapixels": (4000, 3000)}
# Not handed to the service that is started here: it brings its own servers, and keeps to its defaults.
SETTINGS = ("BUCKET", "REDIS_URL", "AWS_ENDPOINT_URL", "THUMBNAIL_", "MAX_")
DIFFERENT_PHOTOS = 4
MOST_CLIENTS = 32
MOST_PHOTOS = 10_000
POLL_SECONDS = 0.01
# The last steps of an upload, such as deleting its notification, come after its record is ready.
TAIL_SECONDS = 0.05
START_SECONDS = 60
STOP_SECONDS = 30
READY_SECONDS = 60


class BenchmarkFailed(Exception):
    """One sentence for the user of the command."""


@dataclass
class Times:
    """What was measured of one kind of photo; all in seconds, one value an upload but for `waves`."""

    waves: list[float] = field(default_factory=list)
    to_ready: list[float] = field(default_factory=list)
    imaging: list[float] = field(default_factory=list)
    processor: float | None = None
    """User and system time of all processes of the service; None where they cannot be seen."""

    @property
    def rate(self) -> float:
        """Uploads a second."""
        return len(self.to_ready) / sum(self.waves)

    @property
    def processor_ms(self) -> float | None:
        """Processor time for each upload, in milliseconds."""
        return None if self.processor is None else 1000 * self.processor / len(self.to_ready)


@dataclass
class Target:
    """A service that is measured: its URL and processes, and the clients' connections to it."""

    url: str
    processes: list[psutil.Process]
    sessions: list[requests.Session]

    @property
    def api(self) -> str:
        """Where pictures are uploaded."""
        return f"{self.url}/api/v1/thumbnail"


def photo(width: int, height: int, seed: int) -> bytes:
    """Make a JPEG that costs what a camera's photo of that size costs to send and to decode.

    Noise of every scale, the coarse the strongest, as in nature's scenes; and a floor of fine noise, as a
    sensor adds it. The same arguments always give the same picture.
    """
    rng = random.Random(seed)
    columns, rows = 4, 3
    image = Image.frombytes("RGB", (columns, rows), rng.randbytes(columns * rows * 3))
    share = 0.35
    while (columns, rows) != (width, height):
        columns, rows = min(columns * 2, width), min(rows * 2, height)
        noise = Image.frombytes("RGB", (columns, rows), rng.randbytes(columns * rows * 3))
        image = Image.blend(image.resize((columns, rows), Image.Resampling.BICUBIC), noise, share / 2)
        share = max(share * 0.7, 0.12)
    out = BytesIO()
    image.save(out, "JPEG", quality=92, subsampling="4:2:0")
    return out.getvalue()


@contextlib.contextmanager
def local_service(**settings: str) -> Iterator[str]:
    """Start `python -m local` on a free port, give its URL, and stop it at the end.

    It has its defaults, but for the environment variables that are given.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    with subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=ROOT,
        env=environment | {"PORT": "0", "S3_PORT": "0", "HOST": "127.0.0.1"} | settings,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found: queue.Queue[str | None] = queue.Queue()
        # Reads to the end: a full pipe would stop the service.
        reader = threading.Thread(target=_find_url, args=(process, found), daemon=True)
        reader.start()
        try:
            yield _first(found)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()


def _first(found: "queue.Queue[str | None]") -> str:
    try:
        url = found.get(timeout=START_SECONDS)
    except queue.Empty:
        raise BenchmarkFailed(f"the service did not start within {START_SECONDS} seconds.") from None
    if url is None:
        raise BenchmarkFailed("the service did not start; its message stands above.")
    return url


def _find_url(process: "subprocess.Popen[str]", found: "queue.Queue[str | None]") -> None:
    for line in process.stdout or ():
        serving = re.match(r"Serving on (\S+)", line)
        if serving:
            found.put(serving[1])
    found.put(None)


def upload_and_wait(session: requests.Session, api: str, content: bytes) -> tuple[str, float]:
    """Upload one photo; return its id and the seconds from the 201 until its record was ready."""
    reply = session.post(api, files={"image": ("photo.jpg", content)}, timeout=READY_SECONDS)
    accepted = time.perf_counter()
    if reply.status_code != requests.codes.created:
        raise BenchmarkFailed(f"an upload was answered {reply.status_code}: {reply.text}")
    record_id = reply.json()["id"]
    while time.perf_counter() - accepted < READY_SECONDS:
        reply = session.get(f"{api}/{record_id}", timeout=READY_SECONDS)
        reply.raise_for_status()
        record = reply.json()
        if record["ready"]:
            return record_id, time.perf_counter() - accepted
        if "error" in record:
            raise BenchmarkFailed(f"a photo was not thumbnailed: {record['error']}")
        time.sleep(POLL_SECONDS)
    raise BenchmarkFailed(f"a photo was not ready within {READY_SECONDS} seconds.")


@contextlib.contextmanager
def target(url: str, clients: int) -> Iterator[Target]:
    """Connect so many clients to a service."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(requests.Session()) for _ in range(clients)]
        yield Target(url.rstrip("/"), service_processes(url), sessions)


def measure(targets: Sequence[Target], photos: Sequence[bytes], *, count: int) -> list[Times]:
    """Upload `count` photos to each service, in turns, and delete them again, untimed."""
    measured = [Times() for _ in targets]
    with ThreadPoolExecutor(len(targets[0].sessions)) as pool:
        # Connections, imports and clients are made on first use: that is not what is measured here.
        for one in targets:
            for session in one.sessions:
                record_id, _ = upload_and_wait(session, one.api, photos[0])
                session.delete(f"{one.api}/{record_id}", timeout=READY_SECONDS).raise_for_status()
        turns = itertools.cycle(photos)
        left = count
        while left:
            wave = [next(turns) for _ in range(min(len(targets[0].sessions), left))]
            left -= len(wave)
            for one, times in zip(targets, measured, strict=True):
                _measure_wave(pool, one, wave, times)
    return measured


def _measure_wave(pool: ThreadPoolExecutor, one: Target, wave: Sequence[bytes], times: Times) -> None:
    used = processor_seconds(one.processes)
    started = time.perf_counter()
    jobs = [
        pool.submit(upload_and_wait, session, one.api, content)
        for session, content in zip(one.sessions, wave, strict=False)
    ]
    done = [job.result() for job in jobs]
    times.waves.append(time.perf_counter() - started)
    times.to_ready += [seconds for _, seconds in done]
    time.sleep(TAIL_SECONDS)
    if one.processes:
        times.processor = (times.processor or 0.0) + processor_seconds(one.processes) - used
    for content in wave:
        started = time.perf_counter()
        make_thumbnail(content, ThumbnailSpec(), max_pixels=100_000_000)
        times.imaging.append(time.perf_counter() - started)
    for record_id, _ in done:
        one.sessions[0].delete(f"{one.api}/{record_id}", timeout=READY_SECONDS).raise_for_status()


def row(kind: str, photos: Sequence[bytes], times: Times) -> str:
    """One line of the table that is printed."""
    milliseconds = sorted(seconds * 1000 for seconds in times.to_ready)
    *_, p95 = statistics.quantiles(milliseconds, n=20, method="inclusive")
    p50, imaging = statistics.median(milliseconds), statistics.median(times.imaging) * 1000
    size = statistics.mean(map(len, photos)) / 1000
    processor = "-" if times.processor_ms is None else f"{times.processor_ms:.1f}"
    return (
        f"| {kind} | {size:,.0f} | {times.rate:.1f} | {processor} | {p50:.0f} | {p95:.0f} "
        f"| {imaging:.1f} | {100 * imaging / p50:.0f} % |"
    )


def ratios(kind: str, first: Times, second: Times) -> str:
    """How the first service compares with the second: of times, less is better."""
    rate = f"{first.rate / second.rate:.2f}"
    processor = "-"
    if first.processor_ms is not None and second.processor_ms:
        processor = f"{first.processor_ms / second.processor_ms:.2f}"
    waits = statistics.median(first.to_ready) / statistics.median(second.to_ready)
    return f"| {kind}, ratio | | {rate} | {processor} | {waits:.2f} | | | |"


HEADER = """\
| photos | KB each | uploads/s | CPU for each, ms | 201 to ready, ms: p50 | p95 | imaging, ms | its share |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def checked(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be from {least} to {most:,}, not {text!r}")
        return int(text)

    return checked


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each kind of photo and print a Markdown table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service.throughput", description=(__doc__ or "").strip()
    )
    parser.add_argument("--url", help="a service that runs already; otherwise one is started and stopped")
    parser.add_argument("--against", help="another one that runs already, measured in turns with the first")
    parser.add_argument("--count", type=_whole_number(2, MOST_PHOTOS), default=48, help="photos of each kind")
    parser.add_argument(
        "--clients", type=_whole_number(1, MOST_CLIENTS), default=4, help="simultaneous clients"
    )
    parser.add_argument("--quick", action="store_true", help="few photos: shows that it works, no more")
    parser.add_argument("--write", type=Path, help="document to put the table into")
    options = parser.parse_args(arguments)
    if options.write and (options.quick or options.url or options.against):
        parser.error("the document holds full runs of this service only: --write goes without other services")
    count, clients = (4, 2) if options.quick else (options.count, options.clients)
    load = load_average()
    lines = [f"{count} photos of each kind, {clients} simultaneous clients. {conditions(load)}", "", HEADER]
    print("\n".join(lines), flush=True)
    try:
        with contextlib.ExitStack() as stack:
            urls = [options.url or stack.enter_context(local_service())]
            urls += [options.against] if options.against else []
            targets = [stack.enter_context(target(url, clients)) for url in urls]
            for kind, (width, height) in KINDS.items():
                photos = [photo(width, height, seed) for seed in range(min(count, DIFFERENT_PHOTOS))]
                measured = measure(targets, photos, count=count)
                rows = [row(kind, photos, times) for times in measured]
                if options.against:
                    rows = [rows[0], rows[1].replace(kind, f"{kind}, against", 1), ratios(kind, *measured)]
                print("\n".join(rows), flush=True)
                lines += rows
    except (BenchmarkFailed, requests.RequestException) as error:
        sys.exit(f"Stopped: {error}")
    if options.write:
        write(options.write, "bench", "\n".join(lines))


if __name__ == "__main__":
    main()
