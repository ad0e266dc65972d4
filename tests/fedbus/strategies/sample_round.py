"""A round of updates as whole arrays, aggregated as a collector does it, in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.plugins import Aggregator, Combines, UpdateFacts, WeighsAll, WeighsOne

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SampleRound:
    """A round of a model whose tensors lie one after the other in a flat array.

    Attributes:
        base: Shape (numbers,).
        updates: Shape (agents, numbers): the differences to the base.
        tensors: The number of numbers of each tensor.
        examples, steps, losses: Facts of each update.
        names: Names of the agents; a000, a001 … if left out.
    """

    base: Floats
    updates: Floats
    tensors: Sequence[int]
    examples: Sequence[int]
    steps: Sequence[int]
    losses: Sequence[float]
    names: Sequence[str] = ()

    @property
    def agents(self) -> int:
        return len(self.updates)

    @property
    def weights(self) -> Floats:
        """The agents' weights, not their differences to the base."""
        return self.base + self.updates

    @property
    def facts(self) -> list[UpdateFacts]:
        names = self.names or [f"a{i:03}" for i in range(self.agents)]
        return [
            UpdateFacts(agent=name, examples=examples, steps=steps, base_loss=loss)
            for name, examples, steps, loss in zip(
                names, self.examples, self.steps, self.losses, strict=True
            )
        ]

    def gram(self, kind: str | None) -> Floats | None:
        """Return the inner products of base and updates, as `WeighsAll` describes them."""
        rows = np.vstack([self.base, self.updates])
        ends = np.cumsum(self.tensors)[:-1]
        tensors = np.stack([part @ part.T for part in np.split(rows, ends, axis=1)])
        grams: dict[str | None, Floats | None] = {
            None: None,
            "model": tensors.sum(axis=0),
            "tensors": tensors,
        }
        return grams[kind]

    def split(self, flat: Floats) -> list[Floats]:
        """Return the tensors of a flat array."""
        return np.split(flat, np.cumsum(self.tensors)[:-1])

    def changed(self, **changes: Any) -> "SampleRound":  # noqa: ANN401 - any field
        return SampleRound(**{**self.__dict__, **changes})

    def permuted(self, order: Sequence[int]) -> "SampleRound":
        """Return the round with its updates in another order."""
        return self.changed(
            updates=self.updates[list(order)],
            examples=[self.examples[i] for i in order],
            steps=[self.steps[i] for i in order],
            losses=[self.losses[i] for i in order],
            names=[self.facts[i].agent for i in order],
        )

    def aggregate(self, rule: Aggregator) -> Floats:
        """Return the new weights, shape (numbers,)."""
        facts, updates, base = self.facts, self.updates, 1.0
        weights = np.array(self.examples, np.float64)
        if isinstance(rule, WeighsOne):
            weights = np.array([rule.weight(each) for each in facts])
            weights /= weights.sum()
        elif isinstance(rule, WeighsAll):
            found = rule.weigh(facts, self.gram(getattr(rule, "gram", None)))
            weights, base = np.array(found.updates), found.base
            used = weights != 0
            weights, updates = weights[used], updates[used]
        if isinstance(rule, Combines):
            return base * self.base + rule.combine(updates, weights)
        combined: Floats = base * self.base + weights @ updates
        return combined


def sample_round(
    seed: int,
    agents: int = 10,
    tensors: Sequence[int] = (40, 7, 3),
    noise: Callable[[np.random.Generator, tuple[int, int]], Floats] | None = None,
) -> SampleRound:
    """Return a round drawn from a seed: updates around a common direction."""
    rng = np.random.default_rng(seed)
    numbers = sum(tensors)
    shape = (agents, numbers)
    drawn = rng.normal(size=shape) if noise is None else noise(rng, shape)
    return SampleRound(
        base=rng.normal(size=numbers),
        updates=0.1 * (rng.normal(size=numbers) + drawn),
        tensors=tensors,
        examples=[int(n) for n in rng.integers(1, 500, agents)],
        steps=[int(n) for n in rng.integers(1, 40, agents)],
        losses=[float(x) for x in rng.uniform(0.1, 3, agents)],
    )
