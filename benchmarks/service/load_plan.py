"""What a load test does, how far it may go, and what its results say. Pure, and the standard library's only.

Three processes share it: `load`, Locust's (`load_clients`), and the tests.
"""

import ipaddress
import json
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

MOST_USERS, MOST_SECONDS, MOST_REQUESTS = 200, 1800, 100_000
"""Whatever is asked for, no run goes beyond these; the local gateway keeps 256 connections."""
STOP_SECONDS = 120
"""How long clients may go on, after the end, to see what becomes of their pictures."""

EXPECTED: Mapping[str, Collection[int]] = {
    "upload": {201, 429, 503},
    "poll": {200, 429, 503},
    "download": {200, 409, 429, 503},
    "list": {200, 429, 503},
    "delete": {200, 429, 503},
}
"""Statuses that a client which does everything right may see. 0 is none: no answer has come."""
RETRIED = frozenset({409, 429, 503})
"""Statuses that have to say in Retry-After when to come again."""


class BadPlan(Exception):
    """One sentence for the user of the command."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How hard the service is used."""

    name: str
    users: int
    seconds: int
    requests: int
    """No more than these are sent, whatever the time."""
    pace: float
    """Seconds from one start of the same client to the next; 0 for as fast as answers come."""
    at_a_time: int = 1
    """Pictures that a client uploads before it asks for the first of them."""

    def within_bounds(self) -> "Profile":
        """Return itself, or raise `BadPlan` that names what is too much or too little."""
        for name, value, most in (
            ("users", self.users, MOST_USERS),
            ("seconds", self.seconds, MOST_SECONDS),
            ("requests", self.requests, MOST_REQUESTS),
        ):
            if not 1 <= value <= most:
                raise BadPlan(f"{name} must be from 1 to {most:,}, not {value:,}.")
        return self


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("steady", users=4, seconds=60, requests=3_000, pace=2),
        Profile("burst", users=200, seconds=10, requests=20_000, pace=0, at_a_time=5),
        Profile("soak", users=3, seconds=360, requests=10_000, pace=3),
    )
}


def profile(
    name: str, *, users: int | None = None, seconds: int | None = None, requests: int | None = None
) -> Profile:
    """The profile of that name, with what is given in place of its own; within the bounds.

    Raises:
        BadPlan: something is beyond them.

    """
    own = PROFILES[name]
    return replace(
        own,
        users=own.users if users is None else users,
        seconds=own.seconds if seconds is None else seconds,
        requests=own.requests if requests is None else requests,
    ).within_bounds()


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_url(url: str, *, allow_remote: bool) -> str:
    """The base URL without a trailing slash.

    Raises:
        BadPlan: it is no HTTP URL, or leads to another machine and `ALLOW_REMOTE` is not set.

    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise BadPlan(f"the base URL must be like http://127.0.0.1:8080, not {url!r}.")
    if not (allow_remote or is_loopback(url)):
        raise BadPlan(
            f"{url} is another machine: load costs its owner money and may get you blocked. "
            "If you are the owner, say --allow-remote (make load ALLOW_REMOTE=1)."
        )
    return url.rstrip("/")


def in_form(name: str, status: int, content: bytes) -> bool:
    """Tell whether a body is what the API promises: a JPEG, a record, a list of records, or an error."""
    if name == "download" and status == 200:
        return content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9")
    try:
        body = json.loads(content)
    except ValueError:
        return False
    if status >= 400:
        return isinstance(body, dict) and body.keys() == {"error"}
    records = body if name == "list" else [body]
    return isinstance(records, list) and all(
        isinstance(record, dict) and record.keys() >= {"id", "filename", "ready", "size"}
        for record in records
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One request and its answer; `seconds` until the whole answer was there."""

    name: str
    status: int
    seconds: float
    retry_after: str | None = None
    in_form: bool = True
    """Whether the body was what the API promises for that status; see `in_form`."""

    def complaints(self) -> list[str]:
        """What is wrong with it, in words that are the same for the same fault."""
        found = []
        if self.status not in EXPECTED[self.name]:
            found.append(f"{self.name}: status {self.status or 'none, no answer came'}")
        if self.status in RETRIED and not (self.retry_after or "").isdecimal():
            found.append(f"{self.name}: {self.status} without a Retry-After in seconds")
        if self.status and not self.in_form:
            found.append(f"{self.name}: {self.status} with a body that is not what the API promises")
        return found


