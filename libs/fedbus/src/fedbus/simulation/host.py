"""Hosts of the ring: one machine with one service each."""

from collections.abc import Callable
from dataclasses import dataclass

from fedbus.core.blob_io import BlobFinder
from fedbus.core.interface import Core
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node


@dataclass(frozen=True, slots=True)
class RunningService:
    """A started service: its core, the blobs it always serves, the call that closes its store."""

    core: Core
    stored: BlobFinder | None = None
    close: Callable[[], None] = lambda: None


ServiceFactory = Callable[[Identity], RunningService]
"""Starts a service on the files that its earlier starts left on disk."""


@dataclass(slots=True)
class Host:
    """Machine with one service.

    Attributes:
        service: The running service; None after a kill.
        starts: Number of starts; a call scheduled for an earlier start is not performed.
        wake: Time of the scheduled tick.
        dropping_actions: Whether the effects of the core are discarded (`kill_before_actions`).
        frozen: Time until which the process stands still.
    """

    name: str
    factory: ServiceFactory
    node: Node | None = None
    service: RunningService | None = None
    starts: int = 0
    connected: bool = False
    wake: float | None = None
    dropping_actions: bool = False
    frozen: float = 0.0
