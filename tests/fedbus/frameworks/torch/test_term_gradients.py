"""A strategy's terms in the trainer of PyTorch, compared with a loss that has them written out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.errors import TrainingError
from fedbus.model.layout import Weights
from fedbus.plugins import UsesLocalTerms
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, TrainingParams
from tests.plugin_package import Install

pytest.importorskip("torch")

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy

from fedbus.frameworks.torch import TorchTrainer, called_model, term_gradients
from fedbus.frameworks.torch.architectures import build, embeddings
from fedbus.frameworks.torch.tensors import set_weights, state_of, weights_of
from fedbus.frameworks.torch.term_gradients import TermGradients
from tests.fedbus.frameworks.alike import assert_alike, through_a_file
from tests.fedbus.frameworks.torch.test_optimizers import OPTIMIZERS

NET: Architecture = {"name": "mlp", "config": {"layers": [6, 5, 3], "seed": 2}}
BAG: Architecture = {"name": "bag_of_words", "config": {"words": 9, "width": 4, "classes": 3}}
ROWS, STEPS = 8, 3
CLASSES = np.arange(ROWS) % 3
X = np.random.default_rng(1).normal(size=(ROWS, 6)).astype(np.float32)
WORDS = np.random.default_rng(1).integers(0, 9, (ROWS, 4))

ODD = '''
import torch
from torch import nn


class Odd(nn.Module):
    """A frozen layer, a table with two names, a weight that no output depends on, a mean."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.table.weight
        self.unused = nn.Parameter(torch.ones(2, 3))
        self.wide = nn.Parameter(torch.ones(4, dtype=torch.float64))

    def forward(self, x):
        found = self.norm(torch.relu(self.frozen(self.table(x).mean(dim=1))))
        return self.out((found * self.wide).float())


def odd(config):
    return Odd()
