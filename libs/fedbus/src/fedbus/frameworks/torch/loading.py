"""Weights into somebody's own torch net, and into a file that `torch.load` reads."""

import io

import torch
from torch import nn

from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.tensors import set_weights, state_of, weights_of
from fedbus.model.layout import Weights
from fedbus.model.load_into import check_fit
from fedbus.training.params import Architecture


def put(net: nn.Module, weights: Weights) -> None:
    """Load a layout's weights into a net.

    Raises:
        LayoutError: they are not those of this net.
    """
    set_weights(net, check_fit(weights, weights_of(net)))


def file_of(architecture: Architecture, weights: Weights) -> bytes:
    """Write what `torch.load(FILE, weights_only=True)` reads and `load_state_dict` takes.

    Raises:
        TrainingError: the net is not installed here.
        LayoutError: the weights are not those of the net.
    """
    net = build(architecture)
    put(net, weights)
    file = io.BytesIO()
    torch.save({**net.state_dict(), **state_of(net, weights)}, file)
    return file.getvalue()
