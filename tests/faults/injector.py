"""Puts faults between the code and the real servers, at one chosen call of an operation.

Each call of Redis or S3 is a step: a command (of a pipeline each command by itself, as the server takes
them), a script, a request, and the reading of an object's body. What sets up a connection and `SCRIPT LOAD`
are none. First record an operation, then run it again for each of its steps and each fault:

    injector = Injector()
    injector.watch(store, bucket)
    with injector.record() as steps:
        processor.process(key)              # steps == ["S3 GetObject originals/", "ZADD due", ...]
    with injector.inject(1, Fault.KILLED_AFTER), pytest.raises(Killed):
        processor.process(key)              # the server has run the script, and its reply is lost
    injector.revive()
    processor.process(key)                  # the event comes again

`inject` fails when its step does not come. It yields the steps as `record` does, so that the way which an
operation takes after a fault can be known; several at once share one count:

    with injector.inject(2, Fault.ERROR_BEFORE), injector.inject(4, Meanwhile(delete)) as steps: ...

Redis's client and S3's repeat by themselves what failed, as they are told to by whoever made them; here they
do so at once. A repeat is the same step and meets the same fault, so that the caller sees it.

The hooks are the clients' own: redis-py's class of connections, and botocore's events.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import redis
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.response import StreamingBody
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import NoScriptError
from redis.retry import Retry

from chalicelib.objects.bucket import Bucket
from chalicelib.records.store import RecordStore
from tests.inside import errors_to_repeat, http_session, redis_of, s3_of, scripts_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

Reply = TypeVar("Reply")

_CALL = "faults.call"


class Fault(StrEnum):
    """What happens to one step."""

    ERROR_BEFORE = "error-before"
    """The connection fails before the server has heard anything."""
    ERROR_AFTER = "error-after"
    """The server does it, once; then the connection fails, and no repeat gets through."""
    ERROR_ONCE_AFTER_EFFECT = "error-once-after-effect"
    """The server does it, the connection fails, and the client's own repeat makes the server do it again."""
    TIMEOUT = "timeout"
    """The caller has waited long enough; the server does it when the test calls `Injector.land`."""
    KILLED_BEFORE = "killed-before"
    """The process is gone before the server has heard anything."""
    KILLED_AFTER = "killed-after"
    """The server does it, and the process is gone before it hears of that."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Somebody else does `action` right before the step, or right `after` it. Its own calls are no steps."""

    action: Callable[[], object]
    after: bool = False


class Killed(BaseException):
    """The process is gone: raised by the step that kills it, and by each call until `Injector.revive`."""


class MeanwhileFailed(BaseException):
    """What was to happen meanwhile has failed: the test's mistake, which no handler may take for a fault."""


