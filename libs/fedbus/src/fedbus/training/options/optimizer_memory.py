"""Memory of optimizer states, in numbers for each weight (slots). Pure: no framework here.

Counted from the state that each optimizer of `torch.optim` (2.13) and `keras.optimizers` (3.15)
creates for a weight tensor; scalars, such as the step counter, are not counted.
"""

from collections.abc import Mapping
from typing import Final

from fedbus.training.params import Argument

DEFAULT_HISTORY: Final = 100
"""Default `history_size` of LBFGS."""

_KEPT: Final[Mapping[str, int]] = {
    "sgd": 0,
    "asgd": 1,  # the average
    "adagrad": 1,  # the sum of squares
    "rmsprop": 1,  # the mean of squares
    "adadelta": 2,  # the means of squares of gradients and of steps
    "adam": 2,  # both moments, as have its variants
    "adamax": 2,
    "adamw": 2,
    "ftrl": 2,  # the accumulator, the linear term
    "nadam": 2,
    "radam": 2,
    "rprop": 2,  # the gradient before, the size of the step
    "sparseadam": 2,
    "lbfgs": 3,  # the direction, the gradient before and now; and the history
}
_FOR_A_STEP: Final[Mapping[str, int]] = {
    # For each number of a sparse gradient its index, two times 8 bytes; and a sorted copy of all.
    "sparseadam": 10,
    "lbfgs": 6,  # where a line is searched, its ends with their gradients
}
_MORE: Final[Mapping[str, Mapping[str, int]]] = {
    "adam": {"amsgrad": 1},
    "adamw": {"amsgrad": 1},
    "rmsprop": {"centered": 1, "momentum": 1},
    "sgd": {"momentum": 1},
}
"""Arguments that add slots, unless they are off."""


def state_slots(optimizer: str, args: Mapping[str, Argument]) -> int:
    """Count the numbers that an optimizer keeps for each weight; 0 for an unknown optimizer."""
    more = {"use_ema": 1, **_MORE.get(optimizer, {})}
    kept = _KEPT.get(optimizer, 0) + sum(n for name, n in more.items() if args.get(name))
    if optimizer != "lbfgs":
        return kept
    history = args.get("history_size")
    return kept + 2 * (history if isinstance(history, int) else DEFAULT_HISTORY)


def peak_state_slots(optimizer: str, args: Mapping[str, Argument], *, keep_state: bool) -> int:
    """Count the numbers for each weight that an optimizer needs at its peak.

    A state that is kept from round to round is copied after the training.
    """
    return state_slots(optimizer, args) * (1 + keep_state) + _FOR_A_STEP.get(optimizer, 0)
