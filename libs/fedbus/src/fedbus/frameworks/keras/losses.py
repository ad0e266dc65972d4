"""Losses and metrics of Keras by the job file's names, and targets in the form they take."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.training.labels import check_binary_targets, class_targets, single_output_hint

_LOSSES: Final[Mapping[str, str]] = {
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    **dict.fromkeys(("mean_squared_error", "mse"), "MeanSquaredError"),
    **dict.fromkeys(("mean_absolute_error", "mae"), "MeanAbsoluteError"),
    **dict.fromkeys(("mean_absolute_percentage_error", "mape"), "MeanAbsolutePercentageError"),
    **dict.fromkeys(("mean_squared_logarithmic_error", "msle"), "MeanSquaredLogarithmicError"),
    "cosine_similarity": "CosineSimilarity",
    "huber": "Huber",
    "log_cosh": "LogCosh",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
    "kl_divergence": "KLDivergence",
    "poisson": "Poisson",
}
_METRICS: Final[Mapping[str, str]] = {
    "binary_accuracy": "BinaryAccuracy",
    "categorical_accuracy": "CategoricalAccuracy",
    "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
    "auc": "AUC",
    "root_mean_squared_error": "RootMeanSquaredError",
    **{
        name: kind
        for name, kind in _LOSSES.items()
        if "focal" not in name and name not in {"huber", "log_cosh"}
    },
}
_ACCURACIES: Final = frozenset({"accuracy", "binary_accuracy", "categorical_accuracy"})
_COUNTED: Final = frozenset({"precision", "recall", "f1"})
_HINGE_LOSSES: Final = frozenset({"hinge", "squared_hinge"})
_BINARY_LOSSES: Final = _HINGE_LOSSES | {"binary_crossentropy", "binary_focal_crossentropy"}
_YES: Final = 0.5
_TAKES_SCORES: Final = frozenset(name for name in _LOSSES if name.endswith("crossentropy"))
"""Losses with the argument `from_logits`."""
_CLASS_LOSSES: Final = frozenset({
    "categorical_crossentropy", "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_hinge", "kl_divergence",
})  # fmt: skip


def loss_of(name: str, *, probable: bool) -> Any:  # noqa: ANN401 - Keras has no types
    """Create a loss; `probable`: the model's outputs are probabilities, not scores."""
    kind = _LOSSES[
        "categorical_crossentropy" if name == "sparse_categorical_crossentropy" else name
    ]
    more = {"from_logits": not probable} if name in _TAKES_SCORES else {}
    return getattr(keras.losses, kind)(**more)


def is_class_loss(loss: str) -> bool:
    """Return whether a loss is one of classes, with one output for each class."""
    return loss in _CLASS_LOSSES


def metrics_of(names: Sequence[str], loss: str, *, probable: bool, outputs: int = 1) -> list[Any]:
    """Create the metrics that a job names, except `loss`, which Keras measures itself.

    `outputs` is the length of the last axis of the model's outputs: the number of classes.
    """
    return [_metric(n, loss, probable=probable, outputs=outputs) for n in names if n != "loss"]


def _metric(name: str, loss: str, *, probable: bool, outputs: int) -> Any:  # noqa: ANN401 - Keras has no types
    plain = name.removeprefix("sparse_")
    if plain in _ACCURACIES:  # whichever is asked for, it is the one of this loss
        plain = "categorical_accuracy" if is_class_loss(loss) else "binary_accuracy"
    inner = (
        _OverClasses(name, outputs if is_class_loss(loss) else None)
        if plain in _COUNTED
        else getattr(keras.metrics, _METRICS[plain])(name=name)
    )
    scores = not probable and (is_class_loss(loss) or loss in _BINARY_LOSSES)
    return _OfScores(inner, loss) if scores or loss in _HINGE_LOSSES else inner


class _OfScores(keras.Metric):  # type: ignore[misc]  # Keras has no types
    """A metric of probabilities, for a model whose outputs are scores."""

    def __init__(self, inner: Any, loss: str) -> None:  # noqa: ANN401 - Keras has no types
        super().__init__(name=inner.name)
        self.inner = inner
        self._signs = loss in _HINGE_LOSSES
        self._squash = keras.ops.softmax if is_class_loss(loss) else keras.ops.sigmoid

    def update_state(self, target: Any, scores: Any, sample_weight: Any = None) -> None:  # noqa: ANN401 - tensors
        if self._signs:  # -1 or 0 is no, 1 is yes
            target = keras.ops.cast(target > 0, "float32")
        self.inner.update_state(target, self._squash(scores), sample_weight=sample_weight)

    def result(self) -> Any:  # noqa: ANN401 - a tensor
        return self.inner.result()

    def reset_state(self) -> None:
        self.inner.reset_state()


