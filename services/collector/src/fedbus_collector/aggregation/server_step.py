"""Server step of a round: the parts that a combined update passes through into the model. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.strategy_numbers import next_numbers
from fedbus_collector.aggregation.private_step import PrivateStep


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStep:
    """What a round's combined update passes through on its way into the model.

    Attributes:
        aggregator: The aggregator in words, for errors.
        population: Number of agents that may take part in the job; 0 if it does not say.
        round: 1 in the first round of the strategy's state.
        numbers: What the parts keep from round to round.
        private: The privacy mechanism's step, before all others.
    """

    optimizer: ServerOptimizerCalls | None = None
    transforms: tuple[CombinedTransformCalls, ...] = ()
    aggregator: str = ""
    population: int = 0
    round: int = 1
    numbers: Mapping[str, float] = field(default_factory=dict)
    private: PrivateStep | None = None

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
        return self.optimizer is None and not self.transforms and self.private is None

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
