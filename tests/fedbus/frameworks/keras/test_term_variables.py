"""A strategy's terms in the trainer of Keras, compared with a loss that has them written out."""

from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.errors import TrainingError
from fedbus.model.layout import Array, Weights
from fedbus.plugins import UsesLocalTerms
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, TrainingParams

pytest.importorskip("tensorflow")

from fedbus.frameworks.keras import KerasTrainer
from fedbus.frameworks.keras import term_variables as variables
from fedbus.frameworks.keras import trainer as trainers
from fedbus.frameworks.keras.architectures import build
from fedbus.frameworks.keras.tensors import named, weights_of
from tests.fedbus.frameworks.alike import assert_alike, through_a_file
from tests.fedbus.frameworks.keras.test_optimizers import OPTIMIZERS

import keras  # isort: skip - after the package that says which backend it has
import tensorflow as tf  # isort: skip


def net(*layers: list[Any], row: tuple[int, ...] = (6,), **config: Any) -> Architecture:  # noqa: ANN401 - of Keras
    """Configure layers, and a dense one of three classes behind them."""
    all_layers = [*layers, ["Dense", {"units": 3}]]
    config = {"input": list(row), "layers": all_layers, "seed": 2, **config}
    return {"name": "sequential", "config": config}


NET = net(["Dense", {"units": 5, "activation": "relu"}])
WORDY = net(["Embedding", {"input_dim": 9, "output_dim": 4}], ["Flatten", {}], row=(4,))
ROWS, STEPS = 8, 4
CLASSES = np.arange(ROWS) % 3
X = np.random.default_rng(1).normal(size=(ROWS, 6)).astype(np.float32)
WORDS = np.random.default_rng(1).integers(0, 9, (ROWS, 4))


def data(architecture: Architecture = NET) -> Dataset:
    """Return one batch of rows that a model takes."""
    return from_arrays(WORDS if architecture is WORDY else X, CLASSES, ROWS)


def params(**more: Any) -> TrainingParams:  # noqa: ANN401 - fields of TrainingParams
    """Ask for four epochs of one batch, unless told otherwise."""
    return TrainingParams(**{"batch_size": ROWS, "learning_rate": 0.1, "epochs": STEPS, **more})


def terms_of(
    weights: Weights, proximal: float = 3.0, *, linear: bool = True, seed: int = 3
) -> LocalTerms:
    """Draw terms for all tensors that are trained."""
    rng = np.random.default_rng(seed)
    factors: dict[str, Array] = {
        name: rng.normal(0, 0.3, array.shape).astype(np.float32)
        for name, array in weights.items()
        if "moving" not in name
    }
    return LocalTerms(proximal=proximal, linear=factors if linear else {})


def reference(
    architecture: Architecture,
    kind: Any,  # noqa: ANN401 - an optimizer of Keras
    args: dict[str, Any],
    terms: LocalTerms,
    epochs: int = STEPS,
) -> Weights:
    """Train with a loss that TensorFlow's tape differentiates with its terms."""
    model = build(architecture)
    made = kind(learning_rate=0.1, **args)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    names = {id(variable): name for name, variable in named(model).items()}
    base = {id(v): tf.constant(np.array(v)) for v in model.trainable_variables}
    for x, y in data(architecture).steps(params(epochs=epochs)):
        with tf.GradientTape() as tape:
            found = loss(np.eye(3, dtype=np.float32)[y], model(x, training=True))
            for v in model.trainable_variables:
                found += terms.proximal / 2 * tf.reduce_sum((v - base[id(v)]) ** 2)
                if (factor := terms.linear.get(names[id(v)])) is not None:
                    found += tf.reduce_sum(tf.multiply(v, factor))
        made.apply(tape.gradient(found, model.trainable_variables), model.trainable_variables)
    return weights_of(model)


@pytest.mark.parametrize(
    ("name", "proximal", "linear"),
    [*((name, 3.0, True) for name in OPTIMIZERS), ("adam", 3.0, False), ("sgd", 0.0, True)],
)
def test_an_optimizer_steps_as_if_the_terms_were_in_the_loss(
    name: str, proximal: float, linear: bool
) -> None:
    """FedProx, SCAFFOLD and FedDyn; the training after it has no terms."""
    kind, args = OPTIMIZERS[name]
    trainer = KerasTrainer(NET)
    assert isinstance(trainer, UsesLocalTerms)
    weights = trainer.initial()
    terms = terms_of(weights, proximal, linear=linear)
    trainer.use_local_terms(terms)
    wanted = params(optimizer=name, optimizer_args=args)
    found = trainer.train(weights, data(), wanted).weights
    assert_alike(found, reference(NET, kind, args, terms), 2e-6)
    plain = trainer.train(weights, data(), wanted).weights
    assert_alike(plain, reference(NET, kind, args, LocalTerms()), 2e-6)
    assert max(float(np.abs(found[n] - plain[n]).max()) for n in weights) > 2e-5


@pytest.mark.parametrize(
    "args",
    [
        {"clipnorm": 0.2},
        {"global_clipnorm": 0.2},
        {"clipvalue": 0.05},
        {"weight_decay": 0.01},
        {"jit_compile": True},
    ],
    ids=lambda args: next(iter(args)),
)
def test_terms_join_the_gradient_before_the_optimizer_does_anything(args: dict[str, Any]) -> None:
    """Before it clips them."""
    trainer = KerasTrainer(NET)
    weights = trainer.initial()
    terms = terms_of(weights)
    trainer.use_local_terms(terms)
    found = trainer.train(weights, data(), params(optimizer_args=args)).weights
    kept = {name: value for name, value in args.items() if name != "jit_compile"}
    assert_alike(found, reference(NET, keras.optimizers.SGD, kept, terms), 2e-6)


