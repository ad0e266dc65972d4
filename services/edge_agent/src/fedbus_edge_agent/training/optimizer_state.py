"""What trainers remember from round to round, on the agent's disk: optimizers and schedulers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fedbus.errors import LayoutError, TrainingError
from fedbus.model import npz
from fedbus.model.layout import Array
from fedbus.plugins import Stateful, Trainer
from fedbus.training.params import TrainingParams
from fedbus_edge_agent.training.round_files import RoundFiles

_MADE_FOR: Final = "fedbus:made_for"
_KINDS: Final = f"{npz.NUMBERS}cSU"
"""Kinds of dtypes that a trainer may remember: numbers and words."""


@dataclass(frozen=True, slots=True)
class OptimizerStates:
    """The states of an agent's jobs."""

    files: RoundFiles

    def restore(self, trainer: Trainer, job: str, params: TrainingParams) -> bool:
        """Let a trainer go on where an earlier round of a job left it.

        False: it begins afresh, for there was none, or one of another optimizer, or a torn file.
        """
        before = self.files.before(job, params.round)
        if not isinstance(trainer, Stateful) or before is None:
            return False
        state = _read(before, _wanted(params))
        if state is not None:
            trainer.load_optimizer_state(state)
        return state is not None

    def keep(self, trainer: Trainer, job: str, params: TrainingParams) -> None:
        """Keep what a trainer remembers of the round it has just trained.

        Raises:
            StoreError: the disk is full, or not writable.
            TrainingError: what it remembers are not named arrays of numbers.
        """
        if not isinstance(trainer, Stateful):
            return
        state = dict(trainer.optimizer_state())
        for name, array in state.items():
            if not isinstance(array, np.ndarray) or array.dtype.hasobject:
                raise TrainingError(f"the trainer remembers {name!r}, which is no array of numbers")
        self.files.keep(job, params.round, {**state, _MADE_FOR: np.array(_wanted(params))})

    def forget(self, job: str) -> None:
        """Remove what is kept of a job, as far as that can be: its next round begins afresh."""
        self.files.forget(job)


def _wanted(params: TrainingParams) -> str:
    """Say what of a job decides whether a state is of use: all but the learning rate."""
    args = sorted(params.optimizer_args.items())
    return f"{params.optimizer} {args} {params.scheduler} {params.warmup}"


def _read(path: Path, wanted: str) -> Mapping[str, Array] | None:
    try:
        state = npz.read_npz(path, _KINDS)
    except (OSError, LayoutError):
        return None
    return state if str(state.pop(_MADE_FOR, "")) == wanted else None
