"""A strategy's terms: PyTorch, Keras and TFLite take the steps that a few lines of numpy take."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.errors import TrainingError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.frameworks.tflite.signatures import (
    SignatureFacts,
    TensorFacts,
    TfliteFacts,
    check_trainable,
)
from fedbus.frameworks.tflite.trial import try_file
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Array, Layout, Weights
from fedbus.plugins import UsesLocalTerms
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams
from tests.fedbus.frameworks.alike import assert_alike, through_a_file

pytest.importorskip("torch")
pytest.importorskip("tensorflow")
pytest.importorskip("tflite_runtime")

from fedbus.frameworks.keras import KerasTrainer
from fedbus.frameworks.keras.architectures import build
from fedbus.frameworks.keras.tflite_export import export
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.frameworks.torch import TorchTrainer

WIDE, HIDDEN, CLASSES, ROWS = 6, 5, 3, 24
KERAS: dict[str, Any] = {
    "name": "sequential",
    "config": {
        "input": [WIDE],
        "layers": [
            ["Dense", {"units": HIDDEN, "activation": "relu"}],
            ["Dense", {"units": CLASSES}],
        ],
        "seed": 2,
    },
}
TORCH: dict[str, Any] = {"name": "mlp", "config": {"layers": [WIDE, HIDDEN, CLASSES], "seed": 2}}
PARAMS = TrainingParams(batch_size=8, epochs=2, learning_rate=0.1)
TERMS = [(0.8, True), (0.8, False), (0.0, True)]


@cache
def file_with(*, terms: bool) -> bytes:
    """Export the network, once for all tests."""
    return export(build(KERAS), local_terms=terms)


X = np.random.default_rng(4).normal(size=(ROWS, WIDE)).astype(np.float32)
Y = np.arange(ROWS) % CLASSES


def data() -> Dataset:
    """Return three batches of rows."""
    return from_arrays(X, Y)


def trainers() -> dict[str, TorchTrainer | KerasTrainer | TfliteTrainer]:
    """Make one trainer for each framework."""
    return {
        "torch": TorchTrainer(TORCH),
        "keras": KerasTrainer(KERAS),
        "tflite": TfliteTrainer({"blob": file_with(terms=True)}),
    }


def terms_of(weights: Weights, proximal: float, *, linear: bool) -> LocalTerms:
    """Draw terms for all tensors but one, which has the proximal term only."""
    rng = np.random.default_rng(3)
    factors = {
        name: rng.normal(0, 0.3, array.shape).astype(np.float32)
        for name, array in weights.items()
        if name != "layers.1.bias"
    }
    return LocalTerms(proximal=proximal, linear=factors if linear else {})


def by_hand(weights: Weights, terms: LocalTerms, params: TrainingParams) -> dict[str, Array]:
    """Train a network of two dense layers by SGD in float64, its gradients written out."""
    names = ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
    w = {name: weights[name].astype(np.float64) for name in names}
    velocity = {name: np.zeros_like(array) for name, array in w.items()}
    base = {name: array.copy() for name, array in w.items()}
    for x, y in data().steps(params):
        hidden = x @ w[names[0]] + w[names[1]]
        active = np.maximum(hidden, 0)
        scores = active @ w[names[2]] + w[names[3]]
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (odds / odds.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]) / len(x)
        back = (error @ w[names[2]].T) * (hidden > 0)
        gradients = (x.T @ back, back.sum(axis=0), active.T @ error, error.sum(axis=0))
        for name, gradient in zip(names, gradients, strict=True):
            total = gradient + terms.linear.get(name, 0) + terms.proximal * (w[name] - base[name])
            velocity[name] = params.number("momentum", 0.0) * velocity[name] + total
            w[name] = w[name] - params.learning_rate * velocity[name]
    return w


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("proximal", "linear"), TERMS)
def test_every_framework_takes_the_steps_of_numpy(
    proximal: float, linear: bool, momentum: float
) -> None:
    """Six steps of SGD, to 1e-5: a mixed fleet trains one objective."""
    params = replace(PARAMS, optimizer_args={"momentum": momentum})
    weights = TorchTrainer(TORCH).initial()
    terms = terms_of(weights, proximal, linear=linear)
    wanted = by_hand(weights, terms, params)
    plain = by_hand(weights, LocalTerms(), params)
    assert max(float(np.abs(wanted[n] - plain[n]).max()) for n in wanted) > 1e-2
    for trainer in trainers().values():
        assert isinstance(trainer, UsesLocalTerms)
        trainer.use_local_terms(terms)
        assert_alike(trainer.train(weights, data(), params).weights, wanted, 1e-5)
        assert_alike(trainer.train(weights, data(), params).weights, plain, 1e-5)


def test_tflite_takes_the_adam_steps_of_keras_and_keeps_its_state() -> None:
    """In two tasks, the second one with the optimizer state of the first."""
    keras, tflite = KerasTrainer(KERAS), TfliteTrainer({"blob": file_with(terms=True)})
    weights = keras.initial()
    terms = terms_of(weights, 0.8, linear=True)
    params = replace(PARAMS, optimizer="adam", keep_optimizer_state=True)
    found = {}
    for trainer in (keras, tflite):
        trainer.use_local_terms(terms)
        first = trainer.train(weights, data(), params)
        state = through_a_file(trainer.optimizer_state())
        trainer.load_optimizer_state(state)
        trainer.use_local_terms(terms)
        found[trainer] = trainer.train(first.weights, data(), params)
    assert_alike(found[keras].weights, found[tflite].weights, 2e-5)


def test_a_file_without_terms_says_how_to_get_them() -> None:
    """Files of earlier exports train as before; the agent declines a task with terms."""
    trainer = TfliteTrainer({"blob": file_with(terms=False)})
    weights = trainer.initial()
    with pytest.raises(TrainingError, match="not exported for a strategy's terms; export it again"):
        trainer.use_local_terms(terms_of(weights, 0.8, linear=False))
    trainer.use_local_terms(LocalTerms())
    plain = by_hand(weights, LocalTerms(), PARAMS)
    assert_alike(trainer.train(weights, data(), PARAMS).weights, plain, 1e-5)


def test_terms_that_do_not_fit_the_file_are_refused() -> None:
    """Before its native code sees an array."""
    trainer = TfliteTrainer({"blob": file_with(terms=True)})
    wrong = LocalTerms(linear={"layers.0.bias": np.zeros(WIDE, np.float32)})
    with pytest.raises(TrainingError, match=r"'layers\.0\.bias' is float32 \(6,\)"):
        trainer.use_local_terms(wrong)


DEVICE = """
import sys
import numpy as np
from fedbus.data import from_arrays
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import TrainingParams
file, terms, out = sys.argv[1:]
with np.load(terms) as found:
    linear = {name[1:]: found[name] for name in found.files if name[0] == "/"}
    x, y = found["x"], found["y"]
