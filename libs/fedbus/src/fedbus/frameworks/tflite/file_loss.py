"""Loss of a `.tflite` file: what it makes of targets, and its metrics.

A file without the output "correct" has the mean squared error. With "correct", targets are class
numbers if `y` is an integer, else one binary class for each output.
"""

from collections.abc import Mapping

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.tflite.batch_metrics import binary_metrics, class_metrics, squared_error
from fedbus.frameworks.tflite.calls import typed_rows
from fedbus.frameworks.tflite.file import Signature
from fedbus.model.layout import Array
from fedbus.text import listed
from fedbus.training.labels import check_binary_targets, class_targets, single_output_hint
from fedbus.training.params import CROSS_ENTROPY, TrainingParams
from fedbus.training.running_metrics import RunningMetrics

_SQUARED = frozenset({"mean_squared_error", "mse"})
_BINARY = frozenset({"binary_crossentropy"})


class FileLoss:
    """The loss that the signatures `train` and `infer` of a file show.

    Attributes:
        by_class: Whether it is the cross-entropy of classes, one for each output.
    """

    def __init__(self, train: Signature, infer: Signature) -> None:
        self._y = train.get_input_details()["y"]
        counts_correct = "correct" in train.get_output_details()
        self.by_class = counts_correct and np.dtype(self._y["dtype"]).kind in "iu"
        self._binary = counts_correct and not self.by_class
        answered = infer.get_output_details()
        self._scores = "probabilities" in answered
        self._classes = int(answered["outputs"]["shape"][-1])

    @property
    def output_activation(self) -> OutputActivation:
        """The last operation of the file's `infer`."""
        if self._scores or not (self.by_class or self._binary):
            return "scores"
        return "softmax" if self.by_class else "sigmoid"

    @property
    def declared(self) -> str:
        """The loss by the name that a job gives it."""
        if self.by_class:
            return "categorical_crossentropy"
        return "binary_crossentropy" if self._binary else "mean_squared_error"

    def check(self, params: TrainingParams) -> None:
        """Raise TrainingError for another loss, and for one that needs more outputs."""
        losses = _BINARY if self._binary else CROSS_ENTROPY if self.by_class else _SQUARED
        if params.loss not in losses:
            raise TrainingError(
                f"this .tflite file has no loss {params.loss!r}; it has {listed(losses)}"
            )
        if self.by_class and self._classes == 1:
            raise TrainingError(single_output_hint(params.loss))

    def target(self, x: Array, y: Array) -> Array:
        """Convert labels to class numbers, class probabilities, or the shape of the outputs.

        Raises:
            TrainingError: The labels do not fit the loss, or the rows `x`.
        """
        if self.by_class:
            return class_targets(y, (len(x),), self._classes)
        if self._binary:
            check_binary_targets(y, "binary_crossentropy")
        rows = y[:, None] if y.shape == (len(x),) and self._classes == 1 else y
        return typed_rows("y", self._y, rows)

    def measure(self, answer: Mapping[str, Array], target: Array) -> dict[str, float]:
        """Return the mean loss of one batch, and its number of correct rows, as keywords."""
        outputs = answer["probabilities" if self._scores else "outputs"]
        if self.by_class:
            return class_metrics(outputs, target)
        return (binary_metrics if self._binary else squared_error)(outputs, target)

    def metrics(self, running: RunningMetrics) -> dict[str, float]:
        """Return the `loss` over all batches, and of classes the `accuracy`, 0 to 1."""
        metrics = running.metrics()
        return metrics if self.by_class or self._binary else {"loss": metrics["loss"]}
