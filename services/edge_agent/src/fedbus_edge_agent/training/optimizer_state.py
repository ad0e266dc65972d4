"""Optimizer state on disk: optimizers and schedulers, from round to round of a job."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fedbus.errors import LayoutError, TrainingError
from fedbus.model import npz
from fedbus.plugins import Stateful, Trainer
from fedbus.training.params import TrainingParams
from fedbus_edge_agent.training.round_files import RoundFiles

_MADE_FOR: Final = "fedbus:made_for"
_KINDS: Final = f"{npz.NUMBERS}cSU"
"""Kinds of numpy dtypes that a state may have: numbers and strings."""


@dataclass(frozen=True, slots=True)
class OptimizerStates:
    """The optimizer states of an agent's jobs."""

    files: RoundFiles

    def restore(self, trainer: Stateful, job: str, params: TrainingParams) -> bool:
        """Load the state of the latest earlier round into a trainer.

        Return False if there is none, it is another optimizer's, or its file is damaged.
        """
        path = self.files.latest_before(job, params.round)
        if path is None:
            return False
        try:
            state = npz.read_npz(path, _KINDS)
        except (OSError, LayoutError):
            return False
        if str(state.pop(_MADE_FOR, "")) != _made_for(params):
            return False
        trainer.load_optimizer_state(state)
        return True

    def save(self, trainer: Trainer, job: str, params: TrainingParams) -> None:
        """Write the state that a trainer has after a round.

        Raises:
            StoreError: The disk is full, or not writable.
            TrainingError: The state is not a mapping of names to arrays of numbers.
        """
        if not isinstance(trainer, Stateful):
            return
        state = dict(trainer.optimizer_state())
        for name, array in state.items():
            if not isinstance(array, np.ndarray) or array.dtype.hasobject:
                got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise TrainingError(
                    f"optimizer state {name!r}: expected an array of numbers, got {got}"
                )
        self.files.save(job, params.round, {**state, _MADE_FOR: np.array(_made_for(params))})


def _made_for(params: TrainingParams) -> str:
    """Format the parameters that a state depends on: all of them but the learning rate."""
    args = sorted(params.optimizer_args.items())
    return f"{params.optimizer} {args} {params.scheduler} {params.warmup}"