'''


def data(architecture: Architecture) -> Dataset:
    """Return one batch of rows that a model takes."""
    return from_arrays(X if architecture is NET else WORDS, CLASSES, ROWS)


def params(**more: Any) -> TrainingParams:  # noqa: ANN401 - fields of TrainingParams
    """Ask for three epochs of one batch, unless told otherwise."""
    usual = {"batch_size": ROWS, "learning_rate": 0.1, "epochs": STEPS}
    return TrainingParams(**{**usual, **more})


def terms_of(weights: Weights, proximal: float, *, linear: bool = True) -> LocalTerms:
    """Draw terms for all floating-point tensors."""
    rng = np.random.default_rng(3)
    factors = {
        name: rng.normal(0, 0.3, array.shape).astype(array.dtype)
        for name, array in weights.items()
        if array.dtype.kind == "f" and "running" not in name
    }
    return LocalTerms(proximal=proximal, linear=factors if linear else {})


def written_out(
    net: nn.Module,
    made: optim.Optimizer,
    terms: LocalTerms,
    batches: list[tuple[Any, Any]],
) -> Weights:
    """Train with a loss that autograd differentiates with its terms."""
    base = [weight.detach().clone() for weight in net.parameters()]
    factors = state_of(net, {**weights_of(net), **terms.linear}) if terms.linear else {}
    for x, y in batches:
        rows, truth = torch.from_numpy(x), torch.from_numpy(y)

        def closure(rows: Tensor = rows, truth: Tensor = truth) -> Tensor:
            made.zero_grad()
            loss = cross_entropy(net(rows), truth)
            for (name, weight), first in zip(net.named_parameters(), base, strict=True):
                loss = loss + terms.proximal / 2 * torch.sum((weight - first) ** 2)
                if factors:
                    loss = loss + torch.sum(factors[name] * weight)
            torch.autograd.backward(loss)
            if isinstance(made, optim.SparseAdam):
                for weight in net.parameters():
                    if weight.grad is not None and not weight.grad.is_sparse:
                        weight.grad = weight.grad.to_sparse()
            return loss

        made.step(closure)  # type: ignore[arg-type]  # torch's own declaration
    return weights_of(net)


def reference(
    architecture: Architecture,
    kind: Callable[..., Any],
    args: dict[str, Any],
    terms: LocalTerms,
    epochs: int = STEPS,
) -> Weights:
    """Train a net of an architecture so."""
    net = build(architecture)
    for layer in embeddings(net):
        layer.sparse = kind is optim.SparseAdam
    made = kind(net.parameters(), lr=0.1, **args)
    return written_out(net, made, terms, [*data(architecture).steps(params(epochs=epochs))])


@pytest.mark.parametrize(("proximal", "linear"), [(3.0, True), (3.0, False), (0.0, True)])
@pytest.mark.parametrize("architecture", [NET, BAG], ids=["dense", "words"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_steps_as_if_the_terms_were_in_the_loss(
    name: str, architecture: Architecture, proximal: float, linear: bool
) -> None:
    """FedProx, SCAFFOLD and FedDyn: autograd finds the same gradient of a loss with the terms."""
    kind, args = OPTIMIZERS[name]
    if name == "lbfgs" and not proximal:
        return  # a linear term alone has no minimum, and LBFGS takes steps as large as it likes
    trainer = TorchTrainer(architecture)
    assert isinstance(trainer, UsesLocalTerms)
    weights = trainer.initial()
    terms = terms_of(weights, proximal, linear=linear)
    trainer.use_local_terms(terms)
    wanted = params(optimizer=name, optimizer_args=args)
    found = trainer.train(weights, data(architecture), wanted)
    limit = 1e-4 if name == "lbfgs" else 1e-6
    assert_alike(found.weights, reference(architecture, kind, args, terms), limit)
    plain = trainer.train(weights, data(architecture), wanted)
    moved = max(float(np.abs(found.weights[n] - plain.weights[n]).max()) for n in weights)
    assert moved > 10 * limit
    assert_alike(plain.weights, reference(architecture, kind, args, LocalTerms()), limit)


def test_a_line_search_compares_the_loss_with_its_terms() -> None:
    """LBFGS with strong Wolfe conditions calls the closure until the whole objective has fallen."""
    args = {"max_iter": 3, "line_search_fn": "strong_wolfe"}
    trainer = TorchTrainer(NET)
    weights = trainer.initial()
    terms = terms_of(weights, 3.0)
    trainer.use_local_terms(terms)
    wanted = params(optimizer="lbfgs", optimizer_args=args, epochs=1)
    found = trainer.train(weights, data(NET), wanted).weights
    assert_alike(found, reference(NET, optim.LBFGS, args, terms, epochs=1), 1e-4)
    net = build(NET)
    gradients = TermGradients(net, terms)
    gradients.keep_base()
    set_weights(net, found)
    value = sum(
        float((terms.linear[n] * a).sum() + 1.5 * ((a - weights[n]) ** 2).sum())
        for n, a in found.items()
    )
    assert float(gradients.value()) == pytest.approx(value, rel=1e-5)


def test_metrics_are_those_of_the_loss_alone() -> None:
    """So that agents with and without terms report the same measure."""
    trainer = TorchTrainer(NET)
    weights = trainer.initial()
    plain = trainer.train(weights, data(NET), params(epochs=1))
    trainer.use_local_terms(terms_of(weights, 5.0))
    assert trainer.train(weights, data(NET), params(epochs=1)).metrics == plain.metrics


def test_a_failed_training_uses_up_its_terms() -> None:
    """The next task is another one."""
    trainer = TorchTrainer(NET)
    weights = trainer.initial()
    plain = trainer.train(weights, data(NET), params()).weights
    trainer.use_local_terms(terms_of(weights, 0.5))
    with pytest.raises(TrainingError, match="cannot take x"):
        trainer.train(weights, data(BAG), params())
    assert_alike(trainer.train(weights, data(NET), params()).weights, plain, 0)
    trainer.use_local_terms(terms_of(weights, 0.5))
    trainer.use_local_terms(LocalTerms())
    assert_alike(trainer.train(weights, data(NET), params()).weights, plain, 0)


def test_terms_and_a_kept_optimizer_state_go_together() -> None:
    """Three tasks of one step, all with the same linear term."""
    weights = TorchTrainer(NET).initial()
    terms = terms_of(weights, 0.0)
    state = None
    for number in range(1, STEPS + 1):
        trainer = TorchTrainer(NET)
        if state is not None:
            trainer.load_optimizer_state(through_a_file(state))
        trainer.use_local_terms(terms)
        asked = params(epochs=1, optimizer="adam", keep_optimizer_state=True, round=number)
        weights = trainer.train(weights, data(NET), asked).weights
        state = trainer.optimizer_state()
    assert_alike(weights, reference(NET, optim.Adam, {}, terms), 2e-6)


def test_frozen_tied_unused_and_wide_weights(install: Install) -> None:
    """A frozen weight stays, tied ones count once, an unused one follows its terms alone."""
    install("odd", "[fedbus.models]\nodd = odd:odd\n", ODD)
    odd: Architecture = {"name": "odd"}
    trainer = TorchTrainer(odd)
    weights = trainer.initial()
    terms = terms_of(weights, 0.6)
    assert {"frozen.weight", "table.weight", "unused", "wide"} <= terms.linear.keys()
    trainer.use_local_terms(terms)
    found = trainer.train(weights, data(odd), params()).weights
    net = build(odd)
    made = optim.SGD([w for w in net.parameters() if w.requires_grad], lr=0.1)
    own = written_out(net, made, terms, [*data(odd).steps(params())])
    assert_alike(found, own, 1e-6)
    np.testing.assert_array_equal(found["frozen.weight"], weights["frozen.weight"])
    moved = weights["unused"].copy()
    for _ in range(STEPS):
        gradient = terms.linear["unused"] + 0.6 * (moved - weights["unused"])
        moved -= np.float32(0.1) * gradient
    np.testing.assert_allclose(found["unused"], moved, atol=1e-6)


def test_terms_work_under_mixed_precision_and_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the loss is computed in bfloat16; the terms are as exact as the weights."""
    monkeypatch.setattr(called_model, "has_bfloat16", lambda _: True)
    monkeypatch.setattr(term_gradients, "_GROUP_NUMBERS", 20)
    trainer = TorchTrainer(NET)
    weights = trainer.initial()
    terms = terms_of(weights, 0.7)
    trainer.use_local_terms(terms)
    found = trainer.train(weights, data(NET), params(precision="mixed")).weights
    assert_alike(found, reference(NET, optim.SGD, {}, terms), 5e-3)


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        (LocalTerms(proximal=-1.0), "a proximal factor of -1.0; at least 0"),
        (LocalTerms(proximal=float("nan")), "a proximal factor of nan"),
        (LocalTerms(linear={"other": np.zeros(1, np.float32)}), "terms of other, which no"),
        (
            LocalTerms(linear={"layers.0.bias": np.zeros(6, np.float32)}),
            r"'layers.0.bias' is float32 \(6,\); floats of shape \(5,\)",
        ),
        (LocalTerms(linear={"layers.0.bias": np.zeros(5, np.int64)}), "is int64"),
        (
            LocalTerms(linear={"layers.0.bias": np.full(5, np.inf, np.float32)}),
            "'layers.0.bias' has values that are not finite",
        ),
    ],
)
def test_terms_that_do_not_fit_the_model_are_refused(terms: LocalTerms, sentence: str) -> None:
    """Before anything is trained, and nothing of them is used."""
    trainer = TorchTrainer(NET)
    weights = trainer.initial()
    plain = trainer.train(weights, data(NET), params()).weights
    with pytest.raises(TrainingError, match=sentence):
        trainer.use_local_terms(terms)
    assert_alike(trainer.train(weights, data(NET), params()).weights, plain, 0)


def test_statistics_have_no_terms(install: Install) -> None:
    """No gradient changes them."""
    install("odd", "[fedbus.models]\nodd = odd:odd\n", ODD)
    trainer = TorchTrainer({"name": "odd"})
    mean = trainer.initial()["norm.running_mean"]
    with pytest.raises(TrainingError, match=r"terms of norm\.running_mean, which no training"):
        trainer.use_local_terms(LocalTerms(linear={"norm.running_mean": mean}))
