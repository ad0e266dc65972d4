"""Rounds of a strategy without a bus: what agents and a collector do, in a few lines each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedbus import plugins
from fedbus.jobs import StrategyConfig
from fedbus.model.layout import Array, Layout, Tensor, Weights
from fedbus.model.sections import join_section, split_section
from fedbus.plugins import AfterTraining, Combined, LocalStart, UpdateFacts, WeighsOne
from fedbus.strategies.resolution import resolve
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import PluginChoice, TrainingParams
from fedbus.wire.strategies import Strategy

Vector = NDArray[np.float64]
Gradient = Callable[[Vector], Vector]

BLOCK_NUMBERS = 3
"""A block that ends inside a tensor, as those of a collector may."""


def resolved(strategy: str, **parameters: float) -> Strategy:
    """Return a strategy of a job file, resolved."""
    return resolve(StrategyConfig.model_validate({"id": strategy, "parameters": parameters}))


def made(group: plugins.Group, choice: PluginChoice | None) -> object:
    """Return a part of a strategy, made with its parameters."""
    if choice is None:
        return None
    factory = plugins.load(group, choice.id)
    assert callable(factory)
    return factory(**choice.parameters)


@dataclass
class Federation:
    """Agents with a loss each, of which only the gradient is known, and a model of two tensors.

    A subclass may have another layout, and `descend` by a trainer.

    State, sections and own arrays are float32, as they are on disk; the weights are float64, so
    that nothing else is rounded.
    """

    strategy: Strategy
    gradients: Sequence[Gradient]
    numbers: int
    steps: int
    learning_rate: float
    examples: Sequence[int] = ()
    rounds: int = 0
    own: dict[int, Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layout = self.make_layout()
        self.weights: Vector = np.zeros(self.numbers)
        self.state = {name: self._zeros() for name in self.strategy.state}
        self.aggregator = made("aggregators", self.strategy.aggregator)
        self.optimizer = made("server_optimizers", self.strategy.server_optimizer)
        self.objective = made("objectives", self.strategy.objective)

    def make_layout(self) -> Layout:
        """Return the layout of the model."""
        tensors = Tensor("a", (2, 1), "float64"), Tensor("b", (self.numbers - 2,), "float64")
        return Layout(tensors)

    def run(self, cohorts: Sequence[Sequence[int]]) -> None:
        """Do one round for each cohort."""
        for cohort in cohorts:
            self.rounds += 1
            trained = {agent: self._trained(agent) for agent in cohort}
            weights = self._mean_weights(cohort)
            factors = np.array([weights[agent] for agent in cohort])
            update = factors @ [trained[agent][0] for agent in cohort]
            sections = {
                name: factors @ [trained[agent][1][name] for agent in cohort]
                for name in self.strategy.sections
            }
            self._apply(update, sections, len(cohort))

    def _mean_weights(self, cohort: Sequence[int]) -> Mapping[int, float]:
        assert isinstance(self.aggregator, WeighsOne)
        examples = self.examples or [1] * len(self.gradients)
        facts = {each: UpdateFacts(agent=str(each), examples=examples[each]) for each in cohort}
        weights = {each: self.aggregator.weight(fact) for each, fact in facts.items()}
        return {each: weight / sum(weights.values()) for each, weight in weights.items()}

    def _trained(self, agent: int) -> tuple[Vector, Mapping[str, Array]]:
        """Train as an agent does; return its update and its sections."""
        start = LocalStart(
            params=TrainingParams(learning_rate=self.learning_rate, epochs=self.steps),
            base=self._split(self.weights),
            own=self.own.get(agent) or self._split(self._zeros()),
            server={name: self._split(array) for name, array in self.state.items()},
        )
        terms = LocalTerms() if self.objective is None else self.objective.terms(start)  # type: ignore[attr-defined] # an Objective
        update = self.descend(agent, terms) - self.weights
        if not isinstance(self.objective, AfterTraining):
            return update, {}
        end = self.objective.after(start, self._split(update), self.steps)
        self.own[agent] = self._split(self._join(end.own))
        return update, {name: self._join(arrays) for name, arrays in end.sections.items()}

    def descend(self, agent: int, terms: LocalTerms) -> Vector:
        """Return the weights after the agent's steps."""
        linear = self._join(terms.linear) if terms.linear else self._zeros()
        y = self.weights.copy()
        for _ in range(self.steps):
            slope = self.gradients[agent](y) + linear + terms.proximal * (y - self.weights)
            y -= self.learning_rate * slope
        return y

    def _apply(self, update: Vector, sections: Mapping[str, Array], agents: int) -> None:
        """Change the model as a collector does, block by block."""
        if self.optimizer is None:
            self.weights = self.weights + update
            return
        state = {name: array.astype(np.float64) for name, array in self.state.items()}
        new = np.empty(self.numbers)
        for first in range(0, self.numbers, BLOCK_NUMBERS):
            part = slice(first, first + BLOCK_NUMBERS)
            combined = Combined(
                update=update[part],
                sections={name: array[part] for name, array in sections.items()},
                agents=agents,
                population=len(self.gradients),
                round=self.rounds,
            )
            views = {name: array[part] for name, array in state.items()}
            new[part] = self.optimizer.apply(self.weights[part], combined, views)  # type: ignore[attr-defined] # a ServerOptimizer
        self.weights = new
        self.state = {name: array.astype(np.float32) for name, array in state.items()}

    def _zeros(self) -> Array:
        return np.zeros(self.numbers, np.float32)

    def _split(self, flat: Array) -> Weights:
        return split_section(flat, self.layout)

    def _join(self, arrays: Weights) -> Array:
        return join_section(arrays, self.layout)
