"""A connection to Redis that tells an injector of each command before it is sent."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from tests.faults.steps import Call, prefix_of
from tests.inside import errors_to_repeat

if TYPE_CHECKING:
    from tests.faults.injector import Injector


class _Commands(list[tuple[Any, ...]]):
    """The commands of a pipeline, not packed yet."""


class _TellsCalls(Retry):
    """Repeats as often as `real`, without a pause, and tells which commands belong to one call."""

    def __init__(self, real: Any) -> None:
        super().__init__(NoBackoff(), real.get_retries(), errors_to_repeat(real))
        self.call = Call()

    def call_with_retry(self, *args: Any, **kwargs: Any) -> Any:
        # A call that has to connect first makes another one inside.
        outer, self.call = self.call, Call()
        try:
            return super().call_with_retry(*args, **kwargs)
        finally:
            self.call = outer


@dataclass(slots=True)
class _Pending:
    """Commands of one call that are still to be sent, the first of them next."""

    call: Call
    position: int
    commands: list[tuple[Any, ...]]
    connection: "WatchedConnection"

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


class WatchedConnection(redis.Connection):
    """Sends a command only when its reply is asked for, so that a pipeline is sent one by one."""

    injector: "Injector"
    scripts: Mapping[str, str]

    def __init__(self, **kwargs: Any) -> None:
        self._pending: _Pending | None = None
        self._unwatched = False
        self._plain.__init__(**kwargs)
        self.retry: Any = _TellsCalls(self.retry)

    @property
    def _plain(self) -> Any:
        """What an unwatched connection does."""
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
            return f"{word} {self.scripts.get(arguments[0], arguments[0][:8])} {prefix_of(arguments[2])}"
        return f"{word} {prefix_of(arguments[0])}" if arguments else word
