"""Keras and torch models with several inputs and outputs are pushed and answer by name."""

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import pytest

from fedbus import plugins
from fedbus.client.model_source import prepare_model
from fedbus.data.model_input import has_several_inputs
from fedbus.errors import LayoutError, TrainingError
from fedbus.model.blob import decode
from fedbus.model.layout import Array, Layout
from fedbus.plugins import Predicts, PredictsNamed
from tests.plugin_package import Install

Factory: TypeAlias = Callable[[Mapping[str, Any]], object]
IMAGE = np.arange(28, dtype=np.float64).reshape(7, 4)
EXTRA = np.ones((7, 2), np.float32)
KERAS = """
import keras

def two(config):
    image, extra = keras.Input((4,), name="image"), keras.Input((2,), name="extra")
    joined = keras.layers.Concatenate()([image, extra])
    total = keras.layers.Dense(1, name="total")(joined)
    twice = keras.layers.Rescaling(2.0, name="twice")(image)
    if config.get("inputs") == 1:
        return keras.Model(image, {"twice": twice, "one": keras.layers.Dense(1)(image)})
    return keras.Model([image, extra], [total, twice])
"""
TORCH = """
import torch

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.total = torch.nn.Linear(6, 1)

    def forward(self, image, extra):
        return {"total": self.total(torch.cat([image, extra], 1)), "twice": image * 2}

def two(config):
    return Two()
"""
SOURCES = {"keras": ("tensorflow", KERAS), "torch": ("torch", TORCH)}


@pytest.mark.parametrize("framework", SOURCES)
def test_several_inputs_are_pushed_and_answered(
    framework: str, install: Install, tmp_path: Path
) -> None:
    """As the framework itself answers, for one row and for seven."""
    package, source = SOURCES[framework]
    if not find_spec(package):
        pytest.skip(f"no {package}")
    install(f"acme_{framework}", f"[fedbus.models]\ntwo = acme_{framework}:two", source)
    architecture = {"name": "two", "config": {}}
    spec = {
        "model": "two",
        "architectures": {framework: architecture},
        "input": {"inputs": {"image": {"shape": [4]}, "extra": {"shape": [2]}}},
    }
    path = tmp_path / "two.json"
    path.write_text(json.dumps(spec))
    packed = prepare_model(path)
    assert "it has several inputs: inference answers" in packed.warnings[0]
    stated = packed.spec()
    assert has_several_inputs(stated.input)
    layout = Layout.read(stated.layout)
    weights = decode(packed.blobs[packed.push.weights.digest], layout, "plain")
    group: Literal["runtimes", "trainers"] = "runtimes" if framework == "keras" else "trainers"
    made = cast("Factory", plugins.load(group, framework))(architecture)
    assert isinstance(made, Predicts)
    assert isinstance(made, PredictsNamed)
    made.load(weights)
    kernel, bias = (weights[f"{name}"] for name in _names(weights))
    for count in (1, 7):
        rows: dict[str, Array] = {"image": IMAGE[:count], "extra": EXTRA[:count]}
        found = made.predict_named(rows)
        assert isinstance(found, dict)
        joined = np.concatenate([IMAGE[:count], EXTRA[:count]], axis=1)
        np.testing.assert_allclose(found["total"], joined @ kernel + bias, rtol=1e-4)
        np.testing.assert_allclose(found["twice"], IMAGE[:count] * 2)
    with pytest.raises(TrainingError):
        made.predict_named({"image": IMAGE})
    with pytest.raises(TrainingError):
        made.predict_named({"image": IMAGE[:, :3], "extra": EXTRA})
    with pytest.raises(TrainingError):
        made.predict(IMAGE)
    with pytest.raises(LayoutError):
        made.load({"w": EXTRA})


def _names(weights: object) -> tuple[str, str]:
    """Return the names of the kernel and the bias."""
    assert isinstance(weights, dict)
    kernel, bias = sorted(weights, key=lambda name: -weights[name].size)
    return kernel, bias


@pytest.mark.skipif(not find_spec("tensorflow"), reason="no TensorFlow")
def test_a_keras_model_with_several_outputs_runs(install: Install) -> None:
    """By the names of its outputs."""
    install("acme_keras", "[fedbus.models]\ntwo = acme_keras:two", KERAS)
    made = plugins.load("runtimes", "keras")({"name": "two", "config": {"inputs": 1}})
    found = made.predict(IMAGE)
    assert isinstance(found, dict)
    assert sorted(found) == ["one", "twice"]
    np.testing.assert_allclose(found["twice"], IMAGE * 2)
