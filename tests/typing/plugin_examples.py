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
    AfterTraining,
    AgentInfo,
    Aggregator,
    AggregatorFactory,
    Block,
    Coefficients,
    Combined,
    Evaluates,
    Loader,
    LocalEnd,
    LocalStart,
    ModelFactory,
    Objective,
    ObjectiveFactory,
    Predicts,
    Preset,
    RuntimeFactory,
    Selector,
    ServerOptimizer,
    ServerOptimizerFactory,
    TrainerFactory,
    TransformsCombined,
    TransformsUpdate,
    UpdateFacts,
    UpdateTransformFactory,
)
from fedbus.plugins.protocols import TransformFactory
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, Metrics, PluginChoice, TrainingParams, Update


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


class Nearest:
    """The update of the smallest norm."""

    gram = "model"

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None) -> Coefficients:
        """Return 1 for it and 0 for the others."""
        assert gram is not None
        best = int(np.diag(gram)[1:].argmin())
        return Coefficients([float(n == best) for n in range(len(facts))])


class Momentum:
    """Adds half of each step to the next one."""

    state = ("velocity",)

    def __init__(self, *, share: float = 0.5) -> None:
        self.share = share

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Change the velocity in place, and add it."""
        state["velocity"][:] = self.share * state["velocity"] + combined.update
        return base + state["velocity"]


class Remembering:
    """Pulls towards the base, and against the agent's earlier updates."""

    def __init__(self, *, strength: float = 0.1) -> None:
        self.strength = strength

    def terms(self, start: LocalStart) -> LocalTerms:
        """Return a proximal and a linear term."""
        return LocalTerms(proximal=self.strength, linear=start.own)

    def after(self, start: LocalStart, update: Weights, steps: int) -> LocalEnd:
        """Keep the mean step."""
        del start
        return LocalEnd(own={name: array / np.float32(steps) for name, array in update.items()})


class Halved:
    """Halves an update on the agent, and doubles the combined one."""

    def transform_update(self, update: Weights, rng: np.random.Generator) -> Weights:
        """Halve each array."""
        del rng
        return {name: array * array.dtype.type(0.5) for name, array in update.items()}

    def transform_combined(self, combined: Combined) -> Block:
        """Double the block."""
        return 2 * combined.update


steady = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="momentum", parameters={"server_momentum": 0.5}),
    renamed={"beta": "server_momentum"},
)


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
weighing_all: Aggregator = Nearest()
aggregator_factory: AggregatorFactory = Middle
server_optimizer: ServerOptimizer = Momentum(share=0.3)
server_optimizer_factory: ServerOptimizerFactory = Momentum
objective: Objective = Remembering()
objective_with_state: AfterTraining = Remembering()
objective_factory: ObjectiveFactory = Remembering
agent_half: TransformsUpdate = Halved()
collector_half: TransformsCombined = Halved()
update_transform_factory: UpdateTransformFactory = Halved
preset: Preset = steady
selector: Selector = rested
scorer: Evaluates = Scored({})
oracle: Predicts = LineRuntime({})