def test_words_and_normalised_rows() -> None:
    """The gradient of an embedding is sparse before the terms are added."""
    normed = net(["Dense", {"units": 5}], ["BatchNormalization", {}])
    for architecture in (WORDY, normed):
        trainer = KerasTrainer(architecture)
        weights = trainer.initial()
        terms = terms_of(weights, 1.0)
        trainer.use_local_terms(terms)
        wanted = params(optimizer="adam")
        found = trainer.train(weights, data(architecture), wanted).weights
        own = reference(architecture, keras.optimizers.Adam, {}, terms)
        assert_alike(found, own, 1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64", "bfloat16"])
def test_every_dtype_of_a_model(policy: str) -> None:
    """Mixed precision with its scaled loss: terms are not scaled, and are as exact as weights."""
    architecture = net(["Dense", {"units": 5, "activation": "relu"}], dtype=policy)
    trainer = KerasTrainer(architecture)
    weights = trainer.initial()
    terms = terms_of(weights)
    trainer.use_local_terms(terms)
    found = trainer.train(weights, data(), params(precision="full")).weights
    own = reference(NET, keras.optimizers.SGD, {}, terms)
    limit = {"float64": 1e-6, "bfloat16": 5e-2}.get(policy, 5e-3)
    assert_alike({n: a.astype(np.float32) for n, a in found.items()}, own, limit)


def test_a_step_is_compiled_once_for_the_terms_of_all_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tracing takes seconds; terms that change are variables."""
    traced: list[int] = []
    add = variables.TermVariables.add

    def counted(self: Any, *args: Any) -> Any:  # noqa: ANN401 - as in TermVariables
        traced.append(1)
        return add(self, *args)

    monkeypatch.setattr(variables.TermVariables, "add", counted)
    trainer = KerasTrainer(NET)
    weights = trainer.initial()
    for number in range(3):
        terms = terms_of(weights, 1.0 + number, seed=number)
        trainer.use_local_terms(terms)
        found = trainer.train(weights, data(), params()).weights
        assert_alike(found, reference(NET, keras.optimizers.SGD, {}, terms), 2e-6)
    assert len(traced) == 1


def test_metrics_are_those_of_the_loss_alone() -> None:
    """So that agents with and without terms report the same measure."""
    trainer = KerasTrainer(NET)
    weights = trainer.initial()
    plain = trainer.train(weights, data(), params(epochs=1))
    trainer.use_local_terms(terms_of(weights, 5.0))
    assert trainer.train(weights, data(), params(epochs=1)).metrics == pytest.approx(plain.metrics)


def test_terms_and_a_kept_optimizer_state_go_together() -> None:
    """Tasks of one step, by two trainers in turns, all with the same linear term."""
    both = [KerasTrainer(NET), KerasTrainer(NET)]
    weights = both[0].initial()
    terms = terms_of(weights, 0.0)
    state = None
    for number in range(STEPS):
        trainer = both[number % 2]
        if state is not None:
            trainer.load_optimizer_state(through_a_file(state))
        trainer.use_local_terms(terms)
        asked = params(epochs=1, optimizer="adam", keep_optimizer_state=True, round=number + 1)
        weights = trainer.train(weights, data(), asked).weights
        state = trainer.optimizer_state()
    assert_alike(weights, _adam_by_steps(terms), 2e-6)


def _adam_by_steps(terms: LocalTerms) -> Weights:
    """Train with rows in the order of tasks of one epoch."""
    model = build(NET)
    made = keras.optimizers.Adam(learning_rate=0.1)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    names = {id(variable): name for name, variable in named(model).items()}
    for x, y in [*data().steps(params(epochs=1))] * STEPS:
        with tf.GradientTape() as tape:
            found = loss(np.eye(3, dtype=np.float32)[y], model(x, training=True))
            for v in model.trainable_variables:
                found += tf.reduce_sum(tf.multiply(v, terms.linear[names[id(v)]]))
        made.apply(tape.gradient(found, model.trainable_variables), model.trainable_variables)
    return weights_of(model)


def test_mixed_precision_that_a_job_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is built again; terms go to the new one."""
    trainer = KerasTrainer(NET)
    weights = trainer.initial()
    terms = terms_of(weights)
    trainer.use_local_terms(terms)
    trainer.train(weights, data(), params())
    monkeypatch.setattr(trainers, "has_bfloat16", lambda: True)
    trainer.use_local_terms(terms)
    found = trainer.train(weights, data(), params(precision="mixed")).weights
    assert_alike(found, reference(NET, keras.optimizers.SGD, {}, terms), 5e-3)


def test_terms_that_do_not_fit_are_refused_and_a_failure_uses_them_up() -> None:
    """Nothing of them is used later."""
    trainer = KerasTrainer(NET)
    weights = trainer.initial()
    plain = trainer.train(weights, data(), params()).weights
    with pytest.raises(TrainingError, match=r"linear terms of layers\.7, which no training"):
        trainer.use_local_terms(LocalTerms(linear={"layers.7": np.zeros(1, np.float32)}))
    trainer.use_local_terms(terms_of(weights))
    with pytest.raises(TrainingError, match="x is"):
        trainer.train(weights, data(WORDY), params())
    assert_alike(trainer.train(weights, data(), params()).weights, plain, 1e-7)
