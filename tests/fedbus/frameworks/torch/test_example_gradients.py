"""Gradients of single examples: clipped as a loop over the examples does it, with noise."""

from collections.abc import Callable

import numpy as np
import pytest

from fedbus.errors import PrivacyError
from fedbus.privacy.noise_numbers import grid_step
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.training.params import DpSgdParams

pytest.importorskip("torch")
pytest.importorskip("opacus")

import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fedbus.frameworks.torch.example_gradients import ExampleGradients, clipped_sums
from tests.fedbus.frameworks.torch.private_nets import (
    Bag,
    NoNoise,
    Pictures,
    Scaled,
    Turned,
    Words,
    plain,
)

ROWS = 7
RNG = np.random.default_rng(3)
ROWS_OF_SIX = torch.from_numpy(RNG.normal(size=(ROWS, 6)).astype(np.float32))
PICTURES = torch.from_numpy(RNG.normal(size=(ROWS, 1, 8, 8)).astype(np.float32))
WORDS = torch.from_numpy(RNG.integers(0, 9, (ROWS, 5)))
CLASSES = torch.arange(ROWS) % 3
SOURCE = np.random.default_rng(8)


def params(norm: float, noise: float = 1.0) -> DpSgdParams:
    """Return parameters with this clipping norm."""
    return DpSgdParams(noise_multiplier=noise, max_grad_norm=norm, least_examples=1)


def looped(net: nn.Module, x: Tensor, norm: float) -> dict[str, Tensor]:
    """Return the sums of the clipped gradients of single examples, one after another."""
    trained = {name: weight for name, weight in net.named_parameters() if weight.requires_grad}
    sums = {name: torch.zeros_like(weight) for name, weight in trained.items()}
    for row in range(len(x)):
        net.zero_grad()
        torch.autograd.backward(cross_entropy(net(x[row : row + 1]), CLASSES[row : row + 1]))
        found = {n: w.grad for n, w in trained.items() if w.grad is not None}
        length = torch.stack([grad.double().square().sum() for grad in found.values()]).sum().sqrt()
        for name, grad in found.items():
            sums[name] += grad * min(1.0, norm / float(length))
    net.zero_grad()
    return sums


@pytest.mark.parametrize("norm", [0.01, 0.7, 1e6])
@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: plain(a=nn.Linear(6, 5), b=nn.ReLU(), c=nn.Linear(5, 3)), ROWS_OF_SIX),
        (Pictures, PICTURES),
        (Words, WORDS),
        (Bag, WORDS),
        (lambda: Bag("mean", None), WORDS),
        (lambda: Bag("sum"), WORDS),
        (Scaled, ROWS_OF_SIX),
    ],
)
def test_sums_are_those_of_a_loop_over_the_examples(
    make: Callable[[], nn.Module], x: Tensor, norm: float
) -> None:
    """In one batch or in two, with the fixed denominator; without noise, in float32."""
    torch.manual_seed(1)
    net = make()
    expected = looped(net, x, norm)
    for cut in ([slice(0, 7)], [slice(0, 3), slice(3, 7)]):
        with ExampleGradients(net, params(norm, 1e-6), NoNoise()) as gradients:
            for part in cut:
                loss = cross_entropy(net(x[part]), CLASSES[part])
                gradients.add(loss, part.stop - part.start)
            gradients.finish(4.0)
        for name, weight in net.named_parameters():
            if weight.requires_grad:
                assert weight.grad is not None
                assert weight.grad.dtype == weight.dtype
                near = 1e-5 * max(1e-9, float(expected[name].abs().max()))
                assert torch.allclose(4 * weight.grad, expected[name], rtol=1e-4, atol=near), name
            else:
                assert weight.grad is None
        net.zero_grad()


