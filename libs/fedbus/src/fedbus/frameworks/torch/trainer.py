"""Trainer of PyTorch models."""

import secrets
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, optim

from fedbus.data import Batch, Dataset
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.stateful import StatefulTrainer
from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.called_model import SEEDS, CalledModel
from fedbus.frameworks.torch.cut import cut, features
from fedbus.frameworks.torch.devices import device
from fedbus.frameworks.torch.dp_sgd_checks import check_dp_sgd_training
from fedbus.frameworks.torch.metrics import MetricSums
from fedbus.frameworks.torch.optimizer_state import restore_state, state_arrays
from fedbus.frameworks.torch.optimizers import optimizer_of, step
from fedbus.frameworks.torch.output_layer import declared_loss
from fedbus.frameworks.torch.predictions import array_of, tensors_of
from fedbus.frameworks.torch.private_steps import PrivateSteps
from fedbus.frameworks.torch.schedules import Schedule
from fedbus.frameworks.torch.tensors import (
    least_batch,
    likely_rows,
    normalizes_batches,
    roles_of,
    set_weights,
    weights_of,
)
from fedbus.frameworks.torch.term_gradients import TermGradients
from fedbus.model.layout import Array, Layout, Role, Weights
from fedbus.plugins import SecretNoise
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.training.local_terms import LocalTerms
from fedbus.training.options import check_supported
from fedbus.training.params import Architecture, TrainingParams, Update


