"""Dozens of objects that S3 lists and does not hand out: they fail, and hold up nothing else."""

from collections import Counter
from collections.abc import Iterator

import pytest
import redis as redis_py

from chalicelib import naming
from tests.conftest import picture
from tests.reliability.deployment import DAY_MS, LATE_MS, Deployment, deployed

pytestmark = pytest.mark.slow

EACH = 25
KINDS = {
    "archived": None,  # by its storage class: S3 itself refuses to read it
    "sse-c": (
        ("GetObject", "HeadObject"),
        (400, "InvalidRequest", "The object was stored with a key of its own."),
    ),
    "kms": (("GetObject",), (400, "KMS.DisabledException", "The key is disabled.")),
    "kms-denied": (("GetObject",), (403, "AccessDenied", "Not authorized to perform: kms:Decrypt.")),
    "denied": (("GetObject", "HeadObject"), (403, "AccessDenied", "Access Denied")),
}
CODES = {
    "archived": "archived",
    "sse-c": "encrypted",
    "kms": "encrypted",
    "kms-denied": "encrypted",
    "denied": "denied",
}


@pytest.fixture
def deployment(
    redis_url: str, redis_server: "redis_py.Redis", s3_endpoint: str, api_server: tuple[str, str]
) -> Iterator[Deployment]:
    with deployed(api_server[0], redis_url, s3_endpoint) as made:
        made.faults.rule = refuse
        yield made


def refuse(operation: str, key: str) -> tuple[int, str, str] | None:
    told = KINDS.get(key.split("/")[1]) if key.startswith(naming.ORIGINALS) else None
    return told[1] if told is not None and operation in told[0] else None


def put_refused(deployment: Deployment) -> dict[str, str]:
    """Put refused objects into the bucket, in front of others; give the code that each shall fail with."""
    return {
        deployment.put(
            f"originals/{kind}/{number}.jpg",
            picture(16, 12, seed=number),
            **({"StorageClass": "GLACIER"} if kind == "archived" else {}),
        ): code
        for kind, code in CODES.items()
        for number in range(EACH)
    }


def codes(deployment: Deployment) -> dict[str, str | None]:
    """The code of each listed record; None where it is ready."""
    found = {}
    for one in deployment.listed():
        record = deployment.record(one)
        assert record is not None
        found[one] = record.error_code or ("pending" if record.thumbnail_size is None else None)
    return found


def test_nothing_else_waits_for_them(deployment: Deployment) -> None:
    deployment.reconcile()
    refused = put_refused(deployment)
    late = deployment.upload(picture(16, 12, seed=200))  # its event is lost
    unseen = deployment.put("originals/zoo.jpg", picture(16, 12, seed=201))  # likewise
    removed = deployment.upload(picture(16, 12, seed=202))
    # The sweep gets to the upload as soon as its check comes due, though none of the refused was checked yet.
    deployment.reconcile(after_ms=LATE_MS)
    assert deployment.shown(late) == "ready"
    deployment.delete(removed)
    # The walk of the day meets all of them, and goes on.
    deployment.reconcile(after_ms=DAY_MS)
    deployment.reconcile(after_ms=LATE_MS)
    assert codes(deployment) == refused | {late: None, unseen: None}
    # The next days and weeks change nothing, and raise nothing.
    for _ in range(2):
        counts = Counter(deployment.reconcile(after_ms=8 * DAY_MS))
        assert counts["postponed"] == 0
        assert counts["originals seen"] == len(refused) + 2
    assert codes(deployment) == refused | {late: None, unseen: None}


def test_their_events_end_at_the_first_try(deployment: Deployment) -> None:
    refused = put_refused(deployment)
    good = deployment.put("originals/zoo.jpg", picture(16, 12, seed=201))
    keys = sorted(deployment.keys(naming.ORIGINALS))
    deployment.process(deployment.event(*keys))
    assert codes(deployment) == refused | {good: None}
    # Delivered again, also by the retry queue, they change nothing.
    reports = [{"requestPayload": deployment.event(key)} for key in keys]
    assert deployment.retry(reports) == []
    assert codes(deployment) == refused | {good: None}


def test_a_rebuild_makes_all_records(deployment: Deployment, redis_server: "redis_py.Redis") -> None:
    refused = put_refused(deployment)
    good = {
        deployment.put(f"originals/zoo/{number}.jpg", picture(16, 12, seed=number)): None
        for number in range(5)
    }
    redis_server.flushall()
    deployment.rebuild()
    assert deployment.listed().keys() == refused.keys() | good.keys()
    deployment.reconcile(after_ms=LATE_MS)
    assert codes(deployment) == refused | good


def test_they_are_tried_again_when_they_can_be_read(deployment: Deployment) -> None:
    refused = put_refused(deployment)
    deployment.reconcile()
    deployment.reconcile(after_ms=LATE_MS)
    assert codes(deployment) == refused
    # S3 tells of what was restored; the walk of the day finds out about the rest.
    archived = [key for key in deployment.keys(naming.ORIGINALS) if "/archived/" in key]
    for key in archived:
        deployment.s3.restore_object(Bucket=deployment.bucket, Key=key, RestoreRequest={"Days": 2})
    deployment.process(deployment.event(*archived, kind="ObjectRestore:Completed"))
    assert {deployment.shown(naming.record_id(key)) for key in archived} == {"ready"}
    deployment.faults.rule = lambda _operation, _key: None
    deployment.reconcile(after_ms=DAY_MS)
    deployment.reconcile(after_ms=LATE_MS)
    assert codes(deployment) == dict.fromkeys(refused)
