"""Events on this machine: printed, and POSTed to EVENTS_URL as signed webhooks.

The headers are those of Standard Webhooks 1.0 (https://www.standardwebhooks.com): `webhook-id` stays the same
when an event comes again, and `webhook-signature` is the HMAC-SHA256 of id, time and body.
"""

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import IO
from urllib.parse import urlsplit

from chalicelib.errors import Unavailable
from chalicelib.records.codec import rfc3339
from chalicelib.records.store import RecordStore
from chalicelib.work.publish import publish
from chalicelib.work.relay import DETAIL_TYPE, Waiting, detail, relay
from deploy import UserError
from local.log_format import printable

LONGEST_PAUSE_SECONDS = 60
_POLL_SECONDS = 1
_TIMEOUT_SECONDS = 15
_KEY_BYTES = range(24, 65)
# Always the same: a worker that was started again goes on with the turn of the one before.
_NAME = "local"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events are POSTed, and the key that signs them."""

    url: str
    key: bytes = field(repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Webhook | None":
        """Read EVENTS_URL and EVENTS_SECRET; None where no URL is set.

        Raises:
            UserError: the URL is none, or the secret does not have the form of Standard Webhooks.

        """
        url, secret = env.get("EVENTS_URL", "").strip(), env.get("EVENTS_SECRET", "").strip()
        if not url:
            return None
        if not _is_http(url):
            raise UserError(f"EVENTS_URL must be an http:// or https:// URL, not {url!r}.")
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            key = b""
        if len(key) not in _KEY_BYTES:
            raise UserError(
                "EVENTS_SECRET must be whsec_ and 24 to 64 bytes in base64; "
                'one is made by: echo "whsec_$(openssl rand -base64 32)"'
            )
        return cls(url, key)

    def send(self, event_id: str, body: bytes, now: int) -> None:
        """POST an event, signed at the time `now` in seconds since the epoch.

        Raises:
            OSError, HTTPException: the receiver did not answer, or not with a 2xx status.

        """
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "thumbnails",
            "webhook-id": event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self.key, event_id, now, body),
        }
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310 - the scheme was checked
        _OPENER.open(request, timeout=_TIMEOUT_SECONDS).close()


def _is_http(url: str) -> bool:
    """Tell whether requests can be sent to a URL; for others urllib raises when the first one is sent."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        return parts.scheme in {"http", "https"} and bool(host) and url.isascii() and parts.port != 0
    except ValueError:
        return False


def signature(key: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = b".".join((event_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is no 2xx: urllib would send GET there."""

    def redirect_request(  # noqa: PLR0913, PLR0917 - urllib's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(slots=True)
class Publisher:
    """Prints the events of a store, and sends them to a webhook if there is one; each until it is taken."""

    store: RecordStore
    bucket: str
    webhook: Webhook | None

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set; after each failure the pause doubles, up to a minute."""
        pause = _POLL_SECONDS
        while not stop.wait(pause):
            try:
                publish(self._relay, self._put, stop.is_set)
                pause = _POLL_SECONDS
            except Unavailable as error:
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                _log.warning("%s Trying again in %d s.", error, pause)

    def _relay(self, published: Sequence[Waiting], *, last: bool = False) -> list[Waiting]:
        return relay(self.store, _NAME, [one.receipt for one in published], last=last)

    def _put(self, events: Sequence[Waiting]) -> list[Waiting]:
        taken = []
        for waiting in events:
            event, kind = waiting.event, DETAIL_TYPE[waiting.event.kind]
            told = detail(event, self.bucket)
            body = {"type": kind, "timestamp": rfc3339(event.time_ms), "data": told}
            try:
                if self.webhook is not None:
                    self.webhook.send(event.event_id, json.dumps(body).encode(), int(time.time()))
            except (OSError, HTTPException) as error:
                _log.warning("EVENTS_URL has not taken an event: %s", error)
                break
            print(printable(f"{time.strftime('%H:%M:%S')} event {kind} {json.dumps(told)}"), flush=True)
            taken.append(waiting)
        return taken
