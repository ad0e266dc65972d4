"""Base class of trainers that can continue with the optimizer state of an earlier training."""

from collections.abc import Callable, Mapping
from typing import Final

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

MADE_BY: Final = "made_by"
"""The entry of a state that names the trainer and the options that decide its arrays."""


def check_maker(arrays: Mapping[str, Array], maker: str) -> None:
    """Raise TrainingError for a state of another framework, optimizer or scheduler."""
    made_by = str(arrays[MADE_BY]) if MADE_BY in arrays else "an unknown trainer"
    if made_by != maker:
        raise TrainingError(
            f"the optimizer state was kept by {made_by}; this task needs that of {maker}"
        )


class StatefulTrainer:
    """Implements `fedbus.plugins.Stateful` for the built-in trainers.

    `train` begins with `_take_loaded_state`. If the task keeps the optimizer state, `train` ends
    with `_offer_state`, given a function that copies it; nothing is copied before it is asked for.
    """

    def __init__(self) -> None:
        self._copy_state: Callable[[], Mapping[str, Array]] | None = None
        self._loaded_state: Mapping[str, Array] | None = None

    def optimizer_state(self) -> Mapping[str, Array]:
        """Return a copy of the state that the last `train` left in optimizer and scheduler.

        Raises:
            TrainingError: No training with `keep_optimizer_state` has completed.
        """
        if self._copy_state is None:
            raise TrainingError("nothing has been trained to its end with keep_optimizer_state")
        return self._copy_state()

    def load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        """Start the next `train`, and only that one, from a state.

        That call raises TrainingError if the state is of another model or optimizer.
        """
        self._loaded_state = dict(state)

    def _take_loaded_state(self) -> Mapping[str, Array] | None:
        """Return the loaded state, or None; discard it and the state of the last `train`."""
        loaded, self._loaded_state, self._copy_state = self._loaded_state, None, None
        return loaded

    def _offer_state(self, copy: Callable[[], Mapping[str, Array]]) -> None:
        self._copy_state = copy
