"""Training with DP-SGD by the trainer of PyTorch: steps, noise, terms, schedules, state."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.errors import PrivacyError, Stopped
from fedbus.model.layout import Array
from fedbus.plugins import UsesDpSgd
from fedbus.training.dp_sgd import NO_DP_SGD_OPTIMIZERS
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import (
    Architecture,
    DpSgdParams,
    SchedulerParams,
    TrainingParams,
    WarmupParams,
)

pytest.importorskip("torch")
pytest.importorskip("opacus")

import torch
from torch.nn.functional import cross_entropy, dropout

from fedbus.frameworks.torch import TorchTrainer
from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.optimizers import OPTIMIZERS
from fedbus.frameworks.torch.tensors import weights_of
from tests.fedbus.frameworks.torch.private_nets import NoNoise

NET: Architecture = {"name": "mlp", "config": {"layers": [6, 5, 3], "seed": 2}}
BAG: Architecture = {"name": "bag_of_words", "config": {"words": 9, "width": 4, "classes": 3}}
ROWS, LEAST = 24, 21
X = np.random.default_rng(1).normal(size=(ROWS, 6)).astype(np.float32)
Y = np.arange(ROWS) % 3
NORM, RATE = 0.5, 0.2
DP = DpSgdParams(noise_multiplier=1e-6, max_grad_norm=NORM, least_examples=LEAST)
PARAMS = TrainingParams(
    batch_size=8, epochs=2, learning_rate=RATE, loss="cross_entropy", dp_sgd=DP, seed=3
)
STEPS = 6


def trainer_of(noise: object = None, architecture: Architecture = NET) -> TorchTrainer:
    """Return a trainer with this source of noise, or its own."""
    made = TorchTrainer(architecture)
    if noise is not None:
        made.noise = noise  # type: ignore[assignment]  # a source
    return made


def clipped_mean(net: torch.nn.Module, rows: Array, norm: float, expected: float) -> None:
    """Set the gradients of a module: the clipped ones of some rows, added up and divided."""
    sums = [torch.zeros_like(weight) for weight in net.parameters()]
    for row in np.flatnonzero(rows):
        net.zero_grad()
        x, y = torch.from_numpy(X[row : row + 1]), torch.from_numpy(Y[row : row + 1])
        torch.autograd.backward(cross_entropy(net(x), y))
        grads = [weight.grad for weight in net.parameters()]
        length = sum(float(grad.double().square().sum()) for grad in grads if grad is not None)
        factor = min(1.0, norm / length**0.5)
        sums = [s + grad * factor for s, grad in zip(sums, grads, strict=True) if grad is not None]
    for weight, total in zip(net.parameters(), sums, strict=True):
        weight.grad = total / expected


def test_the_steps_are_those_of_the_paper() -> None:
    """Each with its own examples, clipped one by one, over the fixed denominator; maybe none."""
    drawn = np.random.default_rng(5).uniform(size=(STEPS, ROWS))
    drawn[2] = 1.0  # no example
    trainer = trainer_of(NoNoise(drawn.ravel()))
    update = trainer.train(trainer.initial(), from_arrays(X, Y, batch=5), PARAMS)
    net = build(NET)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in drawn:
        clipped_mean(net, step < 1 / 3, NORM, ROWS / 3)
        optimizer.step()
    expected = weights_of(net)
    for name, array in update.weights.items():
        assert np.allclose(array, expected[name], rtol=1e-4, atol=2e-6), name
    assert (update.examples, update.metrics) == (ROWS, {})


def test_terms_of_the_strategy_are_added_after_the_noise() -> None:
    """They depend on no example: they are neither clipped nor divided."""
    trainer = trainer_of(NoNoise(np.ones(STEPS * ROWS)))  # no example at all
    start = trainer.initial()
    shift = {name: np.full_like(array, 10.0) for name, array in start.items()}
    trainer.use_local_terms(LocalTerms(proximal=1.0, linear=shift))
    update = trainer.train(start, from_arrays(X, Y), PARAMS)
    moved = 0.0
    for _ in range(STEPS):
        moved -= RATE * (10 + moved)
    for name, array in update.weights.items():
        assert np.allclose(array - start[name], moved, rtol=1e-3), name


def test_the_noise_is_fresh_in_each_training() -> None:
    """The same call returns another update, and without noise the same one."""
    params = replace(PARAMS, dp_sgd=replace(DP, noise_multiplier=2.0))
    trainer = trainer_of()
    start = trainer.initial()
    first, second = (trainer.train(start, from_arrays(X, Y), params) for _ in range(2))
    for name in start:
        assert not np.isclose(first.weights[name], second.weights[name]).any()
    still = trainer_of(NoNoise())
    first, second = (still.train(start, from_arrays(X, Y), PARAMS) for _ in range(2))
    for name in start:
        assert (first.weights[name] == second.weights[name]).all()


def test_more_examples_are_drawn_at_the_same_rate_in_as_many_steps() -> None:
    """So that the ε of the fewest examples holds for all agents."""
    asked: list[int] = []

    class Counting(NoNoise):
        def uniforms(self, count: int, /) -> Array:
            asked.append(count)
            return super().uniforms(count)

    many = from_arrays(np.tile(X, (4, 1)), np.tile(Y, 4), batch=1000)
    steps: list[int] = []
    trainer = trainer_of(Counting())
    counted = many.with_stop(lambda: False, lambda: steps.append(1))
    update = trainer.train(trainer.initial(), counted, PARAMS)
    assert asked == [4 * ROWS] * STEPS
    assert len(steps) == STEPS
    assert update.examples == 4 * ROWS
    assert counted.progress == 1.0
    short = replace(PARAMS, steps_per_epoch=1)
    trainer.train(trainer.initial(), counted, short)
    assert len(steps) == STEPS + 2


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS.keys() - NO_DP_SGD_OPTIMIZERS.keys()))
def test_optimizers_take_noisy_gradients(optimizer: str) -> None:
    """And keep their state for the next round."""
    params = replace(
        PARAMS,
        optimizer=optimizer,
        learning_rate=0.01,
        keep_optimizer_state=True,
        dp_sgd=replace(DP, noise_multiplier=1.0),
    )
    trainer = trainer_of()
    start = trainer.initial()
    first = trainer.train(start, from_arrays(X, Y), params)
    assert any((first.weights[name] != start[name]).any() for name in start)
    trainer.load_optimizer_state(trainer.optimizer_state())
    second = trainer.train(first.weights, from_arrays(X, Y), replace(params, round=2))
    assert all(np.isfinite(array).all() for array in second.weights.values())


@pytest.mark.parametrize("optimizer", sorted(NO_DP_SGD_OPTIMIZERS))
def test_other_optimizers_are_declined(optimizer: str) -> None:
    """Before anything is loaded."""
    trainer = trainer_of()
    with pytest.raises(PrivacyError, match=f"the optimizer {optimizer} c"):
        trainer.train(trainer.initial(), from_arrays(X, Y), replace(PARAMS, optimizer=optimizer))


def rates(params: TrainingParams) -> list[float]:
    """Return the learning rate of each step: the change of a weight by a term of 1."""
    trainer = trainer_of(NoNoise(np.ones(STEPS * ROWS)))
    start = trainer.initial()
    trainer.use_local_terms(
        LocalTerms(linear={name: np.ones_like(array) for name, array in start.items()})
    )
    weights: list[float] = []

    def before_step() -> None:
        weights.append(float(weights_of(trainer._net)["layers.0.bias"][0]))  # noqa: SLF001 - as they are now

    data = from_arrays(X, Y).with_stop(lambda: False, before_step)
    update = trainer.train(start, data, params)
    weights.append(float(update.weights["layers.0.bias"][0]))
    return [round(float(each), 5) for each in -np.diff(weights)]


def test_schedules_count_the_steps_of_dp_sgd() -> None:
    """A scheduler by its epochs of 3 steps, a warm-up by steps, in each round of the job."""
    halved = replace(PARAMS, scheduler=SchedulerParams("steplr", {"step_size": 1, "gamma": 0.5}))
    assert rates(halved) == [0.2] * 3 + [0.1] * 3
    warm = replace(PARAMS, warmup=WarmupParams(epochs=10, iters=12, factor=0.5))
    expected = [RATE * (0.5 + 0.5 * step / 12) for step in range(12)]
    assert np.allclose(rates(warm), expected[:6], atol=1e-5)
    assert np.allclose(rates(replace(warm, round=2)), expected[6:], atol=1e-5)


def test_a_row_is_transformed_on_its_own() -> None:
    """So no transform of a batch mixes examples."""
    sizes: list[int] = []

    def centred(batch: tuple[Array, Array], rng: np.random.Generator) -> tuple[Array, Array]:
        sizes.append(len(batch[0]))
        rng.normal()
        return batch[0] - batch[0].mean(axis=0), batch[1]

    trainer = trainer_of(NoNoise())
    trainer.train(trainer.initial(), from_arrays(X, Y).transformed(centred), PARAMS)
    assert sizes.count(1) == STEPS * ROWS


def test_random_layers_have_other_chance_in_each_training() -> None:
    """Not that of the task's seed: with it, one example that is drawn shifts that of all others."""
    trainer = trainer_of(NoNoise())
    last: torch.nn.Module = trainer._net.layers[1]  # type: ignore[index,assignment]  # noqa: SLF001 - no built-in model has dropout
    last.register_forward_pre_hook(lambda layer, x: dropout(x[0], 0.5, layer.training))
    start = trainer.initial()
    first, second = (trainer.train(start, from_arrays(X, Y), PARAMS) for _ in range(2))
    assert any((first.weights[name] != second.weights[name]).any() for name in start)
    plain = replace(PARAMS, dp_sgd=None)
    first, second = (trainer.train(start, from_arrays(X, Y), plain) for _ in range(2))
    assert all((first.weights[name] == second.weights[name]).all() for name in start)


