"""Own state on disk: what an objective keeps on this agent from round to round of a job.

`residuals.py` keeps what compression leaves out in the same way.

SCAFFOLD's control variates are such a state (Karimireddy et al. 2020, arXiv 1910.06378), and the
gradients of FedDyn (Acar et al. 2021, arXiv 2111.04263). It must change exactly once for each
update that counts: it is pending from before the update is offered until its receipt, which says
whether it is adopted or discarded.
"""

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fedbus.atomic_write import os_errors_as_store_errors, sync_folder
from fedbus.errors import LayoutError, TrainingError
from fedbus.model import npz
from fedbus.model.layout import Layout
from fedbus.model.sections import section_numbers
from fedbus.text import listed
from fedbus.wire.messages import Offer, TrainTask

MAX_JOBS_WITH_STATE: Final = 8
UNUSED_SECONDS: Final = 7 * 24 * 3600
"""Age from which a state makes room for another job's: an agent is not always told of an end."""
_OWN: Final = "own"
_MADE_FOR: Final = "fedbus:made_for"
_BASE: Final = "fedbus:base"
_TASK: Final = "fedbus:task"  # its round, then its number
_KINDS: Final = f"{npz.NUMBERS}U"
_PENDING: Final = ".pending"
_ADOPTED: Final = ".own"


