"""Losses and metrics of the torch trainer, held against scikit-learn's and PyTorch's own."""

import numpy as np
import pytest

from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.training.options import FRAMEWORKS

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from sklearn import metrics
from torch import nn

from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.torch.losses import LOSSES, aligned
from fedbus.frameworks.torch.metrics import MetricSums

RNG = np.random.default_rng(3)
SCORES = RNG.normal(size=(60, 7)).astype(np.float32)
LABELS = RNG.integers(0, 6, 60)  # class 6 is never there, and sometimes named
NUMBERS = RNG.normal(size=(60, 2)).astype(np.float32)
TRUTHS = RNG.normal(size=(60, 2)).astype(np.float32)


def measured(
    loss: str,
    names: tuple[str, ...],
    outputs: Array,
    y: Array,
    activation: OutputActivation = "scores",
) -> dict[str, float]:
    """Measure in three batches of different sizes, the last two of them counted elsewhere first."""
    whole = MetricSums(loss, names)
    for begin, end in ((0, 10), (10, 45), (45, 60)):
        part = MetricSums(loss, names)
        given = torch.from_numpy(outputs[begin:end])
        answers, truth = aligned(given, y[begin:end], loss, activation)
        to = whole if begin == 0 else part
        to.add(float(LOSSES[loss](answers, truth)), answers, truth, end - begin)
        if to is part:
            assert part.running.examples
            whole.include(part)
    return whole.metrics()


def test_what_the_catalogue_names_is_here() -> None:
    """All of it."""
    assert set(LOSSES) == FRAMEWORKS["torch"].losses


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    """Means over all rows, and over the classes that were there or were named."""
    names = ("accuracy", "top_k_categorical_accuracy", "precision", "recall", "f1")
    found = measured("categorical_crossentropy", names, SCORES, LABELS)
    named = SCORES.argmax(axis=1)
    mean = {"average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(LABELS, named))
    top = metrics.top_k_accuracy_score(LABELS, SCORES, k=5, labels=range(7))
    assert found["top_k_categorical_accuracy"] == pytest.approx(top)
    assert found["precision"] == pytest.approx(metrics.precision_score(LABELS, named, **mean))
    assert found["recall"] == pytest.approx(metrics.recall_score(LABELS, named, **mean))
    f1 = metrics.f1_score(LABELS, named, **mean)
    assert found["f1"] == pytest.approx(f1)
    own = nn.CrossEntropyLoss()(torch.from_numpy(SCORES), torch.from_numpy(LABELS))
    assert found["loss"] == pytest.approx(float(own), rel=1e-5)


def test_shares_of_classes_are_truths_too() -> None:
    """As one-hot rows, or softer."""
    shares = np.eye(7, dtype=np.float32)[LABELS]
    names = ("accuracy", "rmse")
    hard = measured("categorical_crossentropy", names, SCORES, LABELS)
    soft = measured("categorical_crossentropy", names, SCORES, shares)
    assert soft == pytest.approx(hard, rel=1e-5)
    likely = torch.from_numpy(SCORES).softmax(1).numpy()
    assert hard["rmse"] == pytest.approx(metrics.root_mean_squared_error(shares, likely), rel=0.05)
    kl = measured("kl_divergence", (), SCORES, LABELS)["loss"]
    own = nn.CrossEntropyLoss()(torch.from_numpy(SCORES), torch.from_numpy(LABELS))
    assert kl == pytest.approx(float(own), rel=1e-5)  # of one-hot truths they are the same


def test_metrics_of_quantities_are_those_of_scikit_learn() -> None:
    """A root is taken of the whole mean, not of each batch's."""
    found = measured("mse", ("rmse", "mae", "loss"), NUMBERS, TRUTHS)
    squared = metrics.mean_squared_error(TRUTHS, NUMBERS)
    assert found["loss"] == pytest.approx(squared, rel=1e-5)
    assert found["rmse"] == pytest.approx(squared**0.5, rel=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(TRUTHS, NUMBERS), rel=1e-5)
    assert set(found) == {"loss", "rmse", "mae"}


@pytest.mark.parametrize("loss", ["l1", "huber", "smooth_l1", "poisson", "mae"])
def test_losses_of_quantities_are_pytorchs(loss: str) -> None:
    """Each by its name."""
    answers, y = np.abs(NUMBERS) + 0.1, np.abs(TRUTHS)
    own = {
        "l1": nn.L1Loss(),
        "mae": nn.L1Loss(),
        "huber": nn.HuberLoss(),
        "smooth_l1": nn.SmoothL1Loss(),
        "poisson": nn.PoissonNLLLoss(log_input=False),
    }[loss]
    expected = float(own(torch.from_numpy(answers), torch.from_numpy(y)))
    assert measured(loss, (), answers, y)["loss"] == pytest.approx(expected, rel=1e-5)


def test_two_classes_may_have_one_score() -> None:
    """Above zero it names the second."""
    score, y = SCORES[:, :1], LABELS % 2
    names = ("binary_accuracy", "recall")
    found = measured("binary_crossentropy", names, score, y)
    named = (score[:, 0] > 0).astype(int)
    assert found["binary_accuracy"] == pytest.approx(metrics.accuracy_score(y, named))
    assert found["recall"] == pytest.approx(metrics.recall_score(y, named))
    own = nn.BCEWithLogitsLoss()(torch.from_numpy(score[:, 0]), torch.from_numpy(y).float())
    assert found["loss"] == pytest.approx(float(own), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "sentence"),
    [
        ("mse", NUMBERS, TRUTHS[:, :1], r"y is float32 \(60, 1\); the model answers \(60, 2\)"),
        ("mse", NUMBERS, np.array([["a", "b"]] * 60), "y is <U1"),
        ("cross_entropy", SCORES.reshape(60, 1, 7), LABELS, r"wanted are class numbers, \(60, 1\)"),
        ("cross_entropy", SCORES[:, :1], LABELS, "one output, for which cross_entropy is always 0"),
        ("cross_entropy", SCORES, LABELS + 5, "y holds 5 to 10"),
    ],
)
def test_truths_that_do_not_fit_are_refused(
    loss: str, outputs: Array, y: Array, sentence: str
) -> None:
    """With both shapes."""
    with pytest.raises(TrainingError, match=sentence):
        aligned(torch.from_numpy(outputs), y, loss, "scores")


