"""A module as a trainer calls it: rows in, tensors out, and the loss of some rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.torch.architectures import embeddings
from fedbus.frameworks.torch.cut import cut
from fedbus.frameworks.torch.devices import has_bfloat16
from fedbus.frameworks.torch.losses import LOSSES, aligned
from fedbus.frameworks.torch.metrics import MetricSums
from fedbus.frameworks.torch.output_layer import output_activation_of
from fedbus.frameworks.torch.tensors import first_dtype
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

SEEDS: Final = 2**63
_NO_VARIANCE: Final = "more than 1 value per channel"
_PICTURES: Final = 4
_ORDER: Final = (
    "; torch takes (rows, channels, height, width): the `channels-first` transform makes that of "
    "(rows, height, width, channels)"
)
_MEND: Final = "; a batch normalisation needs two rows: set batch_size to 2 or more"


class CalledModel:
    """A module on its device, which is called as a whole or, while it is cut, after the cut."""

    output_activation: OutputActivation | None = None
    """The model's last operation; None until it has run once."""

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self._net = net
        self._device = device
        self._mixes = has_bfloat16(device)
        self._dtype = first_dtype(net)
        self._words = min((layer.num_embeddings for layer in embeddings(net)), default=0)
        self._called = net  # its layers after a cut, while they are trained

    @contextmanager
    def cut_at(self, layers: int) -> Iterator[None]:
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
    def seeded(self, seed: int) -> Iterator[None]:
        """Seed the random layers; restore the process's state afterwards."""
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed % SEEDS)
            yield

    def score(
        self, x: Array, y: Array, params: TrainingParams, sums: MetricSums | None = None
    ) -> Tensor:
        """Return the mean loss of some rows with their targets, and add them to `sums`."""
        mixed = self._mixes and params.precision == "mixed"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            outputs = self.answer(x)
        activation = self.output_activation or "scores"
        outputs, target = aligned(outputs.float(), y, params.loss, activation)
        loss = LOSSES[params.loss](outputs, target)
        if sums is not None:
            sums.add(float(loss.detach()), outputs, target, len(x))
        return loss

    def answer(self, x: Array) -> Tensor:
        """Return the output for some rows; raise TrainingError unless it is one row for each."""
        outputs = self.run(x)
        if not isinstance(outputs, Tensor):
            raise TrainingError(
                f"the model answers a {type(outputs).__name__}; one tensor of rows is wanted: make "
                "a net that returns one of its outputs, or puts them beside each other"
            )
        if outputs.shape[:1] != (len(x),):
            shape = tuple(outputs.shape)
            raise TrainingError(f"x is {x.shape}, rows of inputs; the model answers {shape}")
        return outputs

    def run(self, x: Array) -> object:
        """Return what the module returns; raise TrainingError if it does not take the rows."""
        if not x.shape or not len(x):
            raise TrainingError(f"x is {x.shape}; rows of inputs belong there")
        try:
            rows = self.inputs(x)
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

    def run_named(self, inputs: Mapping[str, Array]) -> object:
        """Return what the module returns for arguments by name; raise TrainingError if refused.

        Real numbers get the module's dtype, whole ones become int64.
        """
        try:
            rows = {name: self._typed(array) for name, array in inputs.items()}
            found: object = self._called(**rows)
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise TrainingError(f"the model cannot take {shapes}: {error}") from error
        return found

    def _typed(self, array: Array) -> Tensor:
        if array.dtype.kind == "f":
            kind = np.float64 if self._dtype == torch.float64 else np.float32
            return torch.from_numpy(array.astype(kind)).to(self._device, self._dtype)
        whole = array if array.dtype == bool else array.astype(np.int64)
        return torch.from_numpy(np.array(whole)).to(self._device)

    def inputs(self, x: Array) -> Tensor:
        """Return rows as the module takes them; raise TrainingError for a word that it lacks."""
        if not self._words:
            kind = np.float64 if self._dtype == torch.float64 else np.float32
            return torch.from_numpy(x.astype(kind)).to(self._device, self._dtype)
        words = x.astype(np.int64)
        if (words != x).any() or words.min() < 0 or words.max() >= self._words:
            raise TrainingError(f"x holds other than the words 0 to {self._words - 1}")
        return torch.from_numpy(words).to(self._device)
