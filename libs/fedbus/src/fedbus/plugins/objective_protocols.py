"""Protocols of a strategy's objective: what agents add to their loss.

An entry point names a factory, as those of the other parts do (`strategy_protocols.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fedbus.model.layout import Weights
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStart:
    """What an objective knows before the training. Arrays are by tensor name, and read-only.

    They are of the floating-point tensors of the role `weight`.

    Attributes:
        params: The parameters of the training.
        base: The weights of the base version.
        own: This agent's own arrays of the job; zeros at first, and if the objective keeps none.
        server: The server optimizer's state arrays by name, then by tensor; zeros at first.
    """

    params: TrainingParams
    base: Weights
    own: Weights
    server: Mapping[str, Weights]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEnd:
    """What an objective adds after the training.

    Attributes:
        own: This agent's own arrays for its next round, kept if the update counts in this one.
        sections: Arrays of the update beside the differences, by section, then by tensor.
    """

    own: Weights = field(default_factory=dict)
    sections: Mapping[str, Weights] = field(default_factory=dict)


class Objective(Protocol):
    """What agents add to their loss. Called by an agent before each training.

    Optional attributes:

    - `facts`: as of an aggregator
    - `server_state`: names of the server optimizer's state arrays that it reads
    - `sections`: names of the arrays that its `after` adds to each update
    - `needs_plain_sgd`: True if its formula holds for SGD with a constant learning rate and without
      momentum only
    """

    def terms(self, start: LocalStart, /) -> LocalTerms:
        """Return the terms to add to the loss."""
        ...


@runtime_checkable
class AfterTraining(Protocol):
    """An objective that keeps arrays on the agent, or that adds sections to the update.

    It works only with an aggregator that uses all updates equally (`weighs_equally`).
    """

    def after(self, start: LocalStart, update: Weights, steps: int, /) -> LocalEnd:
        """Return what to keep and to add, given the update and its number of optimizer steps."""
        ...


ObjectiveFactory = Callable[..., Objective]