def test_no_class_is_right_where_a_model_answers_none() -> None:
    """Quantities have no accuracy."""
    with pytest.raises(TrainingError, match="no classes to be right on"):
        measured("mse", ("accuracy",), NUMBERS[:, 0], TRUTHS[:, 0])


def test_several_labels_are_right_one_by_one() -> None:
    """Three of four right is 0.75, whatever the row; scikit-learn counts yes over all labels."""
    scores, y = SCORES[:, :3], RNG.integers(0, 2, (60, 3)).astype(np.float32)
    names = ("accuracy", "precision", "recall", "f1")
    found = measured("binary_crossentropy", names, scores, y)
    named = scores > 0
    assert found["accuracy"] == pytest.approx(1 - metrics.hamming_loss(y, named))
    assert found["precision"] == pytest.approx(metrics.precision_score(y, named, average="micro"))
    assert found["recall"] == pytest.approx(metrics.recall_score(y, named, average="micro"))
    assert found["f1"] == pytest.approx(metrics.f1_score(y, named, average="micro"))


@pytest.mark.parametrize("pictures", [False, True], ids=["last", "second"])
def test_each_place_of_a_sequence_counts(pictures: bool) -> None:
    """Classes are the last dimension of a sequence, the second of torch's pictures."""
    scores = RNG.normal(size=(60, 4, 5)).astype(np.float32)
    y = RNG.integers(0, 5, (60, 4))
    outputs = np.moveaxis(scores, 2, 1).copy() if pictures else scores
    found = measured("cross_entropy", ("accuracy", "f1"), outputs, y)
    named = scores.argmax(axis=2).ravel()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y.ravel(), named))
    assert found["f1"] == pytest.approx(metrics.f1_score(y.ravel(), named, average="macro"))
    own = nn.CrossEntropyLoss()(torch.from_numpy(scores).movedim(2, 1), torch.from_numpy(y))
    assert found["loss"] == pytest.approx(float(own), rel=1e-5)


def test_probabilities_are_judged_as_the_scores_that_have_them() -> None:
    """A net that ends in softmax or sigmoid itself gets no second one: losses and metrics agree."""
    softmax = torch.from_numpy(SCORES).softmax(1).numpy()
    names = ("accuracy", "f1", "mae")
    plain = measured("cross_entropy", names, SCORES, LABELS)
    assert measured("cross_entropy", names, softmax, LABELS, "softmax") == pytest.approx(
        plain, rel=1e-4
    )
    sigmoid, y = torch.from_numpy(SCORES[:, :2]).sigmoid().numpy(), LABELS[:, None] > [1, 3]
    plain = measured("binary_crossentropy", names, SCORES[:, :2], y)
    assert measured("binary_crossentropy", names, sigmoid, y, "sigmoid") == pytest.approx(
        plain, rel=1e-4
    )