class TorchTrainer(StatefulTrainer):
    """Trains, evaluates and runs one model with PyTorch.

    Methods raise the errors of the protocols in `fedbus.plugins`, and LayoutError for weights of
    another model; the constructor raises TrainingError for an architecture that is not valid.
    """

    noise: SecretNoise = EphemeralNoise()
    """Noise of DP-SGD, and its choice of examples."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        where = device()
        self._net = build(architecture).to(where)
        self._model = CalledModel(self._net, where)
        self._layout = Layout.of(weights_of(self._net), roles_of(self._net))
        self._normalizes = normalizes_batches(self._net)
        self.declared_loss = declared_loss(self._net)
        self.least_batch = least_batch(self._net)
        self._terms: TermGradients | None = None
        self._cut_layer = 0

    @property
    def output_activation(self) -> OutputActivation | None:
        """The model's last operation; None until it has run once."""
        return self._model.output_activation

    def initial(self) -> Weights:
        """Return the initial weights, drawn from the architecture's seed."""
        return weights_of(build(self._architecture))

    def rows_to_try(self) -> tuple[tuple[int, ...], ...]:
        """Return shapes of a row that the model may take, derived from its first layer."""
        return likely_rows(self._net)

    def roles(self) -> Mapping[str, Role]:
        """Return the roles of tensors that no gradient changes."""
        return roles_of(self._net)

    def load(self, weights: Weights) -> None:
        """Copy weights into the model; raise LayoutError if they do not fit it."""
        self._layout.check(weights)
        set_weights(self._net, weights)

    def use_local_terms(self, terms: LocalTerms) -> None:
        """Add terms to the loss of the next `train`; raise TrainingError if they do not fit."""
        terms.check(self._layout)
        self._terms = None if terms.empty else TermGradients(self._net, terms)

    def features(self, weights: Weights, data: Dataset, cut_layer: int) -> Iterator[Batch]:
        """Yield the outputs of the first `cut_layer` layers, with labels, for each batch of data.

        Raises:
            TrainingError: The model cannot be cut there, or the data do not fit it.
        """
        cut(self._net, cut_layer)  # at once, and not when the first batch is asked for
        self.load(weights)
        return features(self._net, cut_layer, data, self._model.inputs)

    def train_after(self, cut_layer: int) -> None:
        """Train only the layers after a cut in the next `train`, whose data are their inputs."""
        cut(self._net, cut_layer)
        self._cut_layer = cut_layer

    def check_dp_sgd(self, params: TrainingParams, examples: int) -> None:
        """Decline a training that cannot follow `params.dp_sgd`; see `fedbus.plugins.UsesDpSgd`."""
        check_dp_sgd_training(self._net, params, examples)

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Train one step for each batch; metrics are means over all batches of the training.

        With `params.dp_sgd` the steps are those of DP-SGD, with fresh noise and fresh chance in
        random layers: the same call returns another update each time, and no metrics.
        """
        self.check_dp_sgd(params, data.examples)
        found = self._take_loaded_state()
        terms, self._terms = self._terms, None
        cut_layer, self._cut_layer = self._cut_layer, 0
        check_supported("torch", params)
        self.load(weights)
        if terms is not None:
            terms.keep_base()
        self._net.train()
        if found is None:
            epochs = (params.round - 1) * params.epochs
            optimizer = optimizer_of(self._net, params)
            schedule = Schedule(optimizer, params, epochs, epochs * _steps_in_epoch(data, params))
        else:
            optimizer, schedule = restore_state(self._net, params, found)
        del found  # as large as the optimizer state
        try:
            with self._model.seeded(_seed_of(params)), self._model.cut_at(cut_layer):
                if params.dp_sgd is None:
                    metrics = self._walk(data, params, optimizer, schedule, terms).metrics()
                else:
                    steps = PrivateSteps(self._net, self._model, optimizer, schedule, terms)
                    steps.walk(data, params, params.dp_sgd, self.noise)
                    metrics = {}
        finally:
            self._net.zero_grad()  # gradients are as large as the model
        if params.keep_optimizer_state:
            self._offer_state(lambda: state_arrays(self._net, optimizer, schedule, params))
        return Update(weights_of(self._net), data.examples, metrics)

    def evaluate(
        self, weights: Weights, data: Dataset, params: TrainingParams
    ) -> Mapping[str, float]:
        """Measure the mean `loss` and the job's metrics of weights."""
        check_supported("torch", TrainingParams(loss=params.loss, metrics=params.metrics))
        self.load(weights)
        self._net.eval()
        sums = MetricSums(params.loss, params.metrics)
        with torch.inference_mode():
            for x, y in data.batches():
                self._model.score(x, y, params, sums)
        return sums.metrics()

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Return the outputs of the model's own `forward`.

        Inputs and outputs have shape (rows, …). Several outputs are returned by name: the keys of a
        dict, or the positions in a tuple, "0", "1".

        Raises:
            TrainingError: The inputs do not fit the model, or it returns no tensor.
        """
        self._net.eval()
        with torch.inference_mode():
            return _arrays(self._model.run(inputs), len(inputs))

    def predict_named(self, inputs: Mapping[str, Array]) -> Array | Mapping[str, Array]:
        """Return outputs, as `predict` does, of a `forward` that takes several named arguments.

        Raises:
            TrainingError: The inputs do not fit the model, or it returns no tensor.
        """
        self._net.eval()
        with torch.inference_mode():
            return _arrays(self._model.run_named(inputs), len(next(iter(inputs.values()))))

    def _walk(
        self,
        data: Dataset,
        params: TrainingParams,
        optimizer: optim.Optimizer,
        schedule: Schedule,
        terms: TermGradients | None,
    ) -> MetricSums:
        whole = MetricSums(params.loss, params.metrics)
        for batches in data.epochs(params):
            epoch = MetricSums(params.loss, params.metrics)
            for rows in batches:
                x, y = self._trainable(*rows, data)
                uncounted = [epoch]  # LBFGS computes a batch many times; only the first one counts

                def score(x: Array = x, y: Array = y, to: list[MetricSums] = uncounted) -> Tensor:
                    if not to:
                        data.check_stop()
                    return self._model.score(x, y, params, to.pop() if to else None)

                step(optimizer, score, terms)
                schedule.after_batch()
            schedule.after_epoch(epoch.metrics())
            whole.include(epoch)
        return whole

    def _trainable(self, x: Array, y: Array, data: Dataset) -> Batch:
        """Return a batch that every layer accepts: a single row of a data set is repeated."""
        if data.examples == 1 and self._normalizes is not None:
            return np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0)
        return x, y


def _seed_of(params: TrainingParams) -> int:
    """Return the seed of random layers: the task's, or with DP-SGD one that no other node knows.

    With a known seed, one example more that a step draws would give all others other chance.
    """
    return params.seed if params.dp_sgd is None else secrets.randbelow(SEEDS)


def _steps_in_epoch(data: Dataset, params: TrainingParams) -> int:
    if params.dp_sgd is None:
        return data.steps_in_epoch(params)
    return dp_sgd_steps(params, params.dp_sgd.least_examples).in_epoch


def _arrays(outputs: object, rows: int) -> Array | Mapping[str, Array]:
    if isinstance(outputs, Tensor):
        return array_of(outputs, rows)
    return {name: array_of(each, rows) for name, each in tensors_of(outputs).items()}