def test_no_example_changes_the_sum_by_more_than_the_norm() -> None:
    """Not even in single precision, and whatever the others are: this is what ε is computed for."""
    each = {
        "a": torch.from_numpy(RNG.normal(size=(500, 3, 2)).astype(np.float32)),
        "b": torch.from_numpy(10 ** RNG.uniform(-20, 15, (500, 4)).astype(np.float32)),
    }
    for norm in (1e-3, 1.0, 1e3):
        for row in range(500):
            alone = clipped_sums({n: g[row : row + 1] for n, g in each.items()}, norm)
            length = sum(float(g.double().square().sum()) for g in alone.values()) ** 0.5
            assert length <= norm


def test_a_row_changes_a_sum_of_many_rows_by_no_more_than_the_norm() -> None:
    """The rounding of the sum is that of double precision; in float32 it would be 1e-4."""
    each = {"a": torch.from_numpy(RNG.normal(3, 1, (5000, 40)).astype(np.float32))}
    most = 0.0
    for row in range(20):
        others = {"a": torch.cat([each["a"][:row], each["a"][row + 1 :]])}
        change = clipped_sums(each, 1.0)["a"] - clipped_sums(others, 1.0)["a"]
        most = max(most, float(change.square().sum()) ** 0.5)
    assert 1 - 1e-5 < most <= 1


def test_half_precision_is_clipped_in_single_precision() -> None:
    """Its own rounding would let a clipped gradient exceed the norm."""
    net = plain(a=nn.Linear(6, 3)).to(torch.bfloat16)
    with ExampleGradients(net, params(1e-3, 1e-6), NoNoise()) as gradients:
        loss = cross_entropy(net(ROWS_OF_SIX[:1].to(torch.bfloat16)).float(), CLASSES[:1])
        gradients.add(loss, 1)
        gradients.finish(1.0)
    grads = [weight.grad for weight in net.parameters() if weight.grad is not None]
    square = sum(float(grad.double().square().sum()) for grad in grads)
    assert 0.99e-3 < square**0.5 < 1.01e-3
    assert [grad.dtype for grad in grads] == [torch.bfloat16] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_an_example_without_a_finite_gradient_adds_nothing(bad: float) -> None:
    """Its change could not be bounded otherwise; a large finite one is clipped."""
    each = {"a": torch.ones(3, 2), "b": torch.ones(3, 4)}
    each["a"][1, 0] = bad
    sums = clipped_sums(each, 1.0)
    alone = clipped_sums({name: gradient[[0, 2]] for name, gradient in each.items()}, 1.0)
    for name, total in sums.items():
        assert total.isfinite().all()
        change = (total - alone[name]).abs().sum()
        assert (float(change) > 0.5) == (bad == 3e38 and name == "a")
    assert clipped_sums({}, 1.0) == {}


def test_the_noise_is_normal_with_the_deviation_of_the_terms() -> None:
    """Noise multiplier * norm / expected examples, in each number, also without any example."""
    net = plain(a=nn.Linear(60, 50), b=nn.Linear(50, 3))
    source = EphemeralNoise(SOURCE.bytes)
    with ExampleGradients(net, params(2.0, 1.5), source) as gradients:
        gradients.finish(8.0)
        drawn = torch.cat([weight.grad.ravel() for weight in net.parameters()])  # type: ignore[union-attr]  # it has one
        first = drawn.double().numpy() * 8 / (2.0 * 1.5)
        gradients.finish(8.0)
        second = torch.cat([weight.grad.ravel() for weight in net.parameters()])  # type: ignore[union-attr]  # as above
    assert kstest(first, "norm").pvalue > 1e-3
    assert abs(first.std() - 1) < 0.05
    assert abs(np.corrcoef(first, second.double().numpy())[0, 1]) < 0.1


def test_each_example_is_drawn_on_its_own() -> None:
    """With the rate as its probability: the number of examples of a step is binomial."""
    net = plain(a=nn.Linear(2, 2))
    with ExampleGradients(net, params(1.0), EphemeralNoise(SOURCE.bytes)) as gradients:
        draw = gradients.drawn(0.25)
        steps = np.array([draw(400) for _ in range(200)])
        assert gradients.drawn(1.0)(50).all()
    assert steps.dtype == bool
    sizes = steps.sum(axis=1)
    assert abs(sizes.mean() - 100) < 3
    assert abs(sizes.var() - 75) < 25
    assert abs(steps.mean(axis=0).std() - (0.25 * 0.75 / 200) ** 0.5) < 0.01


