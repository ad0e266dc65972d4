"""Protocols of a strategy's parts: aggregators, server optimizers, update transforms.

An entry point names a factory, usually a class, which is called with the parameters of the job:
`Krum(malicious=2)`. Its keyword arguments, with their annotations and defaults, say which
parameters a job may give. What not every part needs is an optional attribute or method. Objectives,
the fourth kind of part, are in `objective_protocols.py`.

In shapes, `numbers` is the length of a block: a part of one tensor, or of several tensors of one
dtype. `agents` is the number of updates. The update of an agent is the difference of its weights to
the base version.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Array, Weights
from fedbus.training.params import PluginChoice

Block = NDArray[np.float64]
"""Shape (numbers,), float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFacts:
    """What is known about one update, beside its numbers.

    `steps` and `base_loss` are None unless the aggregator asks for them by its attribute `facts`;
    `norm_bit` and `norm` unless the job's privacy mechanism needs them.
    """

    agent: str
    examples: int
    steps: int | None = None
    base_loss: float | None = None
    norm_bit: float | None = None
    """Sent by the agent; see `PrivateUpdate`."""
    norm: float | None = None
    """L2 norm of the update, float64, over the floating-point tensors of the role `weight`."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Factors of a linear combination: base * `base` + sum of updates[i] * update i.

    They are applied as they are: those of a mean add up to 1. An update with the coefficient 0 adds
    nothing to the version; its agent is told that it is stored, as all that came in time.
    """

    updates: Sequence[float]
    base: float = 1.0


@runtime_checkable
class WeighsOne(Protocol):
    """An aggregator that knows an update's weight from its facts: the result is a weighted mean.

    The collector adds each update to a running total when it arrives, so memory stays at one model.
    """

    def weight(self, facts: UpdateFacts, /) -> float:
        """Return the weight of one update, at least 0; the collector divides by their sum."""
        ...


@runtime_checkable
class WeighsAll(Protocol):
    """An aggregator that finds the coefficients of all updates together.

    Its optional attribute `gram` says which inner products it needs: "model" or "tensors"; without
    it there are none, and the second argument is None.
    """

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return the coefficient of each update, in the order of `facts`.

        Args:
            facts: One entry for each update.
            gram: Inner products, float64, over all floating-point tensors of the role `weight`:
                shape (1 + agents, 1 + agents), or with "tensors" (tensors, 1 + agents, 1 + agents).
                Row and column 0 are the base, i is update i - 1. So the squared distance of two
                updates is gram[i, i] + gram[j, j] - 2 * gram[i, j].
        """
        ...


@runtime_checkable
class Combines(Protocol):
    """An aggregator that combines updates number by number, such as a median.

    With a `weigh` beside it, `combine` gets only the updates whose coefficient is not 0, and the
    coefficients as weights.
    """

    def combine(self, blocks: Array, weights: Array, /) -> Array:
        """Combine a block of all updates.

        Args:
            blocks: Shape (agents, numbers), float64; do not change it.
            weights: Shape (agents,), float64: the examples of each update.

        Returns:
            Shape (numbers,), floating-point or whole numbers.
        """
        ...


@runtime_checkable
class RefusesUpdates(Protocol):
    """An aggregator that cannot use an update with every value of its facts."""

    def refuses(self, facts: UpdateFacts, /) -> str:
        """Return why an update cannot be used, or ""; the other updates still count."""
        ...


Aggregator = WeighsOne | WeighsAll | Combines
"""What an aggregator's factory returns; each may be `RefusesUpdates`, too. Optional attributes
beside those of the protocols:

- `facts`: names of fields of `UpdateFacts` that its offers must have, such as ("steps",)
- `least_updates`: the number of updates without which it cannot work; 1 if left out
- `needs_sgd`: True if its formula holds for SGD with a constant learning rate only; momentum is
  allowed
- `divisor`: of an aggregator with `weight` only: the number by which the collector divides the
  weighted sum, in place of the sum of the weights, so that the result does not tell how many agents
  took part; None if left out
