"""What people may write for fedbus: one protocol for each kind of plug-in.

Inherit from nothing: mypy checks the fit against these protocols, `fedbus plugins` checks it by
looking, `fedbus plugins check NAME` by trying. What not every trainer can do is a protocol of its
own (`Evaluates`, `Predicts`), found by `isinstance`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fedbus.data import Batch, Dataset, Format
from fedbus.model.layout import Array, Role, Weights
from fedbus.training.params import Architecture, Metrics, TrainingParams, Update


class Trainer(Protocol):
    """Trains one model, rebuilt from the architecture its factory was called with.

    One thread uses it at a time. Arrays that cross its border are copies: nobody gets live memory.
    """

    def initial(self) -> Weights:
        """Make the weights of a model that has learnt nothing yet."""
        ...

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Start from `weights`, walk `data.steps(params)`, and return the new weights.

        Every call starts afresh, with no momentum and no state of the call before, unless `resume`
        of `Stateful` came in between. Let `Stopped`, which the data raises, pass.

        Raises:
            TrainingError: weights, data or params do not fit.
        """
        ...


@runtime_checkable
class Evaluates(Protocol):
    """A trainer that can score weights on data; needed for the role `evaluate`."""

    def evaluate(self, weights: Weights, data: Dataset, params: TrainingParams) -> Metrics:
        """Walk `data.batches()` and return means over all rows, `loss` and `accuracy` if it can.

        Raises:
            TrainingError: weights, data or params do not fit.
        """
        ...


@runtime_checkable
class Predicts(Protocol):
    """A trainer that can answer; the inference service loads a version once and asks it often.

    It may have an attribute `output_activation`, a `fedbus.frameworks.outputs.OutputActivation`:
    what the model's last operation is. Without one, inference takes its outputs for scores.
    """

    def load(self, weights: Weights) -> None:
        """Take these weights for all predictions to come.

        Raises:
            TrainingError: they do not fit.
        """
        ...

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Answer each row as the model itself does, with nothing put over its last layer.

        inputs: (rows, …), any real dtype; returns (rows, …), or several such by name.

        Raises:
            TrainingError: the inputs do not fit.
        """
        ...


@runtime_checkable
class DescribesRoles(Protocol):
    """A trainer that knows which of a model's tensors are no plain weights."""

    def roles(self) -> Mapping[str, Role]:
        """Return the role of each tensor that no gradient changes; see `model.layout.Role`."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """A trainer whose optimizer and scheduler can go on where they stopped, if a job wants it."""

    def optimizer_state(self) -> Mapping[str, Array]:
        """Return what the last `train` left: named arrays that are copies, and nothing else.

        It is asked for after a `train` whose params have `keep_optimizer_state`.

        Raises:
            TrainingError: nothing has been trained yet, or without `keep_optimizer_state`.
        """
        ...

    def load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        """Let the next `train`, and no other, start from the state that another one left.

        Raises:
            TrainingError: it is not the state of this model, or, raised by the next `train`, not
                that of the optimizer and scheduler it is told to use.
        """
        ...


TrainerFactory = Callable[[Architecture], Trainer]
"""What a trainer's entry point names, usually its class: `TinyTrainer(architecture)`."""

RuntimeFactory = Callable[[Architecture], Predicts]
"""What a runtime's entry point names: answers without being able to train.

The inference service chooses it by `FEDBUS_RUNTIME`; it gets the spec's architecture of its own
name.
"""


class ModelFactory(Protocol):
    """Builds a framework's model by name, for a trainer we ship: its weights come from elsewhere.

    A spec that says `{"name": "lenet", "config": {"classes": 10}}` for `torch` or `keras` is built
    by the model plug-in `lenet`.
    """

    def __call__(self, config: Mapping[str, Any], /) -> object:
        """Build an untrained `torch.nn.Module` or `keras.Model`.

        The config came over the network: check it, and its sizes, before anything is allocated.

        Raises:
            TrainingError: the config is not one this model takes.
        """
        ...


Loader = Callable[..., Dataset]
"""Makes a data set from a path and the agent's own settings, never from the network's."""


class Transform(Protocol):
    """A step of an agent's pipeline, between its loader and its trainer.

    Its entry point names what makes it of the step's parameters: `Resize(size=[28, 28])`. With
    `augments = True` it is used in training and left out in evaluation.
    """

    def transform_data(self, batch: Batch, rng: np.random.Generator, /) -> Batch:
        """Change some rows. batch: x (rows, …), y (rows, …); as many rows come out, on new arrays.

        All chance comes from `rng`, which the task seeds.

        Raises:
            TrainingError: it cannot take them.
        """
        ...

    def transform_format(self, form: Format, /) -> Format:
        """Say what the rows look like then: kind, size and dtype, whether they are normalized.

        Raises:
            TrainingError: it cannot take rows of this format.
        """
        ...


TransformFactory = Callable[..., Transform]
"""What a transform's entry point names, usually its class."""


@runtime_checkable
class Aggregator(Protocol):
    """An aggregator: it adds one update at a time, so memory stays at one model.

    Its entry point names a class; `load` makes it, without arguments.
    """

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        """Add one update's block, (numbers,), to the total, (numbers,) float64, in place.

        The block is float32 where the model is, and float64 for tensors of every other dtype.
        The caller divides the total by the sum of the weights.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """What a selector knows of an agent that is online and can train."""

    agent: str
    """The node's name, `agent.…`."""
    last_selected: int = 0
    """The last round of this job it was asked in; 0 is never."""
    examples: int = 0
    load: float = 0.0
    """How busy it says it is, 0 to 1 for each core."""


class Selector(Protocol):
    """Picks the cohort of a round."""

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Name at most `want` of the agents; all chance comes from `rng`."""
        ...
