"""How a running task is told to stop, and watched: between the worker's thread and the core's."""

from dataclasses import dataclass, field

from fedbus.data import Dataset
from fedbus.errors import Stopped
from fedbus_edge_agent.training.errors import this_thread, thread_position


@dataclass(slots=True)
class TaskControl:
    """How a running task is told to stop, and says how far it is and where.

    `beats` rises with every batch that is wanted before it is told to stop; `notes` are what went
    wrong beside the work, as events and reasons.
    """

    stopped: bool = False
    data: Dataset | None = None
    batches_requested: int = 0
    thread: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)

    def begin(self) -> None:
        """Let the calling thread be watched: what it is at before its first batch can hang too.

        Raises:
            Stopped: it need not begin.
        """
        self.thread = this_thread()
        self.check()

    def check(self) -> None:
        """Ask whether to stop, between two things that cannot be asked themselves.

        Raises:
            Stopped: it was told to.
        """
        if self.stopped:
            raise Stopped("asked to stop")

    def stop(self) -> None:
        """Let the task end at its next batch."""
        self.stopped = True

    def watch(self, data: Dataset) -> Dataset:
        """Give the work data that it can be stopped at and watched by.

        Raises:
            Stopped: it was told to while they were loaded.
        """
        self.check()
        self.data = data.watched(self._ask)
        return self.data

    def _ask(self) -> bool:
        self.batches_requested += not self.stopped
        return self.stopped

    def place(self) -> str:
        """Say where its thread is at this moment."""
        return thread_position(self.thread) if self.thread else ""

    @property
    def progress(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.data.progress if self.data is not None else 0.0