def test_few_examples_are_held_of_a_large_model() -> None:
    """Their gradients take as many bytes as the model, each."""
    with ExampleGradients(plain(a=nn.Linear(2, 2)), params(1.0), NoNoise()) as gradients:
        assert gradients.rows_at_once(32) == 32
    large = plain(a=nn.Linear(4096, 4096, bias=False))
    with ExampleGradients(large, params(1.0), NoNoise()) as gradients:
        assert gradients.rows_at_once(32) == 4
    larger = plain(a=nn.Linear(10_000, 10_000, bias=False, device="meta"))
    with ExampleGradients(larger, params(1.0), NoNoise()) as gradients:
        assert gradients.rows_at_once(32) == 1


def test_nothing_is_left_on_the_module() -> None:
    """It is trained without DP-SGD afterwards, and its state has the same names."""
    net = plain(a=nn.Linear(6, 3))
    names = [*net.state_dict()]
    with ExampleGradients(net, params(1.0), NoNoise()) as gradients:
        gradients.add(cross_entropy(net(ROWS_OF_SIX), CLASSES), ROWS)
    assert [*net.state_dict()] == names
    assert not any(hasattr(weight, "grad_sample") for weight in net.parameters())
    torch.autograd.backward(cross_entropy(net(ROWS_OF_SIX), CLASSES))
    assert not any(hasattr(weight, "grad_sample") for weight in net.parameters())


def test_a_layer_that_does_not_see_the_examples_as_rows_is_declined() -> None:
    """Whatever its rows are, they would be clipped in place of examples."""
    net = Turned()
    with (
        ExampleGradients(net, params(1.0), NoNoise()) as gradients,
        pytest.raises(
            PrivacyError, match=r"the layer of 'out\.weight' does not get one row for each"
        ),
    ):
        gradients.add(cross_entropy(net(ROWS_OF_SIX), CLASSES), ROWS)


def test_a_layer_that_keeps_buffers_is_declined() -> None:
    """They may hold something of the examples."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("seen", torch.zeros(2))

    with pytest.raises(PrivacyError, match=r"DP-SGD: .*buffers"):
        ExampleGradients(plain(a=Counting()), params(1.0), NoNoise())


@pytest.mark.parametrize("bag", [Bag("max"), Bag("mean"), Bag("sum", None)])
def test_a_bag_of_another_form_is_declined(bag: Bag) -> None:
    """Offsets, or the largest number of each column."""
    with ExampleGradients(bag, params(1.0), NoNoise()) as gradients:
        if bag.bag.mode == "max":
            answers = bag(WORDS)
        else:
            answers = bag.out(bag.bag(WORDS.ravel(), torch.arange(ROWS) * 5))
        loss = cross_entropy(answers, CLASSES)
        with pytest.raises(PrivacyError, match="an EmbeddingBag must take rows of words"):
            gradients.add(loss, ROWS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_noisy_sums_are_on_the_grid_of_the_noise(dtype: torch.dtype) -> None:
    """Before they are divided: else the lowest bits would tell which examples a step has drawn."""
    net = plain(a=nn.Linear(6, 500), b=nn.Linear(500, 3)).to(dtype)
    x = ROWS_OF_SIX.to(dtype)
    with ExampleGradients(net, params(0.7, 3.0), EphemeralNoise()) as gradients:
        gradients.add(cross_entropy(net(x), CLASSES), ROWS)
        gradients.finish(8.0)  # a power of two, so that the division is exact
    for weight in net.parameters():
        assert weight.grad is not None
        steps = weight.grad.double().numpy() * 8.0 / grid_step(0.7 * 3.0)
        np.testing.assert_array_equal(steps, np.rint(steps))
