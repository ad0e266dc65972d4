"""Tasks whose noisy update was released: an agent never releases a second one for the same task.

The difference of two updates with different noise tells more about the data than both of them were
accounted for. An update that waits in the outbox is offered again with the same bytes; this record
is for a task that is repeated after its update was removed, to a restarted agent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.atomic_write import atomic_write, os_errors_as_store_errors
from fedbus.errors import PrivacyError
from fedbus.wire.messages import TrainTask

MAX_RELEASED_JOBS: Final = 1024
"""The oldest are dropped, since an agent is not always told when a job ends."""
_SUFFIX: Final = ".released"


@dataclass(frozen=True, slots=True)
class ReleasedTasks:
    """One folder with a file `{job}.released` for each job: the highest number of its tasks."""

    folder: Path

    def check(self, task: TrainTask) -> None:
        """Decline a task for which an update was released, or a later task's.

        Raises:
            PrivacyError: There was one, or what is recorded cannot be read.
        """
        path = self._path(task.job)
        try:
            highest = int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise PrivacyError(
                "this agent cannot read for which tasks of the job it has released an update "
                f"({type(error).__name__}): remove {path.name} in its folder to let it take part"
            ) from error
        if task.task <= highest:
            raise PrivacyError(
                f"this agent has released an update for task {highest} already: a second one with "
                "other noise would tell more about its data than is accounted for"
            )

    def record(self, task: TrainTask) -> None:
        """Record a task before its update is written; a power cut does not undo that.

        Raises:
            StoreError: The disk is full or not writable.
        """
        path = self._path(task.job)
        with os_errors_as_store_errors(path, "recording that an update is released"):
            if not path.exists():
                self._make_room()
            atomic_write(path, str(task.task).encode(), durable=True)

    def forget(self, job: str) -> None:
        """Remove the record of an ended job, as far as the disk allows it."""
        try:
            self._path(job).unlink(missing_ok=True)
        except OSError:
            return

    def _make_room(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        recorded = sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for path in recorded[: len(recorded) - MAX_RELEASED_JOBS + 1]:
            path.unlink(missing_ok=True)

    def _path(self, job: str) -> Path:
        return self.folder / f"{job}{_SUFFIX}"