- `weighs_equally`: True if it uses every update, and all with the same weight: an objective with
  the method `after` works with no other aggregator

A factory's optional attribute `of_training` names the parameters that describe the agents' training
and are by default those of the job: `momentum` of SGD, and any parameter of the objective.
"""
AggregatorFactory = Callable[..., Aggregator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """A block of a round's combined update, and facts about the round.

    Attributes:
        update: Shape (numbers,), float64: what a plain average adds to the base.
        sections: The combined sections of the updates by name, each like `update`.
        agents: Number of updates.
        population: Number of agents that may take part in the job; 0 if the job does not say.
        round: 1 in the first round of the strategy's state, then one more in each round.
        numbers: What the strategy's parts keep from round to round; see `KeepsNumbers`.
        position: Where the block begins among all numbers of the trained tensors.
        norm: L2 norm of the whole combined update; None unless the privacy mechanism needs it.
        distance: Greatest distance of two updates; None unless the privacy mechanism needs it.
    """

    update: Block
    sections: Mapping[str, Block] = field(default_factory=dict)
    agents: int
    population: int = 0
    round: int = 1
    numbers: Mapping[str, float] = field(default_factory=dict)
    position: int = 0
    norm: float | None = None
    distance: float | None = None


@runtime_checkable
class KeepsNumbers(Protocol):
    """A server optimizer, or a transform with a half at the collector, that keeps numbers."""

    def next_numbers(
        self, numbers: Mapping[str, float], facts: Sequence[UpdateFacts], /
    ) -> Mapping[str, float]:
        """Return the numbers that change, by name; called once in a round, before its blocks.

        Args:
            numbers: Those of the round before, of all parts of the strategy; none in the first
                round. The changed ones are `Combined.numbers` in this round.
            facts: One entry for each update that counts.
        """
        ...


class ServerOptimizer(Protocol):
    """Changes the model by the combined update, as an optimizer does by a gradient.

    It is called for blocks of floating-point tensors of the role `weight`; other tensors change by
    the combined update alone. Optional attributes:

    - `state`: names of arrays that it keeps from round to round, each as large as the weights
    - `sections`: names of arrays that updates have beside the differences, made by an objective
    - `needs_population`: True if a job must give its population
    """

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block], /) -> Block:
        """Return the new weights of a block, floating-point or whole numbers.

        Args:
            base: Shape (numbers,), float64: the weights before the round; do not change it.
            combined: The combined update; its arrays are read-only, too.
            state: An array like `base` for each name in `state`, zeros in the first round. Change
                it in place: it is stored, as float32, with the version.
        """
        ...


ServerOptimizerFactory = Callable[..., ServerOptimizer]


@runtime_checkable
class TransformsUpdate(Protocol):
    """An update transform's half at the agent: it changes an update before it is sent.

    Statistics and whole numbers are not transformed; a strategy with sections takes no transforms.
    """

    def transform_update(self, update: Weights, rng: "np.random.Generator", /) -> Weights:
        """Return new arrays of the same names, shapes and dtypes.

        Args:
            update: The differences of the floating-point tensors of the role `weight`.
            rng: A source of chance, seeded by the task; not for cryptographic use.
        """
        ...


@runtime_checkable
class TransformsCombined(Protocol):
    """An update transform's half at the collector: it changes the combined update.

    It runs before the server optimizer; of several transforms, the last one runs first.
    """

    def transform_combined(self, combined: Combined, /) -> Block:
        """Return the new `combined.update`, shape (numbers,); the given one is read-only."""
        ...


UpdateTransform = TransformsUpdate | TransformsCombined
UpdateTransformFactory = Callable[..., UpdateTransform]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A strategy by one name: its parts, with the parameters that differ from their defaults.

    A job's parameter goes to the part whose factory takes an argument of its name; `renamed` maps
    other names of parameters, such as those of other systems, to the names here.
    """

    aggregator: PluginChoice
    server_optimizer: PluginChoice | None = None
    objective: PluginChoice | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """The paper."""
