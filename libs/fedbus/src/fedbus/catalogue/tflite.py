"""What the training step of a `.tflite` file takes: what it was exported with, at the most this."""

from collections.abc import Mapping
from typing import Final

from fedbus.catalogue.argument import SHARE, Takes

OPTIMIZERS: Final[Mapping[str, Takes]] = {"sgd": {"momentum": SHARE}}
SCHEDULERS: Final[Mapping[str, Takes]] = {}
LOSSES: Final = frozenset(
    {"categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy"}
)
METRICS: Final = frozenset({"loss", "accuracy"})
