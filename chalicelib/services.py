"""Adapters and use cases of this deployment, made on first use and kept while the function stays warm.

What one function needs is imported where it is made, so that no other pays for it in its cold start.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from chalicelib import naming
from chalicelib.clients import aws_client, redis_client, s3_client, s3_credentials
from chalicelib.clock import now_ms
from chalicelib.http.page import Page, make_page
from chalicelib.metrics import Metrics
from chalicelib.records.redis_errors import redis_errors
from chalicelib.records.store import RecordStore
from chalicelib.settings import Settings

if TYPE_CHECKING:
    from chalicelib.auth.tokens import Tokens
    from chalicelib.bus import Bus, RemoteFunction
    from chalicelib.objects.bucket import Bucket
    from chalicelib.work.process import Processor
    from chalicelib.work.walk import Walker


log = Logger(service="thumbnails")


@functools.cache
def settings() -> Settings:
    """The deployment's settings."""
    return Settings.from_env()


@functools.cache
def store() -> RecordStore:
    """The records, for requests: a client is waiting, so it gives up after two tries of a second."""
    return record_store(timeout=1)


def record_store(*, timeout: float) -> RecordStore:
    """The records, by a client that waits so many seconds for a connection, and for each reply.

    Raises:
        RecordStoreUnavailable: Redis is a cluster, and no server of it answers. The next call tries again.

    """
    using = settings()
    with redis_errors():
        client = redis_client(using.redis_url, timeout=timeout, is_cluster=using.redis_cluster)
    return RecordStore(client, now_ms, using.index_partitions, publishes=using.events)


@functools.cache
def bucket() -> "Bucket":
    """The objects, for requests: a client is waiting, so it gives up after two tries of a second."""
    from chalicelib.objects.bucket import Bucket  # imports botocore

    client = s3_client(timeout=1, attempts=2)
    return Bucket(client, settings().bucket, settings().public_storage_url, s3_credentials())


def metrics() -> Metrics:
    """Where metrics go."""
    return Metrics(settings().bucket)


@functools.cache
def page() -> Page:
    """The page at `/`."""
    return make_page(
        max_upload=settings().max_upload_bytes,
        max_original=settings().max_original_bytes,
        expires_after_download=settings().retention_after_download is not None,
        form_url=bucket().post_url(),
        pictures_url=bucket().public_url(naming.THUMBNAILS),
        auth=settings().auth,
    )


@functools.cache
def tokens() -> "Tokens":
    """Checks tokens; the issuer's keys are kept."""
    from chalicelib.auth.fetch import fetch
    from chalicelib.auth.tokens import Tokens  # imports PyJWT

    auth = settings().auth
    assert auth is not None, "the gateway asks for owners only"  # noqa: S101 - for the type checker
    watermark = settings().watermark
    return Tokens(auth, fetch, now_ms, None if watermark is None else watermark.claim)


@functools.cache
def bus() -> "Bus":
    """Where events are published."""
    from chalicelib.bus import Bus  # imports botocore

    return Bus(aws_client("events", timeout=5, attempts=2))


@functools.cache
def outbox() -> "RemoteFunction":
    """The function that reads the outbox, which this one cannot reach."""
    from chalicelib.bus import RemoteFunction  # likewise

    name = settings().outbox_function
    assert name is not None, "only the publisher is told its name"  # noqa: S101 - for the type checker
    return RemoteFunction(aws_client("lambda", timeout=10, attempts=2), name)


@functools.cache
def processor() -> "Processor":
    """Processes originals: no client waits for it, so it is patient with Redis and S3."""
    from chalicelib.objects.bucket import Bucket
    from chalicelib.work.look import Watermarks
    from chalicelib.work.process import Processor  # imports Pillow

    patient, mark = Bucket(s3_client(timeout=10, attempts=4), settings().bucket), settings().watermark
    return Processor(
        store=record_store(timeout=5),
        bucket=patient,
        spec=settings().spec,
        max_bytes=settings().max_original_bytes,
        max_pixels=settings().max_pixels,
        retention=settings().retention,
        keep_originals=settings().keep_originals,
        clock=now_ms,
        sizes=settings().sizes,
        watermarks=None
        if mark is None
        else Watermarks(patient, mark.key, mark.share, now_ms, by_claim=mark.claim is not None),
    )


def walker(time_is_up: Callable[[], bool]) -> "Walker":
    """Walks over bucket and index until `time_is_up`."""
    from chalicelib.work.repair import Repair
    from chalicelib.work.walk import Walker

    return Walker(Repair(processor(), now_ms), now_ms, time_is_up)
