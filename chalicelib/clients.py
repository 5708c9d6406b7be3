"""Clients of Redis and AWS with timeouts and bounded retries. Making one opens no connection."""

from typing import TYPE_CHECKING, Any, cast

import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError
from redis.retry import Retry

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from types_boto3_s3 import S3Client


_USER_AGENT = "thumbnails"
"""Else the SDK puts one together for each call, which is a sixth of a call's processor time."""


def redis_client(url: str, *, timeout: float, is_cluster: bool = False) -> "redis.Redis":
    """Make a Redis client. That of a cluster connects immediately, and raises as `cluster_client` says.

    Args:
        url: where Redis is, `rediss://` for TLS.
        is_cluster: whether `url` leads to a cluster.
        timeout: seconds to wait for a connection, and for each reply. One retry follows, so that a
            connection which died while the function slept costs no request, nor one to a server that has
            become a replica in the meantime: it is closed, and the name leads to the new primary.

    """
    if is_cluster:
        from chalicelib.cluster_client import cluster_client

        of_cluster: Any = cluster_client(url, timeout=timeout)  # the same commands, though not the same type
        return cast("redis.Redis", of_cluster)
    client: redis.Redis = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(ConstantBackoff(0.05), 1),
        retry_on_error=[ReadOnlyError, BusyLoadingError, MasterDownError],
    )
    return client


def s3_client(*, timeout: float, attempts: int) -> "S3Client":
    """Make an S3 client; the SDK finds endpoint, region and credentials itself.

    Args:
        timeout: seconds to wait for a connection, and for each piece of a reply.
        attempts: how often a call is tried in all when it fails for a passing reason.

    """
    client: S3Client = aws_client(
        "s3",
        timeout=timeout,
        attempts=attempts,
        max_pool_connections=32,
        # An endpoint given by address has no name to put the bucket's in front of. TLS protects the body
        # already, so that no second hash of it is signed.
        s3={"addressing_style": "auto", "payload_signing_enabled": False},
        # The same of checksums, but where S3 demands one, as in DeleteObjects.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
    )
    # `Expect: 100-continue` costs a round trip each time, and another timeout when S3 hangs.
    client.meta.events.register_last("before-call.s3", _do_not_wait_for_continue)
    client.meta.events.register_first("before-endpoint-resolution.s3", _stay_in_region)
    return client


def aws_client(service: str, *, timeout: float, attempts: int, **more: Any) -> Any:
    """Make a client of a service of AWS; `timeout` and `attempts` as in `s3_client`, `more` for its Config.

    The SDK is imported here: that takes a tenth of a second, which who needs no client shall not wait for.
    """
    import boto3
    from botocore.config import Config

    retries: Any = {"total_max_attempts": attempts, "mode": "standard"}
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        retries=retries,
        user_agent=_USER_AGENT,
        **more,
    )
    return boto3.client(service, config=config)


def s3_credentials() -> "Credentials | None":
    """What the clients of `s3_client` sign with, as the SDK finds it; None where there is nothing.

    Where the SDK can renew credentials, it does so in this object.
    """
    import boto3  # as in aws_client

    if boto3.DEFAULT_SESSION is None:
        boto3.setup_default_session()
    session: Any = boto3.DEFAULT_SESSION
    credentials: Credentials | None = session.get_credentials()
    return credentials


def _do_not_wait_for_continue(params: dict[str, Any], **_: object) -> None:
    params["headers"].pop("Expect", None)


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    # The SDK would sign URLs of us-east-1's endpoint for every region, from where S3 redirects or refuses: no
    # browser follows that with a form.
    context["use_global_endpoint"] = False
