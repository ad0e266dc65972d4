"""Cache of the trainers that were used last.

TFLite and Keras never free all the memory of a model that is dropped (27 KB and 1.4 MB of the
digits model, measured), so an agent in two jobs must not load both models again in every round.
Large models are dropped nevertheless: a small device may not hold two of them.
"""

import gc
from dataclasses import dataclass

from fedbus.plugins import Trainer
from fedbus.wire.documents import ModelSpec

MAX_TRAINERS = 8
MAX_TRAINERS_BYTES = 32 * 2**20
"""Weights of all cached models; a single model may have more."""


@dataclass(frozen=True, slots=True)
class CachedTrainer:
    """A trainer and what it was loaded for.

    Attributes:
        spec: Spec of its model.
        name: Name of its architecture in the spec.
        file: Digest of its `.tflite` file; None for other frameworks.
        size: Bytes of its model's weights.
        trainer: The trainer.
    """

    spec: ModelSpec
    name: str
    file: str | None
    size: int
    trainer: Trainer


class TrainerCache:
    """Trainers in the order of their last use."""

    def __init__(self) -> None:
        self._trainers: list[CachedTrainer] = []

    @property
    def last(self) -> CachedTrainer | None:
        """The trainer that was used last."""
        return self._trainers[-1] if self._trainers else None

    def find(self, spec: ModelSpec, name: str) -> CachedTrainer | None:
        """Return the trainer of a spec's architecture. The same spec may have been read twice."""
        for cached in self._trainers:
            if cached.name == name and (cached.spec is spec or cached.spec == spec):
                self._trainers.remove(cached)
                self._trainers.append(cached)
                return cached
        return None

    def make_room(self, size: int) -> None:
        """Drop the least recently used trainers until one with `size` bytes of weights may follow.

        It is called before that trainer is loaded, so that both never need memory at once.
        """
        dropped = False
        while self._trainers and (
            len(self._trainers) >= MAX_TRAINERS or self._size() + size > MAX_TRAINERS_BYTES
        ):
            self._trainers.pop(0)
            dropped = True
        if dropped:
            gc.collect()  # a Keras model is a reference cycle that holds its weights

    def add(self, cached: CachedTrainer) -> None:
        """Add a trainer as the one used last."""
        self._trainers.append(cached)

    def _size(self) -> int:
        return sum(cached.size for cached in self._trainers)
