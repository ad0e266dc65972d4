"""Checks for the tests of all frameworks: equal weights, and a state through a file."""

import io
from collections.abc import Mapping

import numpy as np

from fedbus.model.layout import Array, Weights
from fedbus_inference.served_version import Predictor


def through_a_file(state: Mapping[str, Array]) -> Mapping[str, Array]:
    """Save and load it as an agent does."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as held:
        return dict(held)


def assert_alike(one: Weights, other: Weights, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    """Each tensor: float32 sums differ in their last digits from one processor to the next."""
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        np.testing.assert_allclose(tensor, other[name], rtol=rtol, atol=atol, err_msg=name)


def answers(trainer: Predictor, inputs: Array) -> Array:
    """Predict with a model of one output."""
    found = trainer.predict(inputs)
    assert isinstance(found, np.ndarray)
    return found
