"""`make run` prints events and sends them as signed webhooks, to a receiver that refuses at first."""

import base64
import threading
import time
from http.client import HTTPException
from urllib.error import URLError

import pytest

from chalicelib.clients import redis_client
from chalicelib.http import openapi
from chalicelib.records.codec import as_json
from chalicelib.records.record import UNRESTRICTED, Finished, RemovalScope
from chalicelib.records.store import RecordStore
from deploy import UserError
from local.events import Publisher, Webhook, signature
from tests.conftest import SettableClock, found, picture
from tests.described import assert_fits
from tests.inside import relay_of
from tests.lifecycle_steps import KEPT_FOR_EVER, version
from tests.receiver import SECRET, receiving
from tests.service import Service, eventually


def test_the_signature_is_that_of_the_specification() -> None:
    """Its own example: https://www.standardwebhooks.com."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_url_there_is_no_webhook() -> None:
    assert Webhook.from_env({}) is None
    assert Webhook.from_env({"EVENTS_URL": " ", "EVENTS_SECRET": "whatever"}) is None


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_ü", "whsec_AAAA", "whsec_not base64", "whsec_" + "A" * 88]
)
def test_a_secret_that_is_none_stops_the_start(secret: str) -> None:
    with pytest.raises(UserError, match=r"^EVENTS_SECRET must be whsec_") as caught:
        Webhook.from_env({"EVENTS_URL": "https://a.example/hook", "EVENTS_SECRET": secret})
    assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "a.example",
        "ftp://a.example",
        "https:///hook",
        "http://a/höok",
        "http://a..b/",
        "http://[::1/",
        "http://a:b/",
    ],
)
def test_a_url_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(UserError, match=r"^EVENTS_URL must be an http:// or https:// URL"):
        Webhook.from_env({"EVENTS_URL": url, "EVENTS_SECRET": SECRET})


def test_the_key_is_not_shown() -> None:
    webhook = Webhook.from_env({"EVENTS_URL": "https://a.example/hook", "EVENTS_SECRET": SECRET})
    assert "key" not in repr(webhook)


@pytest.mark.slow
@pytest.mark.parametrize("status", [302, 307, 400, 410, 429, 500, 503])
def test_every_status_but_2xx_is_a_refusal(status: int) -> None:
    with receiving(status) as receiver:
        webhook = Webhook.from_env({"EVENTS_URL": receiver.url, "EVENTS_SECRET": SECRET})
        assert webhook is not None
        with pytest.raises((OSError, HTTPException)):
            webhook.send("an id", b"{}", 1)
        webhook.send("an id", b"{}", 1)
        assert (receiver.taken, receiver.refused) == ([("an id", {})], 1)


@pytest.fixture
def publishing(redis_url: str, redis_server: object, clock: SettableClock) -> RecordStore:
    return RecordStore(redis_client(redis_url, timeout=2), clock, publishes=True)


def test_it_tries_again_with_growing_pauses_and_in_order(
    publishing: RecordStore, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed = publishing.claim_version(version(KEPT_FOR_EVER, "a", None))
    publishing.finish(claimed, Finished(3609))
    ready = found(publishing, claimed.id)
    publishing.start_removal(ready, RemovalScope.ANY, UNRESTRICTED)
    pauses: list[float] = []
    stop = threading.Event()

    class Stop(threading.Event):
        """Does not wait: what would have been waited for is noted."""

        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0)
            if len(receiver.taken) == 2:
                stop.set()
            return stop.is_set()

    with receiving(500, 503, 302, 429, 500, 500, 500) as receiver:
        webhook = Webhook.from_env({"EVENTS_URL": receiver.url, "EVENTS_SECRET": SECRET})
        Publisher(publishing, "pictures", webhook).run(Stop())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1]
    assert receiver.refused == 7
    assert receiver.types() == ["Thumbnail Ready", "Thumbnail Deleted"]
    (event_id, body), _ = receiver.taken
    assert body["data"] == {
        "event_id": event_id,
        "bucket": "pictures",
        "key": claimed.object_key,
        "record": as_json(ready),
    }
    for _, sent in receiver.taken:
        assert_fits(sent, openapi.DOCUMENT["components"]["schemas"]["Event"])
    assert capsys.readouterr().out.count(" event Thumbnail ") == 2
    assert publishing.outbox.due(10) == []


def test_a_receiver_that_is_not_there_is_a_refusal(publishing: RecordStore) -> None:
    with receiving() as receiver:
        pass
    webhook = Webhook.from_env({"EVENTS_URL": receiver.url, "EVENTS_SECRET": SECRET})
    assert webhook is not None
    with pytest.raises(URLError):
        webhook.send("an id", b"{}", int(time.time()))


def test_a_worker_that_is_started_again_goes_on(publishing: RecordStore) -> None:
    claimed = publishing.claim_version(version(KEPT_FOR_EVER, "a", None))
    publishing.finish(claimed, Finished(3609))
    first, second = (Publisher(publishing, "pictures", None) for _ in range(2))
    assert len(relay_of(first)([])) == 1
    (waiting,) = relay_of(second)([])
    relay_of(second)([waiting], last=True)
    assert publishing.outbox.due(10) == []


@pytest.mark.slow
def test_a_running_service_tells_what_ends() -> None:
    with receiving(500) as receiver:
        with Service({"EVENTS_URL": receiver.url, "EVENTS_SECRET": SECRET}) as service:
            ready = service.wait_for_end(service.upload(picture())["id"])
            failed = service.wait_for_end(service.upload(picture()[:300])["id"])
            service("DELETE", f"/{ready['id']}")
            eventually(lambda: len(receiver.taken) == 3, 60, lambda: f"{receiver}\n{service.output}")
            service.says("event Thumbnail Deleted")
        assert receiver.refused == 1
        records = {body["type"]: body["data"]["record"] for _, body in receiver.taken}
        assert records == {"Thumbnail Ready": ready, "Thumbnail Failed": failed, "Thumbnail Deleted": ready}


@pytest.mark.slow
def test_a_running_service_can_be_told_to_publish_nothing() -> None:
    with Service({"EVENTS": "false"}) as service:
        service.wait_for_end(service.upload(picture())["id"])
        time.sleep(2)
        assert " event Thumbnail" not in service.output