def test_a_stopped_training_ends_at_its_next_batch() -> None:
    """And leaves no hook on the module."""
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 2

    trainer = trainer_of()
    with pytest.raises(Stopped):
        trainer.train(trainer.initial(), from_arrays(X, Y, batch=4).with_stop(stop), PARAMS)
    assert not any(hasattr(w, "grad_sample") for w in trainer._net.parameters())  # noqa: SLF001 - hooks are hidden
    plain = replace(PARAMS, dp_sgd=None)
    assert "loss" in trainer.train(trainer.initial(), from_arrays(X, Y), plain).metrics


def test_words_are_trained_with_little_noise_as_without() -> None:
    """With all examples in one step and no clipping, DP-SGD is gradient descent."""
    words = np.random.default_rng(2).integers(0, 9, (ROWS, 4))
    params = replace(PARAMS, batch_size=ROWS, dp_sgd=replace(DP, max_grad_norm=1e3))
    private = trainer_of(NoNoise(), BAG)
    found = private.train(private.initial(), from_arrays(words, Y), params).weights
    whole = replace(params, dp_sgd=None)
    plain = trainer_of(None, BAG)
    expected = plain.train(plain.initial(), from_arrays(words, Y), whole).weights
    for name, array in found.items():
        assert np.allclose(array, expected[name], rtol=1e-4, atol=1e-4), name