class _Connection(Protocol):
    """What carries a step: how it fails there, and what lies on the wire when nobody waits any more."""

    def failed(self, *, heard: bool) -> Exception: ...

    def timed_out(self) -> Exception: ...

    def send_late(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Step:
    index: int | None
    """Place in the operation; None outside an operation whose steps are counted."""
    fault_met: bool = False


@dataclass(slots=True, eq=False)
class _Call:
    """One call as its caller sees it, the client's repeats included: its steps, by their place in it."""

    name: str = ""
    steps: dict[int, _Step] = field(default_factory=dict)
    injected: Exception | None = None


class Injector:
    """Counts steps, and makes one of them fail. One injector may watch several clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: list[str] | None = None
        self.faults: dict[int, Fault | Meanwhile] = {}
        self._hit: set[int] = set()
        self._unanswered: _Step | None = None
        self._paused = False
        self._killed = False
        self._late: list[Callable[[], None]] = []

    # --- which clients ---

    def watch(self, *adapters: RecordStore | Bucket) -> None:
        """Watch the clients of these adapters; scripts are named as in `scripts_of`."""
        for adapter in adapters:
            if isinstance(adapter, Bucket):
                self.watch_s3(s3_of(adapter))
            else:
                self.watch_redis(redis_of(adapter), scripts_of(adapter))

    def watch_redis(self, client: "redis.Redis", scripts: Mapping[str, Script] | None = None) -> None:
        """Watch a client of one Redis over TCP, with the names that its scripts shall have.

        These are loaded, so that a script that lands late is known to the server; it could not be sent again.
        """
        for script in (scripts or {}).values():
            client.script_load(script.script)
        names = {script.sha: name for name, script in (scripts or {}).items()}
        pool: Any = client.connection_pool
        pool.disconnect()
        pool.reset()
        pool.connection_class = type(
            "WatchedRedisConnection", (_RedisConnection,), {"injector": self, "scripts": names}
        )

    def watch_s3(self, client: "S3Client") -> None:
        """Watch a client of S3."""
        _S3Hooks(self, client)

    # --- what the test does ---

    @contextlib.contextmanager
    def record(self) -> Iterator[list[str]]:
        """Collect the names of the steps that are taken inside."""
        if self._steps is not None:
            yield self._steps
            return
        self._steps = []
        try:
            yield self._steps
        finally:
            self._steps, self._unanswered = None, None

    @contextlib.contextmanager
    def inject(self, step: int, fault: Fault | Meanwhile) -> Iterator[list[str]]:
        """Let `fault` happen to the step with this number, counted from 0 where the outermost block begins.

        Raises:
            AssertionError: no such step was taken.

        """
        with self.record() as steps:
            self.faults[step] = fault
            self._hit.discard(step)
            try:
                yield steps
            finally:
                del self.faults[step]
                # Also when the operation has failed: not of this, and the test might take it for this.
                assert step in self._hit, f"there was no step {step} to fail; the steps were {steps}"

    def land(self) -> None:
        """Let the servers do now what timed out: the step, and what its pipeline had sent behind it.

        Once, as if the client's repeats of it had been lost.
        """
        late, self._late = self._late, []
        for send in late:
            send()

    def revive(self) -> None:
        """Let calls through again, as those of a new process."""
        self._killed = False

    # --- what the hooks do ---

    def check_alive(self) -> None:
        if self._killed:
            raise Killed

    def step(self, call: _Call, position: int, name: str) -> _Step:
        """The step at this place of a call: the one that is repeated, or else the operation's next."""
        with self._lock:
            if position in call.steps:
                return call.steps[position]
            if self._paused or self._steps is None:
                step = _Step(None)
            elif self._unanswered is not None:
                step, self._unanswered = self._unanswered, None
            else:
                step = _Step(len(self._steps))
                self._steps.append(name)
            call.steps[position] = step
            return step

    def not_yet(self, step: _Step) -> None:
        """Take back a script which the server did not know: it is loaded, and sent again as the same step."""
        if step.index is not None:
            self._unanswered = step

    def take(self, step: _Step, connection: _Connection, send: Callable[[], Reply]) -> Reply:
        """Take a step, or let its fault happen."""
        self.check_alive()
        fault = None if step.index is None else self.faults.get(step.index)
        if fault is None or step.index is None:
            return send()
        self._hit.add(step.index)
        if isinstance(fault, Meanwhile):
            return self._take_meanwhile(step, fault, send)
        first = not step.fault_met
        reply: Reply | None = None
        if fault is Fault.ERROR_ONCE_AFTER_EFFECT or (
            first and fault in {Fault.ERROR_AFTER, Fault.KILLED_AFTER}
        ):
            reply = send()
        step.fault_met = True
        match fault:
            case Fault.ERROR_ONCE_AFTER_EFFECT if not first:
                return cast(Reply, reply)
            case Fault.KILLED_BEFORE | Fault.KILLED_AFTER:
                self._killed = True
                raise Killed
            case Fault.TIMEOUT:
                if first:
                    self._late.append(connection.send_late)
                raise connection.timed_out()
        raise connection.failed(heard=fault is not Fault.ERROR_BEFORE)

    def _take_meanwhile(self, step: _Step, fault: Meanwhile, send: Callable[[], Reply]) -> Reply:
        if fault.after:
            reply = send()
            self._once(step, fault.action)
            return reply
        self._once(step, fault.action)
        return send()

    def _once(self, step: _Step, action: Callable[[], object]) -> None:
        if step.fault_met:
            return
        step.fault_met = True
        self._paused = True
        try:
            action()
        except Exception as error:
            raise MeanwhileFailed from error
        finally:
            self._paused = False


def _prefix(key: object) -> str:
    """What a key of Redis or S3 has in common with its like: `record:` of `record:<id>`."""
    found = re.match("[^:/]*[:/]?", str(key))
    return found[0] if found else ""


# --- Redis ---


class _Commands(list[tuple[Any, ...]]):
    """The commands of a pipeline, not packed yet."""


class _TellsCalls(Retry):
    """Repeats as often as `real`, without a pause, and tells which commands belong to one call."""

    def __init__(self, real: Any) -> None:
        super().__init__(NoBackoff(), real.get_retries(), errors_to_repeat(real))
        self.call = _Call()

    def call_with_retry(self, *args: Any, **kwargs: Any) -> Any:
        # A call that has to connect first makes another one inside.
        outer, self.call = self.call, _Call()
        try:
            return super().call_with_retry(*args, **kwargs)
        finally:
            self.call = outer


@dataclass(slots=True)
class _Pending:
    """Commands of one call that are still to be sent, the first of them next."""

    call: _Call
    position: int
    commands: list[tuple[Any, ...]]
    connection: "_RedisConnection"

    def failed(self, *, heard: bool) -> Exception:
        return redis.ConnectionError("injected: connection " + ("lost" if heard else "refused"))

    def timed_out(self) -> Exception:
        return redis.TimeoutError("injected: timeout reading from socket")

    def send_late(self) -> None:
        used = self.connection
        make: Any = redis.Connection
        late = make(host=used.host, port=used.port, db=used.db)
        try:
            for command in self.commands:
                late.send_command(*command)
                late.read_response()
        finally:
            late.disconnect()


class _RedisConnection(redis.Connection):
    """Sends a command only when its reply is asked for, so that a pipeline is sent one by one."""

    injector: Injector
    scripts: Mapping[str, str]

    def __init__(self, **kwargs: Any) -> None:
        self._pending: _Pending | None = None
        self._unwatched = False
        self._plain.__init__(**kwargs)
        self.retry: Any = _TellsCalls(self.retry)

    @property
    def _plain(self) -> Any:
        """What a connection does that nobody watches."""
        return super()

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        with self._not_watching():
            self._plain.on_connect_check_health(*args, **kwargs)

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._pending = None
        self._plain.disconnect(*args, **kwargs)

    def pack_commands(self, commands: Any) -> Any:
        if tuple(commands[0]) == ("MULTI",):
            raise NotImplementedError("a transaction is one step; nothing here can tell how it fails")
        return _Commands(commands)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        if self._unwatched or str(args[0]).startswith("SCRIPT"):
            self.injector.check_alive()
            self._plain.send_command(*args, **kwargs)
        else:
            self.send_packed_command(_Commands([args]))

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if isinstance(command, _Commands):
            self._pending = _Pending(self.retry.call, 0, command, self)
        else:
            self._plain.send_packed_command(command, check_health=check_health)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        pending = self._pending
        if self._unwatched or pending is None:
            return self._plain.read_response(*args, **kwargs)
        command = pending.commands[0]
        step = self.injector.step(pending.call, pending.position, self._name(command))

        def send() -> Any:
            with self._not_watching():
                self._plain.send_command(*command)
                return self._plain.read_response(*args, **kwargs)

        try:
            return self.injector.take(step, pending, send)
        except NoScriptError:
            self.injector.not_yet(step)
            raise
        except redis.ResponseError:
            raise
        except BaseException:
            self.disconnect()
            raise
        finally:
            rest = pending.commands[1:]
            if self._pending is not None:
                self._pending = _Pending(pending.call, pending.position + 1, rest, self) if rest else None

    @contextlib.contextmanager
    def _not_watching(self) -> Iterator[None]:
        before, self._unwatched = self._unwatched, True
        try:
            yield
        finally:
            self._unwatched = before

    def _name(self, command: tuple[Any, ...]) -> str:
        word, *arguments = (str(part) for part in command)
        if word == "EVALSHA":
            return f"{word} {self.scripts.get(arguments[0], arguments[0][:8])} {_prefix(arguments[2])}"
        return f"{word} {_prefix(arguments[0])}" if arguments else word


# --- S3 ---


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


class _S3Hooks:
    """Watches the requests of one client by botocore's events."""

    def __init__(self, injector: Injector, client: "S3Client") -> None:
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
        prefixes = dict.fromkeys(_prefix(key) for key in given if key)
        context[_CALL] = _Call(" ".join(["S3", model.name, *prefixes]))

    def _send(self, request: Any, **_: object) -> Any:
        call: _Call = request.context[_CALL]
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
        call: _Call = request_dict["context"][_CALL]
        if caught_exception is None or caught_exception is not call.injected:
            return None
        return 0.0 if attempts < self._tries else False

    def _open(self, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        if "Body" in parsed:
            parsed["Body"] = _Body(parsed["Body"], self._injector, context[_CALL])


class _Body(StreamingBody):
    """The body of an object, whose first read is a step. Clients do not repeat that."""

    def __init__(self, body: StreamingBody, injector: Injector, call: _Call) -> None:
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