@dataclass(frozen=True, slots=True)
class OwnStates:
    """One folder with a file `{job}.own` for each job's state, which is adopted.

    `{job}~{round}~{task}.pending` waits for the receipt of a task's update.
    """

    folder: Path

    what: ClassVar[str] = "the objective's state"
    event: ClassVar[str] = "own_state"
    """Begins the name of each event of the log."""

    def begin(
        self, task: TrainTask, layout: Layout
    ) -> tuple[NDArray[np.float32] | None, list[tuple[str, str]]]:
        """Return the state to begin a task with, and events of the log with their reasons.

        Raises:
            TrainingError: As `make_room` and `load` do.
            StoreError: The disk is not writable.
        """
        events = []
        if removed := self.make_room(task.job):
            events.append((f"{self.event}_removed", removed))
        own, reason = self.load(task, layout)
        if reason:
            events.append((f"{self.event}_reset", reason))
        return own, events

    def make_room(self, job: str) -> str:
        """Remove old states of other jobs if there are too many; return which, "" if none was.

        A state of a running job must not be lost: the server's arrays hold what it has sent.

        Raises:
            TrainingError: All are in use, as far as is known.
            StoreError: The disk is not writable.
        """
        with os_errors_as_store_errors(self.folder):
            others = self._written()
            if others.pop(job, None) is not None or len(others) < MAX_JOBS_WITH_STATE:
                return ""
            self.folder.touch()  # gives it the present time of the clock that the files have
            oldest = self.folder.stat().st_mtime - UNUSED_SECONDS
            unused = sorted(name for name, written in others.items() if written < oldest)
            if len(others) - len(unused) >= MAX_JOBS_WITH_STATE:
                raise TrainingError(
                    f"this agent keeps {self.what} of {len(others)} other jobs, which is the most, "
                    f"and none of them was unused for {UNUSED_SECONDS // 86400} days: "
                    f"{listed(sorted(others))}; try again when one has ended"
                )
            for name in unused:
                self._adopted(name).unlink(missing_ok=True)
        return (
            f"of {listed(unused)}, unused for {UNUSED_SECONDS // 86400} days; a job that still "
            "runs begins with zeros here"
        )

    def load(self, task: TrainTask, layout: Layout) -> tuple[NDArray[np.float32] | None, str]:
        """Return the state to begin a task with as one section, or None and why it is not used.

        The reason is "" if there is none. What an earlier task of the same round left stays
        pending: its update may count even though the round was planned again, and then this task's
        update does not.

        Raises:
            TrainingError: The state is the one that this task has left: its update counts already.
        """
        try:
            arrays = npz.read_npz(self._adopted(task.job), _KINDS)
            own, made_for, base = arrays[_OWN], str(arrays[_MADE_FOR]), str(arrays[_BASE])
            round_, number = (int(each) for each in arrays[_TASK])
        except FileNotFoundError:
            return None, ""
        except (OSError, LayoutError, KeyError, TypeError, ValueError) as error:
            return None, f"{self.what} cannot be read ({error}); it begins with zeros"
        if (number, base) == (task.task, task.base.weights.digest):
            raise TrainingError(f"this agent's update for task {number} counts already")
        if round_ >= task.round:
            return None, f"{self.what} is of round {round_}, which is not before this one"
        if made_for != self.made_for(task, layout) or own.shape != (section_numbers(layout),):
            return None, f"{self.what} is of another model, or was made with other parameters"
        return own.astype(np.float32, copy=False), ""

    def save_pending(self, task: TrainTask, layout: Layout, own: NDArray[np.float32]) -> None:
        """Write the state that a task leaves, before its update is stored.

        Raises:
            StoreError: The disk is full or not writable; the state that is in use stays.
        """
        path = self._pending(task.job, task.round, task.task)
        with os_errors_as_store_errors(path, f"saving {self.what} of a job"):
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {
                _OWN: own,
                _MADE_FOR: np.array(self.made_for(task, layout)),
                _BASE: np.array(task.base.weights.digest),
                _TASK: np.array([task.round, task.task]),
            }
            npz.write_npz(path, arrays, durable=True)

    def settle(self, offer: Offer, *, counted: bool) -> bool:
        """Adopt what the task of an offer left pending, if its update counts; else discard it.

        Return False if the update counts and its state is gone. A second call does nothing.

        Raises:
            StoreError: The disk is not writable.
        """
        pending = self._pending(offer.job, offer.round, offer.task)
        with os_errors_as_store_errors(pending):
            try:
                if counted:
                    pending.replace(self._adopted(offer.job))
                else:
                    pending.unlink()
            except FileNotFoundError:
                return not counted or self._is_adopted(offer)
            with suppress(FileNotFoundError):
                sync_folder(self.folder)
        return True

    def discard_pending(self, task: TrainTask) -> None:
        """Remove what a task left pending, whose update was not stored."""
        with suppress(OSError):
            self._pending(task.job, task.round, task.task).unlink()

    def has_pending(self, offer: Offer) -> bool:
        """Return whether the task of an offer left a state that waits for its receipt."""
        return self._pending(offer.job, offer.round, offer.task).exists()

    def discard_all_but(self, offers: Collection[Offer]) -> None:
        """Remove what is pending for other tasks than those of the offers."""
        kept = {self._pending(offer.job, offer.round, offer.task) for offer in offers}
        for path in self.folder.glob(f"*{_PENDING}"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def remove(self, job: str) -> None:
        """Remove the state of a job that has ended, as far as the disk allows it."""
        with suppress(OSError):
            self._adopted(job).unlink()

    def made_for(self, task: TrainTask, layout: Layout, /) -> str:
        """Return what a state belongs to: tasks with another text begin with zeros."""
        objective = task.params.objective
        parameters = () if objective is None else sorted(objective.parameters.items())
        return f"{layout.digest} {'' if objective is None else objective.id} {parameters}"

    def _written(self) -> dict[str, float]:
        """Return when the latest state of each job was written; a pending one is never old."""
        written: dict[str, float] = {}
        for path in self.folder.glob("*"):
            if path.suffix == _PENDING:
                written[path.name.partition("~")[0]] = math.inf
            elif path.suffix == _ADOPTED:
                written.setdefault(path.stem, path.stat().st_mtime)
        return written

    def _is_adopted(self, offer: Offer) -> bool:
        with suppress(OSError, LayoutError, KeyError, TypeError, ValueError):
            arrays = npz.read_npz(self._adopted(offer.job), _KINDS)
            return [*map(int, arrays[_TASK])] == [offer.round, offer.task]
        return False

    def _adopted(self, job: str) -> Path:
        return self.folder / f"{job}{_ADOPTED}"

    def _pending(self, job: str, round_: int, task: int) -> Path:
        return self.folder / f"{job}~{round_}~{task}{_PENDING}"
