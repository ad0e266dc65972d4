"""Losses and metrics by the job file's names, and truths in the form they take."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np

from fedbus.errors import TrainingError
from fedbus.layout import Array
from fedbus.training import check_labels

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
    "precision": "Precision",
    "recall": "Recall",
    "auc": "AUC",
    "root_mean_squared_error": "RootMeanSquaredError",
    **{
        name: kind
        for name, kind in _LOSSES.items()
        if "focal" not in name and name not in {"huber", "log_cosh"}
    },
}
_TAKES_SCORES: Final = frozenset(name for name in _LOSSES if name.endswith("crossentropy"))
"""Losses that can be told whether a model answers with scores or with probabilities."""
_BY_CLASS: Final = frozenset({
    "categorical_crossentropy", "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_hinge", "kl_divergence",
})  # fmt: skip


def loss_of(name: str, *, probable: bool) -> Any:  # noqa: ANN401 - Keras has no types
    """Make a loss; `probable`: the model answers with probabilities already."""
    kind = _LOSSES[
        "categorical_crossentropy" if name == "sparse_categorical_crossentropy" else name
    ]
    more = {"from_logits": not probable} if name in _TAKES_SCORES else {}
    return getattr(keras.losses, kind)(**more)


def by_class(loss: str) -> bool:
    """Tell whether a loss is one of classes, of which a model has one output each."""
    return loss in _BY_CLASS


def metrics_of(names: Sequence[str], loss: str, *, probable: bool) -> list[Any]:
    """Make the metrics a job asks for, by its names; `loss` Keras measures itself."""
    return [_metric(name, loss, probable=probable) for name in names if name != "loss"]


def _metric(name: str, loss: str, *, probable: bool) -> Any:  # noqa: ANN401 - Keras has no types
    plain = name.removeprefix("sparse_")
    if plain == "accuracy":
        plain = "binary_accuracy" if loss.startswith("binary") else "categorical_accuracy"
    if not by_class(loss) and plain == "categorical_accuracy":
        plain = "binary_accuracy"
    inner = getattr(keras.metrics, _METRICS[plain])(name=name)
    scores = not probable and (by_class(loss) or loss.startswith("binary"))
    return _OfScores(inner, loss) if scores else inner


class _OfScores(keras.Metric):  # type: ignore[misc]  # Keras has no types
    """A metric of probabilities, for a model that answers with scores."""

    def __init__(self, inner: Any, loss: str) -> None:  # noqa: ANN401 - Keras has no types
        super().__init__(name=inner.name)
        self.inner = inner
        self._squash = keras.ops.softmax if by_class(loss) else keras.ops.sigmoid

    def update_state(self, truth: Any, scores: Any, sample_weight: Any = None) -> None:  # noqa: ANN401 - tensors
        self.inner.update_state(truth, self._squash(scores), sample_weight=sample_weight)

    def result(self) -> Any:  # noqa: ANN401 - a tensor
        return self.inner.result()

    def reset_state(self) -> None:
        self.inner.reset_state()


def truth_of(y: Array, answers: tuple[int, ...], loss: str) -> Array:
    """Give truths as the losses take them: shares of classes, or what the model's answers are like.

    Args:
        y: (rows, …).
        answers: The shape of what the model answers for one row.
        loss: Its name.

    Raises:
        TrainingError: they do not fit.
    """
    shape = (len(y), *answers)
    if by_class(loss):
        if len(answers) != 1:
            raise TrainingError(f"the model answers {('rows', *answers)}, not (rows, classes)")
        if y.shape == shape and y.dtype.kind == "f":
            return y.astype(np.float32)
        check_labels(y, len(y), answers[0])
        return np.eye(answers[0], dtype=np.float32)[y]
    if y.dtype.kind not in "biuf" or y.size != np.prod(shape):
        raise TrainingError(f"y is {y.dtype} {y.shape}; the model answers {shape}")
    return y.astype(np.float32).reshape(shape)
