"""What trainers remember from round to round, on the agent's disk: optimizers and schedulers.

`{job}~{round}.state` is what a job's round left; the round after it begins there, and so does the
same round done again. Of a job the last two rounds are kept, and only the last few jobs: an agent
is not told when a job is over.
"""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fedbus.errors import StoreError, TrainingError
from fedbus.layout import Array
from fedbus.plugins import Remembers, Trainer
from fedbus.training import Params
from fedbus_edge_agent.npz import write_npz

MAX_JOBS: Final = 8
KEPT_ROUNDS: Final = 2
_MADE_FOR: Final = "fedbus:made_for"
_SUFFIX: Final = ".state"


@dataclass(frozen=True, slots=True)
class States:
    """One folder of states, made when the first is kept."""

    folder: Path

    def recall(self, trainer: Trainer, job: str, params: Params) -> bool:
        """Let a trainer go on where an earlier round of a job left it.

        False: it begins afresh, for there was none, or one of another optimizer, or a torn file.
        """
        before = [path for number, path in self._of(job) if number < params.round]
        if not isinstance(trainer, Remembers) or not before:
            return False
        state = _read(before[-1], _wanted(params))
        if state is not None:
            trainer.resume(state)
        return state is not None

    def keep(self, trainer: Trainer, job: str, params: Params) -> None:
        """Keep what a trainer remembers of the round it has just trained.

        Raises:
            StoreError: the disk is full, or not writable.
            TrainingError: what it remembers are not named arrays of numbers.
        """
        if not isinstance(trainer, Remembers):
            return
        state = dict(trainer.state())
        for name, array in state.items():
            if not isinstance(array, np.ndarray) or array.dtype.hasobject:
                raise TrainingError(f"the trainer remembers {name!r}, which is no array of numbers")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error
        path = self.folder / f"{job}~{params.round}{_SUFFIX}"
        write_npz(path, {**state, _MADE_FOR: np.array(_wanted(params))})
        self._prune(job, params.round)

    def forget(self, job: str) -> None:
        """Remove what is kept of a job, as far as that can be: its next round begins afresh."""
        for _, path in self._of(job):
            with suppress(OSError):
                path.unlink()

    def _of(self, job: str) -> list[tuple[int, Path]]:
        found = [(_round(path), path) for path in self.folder.glob(f"{job}~*{_SUFFIX}")]
        return sorted((number, path) for number, path in found if number is not None)

    def _prune(self, job: str, last: int) -> None:
        for number, path in self._of(job):
            # What is of later rounds is of another job of the same name, long ago.
            if not last - KEPT_ROUNDS < number <= last:
                path.unlink(missing_ok=True)
        newest: dict[str, float] = {}
        for path in self.folder.glob(f"*~[0-9]*{_SUFFIX}"):
            name = path.name.partition("~")[0]
            newest[name] = max(newest.get(name, 0.0), path.stat().st_mtime)
        for name in sorted(newest.keys() - {job}, key=newest.__getitem__)[: 1 - MAX_JOBS]:
            for _, path in self._of(name):
                path.unlink(missing_ok=True)


def _round(path: Path) -> int | None:
    number = path.name.removesuffix(_SUFFIX).rpartition("~")[2]
    return int(number) if number.isdecimal() else None


def _wanted(params: Params) -> str:
    """Say what of a job decides whether a state is of use: all but the learning rate."""
    args = sorted(params.optimizer_args.items())
    return f"{params.optimizer} {args} {params.scheduler} {params.warmup}"


def _read(path: Path, wanted: str) -> Mapping[str, Array] | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            state = dict(held)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return state if str(state.pop(_MADE_FOR, "")) == wanted else None