trainer = TfliteTrainer({"blob": open(file, "rb").read()})
trainer.use_local_terms(LocalTerms(proximal=0.8, linear=linear))
params = TrainingParams(batch_size=8, epochs=2, learning_rate=0.1)
update = trainer.train(trainer.initial(), from_arrays(x, y), params)
assert "tensorflow" not in sys.modules
np.savez(out, **update.weights)
"""


def test_tflite_runtime_alone_trains_with_terms(tmp_path: Path) -> None:
    """A board has no TensorFlow. The file passes its trial there, and is admitted."""
    file, terms_file, out = tmp_path / "m.tflite", tmp_path / "terms.npz", tmp_path / "out.npz"
    file.write_bytes(file_with(terms=True))
    weights = TorchTrainer(TORCH).initial()
    terms = terms_of(weights, 0.8, linear=True)
    named = {f"/{name}": array for name, array in terms.linear.items()}
    np.savez(terms_file, x=X, y=Y, **named)
    command = [sys.executable, "-c", DEVICE, str(file), str(terms_file), str(out)]
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    with np.load(out) as found:
        assert_alike(dict(found), by_hand(weights, terms, PARAMS), 1e-5)
    layout = Layout.of(weights)
    assert Admission(tried={}).admit(file.read_bytes(), layout)


def test_the_trial_runs_the_signatures_of_terms() -> None:
    """On zeros, like all others."""
    facts = verify(file_with(terms=True))
    assert {"set_terms", "train_terms", "train_adam_terms"} <= facts.signatures.keys()
    try_file(file_with(terms=True), facts)


def test_terms_of_a_file_cost_what_the_documents_say() -> None:
    """Two more training steps: some tens of kilobytes, which is why a push asks for them."""
    with_terms, plain = len(file_with(terms=True)), len(file_with(terms=False))
    assert 10_000 < with_terms - plain < 60_000


def signature(inputs: dict[str, TensorFacts], *outputs: str) -> SignatureFacts:
    """Describe a signature with float outputs."""
    return SignatureFacts(inputs, {name: TensorFacts((), "float32") for name in outputs})


NUMBER, WEIGHT = TensorFacts((), "float32"), {"w": TensorFacts((2,), "float32")}
TRAIN = {"x": NUMBER, "y": NUMBER, "learning_rate": NUMBER}
SIGNATURES = {
    "train": signature(TRAIN, "loss"),
    "infer": signature({"x": NUMBER}, "outputs"),
    "get_weights": SignatureFacts({}, WEIGHT),
    "set_weights": SignatureFacts(WEIGHT, {}),
    "set_terms": SignatureFacts(WEIGHT, {}),
    "train_terms": signature({**TRAIN, "proximal": NUMBER}, "loss"),
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"set_terms": None}, "has the signatures train_terms .* need set_terms, train_terms"),
        ({"train_terms": None}, "has the signatures set_terms .* need set_terms, train_terms"),
        ({"train_adam": SIGNATURES["train"]}, "need set_terms, train_adam_terms, train_terms"),
        ({"train_adam_terms": SIGNATURES["train"]}, "need set_terms, train_terms"),
        ({"set_terms": SignatureFacts({"w": NUMBER}, {})}, "get_weights and set_terms differ in w"),
        ({"set_terms": SignatureFacts({}, {})}, "get_weights and set_terms differ in w"),
        ({"train_terms": SIGNATURES["train"]}, "'train_terms' has other inputs or outputs than"),
        (
            {"train_terms": signature({**TRAIN, "proximal": WEIGHT["w"]}, "loss")},
            "and the input proximal, a float32",
        ),
        (
            {"train_terms": signature({**TRAIN, "proximal": NUMBER}, "loss", "correct")},
            "'train_terms' has other inputs or outputs than 'train'",
        ),
    ],
)
def test_signatures_of_terms_that_do_not_fit_the_others_are_refused(
    changed: dict[str, SignatureFacts | None], sentence: str
) -> None:
    """When the model is pushed, and when an agent gets the file."""
    check_trainable(TfliteFacts(SIGNATURES, (), 0))
    both = {**SIGNATURES, **changed}
    found = {name: facts for name, facts in both.items() if facts is not None}
    with pytest.raises(TrainingError, match=sentence):
        check_trainable(TfliteFacts(found, (), 0))
