"""Loading of weights into a user's PyTorch module, and files for `torch.load`."""

import io

import torch
from torch import nn

from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.tensors import set_weights, state_of, weights_of
from fedbus.model.layout import Weights
from fedbus.model.load_into import check_fit
from fedbus.training.params import Architecture


def load_weights(net: nn.Module, weights: Weights) -> None:
    """Load weights into a module; raise LayoutError if they do not fit it."""
    set_weights(net, check_fit(weights, weights_of(net)))


def file_of(architecture: Architecture, weights: Weights) -> bytes:
    """Return a file for `torch.load(FILE, weights_only=True)` and `load_state_dict`.

    Raises:
        TrainingError: The architecture is not installed here.
        LayoutError: The weights do not fit it.
    """
    net = build(architecture)
    load_weights(net, weights)
    file = io.BytesIO()
    torch.save({**net.state_dict(), **state_of(net, weights)}, file)
    return file.getvalue()