class _OverClasses(keras.Metric):  # type: ignore[misc]  # Keras has no types
    """Precision, recall or F1 of probabilities: the mean over classes, or of the binary class.

    The metrics of Keras treat each class as a binary one.
    """

    def __init__(self, name: str, classes: int | None) -> None:
        super().__init__(name=name)
        self._classes = classes  # None: each output is yes or no
        shape = (3, classes or 1)
        self._counts = self.add_variable(shape, "zeros", dtype="float32", name="counts")

    def update_state(self, target: Any, likely: Any, sample_weight: Any = None) -> None:  # noqa: ANN401, ARG002 - Keras's
        ops = keras.ops
        if self._classes is None:
            predicted = ops.cast(ops.reshape(likely > _YES, (-1, 1)), "float32")
            actual = ops.cast(ops.reshape(target > _YES, (-1, 1)), "float32")
        else:
            best, classes = ops.argmax(likely, axis=-1), ops.argmax(target, axis=-1)
            predicted = ops.one_hot(ops.reshape(best, (-1,)), self._classes)
            actual = ops.one_hot(ops.reshape(classes, (-1,)), self._classes)
        found = [ops.sum(each, axis=0) for each in (predicted * actual, predicted, actual)]
        self._counts.assign(self._counts + ops.stack(found))

    def result(self) -> Any:  # noqa: ANN401 - a tensor
        ops = keras.ops
        correct, predicted, actual = self._counts[0], self._counts[1], self._counts[2]
        by = {"precision": predicted, "recall": actual, "f1": (predicted + actual) / 2}[self.name]
        each = ops.where(by > 0, correct / ops.maximum(by, 0.5), 0.0)
        counted = (
            1.0 if self._classes is None else ops.sum(ops.cast(predicted + actual > 0, "float32"))
        )
        return ops.sum(each) / ops.maximum(counted, 1.0)

    def reset_state(self) -> None:
        self._counts.assign(keras.ops.zeros(self._counts.shape))


def target_of(y: Array, answers: tuple[int | None, ...], loss: str) -> Array:
    """Convert labels to targets: class probabilities, or the shape of the model's outputs.

    Args:
        y: Labels, shape (rows, …).
        answers: The shape of the model's outputs for one row; None is a length that varies.
        loss: The loss's name.

    Returns:
        float32, shape (rows, …).

    Raises:
        TrainingError: The labels do not fit the loss or the outputs.
    """
    if is_class_loss(loss):
        return _shares(y, answers, loss)
    lengths = zip(y.shape[1:], answers, strict=False)
    alike = y.ndim == len(answers) + 1 and all(w in {None, n} for n, w in lengths)
    shape = y.shape if alike else (len(y), *(size or 0 for size in answers))
    if y.dtype.kind not in "biuf" or y.size != np.prod(shape):
        raise TrainingError(f"y is {y.dtype} {y.shape}; the model answers {(len(y), *answers)}")
    if loss in _BINARY_LOSSES - _HINGE_LOSSES:
        check_binary_targets(y, loss)
    return y.astype(np.float32).reshape(shape)


def _shares(y: Array, answers: tuple[int | None, ...], loss: str) -> Array:
    """Return class probabilities, shape (rows, …, classes)."""
    classes = answers[-1] if answers else None
    if classes is None:
        raise TrainingError(f"the model answers {('rows', *answers)}, not (rows, classes)")
    if classes == 1:
        raise TrainingError(single_output_hint(loss))
    found = class_targets(y, (len(y), *_places(y, answers)), classes)
    return found if found.dtype.kind == "f" else np.eye(classes, dtype=np.float32)[found]


def _places(y: Array, answers: tuple[int | None, ...]) -> tuple[int, ...]:
    """Return the shape of the places that have a class; lengths that vary are those of y."""
    wanted = answers[:-1]
    given = y.shape[1 : len(wanted) + 1]
    if len(given) < len(wanted):
        raise TrainingError(
            f"y is {y.dtype} {y.shape}; the model answers {('rows', *answers)}, for which one "
            f"class number at each place is wanted, {('rows', *wanted)}"
        )
    return tuple(n if want is None else want for want, n in zip(wanted, given, strict=True))
