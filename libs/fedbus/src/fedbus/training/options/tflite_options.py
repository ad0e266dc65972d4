"""Options of TFLite: the most that a training step of a `.tflite` file can be exported with."""

from collections.abc import Mapping
from typing import Final

from fedbus.training.options.domains import DECAY, FRACTION, POSITIVE, ArgumentDomains

OPTIMIZERS: Final[Mapping[str, ArgumentDomains]] = {
    "sgd": {"momentum": FRACTION},
    "adam": {"beta_1": DECAY, "beta_2": DECAY, "epsilon": POSITIVE},
}
SCHEDULERS: Final[Mapping[str, ArgumentDomains]] = {}
LOSSES: Final = frozenset({
    "categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy",
    "binary_crossentropy",
    "mean_squared_error", "mse",
})  # fmt: skip
METRICS: Final = frozenset({"loss", "accuracy"})
