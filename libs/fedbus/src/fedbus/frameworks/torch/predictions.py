"""Outputs of a PyTorch module as arrays by name."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fedbus.errors import TrainingError
from fedbus.model.layout import Array


def tensors_of(outputs: object) -> Mapping[str, Tensor]:
    """Return several outputs by name: the keys of a dict, or the positions in a tuple.

    Raises:
        TrainingError: There is no tensor among them.
    """
    found: Mapping[object, object] = {}
    if isinstance(outputs, Mapping):
        found = outputs
    elif isinstance(outputs, list | tuple):
        found = dict(enumerate(outputs))
    tensors = {str(name): each for name, each in found.items() if isinstance(each, Tensor)}
    if not tensors:
        raise TrainingError(f"the model answers a {type(outputs).__name__} without a tensor")
    return tensors


def array_of(outputs: Tensor, rows: int) -> Array:
    """Convert outputs of `rows` rows to numpy; raise TrainingError for another number of rows."""
    if outputs.shape[:1] != (rows,):
        shape = tuple(outputs.shape)
        raise TrainingError(f"the model answers {shape} for {rows} rows; one output each is wanted")
    wide = outputs.float() if outputs.dtype == torch.bfloat16 else outputs  # numpy has no bfloat16
    return np.asarray(wide.cpu().numpy())
