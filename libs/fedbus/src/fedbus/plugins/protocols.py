"""Plug-in protocols: one for each kind of plug-in and for each optional capability of a trainer.

A plug-in inherits from nothing. mypy compares it with these protocols, `fedbus plugins` compares
its signatures, and `fedbus plugins check NAME` calls it. A capability that not every trainer has is
a protocol of its own (`Evaluates`, `Predicts`, `Stateful`), detected by `isinstance`.

In shapes, `rows` is the number of examples in a batch and … any further dimensions. Weights map the
names of the model's layout to arrays with the layout's shapes and dtypes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fedbus.data import Batch, Dataset, Format
from fedbus.model.layout import Array, Role, Weights
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, Metrics, TrainingParams, Update

if TYPE_CHECKING:
    import numpy as np


class Trainer(Protocol):
    """Trains one model, built from the architecture that its factory was called with.

    One thread uses a trainer at a time. Arrays that it is given are read-only and valid during the
    call; arrays that it returns are copies, which the trainer does not change afterwards.
    """

    def initial(self) -> Weights:
        """Return the weights of the untrained model."""
        ...

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Train from `weights` on the batches of `data.steps(params)`.

        Every call starts with a new optimizer and scheduler, unless `load_optimizer_state` was
        called since the last one. Do not catch `Stopped`, which `data` raises when the task is
        cancelled.

        Args:
            weights: The version to start from; read-only.
            data: The agent's examples; its batches are pairs (x, y).
            params: Epochs, batch size, learning rate, optimizer, loss, seed and further options.

        Returns:
            The new weights (not the difference), the number of examples trained on, and metrics of
            the training, by name.

        Raises:
            TrainingError: The weights, data or parameters do not fit the model.
        """
        ...


@runtime_checkable
class Evaluates(Protocol):
    """A trainer that can measure metrics of weights; required for the role `evaluate`."""

    def evaluate(self, weights: Weights, data: Dataset, params: TrainingParams) -> Metrics:
        """Measure weights on all of `data.batches()`, without changing them.

        Returns:
            Means over all examples, by name: those of `params.metrics`, and `loss`.

        Raises:
            TrainingError: The weights, data or parameters do not fit the model.
        """
        ...


@runtime_checkable
class Predicts(Protocol):
    """A trainer that can predict; the inference service loads a version once, then predicts often.

    An optional attribute `output_activation` holds the model's last operation, as a
    `fedbus.frameworks.outputs.OutputActivation`; without it the outputs are taken for scores.
    """

    def load(self, weights: Weights) -> None:
        """Copy weights into the model, for all later calls of `predict`.

        Raises:
            TrainingError: They do not fit the model.
        """
        ...

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Compute the model's outputs, with no activation added to those of the model itself.

        Args:
            inputs: Shape (rows, …), any real dtype.

        Returns:
            Shape (rows, …), or several such arrays by the name of the output.

        Raises:
            TrainingError: The inputs do not fit the model.
        """
        ...


@runtime_checkable
class PredictsNamed(Protocol):
    """A trainer or runtime that can predict for a model with several inputs."""

    def predict_named(self, inputs: Mapping[str, Array], /) -> Array | Mapping[str, Array]:
        """Compute the model's outputs, as `Predicts.predict` does.

        Args:
            inputs: Arrays of shape (rows, …), by the names in the spec's `input.inputs`.

        Raises:
            TrainingError: The inputs do not fit the model.
        """
        ...


@runtime_checkable
class DescribesRoles(Protocol):
    """A trainer that knows which of its model's tensors no gradient changes."""

    def roles(self) -> Mapping[str, Role]:
        """Return the role of each tensor that is not `weight`, by name; see `model.layout.Role`."""
        ...


@runtime_checkable
class UsesLocalTerms(Protocol):
    """A trainer that can add a strategy's terms to its loss, as FedProx and SCAFFOLD need it."""

    def use_local_terms(self, terms: LocalTerms) -> None:
        """Add these terms to the loss of the next `train`, and only of that one.

        The metrics of the training do not include them. Their arrays are read-only, and valid until
        that `train` has ended.

        Raises:
            TrainingError: The model cannot be trained with them.
        """
        ...


