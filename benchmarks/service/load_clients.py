"""Locust's part of a load test: clients that use the service as its documentation tells them to.

    .bench/locust/bin/python -m benchmarks.service.load_clients PLAN.json    started by `load`

Each client uploads a photo (in a burst several), polls when Retry-After says so, after pauses that grow,
until it is ready, downloads it, lists, and sometimes deletes. What gets 429 or 503 is tried again, not before
Retry-After.
"""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, constant_pacing, task
from locust.env import Environment

from benchmarks.service.load_plan import STOP_SECONDS, Picture, Profile, Sample, Seen, in_form

API = "/api/v1/thumbnail"
DELETED_SHARE = 0.25
LISTED = 100
USERS_A_SECOND = 100
# Seconds between polls, where Retry-After says no more: as the documentation's clients do.
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 5.0
_BOUNDARY = "a-load-test"
_SEED = 1


class Run:
    """What all clients share: what may still be sent, and what has been seen."""

    def __init__(self, profile: Profile, photos: list[bytes]) -> None:
        self.forms = [_form(photo) for photo in photos]
        self.requests_left = profile.requests
        self.at_a_time = profile.at_a_time
        self.ends = time.monotonic() + profile.seconds
        self.chance = random.Random(_SEED)
        self.seen = Seen([], [])

    def goes_on(self) -> bool:
        """Tell whether there is time for another picture."""
        return time.monotonic() < self.ends and self.requests_left > 0


def _retry_after(reply: Any) -> float:
    return float(reply.headers.get("Retry-After") or 0)


def _form(photo: bytes) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name=image; filename=photo.jpg\r\n"
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()


class Client(FastHttpUser):  # type: ignore[misc]  # Locust is not where types are checked
    """One client, with a connection of its own."""

    run_: ClassVar[Run]
    network_timeout = connection_timeout = 30.0

    @task  # type: ignore[untyped-decorator]  # likewise
    def some_pictures(self) -> None:
        """Take pictures from upload to their end."""
        accepted = [self.upload() for _ in range(self.run_.at_a_time)]
        for picture in filter(None, accepted):
            self.follow(picture)

    def upload(self) -> tuple[Picture, float, float] | None:
        """Upload a photo; returns it with the time of its 201 and its Retry-After, if it got one."""
        run = self.run_
        form = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        reply = self.ask("upload", "POST", "", data=run.chance.choice(run.forms), headers=form)
        if reply is None or reply.status_code != 201:
            return None
        run.seen.pictures.append(Picture(reply.json()["id"]))
        return run.seen.pictures[-1], time.perf_counter(), _retry_after(reply)

    def follow(self, accepted: tuple[Picture, float, float]) -> None:
        """Wait for the thumbnail, download it, and list; sometimes delete."""
        run, (picture, since, retry_after) = self.run_, accepted
        own = f"/{picture.id}"
        if not self.poll(own, since + retry_after - time.perf_counter()):
            return
        picture.to_end = time.perf_counter() - since
        self.ask("download", "GET", f"{own}/download")
        self.ask("list", "GET", f"?limit={LISTED}")
        if run.chance.random() < DELETED_SHARE:
            picture.may_be_gone = True
            reply = self.ask("delete", "DELETE", own)
            picture.deleted = reply is not None and reply.status_code == 200

    def poll(self, own: str, wait: float) -> bool:
        """Ask for the record, first after `wait` seconds, until it has ended; False if it cannot be."""
        pause = FIRST_PAUSE
        while True:
            gevent.sleep(max(0.0, wait))
            reply = self.ask("poll", "GET", own)
            if reply is None or reply.status_code != 200:
                return False
            record = reply.json()
            if record["ready"] or "error" in record:
                return True
            pause = min(pause * 1.5, LONGEST_PAUSE)
            wait = max(pause, _retry_after(reply))

    def ask(self, name: str, method: str, path: str, **kwargs: Any) -> Any:
        """Send a request until it is neither throttled nor unavailable; None when that has no end in time."""
        run = self.run_
        while run.requests_left > 0 and (name != "upload" or run.goes_on()):
            run.requests_left -= 1
            started = time.perf_counter()
            with self.client.request(
                method, API + path, name=name, catch_response=True, allow_redirects=False, **kwargs
            ) as reply:
                headers = reply.headers or {}
                sample = Sample(
                    name,
                    reply.status_code or 0,
                    time.perf_counter() - started,
                    headers.get("Retry-After"),
                    in_form(name, reply.status_code or 0, reply.content or b""),
                )
                run.seen.samples.append(sample)
                if sample.complaints():
                    reply.failure("; ".join(sample.complaints()))
                else:
                    reply.success()
            if sample.status not in {429, 503}:
                return reply if sample.status else None
            gevent.sleep(float(sample.retry_after or 1))
        return None


def main(plan: Path) -> None:
    """Run what the plan says, and write what was seen where it says."""
    facts = json.loads(plan.read_text(encoding="utf-8"))
    profile = Profile(**facts["profile"]).within_bounds()
    Client.run_ = Run(profile, [Path(name).read_bytes() for name in facts["photos"]])
    Client.wait_time = constant_pacing(profile.pace)
    environment = Environment(user_classes=[Client], host=facts["url"], stop_timeout=STOP_SECONDS)
    runner = environment.create_local_runner()
    runner.start(profile.users, spawn_rate=min(profile.users, USERS_A_SECOND))
    gevent.spawn_later(profile.seconds, runner.quit)
    runner.greenlet.join()
    Path(facts["result"]).write_text(Client.run_.seen.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
