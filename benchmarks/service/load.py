"""The service under load, with a check that nothing was lost: `make load`.

    make load                                             all profiles; writes docs/reliability.md
    make load PROFILE=burst                               one of steady, burst and soak
    make load BASE_URL=http://127.0.0.1:8080 PROFILE=soak SECONDS=60 USERS=2 REQUESTS=500

Without a base URL, each profile gets a service of its own (`python -m local`). Locust is the client; what
it saw is audited afterwards. Exits with 1 if an upload that was accepted was lost, if a deleted picture
came back, or if an answer was not one that the API promises.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import requests

from benchmarks.documents import load_average, write_times
from benchmarks.service.load_plan import (
    PROFILES,
    STOP_SECONDS,
    BadPlan,
    Picture,
    Profile,
    Result,
    Seen,
    checked_url,
    profile,
    requests_table,
    uploads_table,
)
from benchmarks.service.throughput import KINDS, ROOT, BenchmarkFailed, local_service, photo

LOCUST = ROOT / ".bench" / "locust" / "bin" / "python"
PHOTOS = ("300 x 362", "2 megapixels")
DIFFERENT_PHOTOS = 2
SETTLE_SECONDS = 120
"""How long after the load the last picture may take to end."""
_AIR_SECONDS = 60


def run(url: str, chosen: Profile) -> Result:
    """Put the load of a profile on the service at `url`, and audit what became of every picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = {"url": url, "profile": asdict(chosen), "photos": _photos(folder), "result": f"{name}/seen"}
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        try:
            subprocess.run(
                [str(LOCUST), "-m", "benchmarks.service.load_clients", f"{name}/plan.json"],
                cwd=ROOT,
                timeout=chosen.seconds + STOP_SECONDS + _AIR_SECONDS,
                check=True,
            )
        except FileNotFoundError:
            raise BenchmarkFailed("Locust is not installed; `make load` does that.") from None
        except subprocess.SubprocessError as error:
            raise BenchmarkFailed(f"Locust did not end as it should: {error}") from error
        seen = Seen.from_json((folder / "seen").read_text(encoding="utf-8"))
    return Result(chosen, seen, audit(f"{url}/api/v1/thumbnail", seen.pictures))


def _photos(folder: Path) -> list[str]:
    names = []
    for kind in PHOTOS:
        for seed in range(DIFFERENT_PHOTOS):
            path = folder / f"{kind} {seed}.jpg"
            path.write_bytes(photo(*KINDS[kind], seed))
            names.append(str(path))
    return names


def audit(api: str, pictures: Sequence[Picture]) -> Mapping[str, str]:
    """Ask for each picture until it has ended, or until it has had time enough for that."""
    ends = dict.fromkeys((picture.id for picture in pictures), "pending")
    may_be_gone = {picture.id for picture in pictures if picture.may_be_gone}
    deadline = time.monotonic() + SETTLE_SECONDS
    with requests.Session() as session:
        while waiting := [id_ for id_, end in ends.items() if end == "pending"]:
            for id_ in waiting:
                reply = session.get(f"{api}/{id_}", timeout=30)
                if reply.status_code == 404:
                    ends[id_] = "deleted" if id_ in may_be_gone else "unknown"
                elif reply.status_code == 200:
                    record = reply.json()
                    ends[id_] = "ready" if record["ready"] else "failed" if "error" in record else "pending"
                else:
                    time.sleep(1)
                if time.monotonic() > deadline:
                    return ends
            time.sleep(0.5)
    return ends


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the profiles, print or write their tables, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service.load", description="Puts load on a service."
    )
    parser.add_argument("--profile", choices=PROFILES, help="all of them, if none is named")
    parser.add_argument("--base-url", help="a service that runs already; otherwise some are started")
    parser.add_argument("--allow-remote", action="store_true", help="the base URL may be another machine's")
    for name in ("users", "seconds", "requests"):
        parser.add_argument(f"--{name}", type=int, help="instead of the profile's own")
    parser.add_argument("--write", type=Path, help="document to put the tables into")
    options = parser.parse_args(arguments)
    changes = {name: getattr(options, name) for name in ("users", "seconds", "requests")}
    if options.write and (options.profile or options.base_url or any(changes.values())):
        parser.error("the document holds full runs only: --write goes without other options")
    load = load_average()
    try:
        chosen = [profile(name, **changes) for name in PROFILES if options.profile in {None, name}]
        url = options.base_url and checked_url(options.base_url, allow_remote=options.allow_remote)
        results = []
        for one in chosen:
            print(f"{one.name}: {one.users} clients, {one.seconds} seconds ...", file=sys.stderr)
            with ExitStack() as stack:
                results.append(run(url or stack.enter_context(local_service()), one))
    except (BadPlan, BenchmarkFailed, requests.RequestException) as error:
        sys.exit(f"Stopped: {error}")
    text = f"{requests_table(results)}\n{uploads_table(results)}"
    print(text)
    if options.write:
        write_times(options.write, "load", text, load)
    complaints = [f"{one.profile.name}: {text}" for one in results for text in one.complaints()]
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