@runtime_checkable
class CutsModel(Protocol):
    """A trainer that can cut its model in two, as MistNet needs it; layers are counted from 1."""

    def features(self, weights: Weights, data: Dataset, cut_layer: int) -> Iterator[Batch]:
        """Yield the outputs of the layers up to `cut_layer`, with labels, for all batches of data.

        Layers compute as they do in a prediction. Outputs have shape (rows, …), float32.

        Raises:
            TrainingError: The model cannot be cut there: at the call, and without a figure of the
                data; or the data do not fit the model: at a batch.
        """
        ...

    def train_after(self, cut_layer: int) -> None:
        """Train only the layers after `cut_layer` in the next `train`, and only in that one.

        The data of that `train` are inputs of the layer after `cut_layer`. The tensors of the
        layers up to `cut_layer` stay as they are.

        Raises:
            TrainingError: The model cannot be cut there.
        """
        ...


@runtime_checkable
class UsesDpSgd(Protocol):
    """A trainer whose `train` follows `TrainingParams.dp_sgd`.

    Its steps are those of `fedbus.training.dp_sgd`: each draws every example with the same
    probability and on its own, clips the gradient of each example, and adds noise to their sum,
    from a cryptographic generator.
    """

    def check_dp_sgd(self, params: TrainingParams, examples: int, /) -> None:
        """Check whether the next `train` can follow `params.dp_sgd`; called before it.

        Args:
            params: The parameters of the training.
            examples: The number of the agent's examples.

        Raises:
            PrivacyError: The model, the parameters or the number of examples do not allow it, or
                a package is missing. The message leaves the agent.
        """
        ...


@runtime_checkable
class Stateful(Protocol):
    """A trainer that can continue with the optimizer state of an earlier training.

    An agent keeps this state between the rounds of a job with `keep_optimizer_state`.
    """

    def optimizer_state(self) -> Mapping[str, Array]:
        """Return copies of the state that the last `train` left in optimizer and scheduler.

        Called after a `train` whose parameters have `keep_optimizer_state`. The names are the
        trainer's own; dtypes are numbers, booleans or strings.

        Raises:
            TrainingError: No training with `keep_optimizer_state` has completed.
        """
        ...

    def load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        """Start the next `train`, and only that one, from a state that `optimizer_state` returned.

        Raises:
            TrainingError: The state is of another model, optimizer or scheduler. The next `train`
                may raise it instead.
        """
        ...


TrainerFactory = Callable[[Architecture], Trainer]
"""What a trainer's entry point names, usually its class: `TinyTrainer(architecture)`."""

RuntimeFactory = Callable[[Architecture], Predicts]
"""What a runtime's entry point names: a class that predicts without being able to train.

The inference service chooses it by `FEDBUS_RUNTIME`, and passes the spec's architecture of the same
name.
"""


class ModelFactory(Protocol):
    """Builds a model by name for the trainers `torch` and `keras`, which then load its weights.

    A spec whose architecture is `{"name": "lenet", "config": {"classes": 10}}` is built by the
    model plug-in `lenet`.
    """

    def __call__(self, config: Mapping[str, Any], /) -> object:
        """Build an untrained `torch.nn.Module` or `keras.Model`.

        The config came over the network: check it, sizes included, before allocating anything.

        Raises:
            TrainingError: The config is not one that this model accepts.
        """
        ...


Loader = Callable[..., Dataset]
"""Reads a data set: a path, then options. Both come from the agent's settings, never from a job."""


class Transform(Protocol):
    """A step of an agent's pipeline, between its loader and its trainer.

    Its entry point names a factory, called with the step's parameters: `Resize(size=[28, 28])`. A
    transform with the attribute `augments = True` is applied in training and not in evaluation, and
    one with `targets_only = True` changes y alone: inference leaves it out.
    """

    def transform_data(self, batch: Batch, rng: "np.random.Generator", /) -> Batch:
        """Transform a batch into new arrays.

        Args:
            batch: x and y, each of shape (rows, …); the result has as many rows.
            rng: The only source of chance; seeded by the task.

        Raises:
            TrainingError: The batch does not have a format that this transform accepts.
        """
        ...

    def transform_format(self, form: Format, /) -> Format:
        """Return the format (kind, size, dtype, range) that rows of a given format will have.

        Raises:
            TrainingError: This transform does not accept rows of the given format.
        """
        ...


TransformFactory = Callable[..., Transform]
"""What a transform's entry point names, usually its class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """Facts about an agent that is online and eligible, for a selector."""

    agent: str
    """The node's name, `agent.…`."""
    last_selected: int = 0
    """The last round of this job in which the agent was asked; 0: none yet."""
    examples: int = 0
    """Examples that the agent can train on."""
    load: float = 0.0
    """Load average of the last minute, divided by the number of cores."""


class Selector(Protocol):
    """Selects the cohort of a round."""

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Return the names of at most `want` different agents; chance comes from `rng` alone."""
        ...
