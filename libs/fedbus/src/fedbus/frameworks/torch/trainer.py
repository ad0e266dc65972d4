"""Trainer of PyTorch models."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn, optim

from fedbus.data import Batch, Dataset
from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.stateful import StatefulTrainer
from fedbus.frameworks.torch.architectures import build, embeddings
from fedbus.frameworks.torch.cut import cut, features
from fedbus.frameworks.torch.devices import device, has_bfloat16
from fedbus.frameworks.torch.dp_sgd_checks import check_dp_sgd_training
from fedbus.frameworks.torch.losses import LOSSES, aligned
from fedbus.frameworks.torch.metrics import MetricSums
from fedbus.frameworks.torch.optimizer_state import restore_state, state_arrays
from fedbus.frameworks.torch.optimizers import optimizer_of, step
from fedbus.frameworks.torch.output_layer import declared_loss, output_activation_of
from fedbus.frameworks.torch.predictions import array_of, tensors_of
from fedbus.frameworks.torch.private_steps import PrivateSteps
from fedbus.frameworks.torch.schedules import Schedule
from fedbus.frameworks.torch.tensors import (
    first_dtype,
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

_SEEDS: Final = 2**63
_NO_VARIANCE: Final = "more than 1 value per channel"
_PICTURES: Final = 4
_ORDER: Final = (
    "; torch takes (rows, channels, height, width): the `channels-first` transform makes that of "
    "(rows, height, width, channels)"
)
_MEND: Final = "; a batch normalisation needs two rows: set batch_size to 2 or more"


class TorchTrainer(StatefulTrainer):
    """Trains, evaluates and runs one model with PyTorch.

    Methods raise the errors of the protocols in `fedbus.plugins`, and LayoutError for weights of
    another model; the constructor raises TrainingError for an architecture that is not valid.
    """

    output_activation: OutputActivation | None = None
    """The model's last operation; None until it has run once."""
    noise: SecretNoise = EphemeralNoise()
    """Noise of DP-SGD, and its choice of examples."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        self._device = device()
        self._mixes = has_bfloat16(self._device)
        self._net = build(architecture).to(self._device)
        self._layout = Layout.of(weights_of(self._net), roles_of(self._net))
        self._dtype = first_dtype(self._net)
        self._normalizes = normalizes_batches(self._net)
        self._words = min((layer.num_embeddings for layer in embeddings(self._net)), default=0)
        self.declared_loss = declared_loss(self._net)
        self.least_batch = least_batch(self._net)
        self._terms: TermGradients | None = None
        self._called: nn.Module = self._net  # its layers after a cut, while they are trained
        self._cut_layer = 0

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
        return features(self._net, cut_layer, data, self._inputs)

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
            with self._seeded(_seed_of(params)), self._cut_at(cut_layer):
                if params.dp_sgd is None:
                    metrics = self._walk(data, params, optimizer, schedule, terms).metrics()
                else:
                    steps = self._private_steps(params, optimizer, schedule, terms)
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
                self._score(x, y, params, sums)
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
            outputs = self._run(inputs)
        if isinstance(outputs, Tensor):
            return array_of(outputs, len(inputs))
        return {name: array_of(each, len(inputs)) for name, each in tensors_of(outputs).items()}

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
                    return self._score(x, y, params, to.pop() if to else None)

                step(optimizer, score, terms)
                schedule.after_batch()
            schedule.after_epoch(epoch.metrics())
            whole.include(epoch)
        return whole

    def _private_steps(
        self,
        params: TrainingParams,
        optimizer: optim.Optimizer,
        schedule: Schedule,
        terms: TermGradients | None,
    ) -> PrivateSteps:
        def answer(x: Array) -> Tensor:
            with self._seeded(0):
                return self._answer(x)

        def score(x: Array, y: Array) -> Tensor:
            return self._score(x, y, params, None)

        return PrivateSteps(self._net, optimizer, schedule, answer, score, terms)

    def _trainable(self, x: Array, y: Array, data: Dataset) -> Batch:
        """Return a batch that every layer accepts: a single row of a data set is repeated."""
        if data.examples == 1 and self._normalizes is not None:
            return np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0)
        return x, y

    @contextmanager
    def _cut_at(self, layers: int) -> Iterator[None]:
        """Call the layers after the cut in place of the model; 0: the model."""
        if not layers:
            yield
            return
        words, self._words = self._words, 0  # features are no word numbers
        self._called = cut(self._net, layers)[1]
        try:
            yield
        finally:
            self._called, self._words = self._net, words

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Seed the random layers; restore the process's state afterwards."""
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed % _SEEDS)
            yield

    def _score(self, x: Array, y: Array, params: TrainingParams, sums: MetricSums | None) -> Tensor:
        mixed = self._mixes and params.precision == "mixed"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            outputs = self._answer(x)
        activation = self.output_activation or "scores"
        outputs, target = aligned(outputs.float(), y, params.loss, activation)
        loss = LOSSES[params.loss](outputs, target)
        if sums is not None:
            sums.add(float(loss.detach()), outputs, target, len(x))
        return loss

    def _answer(self, x: Array) -> Tensor:
        outputs = self._run(x)
        if not isinstance(outputs, Tensor):
            raise TrainingError(
                f"the model answers a {type(outputs).__name__}; one tensor of rows is wanted: make "
                "a net that returns one of its outputs, or puts them beside each other"
            )
        if outputs.shape[:1] != (len(x),):
            shape = tuple(outputs.shape)
            raise TrainingError(f"x is {x.shape}, rows of inputs; the model answers {shape}")
        return outputs

    def _run(self, x: Array) -> object:
        if not x.shape or not len(x):
            raise TrainingError(f"x is {x.shape}; rows of inputs belong there")
        try:
            rows = self._inputs(x)
            if self.output_activation is None:
                self.output_activation = output_activation_of(self._called, rows[:1])
            found: object = self._called(rows)
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            mend = _MEND if _NO_VARIANCE in str(error) else ""
            if x.ndim == _PICTURES and "channels" in str(error):
                mend = _ORDER
            why = f"the model cannot take x, {x.dtype} {x.shape}: {error}{mend}"
            raise TrainingError(why) from error
        return found

    def _inputs(self, x: Array) -> Tensor:
        if not self._words:
            kind = np.float64 if self._dtype == torch.float64 else np.float32
            return torch.from_numpy(x.astype(kind)).to(self._device, self._dtype)
        words = x.astype(np.int64)
        if (words != x).any() or words.min() < 0 or words.max() >= self._words:
            raise TrainingError(f"x holds other than the words 0 to {self._words - 1}")
        return torch.from_numpy(words).to(self._device)


def _seed_of(params: TrainingParams) -> int:
    """Return the seed of random layers: the task's, or with DP-SGD one that no other node knows.

    With a known seed, one example more that a step draws would give all others other chance.
    """
    return params.seed if params.dp_sgd is None else secrets.randbelow(_SEEDS)


def _steps_in_epoch(data: Dataset, params: TrainingParams) -> int:
    if params.dp_sgd is None:
        return data.steps_in_epoch(params)
    return dp_sgd_steps(params, params.dp_sgd.least_examples).in_epoch
