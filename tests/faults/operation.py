"""What an operation of the fault matrix is, and the process that runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED
from chalicelib.records.store import RecordStore
from chalicelib.spec import NamedSize, ThumbnailSpec
from chalicelib.work.process import Processor
from chalicelib.work.upload import Uploader
from tests.reconciler import Reconciler

if TYPE_CHECKING:
    from tests.faults.world import World

START_MS = 1_790_000_000_000


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


@dataclass(frozen=True, slots=True)
class Party:
    """One process: its clients, and what runs on them under a deployment's settings."""

    store: RecordStore
    bucket: Bucket
    clock: Clock
    keep_originals: bool
    retention: int
    sizes: tuple[NamedSize, ...] = ()

    @property
    def uploader(self) -> Uploader:
        """What takes uploads in."""
        return Uploader(self.store, self.bucket, self.clock, self.retention, UNRESTRICTED)

    @property
    def processor(self) -> Processor:
        """What events are handed to."""
        return Processor(
            self.store,
            self.bucket,
            ThumbnailSpec(),
            max_bytes=10_000,
            max_pixels=10_000,
            retention=self.retention,
            keep_originals=self.keep_originals,
            sizes=self.sizes,
        )

    @property
    def reconciler(self) -> Reconciler:
        """What the scheduler calls."""
        return Reconciler(self.processor, self.clock)


class Kind(StrEnum):
    """What sets an operation off: this says who repeats it when it fails, and what else comes."""

    UPLOAD = "upload"
    """A request that the client does not repeat: it may only make a new one."""
    REQUEST = "request"
    """A request that the client repeats."""
    EVENT = "event"
    """An event, which Lambda delivers again."""
    TASK = "task"
    """The scheduler; events have been lost, or came long ago."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that the service does: `run`, which begins where `set_up` has led."""

    name: str
    kind: Kind
    set_up: Callable[["World"], None]
    run: Callable[["World", Party], None]
    clients_key: bool = False
    """It is about a key that the client may put another version under."""
    keep_originals: bool = True
    retention: int = 0
    sizes: tuple[NamedSize, ...] = ()
    """What the deployment makes beside the default thumbnail."""
    losses_only: bool = False
    """A variant for the columns in which it matters whether originals are kept."""