@dataclass(slots=True)
class Picture:
    """One upload that got its 201, as its client saw it."""

    id: str
    to_end: float | None = None
    """Seconds from the 201 to the answer that said ready or failed; None if the client did not see one."""
    may_be_gone: bool = False
    """Its client has asked for its removal, whatever the answer was."""
    deleted: bool = False
    """Its client has been told that it is gone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Locust's process hands back: all requests, and all pictures that were accepted."""

    samples: list[Sample]
    pictures: list[Picture]

    def to_json(self) -> str:
        """The same, to be read by `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Seen":
        """Read what `to_json` wrote."""
        facts = json.loads(text)
        return cls(
            [Sample(**sample) for sample in facts["samples"]],
            [Picture(**one) for one in facts["pictures"]],
        )


@dataclass(frozen=True, slots=True)
class Result:
    """A run and its audit: `ends` tells for each accepted picture what the service said of it afterwards."""

    profile: Profile
    seen: Seen
    ends: Mapping[str, str]
    """By id: `ready`, `failed`, `deleted` (by its client), and what must not be, `pending` or `unknown`."""

    def lost(self) -> list[str]:
        """Ids that were accepted and have neither ended nor been deleted by their clients."""
        return [id_ for id_, end in self.ends.items() if end in {"pending", "unknown"}]

    def complaints(self) -> list[str]:
        """All that the service did wrong, each with how often; empty when nothing was."""
        counts = Counter(text for sample in self.seen.samples for text in sample.complaints())
        found = [f"{text} ({count:,} times)" for text, count in sorted(counts.items())]
        if not self.seen.pictures:
            found.append("no upload was accepted, so that nothing has been shown")
        if lost := self.lost():
            found.append(f"{len(lost):,} accepted uploads are lost: {', '.join(lost[:5])}")
        if back := [one.id for one in self.seen.pictures if one.deleted and self.ends[one.id] != "deleted"]:
            found.append(f"{len(back):,} deleted pictures are there again: {', '.join(back[:5])}")
        return found


def requests_table(results: Iterable[Result]) -> str:
    """Make a Markdown table of requests by profile and endpoint; times in milliseconds, of all answers."""
    lines = [
        "| profile | request | count | statuses | median (ms) | 95 % | 99 % | failures |",
        "|---|---|--:|---|--:|--:|--:|--:|",
    ]
    for result in results:
        for name in EXPECTED:
            samples = [sample for sample in result.seen.samples if sample.name == name]
            statuses = Counter(sample.status for sample in samples)
            shown = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
            times = percentiles([sample.seconds * 1000 for sample in samples], "{:,.0f}")
            failures = sum(bool(sample.complaints()) for sample in samples)
            lines.append(
                f"| {result.profile.name} | {name} | {len(samples):,} | {shown or 'none'} | {times[0]} "
                f"| {times[1]} | {times[2]} | {failures:,} |"
            )
    return "\n".join(lines) + "\n"


def uploads_table(results: Iterable[Result]) -> str:
    """Make a Markdown table of what became of the uploads that were accepted; times in seconds."""
    lines = [
        "| profile | clients | seconds | uploads refused | accepted (201) | ready | failed | deleted | lost "
        "| 201 to ready (s): median | 95 % | 99 % | longest |",
        "|---|" + "--:|" * 12,
    ]
    for result in results:
        ends = Counter(result.ends.values())
        refused = sum(s.name == "upload" and s.status != 201 for s in result.seen.samples)
        waits = [picture.to_end for picture in result.seen.pictures if picture.to_end is not None]
        cells = [
            result.profile.name,
            f"{result.profile.users:,}",
            f"{result.profile.seconds:,}",
            f"{refused:,}",
            f"{len(result.seen.pictures):,}",
            *(f"{ends[end]:,}" for end in ("ready", "failed", "deleted")),
            f"{len(result.lost()):,}",
            *percentiles(waits, "{:,.1f}"),
            f"{max(waits):,.1f}" if waits else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def percentiles(values: Sequence[float], form: str) -> list[str]:
    """Median, 95 % and 99 %, written in a form; empty texts when there is nothing to tell."""
    if not values:
        return [""] * 3
    cuts = statistics.quantiles(values if len(values) > 1 else [*values, *values], n=100, method="inclusive")
    return [form.format(cuts[share - 1]) for share in (50, 95, 99)]
