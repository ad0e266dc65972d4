"""Metrics of the Keras trainer, held against scikit-learn's: every label shape and activation."""

from typing import Any

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")

from sklearn import metrics

from fedbus.frameworks.keras import KerasTrainer

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 7)).astype(np.float32)
LABELS = RNG.integers(0, 6, 60)  # class 6 is never there, and sometimes named
MANY = RNG.integers(0, 2, (60, 3)).astype(np.float32)


def measured(
    loss: str, names: tuple[str, ...], outputs: Array, y: Array, activation: str = "linear"
) -> dict[str, float]:
    """Score a model that answers its inputs as they are, or squashed, in batches of 16 rows."""
    row, units = list(outputs.shape[1:]), outputs.shape[-1]
    layers = [["Dense", {"units": units, "activation": activation}]]
    trainer = KerasTrainer({"name": "sequential", "config": {"input": row, "layers": layers}})
    same = {"layers.0.weight": np.eye(units, dtype=np.float32)}
    weights = {**same, "layers.0.bias": np.zeros(units, np.float32)}
    data = from_arrays(outputs, y)
    return dict(trainer.evaluate(weights, data, TrainingParams(loss=loss, metrics=names)))


@pytest.mark.parametrize("activation", ["linear", "softmax"])
def test_metrics_of_classes_are_those_of_scikit_learn(activation: str) -> None:
    """Whether the model ends in scores or in a softmax; also by the other names of accuracy."""
    names = (
        "accuracy",
        "binary_accuracy",
        "top_k_categorical_accuracy",
        "precision",
        "recall",
        "f1",
    )
    found = measured("categorical_crossentropy", names, X, LABELS, activation)
    named, mean = X.argmax(axis=1), {"average": "macro", "zero_division": 0}
    right = metrics.accuracy_score(LABELS, named)
    assert found["accuracy"] == found["binary_accuracy"] == pytest.approx(right)
    top = metrics.top_k_accuracy_score(LABELS, X, k=5, labels=range(7))
    assert found["top_k_categorical_accuracy"] == pytest.approx(top)
    assert found["precision"] == pytest.approx(metrics.precision_score(LABELS, named, **mean))
    assert found["recall"] == pytest.approx(metrics.recall_score(LABELS, named, **mean))
    assert found["f1"] == pytest.approx(metrics.f1_score(LABELS, named, **mean))


@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
@pytest.mark.parametrize("y", [MANY, MANY[:, :1], MANY[:, 0]], ids=["labels", "column", "bare"])
def test_metrics_of_yes_or_no_are_those_of_scikit_learn(activation: str, y: Array) -> None:
    """Several labels are right one by one; those of yes are counted over all labels together."""
    scores = X[:, :3] if y.ndim == 2 and y.shape[1] == 3 else X[:, :1]
    truth, named = y.reshape(scores.shape), scores > 0
    names = ("accuracy", "precision", "recall", "f1", "auc")
    found = measured("binary_crossentropy", names, scores, y, activation)
    average: dict[str, Any] = {"average": "micro"} if scores.shape[1] > 1 else {}
    assert found["accuracy"] == pytest.approx((truth == named).mean())
    assert found["precision"] == pytest.approx(metrics.precision_score(truth, named, **average))
    assert found["recall"] == pytest.approx(metrics.recall_score(truth, named, **average))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, named, **average))
    curve = metrics.roc_auc_score(truth.ravel(), scores.ravel())
    assert found["auc"] == pytest.approx(curve, abs=0.01)  # Keras has 200 points of the curve


def test_each_place_of_a_sequence_counts() -> None:
    """One class number at each place."""
    scores, y = RNG.normal(size=(60, 4, 5)).astype(np.float32), RNG.integers(0, 5, (60, 4))
    found = measured("sparse_categorical_crossentropy", ("accuracy", "f1"), scores, y)
    named = scores.argmax(axis=2).ravel()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y.ravel(), named))
    f1 = metrics.f1_score(y.ravel(), named, average="macro")
    assert found["f1"] == pytest.approx(f1)
    with pytest.raises(TrainingError, match=r"one class number at each place is wanted"):
        measured("sparse_categorical_crossentropy", (), scores, y[:, 0])


@pytest.mark.parametrize("no", [0, -1])
def test_a_hinge_is_right_by_the_sign(no: int) -> None:
    """Its scores are above zero for yes, and its truths -1 or 0 for no."""
    y = np.where(MANY[:, :1] > 0, 1, no).astype(np.float32)
    found = measured("hinge", ("accuracy", "recall"), X[:, :1], y)
    assert found["accuracy"] == pytest.approx(((X[:, :1] > 0) == (y > 0)).mean())
    assert found["recall"] == pytest.approx(metrics.recall_score(y > 0, X[:, :1] > 0))


def test_one_output_has_no_classes() -> None:
    """A softmax over it is always 1, and the loss 0: nothing would be learnt, with accuracy 1."""
    with pytest.raises(TrainingError, match="one output, for which categorical_crossentropy is al"):
        measured("categorical_crossentropy", ("accuracy",), X[:, :1], np.zeros(60, np.int64))
