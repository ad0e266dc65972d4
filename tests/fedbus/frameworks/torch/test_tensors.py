"""Everyday torch nets: what of them is carried, how it comes back, and what is refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.errors import LayoutError, TrainingError
from fedbus.model.blob import decode, encode, encode_delta
from fedbus.model.layout import Layout
from fedbus.training.params import TrainingParams
from tests.plugin_package import Install

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from fedbus.frameworks.torch import TorchTrainer
from fedbus.frameworks.torch.tensors import roles_of, set_weights, state_of, weights_of
from tests.fedbus.frameworks.alike import answers

SOURCE = '''
import torch
from torch import nn


class Last(nn.Module):
    """The last step of a recurrent layer, and a dense layer behind it."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.out = inner, nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.inner(x)[0][:, -1])


class Attends(nn.Module):
    """A transformer's encoder, and a dense layer on the mean of its steps."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.inner, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.inner(x).mean(dim=1))


class Words(nn.Module):
    """Words in, scores of the next word out, through one table."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.table.weight
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("nothing", torch.empty(0))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def forward(self, x):
        return self.out(self.norm(self.table(x).mean(dim=1))) * self.scale


NETS = {
    "bn": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
    "pictures": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    ),
    "own statistics": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)
    ),
    "half": lambda: nn.Linear(4, 3).half(),
    "double": lambda: nn.Linear(4, 3).double(),
    "brain": lambda: nn.Linear(4, 3).bfloat16(),
    "lstm": lambda: Last(nn.LSTM(4, 8, batch_first=True)),
    "gru": lambda: Last(nn.GRU(4, 8, batch_first=True, num_layers=2)),
    "attends": Attends,
    "words": Words,
}


def make(config):
    return NETS[config["net"]]()
