"""A client of S3 that tells an injector of each request, and of the first read of each body, beforehand."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.response import StreamingBody

from tests.faults.steps import Call, prefix_of
from tests.inside import http_session

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from tests.faults.injector import Injector

_CALL = "faults.call"


@dataclass(slots=True)
class _S3Request:
    """A request as it goes over the wire, signed."""

    request: Any
    session: Any
    reply: Any = None

    def failed(self, *, heard: bool) -> Exception:
        error = ConnectionClosedError if heard else EndpointConnectionError
        return error(endpoint_url=self.request.url)

    def timed_out(self) -> Exception:
        return ReadTimeoutError(endpoint_url=self.request.url)

    def send(self) -> Any:
        self.reply = self.session.send(self.request)
        return self.reply

    def abandon(self) -> None:
        """Close what carries a reply whose reader has gone."""
        if self.reply is not None:
            self.reply.raw.close()

    def send_late(self) -> None:
        self.request.reset_stream()
        reply = self.send()
        assert reply.status_code < 300 or reply.status_code == 404, reply.content
        self.abandon()


class WatchedS3:
    """Watches the requests of one client by botocore's events."""

    def __init__(self, injector: "Injector", client: "S3Client") -> None:
        self._injector = injector
        endpoint: Any = client
        self._session = http_session(endpoint)
        self._tries: int = (endpoint.meta.config.retries or {}).get("total_max_attempts", 1)
        events: Any = client.meta.events
        events.register_first("before-parameter-build.s3", self._begin)
        events.register_first("before-send.s3", self._send)
        events.register_first("needs-retry.s3", self._repeat)
        events.register_last("after-call.s3.GetObject", self._open)

    def _begin(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        objects = params.get("Delete", {}).get("Objects", [])
        given = [params.get("Key") or params.get("Prefix"), *(each["Key"] for each in objects)]
        prefixes = dict.fromkeys(prefix_of(key) for key in given if key)
        context[_CALL] = Call(" ".join(["S3", model.name, *prefixes]))

    def _send(self, request: Any, **_: object) -> Any:
        call: Call = request.context[_CALL]
        sent = _S3Request(request, self._session)
        try:
            return self._injector.take(self._injector.step(call, 0, call.name), sent, sent.send)
        except BaseException as error:
            sent.abandon()
            if isinstance(error, BotoCoreError):
                call.injected = error
            raise

    def _repeat(
        self, attempts: int, caught_exception: Exception | None, request_dict: Any, **_: object
    ) -> float | None:
        """Repeat what was made to fail as often as the client would, but without its pause."""
        call: Call = request_dict["context"][_CALL]
        if caught_exception is None or caught_exception is not call.injected:
            return None
        return 0.0 if attempts < self._tries else False

    def _open(self, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        if "Body" in parsed:
            parsed["Body"] = _Body(parsed["Body"], self._injector, context[_CALL])


class _Body(StreamingBody):
    """The body of an object, whose first read is a step. Clients do not repeat that."""

    def __init__(self, body: StreamingBody, injector: "Injector", call: Call) -> None:
        stream: Any = body
        length: Any = None  # what is wrapped checks it
        super().__init__(stream, length)
        self._body = body
        self._injector = injector
        self._call = call

    def read(self, amt: int | None = None) -> bytes:
        read = functools.partial(self._body.read, amt)
        if 1 in self._call.steps:
            return read()
        step = self._injector.step(self._call, 1, f"{self._call.name} body")
        return self._injector.take(step, self, read)

    def failed(self, *, heard: bool) -> Exception:
        return ResponseStreamingError(error="injected: connection lost")

    def timed_out(self) -> Exception:
        return ReadTimeoutError(endpoint_url=self._call.name)

    def send_late(self) -> None:
        """Nothing: what was not read changes nothing."""
