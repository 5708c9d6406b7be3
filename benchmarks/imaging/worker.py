"""One engine in a process of its own: `python -m benchmarks.imaging.worker NAME`.

`benchmarks.imaging.contenders` feeds it. A request is a line of JSON on stdin, an answer a line of JSON on
stdout. The clocks run in here, around the engine alone: neither starting the process nor reading the file nor
the pipe is in the figures.
"""

import json
import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.imaging.engines import ENGINES, Engine
from chalicelib.spec import Fit, ThumbnailSpec


def answer(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Make one picture's thumbnail `repeat` times in each of `threads` threads.

    Returns:
        `seconds` that passed and `cpu_seconds` that the process computed, both per thumbnail, and the last
        `thumbnail`.

    """
    content = Path(request["path"]).read_bytes()
    spec = ThumbnailSpec(request["width"], request["height"], Fit(request["fit"]), request["quality"])
    repeat, threads = request["repeat"], request["threads"]

    def work() -> bytes:
        thumbnail = b""
        for _ in range(repeat):
            thumbnail = engine(content, spec)
        return thumbnail

    with ThreadPoolExecutor(threads) as pool:
        start, cpu_start = perf_counter(), process_time()
        if threads == 1:
            thumbnail = work()
        else:
            thumbnail = [done.result() for done in [pool.submit(work) for _ in range(threads)]][-1]
        seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
    made = repeat * threads
    return {
        "seconds": seconds / made,
        "cpu_seconds": cpu_seconds / made,
        "thumbnail": b64encode(thumbnail).decode(),
    }


def main() -> None:
    """Answer requests until stdin ends."""
    engine = ENGINES[sys.argv[1]]()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(engine, json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is an answer here
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
