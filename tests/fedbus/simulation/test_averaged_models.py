"""Whole rounds of models that are not float32 throughout: the committed version is the mean."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fedbus.client.packed_model import packed
from fedbus.data import Dataset, from_arrays
from fedbus.model.layout import Array, Role, Weights
from fedbus.plugins import DescribesRoles, Trainer
from fedbus.simulation.run import simulate
from fedbus.training.params import Architecture, TrainingParams, Update
from tests.plugin_package import Install

MADE: list[Update] = []
"""What agents trained in the running test."""

NETS = """
def torch_net(config):
    from torch import nn
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
"""
KERAS = {
    "name": "sequential",
    "config": {
        "input": [4],
        "layers": [["Dense", {"units": 8}], "BatchNormalization", ["Dense", {"units": 3}]],
    },
}


class Recorded:
    """A trainer of a framework, and a note of all that it trained."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - a trainer that can do everything
        self._inner = inner

    def initial(self) -> Weights:
        first: Weights = self._inner.initial()
        return first

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        MADE.append(self._inner.train(weights, data, params))
        return MADE[-1]


def torch_trainer(architecture: Architecture) -> Trainer:
    """Make a torch trainer that is watched."""
    from fedbus.frameworks.torch import TorchTrainer

    return Recorded(TorchTrainer(architecture))


def keras_trainer(architecture: Architecture) -> Trainer:
    """Make a Keras trainer that is watched."""
    from fedbus.frameworks.keras import KerasTrainer

    return Recorded(KerasTrainer(architecture))


def one_round(
    framework: str,
    architecture: Mapping[str, Any],
    factory: Any,  # noqa: ANN401 - makes a trainer
    **local: Role,
) -> Mapping[str, Array]:
    """Run a round of two agents with 20 and 33 rows, and return the version it made."""
    MADE.clear()
    inner: Any = factory(architecture)._inner  # noqa: SLF001 - which knows its roles
    assert isinstance(inner, DescribesRoles)
    roles: Mapping[str, Role] = inner.roles()
    first: Weights = factory(architecture).initial()
    plain = {"model": "bn", "architectures": {framework: dict(architecture)}}
    model = packed(plain, first, {}, {**roles, **local})
    rng = np.random.default_rng(5)
    data = {
        name: from_arrays(rng.normal(2, 3, (rows, 4)).astype(np.float32), rng.integers(0, 3, rows))
        for name, rows in (("a", 20), ("b", 33))
    }
    job = {
        "training_id": "bn-1",
        "model_name": "bn",
        "num_rounds": 1,
        "round": {"agents": 2},
        "config": [{"batch_size": 16, "learning_rate": 0.1}],
        "plugins": {"trainer": framework},
    }
    played = simulate(job, model, data, own={framework: factory})
    assert played.state.phase == "finished", played.state.reason
    return played.weights


def check_mean(found: Mapping[str, Array]) -> None:
    """Hold every tensor against the mean of what both agents trained, by their rows."""
    first, second = sorted(MADE, key=lambda update: update.examples)
    assert (first.examples, second.examples) == (20, 33)
    for name, array in found.items():
        both = np.stack([u.weights[name].astype(np.float64) for u in (first, second)])
        wanted = np.average(both, axis=0, weights=(20, 33))
        assert array.dtype == first.weights[name].dtype
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(array, np.rint(wanted), err_msg=name)


def test_torchs_running_statistics_are_the_weighted_mean_after_a_round(install: Install) -> None:
    """And its counter the rounded one: two batches here and two there, though one row was over."""
    pytest.importorskip("torch")
    install("averaged", "[fedbus.models]\naveraged = averaged:torch_net\n", NETS)
    found = one_round("torch", {"name": "averaged"}, torch_trainer)
    check_mean(found)
    assert found["1.num_batches_tracked"] == 2
    assert np.abs(found["1.running_mean"]).max() > 0.01


def test_statistics_that_are_local_stay_with_each_agent(install: Install) -> None:
    """So the FedBN rule is a word in the spec: the version keeps what was pushed."""
    pytest.importorskip("torch")
    install("averaged", "[fedbus.models]\naveraged = averaged:torch_net\n", NETS)
    local: dict[str, Role] = {"1.running_mean": "local", "1.running_var": "local"}
    found = one_round("torch", {"name": "averaged"}, torch_trainer, **local)
    assert found["1.running_mean"].tolist() == [0] * 8
    assert found["1.running_var"].tolist() == [1] * 8
    assert all(update.weights["1.running_mean"].any() for update in MADE)
    assert found["1.num_batches_tracked"] == 2


def test_keras_moving_statistics_are_the_weighted_mean_after_a_round() -> None:
    """They are in the layout like any weight."""
    pytest.importorskip("tensorflow")
    found = one_round("keras", KERAS, keras_trainer)
    check_mean(found)
    assert np.abs(found["layers.1.moving_mean"]).max() > 0.001
