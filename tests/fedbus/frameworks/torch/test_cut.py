"""PyTorch modules cut in two, as MistNet trains them."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.errors import TrainingError
from fedbus.training.params import Architecture, TrainingParams

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from fedbus.frameworks.torch import TorchTrainer
from fedbus.frameworks.torch.cut import cut, features

DEEP: Architecture = {"name": "mlp", "config": {"layers": [4, 6, 5, 3], "seed": 2, "bits_after": 1}}
PARAMS = TrainingParams(epochs=3, batch_size=8, learning_rate=0.5, optimizer="sgd")


def rows(width: int = 4, count: int = 40) -> Dataset:
    """Return random rows of three classes."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, width)).astype(np.float32)
    return from_arrays(x, np.arange(count) % 3, batch=16)


def test_features_are_the_outputs_of_the_first_layers() -> None:
    """They are computed for all rows, beside the labels; with `bits_after` they are bits."""
    trainer = TorchTrainer(DEEP)
    weights = trainer.initial()
    found = list(trainer.features(weights, rows(), 1))
    x = np.concatenate([x for x, _ in found])
    inputs = np.concatenate([x for x, _ in rows().batches()])
    linear = inputs @ weights["layers.0.weight"] + weights["layers.0.bias"]
    np.testing.assert_array_equal(x, linear > 0)
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), np.arange(40) % 3)
    deeper = next(iter(trainer.features(weights, rows(), 2)))[0]
    after = x[:16] @ weights["layers.1.weight"] + weights["layers.1.bias"]
    np.testing.assert_allclose(deeper, np.maximum(after, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "params",
    [
        PARAMS,
        TrainingParams(
            epochs=2, batch_size=8, optimizer="adam", optimizer_args={"weight_decay": 0.1}
        ),
        TrainingParams(epochs=1, batch_size=8, learning_rate=0.1, optimizer="lbfgs"),
    ],
)
def test_only_the_layers_after_the_cut_are_trained(params: TrainingParams) -> None:
    """The others stay bit for bit, whatever the optimizer, and the next training trains all."""
    trainer = TorchTrainer(DEEP)
    start = trainer.initial()
    sent = rows(width=6)
    trainer.train_after(1)
    trained = trainer.train(start, sent, params).weights
    for name in ("layers.0.weight", "layers.0.bias"):
        np.testing.assert_array_equal(trained[name], start[name])
    for name in ("layers.1.weight", "layers.2.weight", "layers.2.bias"):
        assert not np.array_equal(trained[name], start[name])
    whole = trainer.train(start, rows(), PARAMS).weights
    assert not np.array_equal(whole["layers.0.weight"], start["layers.0.weight"])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_optimizer_state_of_the_layers_after_the_cut_is_kept(optimizer: str) -> None:
    """The layers before it have none, and stay as they are in the next round as well."""
    params = TrainingParams(
        epochs=2, batch_size=8, optimizer=optimizer, keep_optimizer_state=True, learning_rate=0.1
    )
    first, second = TorchTrainer(DEEP), TorchTrainer(DEEP)
    start, sent = first.initial(), rows(width=6)
    first.train_after(1)
    trained = first.train(start, sent, params).weights
    second.load_optimizer_state(first.optimizer_state())
    second.train_after(1)
    again = second.train(trained, sent, replace(params, round=2)).weights
    np.testing.assert_array_equal(again["layers.0.weight"], start["layers.0.weight"])
    assert not np.array_equal(again["layers.1.weight"], trained["layers.1.weight"])


def test_training_after_a_cut_is_that_of_the_second_part_alone() -> None:
    """A model of the last two layers, trained on the same rows, gets the same weights."""
    trainer, part = (
        TorchTrainer(DEEP),
        TorchTrainer({"name": "mlp", "config": {"layers": [6, 5, 3]}}),
    )
    start, sent = trainer.initial(), rows(width=6)
    trainer.train_after(1)
    trained = trainer.train(start, sent, PARAMS).weights
    names = {"layers.0": "layers.1", "layers.1": "layers.2"}
    alone = part.train(
        {
            f"{a}.{kind}": start[f"{b}.{kind}"]
            for a, b in names.items()
            for kind in ("weight", "bias")
        },
        sent,
        PARAMS,
    ).weights
    for a, b in names.items():
        np.testing.assert_array_equal(alone[f"{a}.weight"], trained[f"{b}.weight"])


@pytest.mark.parametrize(
    ("net", "layers", "sentence"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), 0, "1 to 1"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
            2,
            "2 layers, and at least one must be on each",
        ),
        (nn.Linear(2, 2), 1, "a Linear cannot be cut"),
    ],
)
def test_a_model_that_cannot_be_cut_is_refused(net: nn.Module, layers: int, sentence: str) -> None:
    """The sentence says which cuts there are, or what a model needs."""
    with pytest.raises(TrainingError, match=sentence):
        cut(net, layers)


def test_a_tensor_on_both_sides_is_refused() -> None:
    """It would be trained, and the features sent before would be those of another model."""
    tied = nn.Linear(3, 3)
    with pytest.raises(TrainingError, match="2 tensors of the model are used before and after"):
        cut(nn.Sequential(tied, nn.ReLU(), tied), 1)


class Odd(nn.Module):
    """A module whose layers are not its `forward`."""

    def __init__(self, *layers: object) -> None:
        super().__init__()
        self.given = layers

    def forward(self, x: Tensor) -> Tensor:
        """Return twice x."""
        return 2 * x

    def layers_in_order(self) -> tuple[object, ...]:
        """Return other layers."""
        return self.given


class Pair(nn.Module):
    """A layer with two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x twice."""
        return x, x


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (Odd(nn.ReLU(), nn.ReLU()), "compute something else than the model"),
        (Odd(nn.ReLU(), 3), "cannot be cut"),
        (nn.Sequential(Pair(), nn.ReLU()), "no tensor of one row per example"),
        (nn.Sequential(nn.Linear(9, 2), nn.ReLU()), "cannot take the rows"),
    ],
)
def test_parts_that_are_not_the_model_are_refused(net: nn.Module, sentence: str) -> None:
    """The first batch of features shows it."""
    with pytest.raises(TrainingError, match=sentence):
        list(features(net, 1, rows(), torch.from_numpy))


def test_bits_pass_the_gradient_of_relu() -> None:
    """So a model whose features are bits can be trained as a whole."""
    trainer = TorchTrainer({"name": "mlp", "config": {"layers": [4, 32, 3], "bits_after": 1}})
    x = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    data = from_arrays(x, x[:, :3].argmax(axis=1))
    trained = trainer.train(trainer.initial(), data, TrainingParams(epochs=40, optimizer="adam"))
    assert trainer.evaluate(trained.weights, data, PARAMS)["accuracy"] > 0.9
