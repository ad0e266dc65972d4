"""Architectures of PyTorch models, by name.

An architecture is data, never code: `{"name": "mlp", "config": {"layers": [64, 32, 10]}}`, looked
up in `ARCHITECTURES`, or else an installed plug-in of the group `models`.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from fedbus import plugins
from fedbus.errors import PluginError, TrainingError
from fedbus.limits import MAX_MODEL_NUMBERS
from fedbus.text import listed
from fedbus.training.params import Architecture

_MAX_MLP_LAYERS = 64
_SEEDS = 2**63


class Mlp(nn.Module):
    """Dense layers with ReLU between them; the last returns one logit for each class.

    The initial weights are drawn by numpy from `seed`, exactly as `examples/digits/build_model.py`
    does for the `.tflite` file (K. He et al. 2015, arXiv 1502.01852). The outputs of the layer
    `bits_after`, counted from 1, are 0 or 1, as `Bits` has it; with 0 no layer's are.
    """

    def __init__(self, layers: tuple[int, ...], seed: int = 0, bits_after: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.layers = nn.ModuleList(_dense(rng, w, n) for w, n in pairwise(layers))
        self._bits_after = bits_after

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits. x: (rows, inputs), float32; returns (rows, classes)."""
        *hidden, last = self.layers
        for number, layer in enumerate(hidden, 1):
            x = bits_of(layer(x)) if number == self._bits_after else relu(layer(x))
        logits: Tensor = last(x)
        return logits

    def layers_in_order(self) -> tuple[nn.Module, ...]:
        """Return the layers with their activations; one after the other they are `forward`."""
        *hidden, last = self.layers
        return *(
            nn.Sequential(layer, Bits() if number == self._bits_after else nn.ReLU())
            for number, layer in enumerate(hidden, 1)
        ), last


class Bits(nn.Module):
    """1 for a positive number, else 0; its gradient is that of ReLU.

    Before a cut it makes the features that a model is trained on by MistNet the same that it
    computes when it is used.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return 0 or 1 for each number of x, of any shape."""
        return bits_of(x)


def bits_of(x: Tensor) -> Tensor:
    """Return 1 for positive numbers, else 0, with the gradient of ReLU."""
    kept = relu(x)
    return kept + ((x > 0).to(x.dtype) - kept).detach()


class BagOfWords(nn.Module):
    """The mean of the embeddings of a row's words, and a dense layer; word 0 is padding."""

    def __init__(self, words: int, width: int, classes: int, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        table = rng.normal(0, np.sqrt(1 / width), (words, width)).astype(np.float32)
        self.words = nn.EmbeddingBag(words, width, mode="mean", padding_idx=0)
        with torch.no_grad():
            self.words.weight.copy_(torch.from_numpy(table))
        self.output = _dense(rng, width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits. x: (rows, words), word numbers; returns (rows, classes)."""
        logits: Tensor = self.output(self.words(x))
        return logits


def _dense(rng: np.random.Generator, wide: int, narrow: int) -> nn.Linear:
    layer = nn.Linear(wide, narrow)
    kernel = rng.normal(0, np.sqrt(2 / wide), (wide, narrow)).astype(np.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel).T)
        layer.bias.zero_()
    return layer


def mlp(config: Mapping[str, Any]) -> nn.Module:
    """Build an `Mlp` of `{"layers": [inputs, …, classes], "seed": number, "bits_after": number}`.

    Raises:
        TrainingError: The config is not valid.
    """
    match config:
        case {"layers": [_, _, *_] as widths} if not config.keys() - {
            *("layers", "seed", "bits_after"),
        }:
            seed, bits = config.get("seed", 0), config.get("bits_after", 0)
            whole = all(type(number) is int for number in (*widths, seed, bits))
            if (
                whole
                and 0 <= bits <= len(widths) - 2
                and len(widths) <= _MAX_MLP_LAYERS
                and min(widths) > 0
                and seed >= 0
            ):
                # Measured before torch allocates it: the spec came over the network.
                if (
                    sum((wide + 1) * narrow for wide, narrow in pairwise(widths))
                    <= MAX_MODEL_NUMBERS
                ):
                    return Mlp(tuple(widths), seed, bits)
                raise TrainingError(f"an mlp of more than {MAX_MODEL_NUMBERS} numbers")
    raise TrainingError(
        f"an mlp is configured by layers, 2 to {_MAX_MLP_LAYERS} widths, and perhaps a seed and "
        "bits_after, the number of a hidden layer"
    )


def bag_of_words(config: Mapping[str, Any]) -> nn.Module:
    """Build a `BagOfWords` of `{"words": number, "width": number, "classes": number}`.

    Raises:
        TrainingError: The config is not valid.
    """
    match config:
        case {"words": int(words), "width": int(width), "classes": int(classes)} if (
            not config.keys() - {"words", "width", "classes", "seed"}
        ):
            seed = config.get("seed", 0)
            whole = all(type(number) is int for number in (words, width, classes, seed))
            if whole and min(words, width, classes) > 0 and seed >= 0:
                if (words + classes + 1) * width <= MAX_MODEL_NUMBERS:
                    return BagOfWords(words, width, classes, seed)
                raise TrainingError(f"a bag_of_words of more than {MAX_MODEL_NUMBERS} numbers")
    wanted = "words, width and classes, whole numbers, and perhaps a seed"
    raise TrainingError(f"a bag_of_words is configured by {wanted}")


ARCHITECTURES: Final[Mapping[str, Callable[[Mapping[str, Any]], nn.Module]]] = {
    "mlp": mlp,
    "bag_of_words": bag_of_words,
}
"""Built-in architectures by name."""


def build(architecture: Architecture) -> nn.Module:
    """Build an architecture's module; raise TrainingError if its name or config is not valid."""
    name, config = architecture.get("name"), architecture.get("config", {})
    if not isinstance(name, str):
        raise TrainingError(f"no torch architecture named {name!r}; there is {_known()}")
    if not isinstance(config, Mapping):
        raise TrainingError(f"the config of {name!r} is {type(config).__name__}, not a map")
    return ARCHITECTURES[name](config) if name in ARCHITECTURES else _installed(name, config)


def _installed(name: str, config: Mapping[str, Any]) -> nn.Module:
    if name not in plugins.installed_names("models"):
        raise TrainingError(f"no torch architecture named {name!r}; there is {_known()}")
    try:
        factory = plugins.load("models", name)
    except PluginError as error:
        raise TrainingError(f"no torch architecture named {name!r}: {error}") from error
    # PyTorch draws initial weights from one random stream for the whole process.
    seed = config.get("seed", 0)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed if type(seed) is int and 0 <= seed < _SEEDS else 0)
        made = factory(config)
    if not isinstance(made, nn.Module):
        kind = type(made).__name__
        raise TrainingError(f"the model plug-in {name!r} made a {kind}, not a torch.nn.Module")
    return made


def _known() -> str:
    return listed((*sorted(ARCHITECTURES), *plugins.installed_names("models")))


def embeddings(net: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """Return the embedding layers; a module that has one takes whole numbers as inputs."""
    return [m for m in net.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