def test_a_trainer_says_what_it_needs() -> None:
    """The agent asks before it trains."""
    trainer = trainer_of()
    assert isinstance(trainer, UsesDpSgd)
    with pytest.raises(PrivacyError, match="21 examples or more"):
        trainer.check_dp_sgd(PARAMS, LEAST - 1)
    trainer.check_dp_sgd(PARAMS, LEAST)
    few = from_arrays(X[:9], Y[:9])
    with pytest.raises(PrivacyError, match="21 examples or more"):
        trainer.train(trainer.initial(), few, PARAMS)


def test_a_model_learns_in_spite_of_noise() -> None:
    """At an ε that is worth having: 900 examples, 50 steps of a tenth, noise multiplier 1."""
    source = np.random.default_rng(4)
    x = source.normal(size=(900, 6)).astype(np.float32)
    y = np.argmax(x[:, :3], axis=1)
    dp = DpSgdParams(noise_multiplier=1.0, max_grad_norm=1.0, least_examples=900)
    params = replace(PARAMS, batch_size=90, epochs=5, learning_rate=1.0, dp_sgd=dp)
    trainer = trainer_of()
    update = trainer.train(trainer.initial(), from_arrays(x, y), params)
    assert trainer.evaluate(update.weights, from_arrays(x, y), params)["accuracy"] > 0.75
