"""Calls of a `.tflite` file's signatures with checked inputs, and its weights by layout names."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.tflite.file import Signature
from fedbus.model.layout import Array, Layout, Weights


def read_weights(get_weights: Signature) -> dict[str, Array]:
    """Return copies of a file's weights; the runtime makes the copies."""
    return {name.replace("__", "."): weight for name, weight in get_weights().items()}


def set_weights(signature: Signature, weights: Weights) -> None:
    """Copy weights into a file; its `set_weights` also clears the optimizer state."""
    signature(**{name.replace(".", "__"): _native(weight) for name, weight in weights.items()})


def set_terms(signature: Signature, linear: Weights, layout: Layout) -> None:
    """Copy factors of a linear term into a file, zeros where there are none; keep the base."""
    signature(
        **{
            t.name.replace(".", "__"): _native(linear[t.name].astype(t.dtype, copy=False))
            if t.name in linear
            else np.zeros(t.shape, t.dtype)
            for t in layout.tensors
        }
    )


def run(signature: Signature, inputs: Mapping[str, Array | np.float32]) -> dict[str, Array]:
    """Call a signature; raise TrainingError with the shapes if the runtime refuses the inputs."""
    try:
        return signature(**inputs)
    except (ValueError, RuntimeError) as error:
        shapes = {name: value.shape for name, value in inputs.items()}
        raise TrainingError(f"the model cannot take {shapes}: {error}") from error


def typed_rows(name: str, details: Mapping[str, Any], rows: Array) -> Array:
    """Convert a batch to the dtype of a signature's input.

    The shape is checked here because TFLite would resize its tensors to a wrong shape, and report
    it late or not at all.

    Args:
        rows: Shape (rows, …), any real dtype.

    Raises:
        TrainingError: The shape or dtype is not what the model takes.
    """
    batch, *wanted = (int(length) for length in details["shape_signature"])
    lengths = zip(rows.shape[1:], wanted, strict=False)
    fits = rows.ndim == len(wanted) + 1 and all(w in {-1, n} for n, w in lengths)
    if not fits or not len(rows) or rows.dtype.kind not in "biuf":
        shape = ("rows", *wanted)
        raise TrainingError(f"{name} is {rows.dtype} {rows.shape}; the model takes {shape}")
    if batch not in {-1, len(rows)}:
        raise TrainingError(
            f"the .tflite file takes {batch} rows at once, and {name} has {len(rows)}: the last"
            " batch of an epoch is as short as the data make it; export the file with an open "
            "number of rows (None)"
        )
    return np.asarray(rows, details["dtype"], order="C")


def _native(weight: Array) -> Array:
    return np.asarray(weight, weight.dtype.newbyteorder("="), order="C")
