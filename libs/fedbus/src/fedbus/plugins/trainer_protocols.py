"""Protocols of trainers and runtimes: one for each optional capability.

A capability that not every trainer has is a protocol of its own (`Evaluates`, `Predicts`,
`Stateful`), detected by `isinstance`.

In shapes, `rows` is the number of examples in a batch and … any further dimensions. Weights map the
names of the model's layout to arrays with the layout's shapes and dtypes.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from fedbus.data import Batch, Dataset
from fedbus.model.layout import Array, Role, Weights
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, Metrics, TrainingParams, Update


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
