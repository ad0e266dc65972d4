"""What one training hands over to the next: an optimizer's and a scheduler's state, as arrays."""

from collections.abc import Callable, Mapping

from fedbus.errors import TrainingError
from fedbus.model.layout import Array


class StatefulTrainer:
    """The half of a trainer that goes on where another one stopped: `fedbus.plugins.Stateful`.

    `train` begins with `_take`. Where the task wants it kept, and only there, `train` ends with
    `_leave`: how to copy what the next may go on from. Nothing is copied before somebody asks.
    """

    def __init__(self) -> None:
        self._left: Callable[[], Mapping[str, Array]] | None = None
        self._found: Mapping[str, Array] | None = None

    def optimizer_state(self) -> Mapping[str, Array]:
        """Return what the optimizer and the scheduler of the last `train` left.

        Raises:
            TrainingError: nothing has been trained to its end yet, or without
            `keep_optimizer_state`.
        """
        if self._left is None:
            raise TrainingError("nothing has been trained to its end with keep_optimizer_state")
        return self._left()

    def load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        """Let the next `train`, and no other, go on from what another one left.

        That call raises TrainingError where the state is of another model or optimizer.
        """
        self._found = dict(state)

    def _take(self) -> Mapping[str, Array] | None:
        """Take what `resume` brought, None if nothing; what was left before is forgotten."""
        found, self._found, self._left = self._found, None, None
        return found

    def _leave(self, copy: Callable[[], Mapping[str, Array]]) -> None:
        self._left = copy
