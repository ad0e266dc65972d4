"""Train and run PyTorch models, on the GPU when there is one.

The structure is data, never code: `{"name": "mlp", "config": {"layers": [64, 32, 10]}}`, looked up
in `ARCHITECTURES`. Weights have the layout's names and shapes, so that agents of other frameworks
average the same model: a dense layer's weight is (inputs, outputs), which torch keeps transposed.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from fedbus.data import Dataset
from fedbus.errors import TrainingError
from fedbus.layout import Array, Layout, Weights, listed
from fedbus.training import CROSS_ENTROPY, Params, Structure, Tally, Update, check_labels

_MAX_LAYERS = 64
_MAX_NUMBERS = 2**28
_ROWS_AND_CLASSES = 2


class Mlp(nn.Module):
    """Dense layers with relu between them; the last gives one logit per class.

    Its first weights come from numpy and `seed`, exactly as `examples/digits/build_model.py` draws
    them for the .tflite file.
    """

    def __init__(self, layers: tuple[int, ...], seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.layers = nn.ModuleList()
        for wide, narrow in pairwise(layers):
            layer = nn.Linear(wide, narrow)
            kernel = rng.normal(0, np.sqrt(2 / wide), (wide, narrow)).astype(np.float32)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(kernel).T)
                layer.bias.zero_()
            self.layers.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Score each class. x: (rows, inputs) float32; returns (rows, classes)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = relu(layer(x))
        logits: Tensor = last(x)
        return logits


def mlp(config: Mapping[str, Any]) -> nn.Module:
    """Build an `Mlp` of `{"layers": [inputs, …, classes], "seed": number}`.

    Raises:
        TrainingError: the config says something else.
    """
    match config:
        case {"layers": [_, _, *_] as widths} if not config.keys() - {"layers", "seed"}:
            seed = config.get("seed", 0)
            whole = all(type(number) is int for number in (*widths, seed))
            if whole and len(widths) <= _MAX_LAYERS and min(widths) > 0 and seed >= 0:
                # Measured before torch allocates it: the card came over the network.
                if sum((wide + 1) * narrow for wide, narrow in pairwise(widths)) <= _MAX_NUMBERS:
                    return Mlp(tuple(widths), seed)
                raise TrainingError(f"an mlp of more than {_MAX_NUMBERS} numbers")
    raise TrainingError(
        f"an mlp is configured by layers, 2 to {_MAX_LAYERS} widths, and perhaps a seed"
    )


ARCHITECTURES: Final[Mapping[str, Callable[[Mapping[str, Any]], nn.Module]]] = {"mlp": mlp}
"""What a structure may name."""


class TorchTrainer:
    """Trains, scores and runs one architecture with PyTorch.

    Raises:
        TrainingError: the structure names no architecture we know, or configures it wrongly.
    """

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._net = _build(structure).to(self._device)
        self._layout = Layout.of(_weights(self._net))

    def initial(self) -> Weights:
        """Make the architecture's first weights, drawn by its seed."""
        return _weights(_build(self._structure))

    def load(self, weights: Weights) -> None:
        """Take these weights.

        Raises:
            LayoutError: they are not those of the model.
        """
        self._layout.check(weights)
        dense = _dense(self._net)
        turned = {name: w.T if name in dense else w for name, w in weights.items()}
        # Copied, since torch does not take arrays that are read-only.
        self._net.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in turned.items()})

    def train(self, weights: Weights, data: Dataset, params: Params) -> Update:
        """Take one step of SGD per batch; the metrics are means over all that was trained on.

        Raises:
            LayoutError: the weights are not those of the model.
            Stopped: at the next batch after the data was asked to stop.
            TrainingError: the data or the parameters do not fit, or the loss is no number any more.
        """
        params.require("torch", {"sgd"}, CROSS_ENTROPY)
        self.load(weights)
        self._net.train()
        optimizer = torch.optim.SGD(
            self._net.parameters(),
            lr=params.learning_rate,
            momentum=params.number("momentum", 0.0),
        )
        tally = Tally()
        for x, y in data.steps(params):
            optimizer.zero_grad()
            loss = self._score(x, y, tally)
            torch.autograd.backward(loss)
            optimizer.step()
        return Update(_weights(self._net), data.examples, tally.metrics())

    def evaluate(self, weights: Weights, data: Dataset, params: Params) -> Mapping[str, float]:
        """Score weights: mean cross-entropy `loss`, and `accuracy`, 0 to 1.

        Raises:
            LayoutError: the weights are not those of the model.
            Stopped: at the next batch after the data was asked to stop.
            TrainingError: the data or the parameters do not fit.
        """
        params.require("torch", {params.optimizer}, CROSS_ENTROPY)
        self.load(weights)
        self._net.eval()
        tally = Tally()
        with torch.inference_mode():
            for x, y in data.batches():
                self._score(x, y, tally)
        return tally.metrics()

    def predict(self, inputs: Array) -> Array:
        """Give each class its probability. inputs: (rows, …); returns (rows, classes), float32.

        Raises:
            TrainingError: the inputs are not what the model takes.
        """
        self._net.eval()
        with torch.inference_mode():
            return self._logits(inputs).softmax(dim=1).cpu().numpy()

    def _score(self, x: Array, y: Array, tally: Tally) -> Tensor:
        logits = self._logits(x)
        check_labels(y, len(x), logits.shape[1])
        truth = torch.from_numpy(y.astype(np.int64)).to(self._device)
        loss = cross_entropy(logits, truth)
        correct = (logits.argmax(dim=1) == truth).sum()
        tally.add(loss=float(loss.detach()), correct=float(correct), examples=len(x))
        return loss

    def _logits(self, x: Array) -> Tensor:
        try:
            rows = torch.from_numpy(x.astype(np.float32)).to(self._device)
            logits: Tensor = self._net(rows)
        except (RuntimeError, TypeError) as error:
            raise TrainingError(f"the model cannot take x, {x.dtype} {x.shape}: {error}") from error
        if logits.ndim != _ROWS_AND_CLASSES or not len(x):
            raise TrainingError(f"x is {x.shape}; rows of inputs belong there")
        return logits


def _build(structure: Structure) -> nn.Module:
    name, config = structure.get("name"), structure.get("config", {})
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = listed(ARCHITECTURES)
        raise TrainingError(f"no torch architecture named {name!r}; there is {known}")
    if not isinstance(config, Mapping):
        raise TrainingError(f"the config of {name!r} is {type(config).__name__}, not a map")
    return ARCHITECTURES[name](config)


def _dense(net: nn.Module) -> frozenset[str]:
    modules = net.named_modules()
    return frozenset(f"{path}.weight" for path, m in modules if isinstance(m, nn.Linear))


def _weights(net: nn.Module) -> dict[str, Array]:
    dense = _dense(net)
    state = {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}
    # Copied, since torch hands out live memory.
    return {name: (w.T if name in dense else w).copy() for name, w in state.items()}
