"""Plug-ins as authors write them: mypy holds them to the protocols, a test to twenty lines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from fedbus.data import Batch, Dataset, Format
from fedbus.errors import TrainingError
from fedbus.model.layout import Array, Weights
from fedbus.plugins import (
    AgentInfo,
    Aggregator,
    Evaluates,
    Loader,
    ModelFactory,
    Predicts,
    RuntimeFactory,
    Selector,
    TrainerFactory,
    UpdateFacts,
)
from fedbus.plugins.protocols import TransformFactory
from fedbus.training.params import Architecture, Metrics, TrainingParams, Update


class LineTrainer:
    """Fits y = a · x + b; inherits from nothing."""

    def __init__(self, architecture: Architecture) -> None:
        self.inputs = int(architecture.get("inputs", 1))

    def initial(self) -> Weights:
        """Return zeros."""
        return {"a": np.zeros(self.inputs, np.float32), "b": np.zeros(1, np.float32)}

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Take one gradient step for each batch."""
        a, b, loss = weights["a"].copy(), weights["b"].copy(), 0.0
        for x, y in data.steps(params):
            wrong: Array = x @ a + b - y
            a -= params.learning_rate * (wrong @ x) / len(x)
            b -= params.learning_rate * wrong.mean()
            loss = float(np.square(wrong).mean())
        return Update({"a": a, "b": b}, examples=data.examples, metrics={"loss": loss})


class Scored(LineTrainer):
    """A trainer that can evaluate as well; optional."""

    def evaluate(self, weights: Weights, data: Dataset, params: TrainingParams) -> Metrics:
        """Compute the mean squared error."""
        del params
        squares = [
            float(np.square(x @ weights["a"] + weights["b"] - y).sum()) for x, y in data.batches()
        ]
        return {"loss": sum(squares) / data.examples}


class LineRuntime:
    """Predicts with a line that was trained elsewhere."""

    def __init__(self, architecture: Architecture) -> None:
        del architecture
        self.line: Weights = {}

    def load(self, weights: Weights) -> None:
        """Copy a line."""
        self.line = {name: array.copy() for name, array in weights.items()}

    def predict(self, inputs: Array) -> Array:
        """Compute the values on the line."""
        answers: Array = inputs @ self.line["a"] + self.line["b"]
        return answers


def line(config: Mapping[str, Any]) -> object:
    """Build what the config says, and nothing larger."""
    inputs = config.get("inputs", 1)
    if type(inputs) is not int or not 0 < inputs <= 4096:
        raise TrainingError(f"expected inputs of 1 to 4096, got {inputs!r}")
    return np.zeros(inputs, np.float32)


def csv(path: str, batch: int = 32) -> Dataset:
    """Read rows of features with the label last."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    x, y = table[:, :-1], table[:, -1].astype(np.int64)
    starts = range(0, len(x), batch)
    return Dataset(len(x), batches=lambda: ((x[i : i + batch], y[i : i + batch]) for i in starts))


class Inverted:
    """Turns light into dark."""

    def __init__(self, white: float = 255.0) -> None:
        self.white = np.float32(white)

    def transform_data(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Subtract x, of any shape, from white."""
        del rng
        x, y = batch
        return self.white - x, y

    def transform_format(self, form: Format) -> Format:
        """The range is unknown afterwards."""
        return replace(form, x=replace(form.x, normalized=False))


class Middle:
    """The middle value of each number."""

    def combine(self, blocks: Array, _weights: Array) -> Array:
        """Combine a block of all updates."""
        middle: Array = np.median(blocks, axis=0)
        return middle


class Equal:
    """All updates weigh the same."""

    def weight(self, _facts: UpdateFacts) -> float:
        """Return the weight of one update."""
        return 1.0


def rested(agents: Sequence[AgentInfo], want: int, rng: Random) -> Sequence[str]:
    """Select the agents that have waited longest; break ties at random."""
    queue = sorted(agents, key=lambda a: (a.last_selected, rng.random()))
    return [a.agent for a in queue[:want]]


trainer: TrainerFactory = LineTrainer
model: ModelFactory = line
runtime: RuntimeFactory = LineRuntime
loader: Loader = csv
transform: TransformFactory = Inverted
aggregator: Aggregator = Middle()
weighing: Aggregator = Equal()
selector: Selector = rested
scorer: Evaluates = Scored({})
oracle: Predicts = LineRuntime({})
