"""Server step of a round: the parts that a combined update passes through into the model. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedbus.model.frozen_bits import FrozenBits
from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.strategy_numbers import next_numbers
from fedbus_collector.aggregation.private_step import PrivateStep
from fedbus_collector.aggregation.tensor_runs import Span
from fedbus_collector.aggregation.update_observers import ObservedBlock, UpdateObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStep:
    """What a round's combined update passes through on its way into the model.

    Attributes:
        aggregator: The aggregator in words, for errors.
        population: Number of agents that may take part in the job; 0 if it does not say.
        round: 1 in the first round of the strategy's state.
        numbers: What the parts keep from round to round.
        private: The privacy mechanism's step, before all others.
        frozen: The numbers that keep the base's value, whatever an optimizer would make of them.
        observers: What sees the combined update before the server optimizer.
    """

    optimizer: ServerOptimizerCalls | None = None
    transforms: tuple[CombinedTransformCalls, ...] = ()
    aggregator: str = ""
    population: int = 0
    round: int = 1
    numbers: Mapping[str, float] = field(default_factory=dict)
    private: PrivateStep | None = None
    frozen: FrozenBits | None = None
    observers: tuple[UpdateObserver, ...] = ()

    @property
    def mean(self) -> str:
        """What is added to the base, in words that name the part which computed it."""
        if self.transforms:  # the first one runs last
            return f"the update of {self.transforms[0].caller.part}"
        if self.private is not None:
            return f"the update of {self.private.mechanism.caller.part}"
        return f"the combined update of {self.aggregator}" if self.aggregator else "the mean"

    @property
    def plain(self) -> bool:
        """Whether the combined update is added to the base as it is."""
        changed = self.optimizer is not None or self.transforms or self.private is not None
        return not changed and self.frozen is None and not self.observers

    def with_next_numbers(self, facts: Sequence[UpdateFacts]) -> "ServerStep":
        """Return the step with the numbers of this round; the parts are asked as they are run.

        With a privacy mechanism, the other parts get no facts.

        Raises:
            PluginError: A part failed, or returned what a state cannot hold.
        """
        numbers = self.numbers
        if self.private is not None:
            numbers, facts = self.private.next_numbers(numbers, facts), ()
        for transform in reversed(self.transforms):
            numbers = next_numbers(transform, numbers, facts)
        if self.optimizer is not None:
            numbers = next_numbers(self.optimizer, numbers, facts)
        return replace(self, numbers=numbers)

    @property
    def third_party(self) -> bool:
        """Whether a part that fedbus does not ship is called for each block."""
        optimizer = () if self.optimizer is None else (self.optimizer.caller,)
        private = () if self.private is None else (self.private.mechanism.caller,)
        callers = (*private, *(each.caller for each in self.transforms), *optimizer)
        return any(caller.third_party for caller in callers)

    def frozen_at(self, place: Span) -> NDArray[np.bool_] | None:
        """Return which of the trained numbers of a block are frozen; None: none in the model."""
        return None if self.frozen is None else self.frozen.read(place.at, place.numbers)

    def observe(
        self,
        update: NDArray[np.float64],
        place: Span,
        state: Mapping[str, NDArray[np.float64]],
        frozen: NDArray[np.bool_] | None,
    ) -> None:
        """Show a block of the combined update to the observers, which change their arrays."""
        for each in self.observers:
            arrays = {name: state[name] for name in each.arrays}
            each.observe(
                ObservedBlock(update=update, arrays=arrays, frozen=frozen, position=place.at)
            )

    def state_of_optimizer(
        self, state: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Return those of a state's arrays that no observer keeps."""
        observed = {name for each in self.observers for name in each.arrays}
        return {name: array for name, array in state.items() if name not in observed}

    @property
    def state_keeper(self) -> str:
        """What keeps the state's arrays, for errors."""
        if self.optimizer is None:
            return "adaptive freezing or synchronization"
        return self.optimizer.caller.part

    def next_state(self) -> "NextState":
        """Return what the round leaves beside the arrays, once all blocks are written."""
        numbers = dict(self.numbers)
        frozen = None
        for each in self.observers:
            numbers |= each.numbers()
            frozen = frozen or each.frozen()
        return NextState(numbers, frozen)


@dataclass(frozen=True, slots=True)
class NextState:
    """What a round leaves for the next one beside the arrays; see `StrategyState`."""

    numbers: Mapping[str, float]
    frozen: FrozenBits | None = None
