"""Modules and parameters that cannot be trained with DP-SGD are declined, with the mend."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbus.errors import PrivacyError
from fedbus.model.layout import Array
from fedbus.training.params import DpSgdParams, TrainingParams

pytest.importorskip("torch")
pytest.importorskip("opacus")

import torch
from opacus.layers import (  # type: ignore[import-untyped]  # it has no types
    DPGRU,
    DPLSTM,
    DPRNN,
    DPMultiheadAttention,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fedbus.frameworks.torch.dp_sgd_checks import check_dp_sgd_training, check_examples_apart
from fedbus.frameworks.torch.example_gradients import ExampleGradients
from tests.fedbus.frameworks.torch.private_nets import (
    Bag,
    Mixed,
    NoNoise,
    Pictures,
    Scaled,
    Shared,
    Turned,
    Words,
    plain,
)

PARAMS = TrainingParams(dp_sgd=DpSgdParams(noise_multiplier=1.0, least_examples=50))


@pytest.mark.parametrize(
    ("layer", "mend"),
    [
        (
            nn.BatchNorm1d(3),
            "'b' is a BatchNorm1d, in which each example changes",
        ),
        (nn.BatchNorm2d(3), "BatchNorm2d, .* use nn.GroupNorm or nn.LayerNorm in its place"),
        (nn.BatchNorm3d(3, affine=False), "BatchNorm3d"),
        (nn.SyncBatchNorm(3), "SyncBatchNorm"),
        (nn.InstanceNorm2d(3, track_running_stats=True), "set track_running_stats=False"),
        (nn.LSTM(3, 3), "an? LSTM, which computes no .* use opacus.layers.DPLSTM in its place"),
        (nn.GRU(3, 3), "use opacus.layers.DPGRU"),
        (nn.RNN(3, 3), "use opacus.layers.DPRNN"),
        (nn.MultiheadAttention(4, 2), "use opacus.layers.DPMultiheadAttention"),
    ],
)
def test_a_layer_that_cannot_be_private_is_named(layer: nn.Module, mend: str) -> None:
    """With what to use in its place."""
    net = plain(a=nn.Linear(3, 3), b=layer)
    with pytest.raises(PrivacyError, match=mend):
        check_dp_sgd_training(net, PARAMS, 50)
    check_dp_sgd_training(net, replace(PARAMS, dp_sgd=None), 50)


@pytest.mark.parametrize(
    "layer",
    [
        nn.GroupNorm(1, 3),
        nn.LayerNorm(3),
        nn.InstanceNorm2d(3),
        nn.Dropout(0.5),
        DPLSTM(3, 3),
        DPGRU(3, 3),
        DPRNN(3, 3),
        DPMultiheadAttention(4, 2),
    ],
)
def test_other_layers_are_accepted(layer: nn.Module) -> None:
    """Those that compute each example from itself, and the ones of Opacus."""
    check_dp_sgd_training(plain(a=layer), PARAMS, 50)


def test_too_few_examples_and_a_missing_package_are_declined() -> None:
    """The number of the agent's examples is not in the sentence."""
    net = plain(a=nn.Linear(2, 2))
    with pytest.raises(PrivacyError) as raised:
        check_dp_sgd_training(net, PARAMS, 47)
    assert "50 examples or more (least_examples), and this agent has fewer" in str(raised.value)
    assert "47" not in str(raised.value)
    with pytest.raises(PrivacyError, match=r"package opacuss, .*: pip install 'fedbus\[dp-sgd\]'"):
        check_dp_sgd_training(net, PARAMS, 50, "opacuss")
    with pytest.raises(PrivacyError, match="the optimizer lbfgs computes the gradients of a batch"):
        check_dp_sgd_training(net, replace(PARAMS, optimizer="lbfgs"), 50)


def tried(net: nn.Module, x: Array) -> None:
    """Try a module with a row of data."""
    net.train()

    def answer(rows: Array) -> Tensor:
        torch.manual_seed(0)
        found: Tensor = net(torch.from_numpy(rows))
        return found

    def score(rows: Array) -> Tensor:
        return cross_entropy(net(torch.from_numpy(rows)).float(), torch.zeros(len(rows)).long())

    with ExampleGradients(
        net, DpSgdParams(noise_multiplier=1, least_examples=1), NoNoise()
    ) as found:
        check_examples_apart(found, x, answer, score)


ROW = np.random.default_rng(1).normal(size=(1, 6)).astype(np.float32)
WORDS = np.array([[3, 0, 2, 2]])


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: plain(a=nn.Linear(6, 5), b=nn.Dropout(0.5), c=nn.Linear(5, 3)), ROW),
        (Pictures, np.random.default_rng(1).normal(size=(1, 1, 8, 8)).astype(np.float32)),
        (Words, WORDS),
        (Bag, WORDS),
        (lambda: Bag("sum", None), WORDS),
        (Scaled, ROW),
        (lambda: plain(a=nn.Unflatten(1, (2, 3)), b=nn.Linear(3, 2), c=nn.Flatten()), ROW),
    ],
)
def test_a_module_whose_examples_are_apart_is_accepted(
    make: Callable[[], nn.Module], x: Array
) -> None:
    """Also with dropout, frozen, unused and tied weights."""
    torch.manual_seed(1)
    tried(make(), x)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Mixed, "the model mixes examples: what it answers for one changes with the others of its"),
        (Shared, "for 'out.weight' do not add up to the gradient of a batch"),
        (lambda: Turned(2), "the layer of 'out.weight' does not get one row for each example"),
        (lambda: Turned(3), "the layer of 'out.weight' does not get one row for each example"),
    ],
)
def test_a_module_whose_examples_are_not_apart_is_declined(
    make: Callable[[], nn.Module], reason: str
) -> None:
    """No list of layers shows it; a dimension may have the size of a batch by chance."""
    torch.manual_seed(1)
    net = make()
    with pytest.raises(PrivacyError, match=reason):
        tried(net, ROW)


def test_numbers_that_are_not_finite_show_no_mixing() -> None:
    """A diverged model is declined later, as any."""
    net = plain(a=nn.Linear(6, 3))
    with torch.no_grad():
        net.a.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]  # a layer's
    tried(net, ROW)


def test_a_parameter_that_only_the_module_uses_is_found() -> None:
    """Its layer never runs, so it has no gradient of an example at all."""

    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.out.weight.T

    with pytest.raises(PrivacyError, match=r"for 'out\.weight' do not add up"):
        tried(Aside(), ROW)