'''
ROWS = {"pictures": (1, 4, 4), "lstm": (5, 4), "gru": (5, 4), "attends": (5, 8), "words": (6,)}


@pytest.fixture(autouse=True)
def nets(install: Install) -> None:
    """Install a package of everyday nets."""
    install("everyday", "[fedbus.models]\neveryday = everyday:make\n", SOURCE)


def trainer(net: str) -> TorchTrainer:
    """Make a trainer of one of them."""
    return TorchTrainer({"name": "everyday", "config": {"net": net}})


@pytest.mark.parametrize(
    "net", ["bn", "pictures", "half", "double", "brain", "lstm", "gru", "attends", "words"]
)
def test_an_everyday_net_trains_and_its_update_crosses_the_bus(net: str) -> None:
    """Batch normalisation, other floats, recurrence, attention, tied weights: one round of each."""
    made = trainer(net)
    rng, row = np.random.default_rng(0), ROWS.get(net, (4,))
    x = rng.integers(0, 9, (33, *row)) if net == "words" else rng.normal(size=(33, *row))
    first = made.initial()
    layout = Layout.of(first, made.roles())
    base = bytes(encode(first, layout))
    params = TrainingParams(batch_size=16, learning_rate=0.1)
    update = made.train(decode(base, layout), from_arrays(x, rng.integers(0, 3, 33)), params)
    change = decode(encode_delta(update.weights, base, layout), layout)
    assert all(np.isfinite(array.astype(np.float64)).all() for array in change.values())
    assert any(array.any() for array in change.values())
    made.load(update.weights)
    assert answers(made, x[:2]).shape[0] == 2
    again = made.train(
        decode(base, layout), from_arrays(x, rng.integers(0, 3, 33)), TrainingParams(seed=1)
    )
    assert again.weights.keys() == first.keys()


def test_statistics_are_told_from_weights() -> None:
    """The role is in the spec: what no gradient changes is named."""
    roles = trainer("bn").roles()
    names = ("running_mean", "running_var", "num_batches_tracked")
    assert roles == {f"1.{name}": "statistic" for name in names}
    assert trainer("words").roles() == {"mask": "statistic"}


def test_tied_weights_are_carried_once_and_stay_tied() -> None:
    """Two averages of one tensor could differ; empty and unsaved buffers have nothing to carry."""
    made = trainer("words")
    weights = made.initial()
    assert sorted(weights) == ["mask", "norm.bias", "norm.weight", "scale", "table.weight"]
    assert weights["scale"].shape == ()
    rng = np.random.default_rng(0)
    new = {n: rng.normal(size=a.shape).astype(a.dtype) for n, a in weights.items()}
    made.load(new)
    net: Any = made._net  # noqa: SLF001 - what the trainer holds
    assert net.out.weight is net.table.weight
    state = state_of(net, new)
    assert torch.equal(state["out.weight"], state["table.weight"])
    np.testing.assert_array_equal(weights_of(net)["table.weight"], new["table.weight"])


class Tied(nn.Module):
    """A square table that a dense layer, which is turned, has named first."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 4, bias=False)
        self.table = nn.Embedding(4, 4)
        self.table.weight = self.out.weight

    def forward(self, x: Tensor) -> Tensor:
        """Score."""
        scores: Tensor = self.out(self.table(x).mean(dim=1))
        return scores


def test_a_dense_layer_is_turned_whatever_else_has_its_weight() -> None:
    """A square one would come back the wrong way round, and no shape would tell."""
    net, other = Tied(), Tied()
    weights = weights_of(net)
    np.testing.assert_array_equal(weights["out.weight"], net.out.weight.detach().numpy().T)
    set_weights(other, weights)
    assert torch.equal(other.table.weight, net.table.weight)


def test_bfloat16_is_carried_as_float32() -> None:
    """Numpy has no such numbers, and every one of them is a float32."""
    net = nn.Linear(3, 3).bfloat16()
    weights = weights_of(net)
    assert {array.dtype.name for array in weights.values()} == {"float32"}
    other = nn.Linear(3, 3).bfloat16()
    set_weights(other, weights)
    assert torch.equal(net.weight, other.weight)


def _with_buffer(value: Tensor) -> nn.Module:
    net = nn.Module()
    net.register_buffer("odd", value)
    return net


class Extra(nn.Linear):
    """Keeps something that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        """Return it."""
        return {"seen": 3}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), "tensor 'weight' is complex64, strided"),
        (lambda: nn.LazyLinear(3), "tensor 'weight' is lazy"),
        (lambda: _with_buffer(torch.eye(2).to_sparse()), "tensor 'odd' is float32, sparse_coo"),
        (lambda: _with_buffer(torch.eye(2).to(torch.float8_e5m2)), "'odd' is float8_e5m2"),
        (lambda: Extra(2, 2), "'_extra_state' of the net's state is a dict"),
    ],
    ids=["complex", "lazy", "sparse", "float8", "no tensor"],
)
def test_what_cannot_be_carried_is_refused_by_name(
    make: Callable[[], nn.Module], sentence: str
) -> None:
    """Before it is trained."""
    with pytest.raises(LayoutError, match=sentence):
        weights_of(make())


def test_an_agent_with_one_row_trains_a_batch_normalisation() -> None:
    """PyTorch refuses one row; taken twice its variance is none, as it is in Keras."""
    made = trainer("bn")
    first = made.initial()
    update = made.train(
        first, from_arrays(np.ones((1, 4)), np.zeros(1, int)), TrainingParams(learning_rate=0.5)
    )
    assert update.examples == 1
    assert not np.array_equal(update.weights["3.bias"], first["3.bias"])
    assert update.weights["1.num_batches_tracked"] == 1


def test_batches_of_one_row_are_refused_with_what_mends_them() -> None:
    """It says more than that a value was expected."""
    made = trainer("bn")
    with pytest.raises(TrainingError, match="set batch_size to 2 or more"):
        made.train(
            made.initial(),
            from_arrays(np.ones((4, 4)), np.zeros(4, int)),
            TrainingParams(batch_size=1),
        )


def test_a_batch_normalisation_without_statistics_trains() -> None:
    """It normalizes by the batch in evaluation too."""
    made = trainer("own statistics")
    first = made.initial()
    x, y = np.random.default_rng(0).normal(size=(33, 4)), np.arange(33) % 3
    made.train(first, from_arrays(x, y), TrainingParams(batch_size=16))
    assert made.evaluate(first, from_arrays(x, y, 11), TrainingParams())["loss"] > 0


def test_a_batch_normalisation_scores_single_rows() -> None:
    """In evaluation it goes by its running statistics."""
    made = trainer("bn")
    weights = made.initial()
    data = from_arrays(np.ones((3, 4)), np.zeros(3, int), 1)
    assert made.evaluate(weights, data, TrainingParams())["loss"] > 0


def test_pictures_with_their_channels_last_are_told_what_turns_them() -> None:
    """Every loader gives (height, width, channels), and torch takes channels first."""
    made = trainer("pictures")
    with pytest.raises(TrainingError, match="the `channels-first` transform makes that of"):
        made.predict(np.ones((2, 4, 4, 1), np.float32))


def test_roles_name_only_what_is_carried() -> None:
    """A role for a tensor that is not there would be a layout's fault."""
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    assert roles_of(net) == {}
