"""Cancellation and progress of work, shared by the training thread and the core's thread."""

import threading
from dataclasses import dataclass, field

from fedbus.data import Dataset
from fedbus.errors import Stopped
from fedbus_edge_agent.training.errors import thread_position


@dataclass(slots=True)
class TaskControl:
    """Cancellation flag and progress of one task or round.

    Attributes:
        data: The data set that is being iterated; None before it is loaded.
        batches_requested: Number of batches requested before cancellation; the watchdog reads it.
        steps: Batches of `data.steps` or `data.epochs` that the trainer took: optimizer steps.
        thread: Identifier of the thread that works; 0 before it has begun.
        private: Whether no other node may see that this work is done.
        notes: Log events of faults, each with its reason; the work may go on after them.
    """

    stopped: bool = False
    data: Dataset | None = None
    batches_requested: int = 0
    steps: int = 0
    thread: int = 0
    private: bool = False
    notes: list[tuple[str, str]] = field(default_factory=list)

    def begin(self) -> None:
        """Record the calling thread, since loading can hang too, then `check`."""
        self.thread = threading.get_ident()
        self.check()

    def check(self) -> None:
        """Raise Stopped if the work was cancelled; called where nothing interrupts the work."""
        if self.stopped:
            raise Stopped("asked to stop")

    def stop(self) -> None:
        """Cancel the work; it ends at its next batch."""
        self.stopped = True

    def watch(self, data: Dataset) -> Dataset:
        """Return the data set with a count and a `check` before each batch; `check` now, too."""
        self.check()
        self.steps = 0
        self.data = data.with_stop(self._count_batch, self._count_step)
        return self.data

    def _count_batch(self) -> bool:
        self.batches_requested += not self.stopped
        return self.stopped

    def _count_step(self) -> None:
        self.steps += 1

    def position(self) -> str:
        """Return the source line that the thread executes at this moment; "" before it began."""
        return thread_position(self.thread) if self.thread else ""

    @property
    def progress(self) -> float:
        """Part of the work that is done, 0 to 1."""
        return self.data.progress if self.data is not None else 0.0
