"""The trainers of the models that were worked on last, ready for their next task.

TFLite and Keras never give back all the memory of a model that is dropped (27 KB and 1.4 MB of the
digits, measured), so an agent in two jobs must not make both models anew in every round. Large
models are dropped all the same: two at once may be more than a small device holds.
"""

import gc
from dataclasses import dataclass

from fedbus.plugins import Trainer
from fedbus.wire.documents import ModelSpec

MAX_TRAINERS = 8
MAX_TRAINERS_BYTES = 32 * 2**20
"""Of weights, of all models that are ready. One alone may have more."""


@dataclass(frozen=True, slots=True)
class CachedTrainer:
    """A trainer: of which spec and architecture, with weights of how many bytes.

    Attributes:
        file: The digest of its `.tflite` file, if it has one.
    """

    spec: ModelSpec
    name: str
    file: str | None
    size: int
    trainer: Trainer


class TrainerCache:
    """Trainers, the one that was used last at the end."""

    def __init__(self) -> None:
        self._trainers: list[CachedTrainer] = []

    @property
    def last(self) -> CachedTrainer | None:
        """The one that was used last."""
        return self._trainers[-1] if self._trainers else None

    def find(self, spec: ModelSpec, name: str) -> CachedTrainer | None:
        """Find the trainer of a spec's architecture. The same spec may have been read twice."""
        for made in self._trainers:
            if made.name == name and (made.spec is spec or made.spec == spec):
                self._trainers.remove(made)
                self._trainers.append(made)
                return made
        return None

    def make_room(self, size: int) -> None:
        """Drop the oldest until another with so many bytes of weights may be made."""
        dropped = False
        while self._trainers and (
            len(self._trainers) >= MAX_TRAINERS or self._size() + size > MAX_TRAINERS_BYTES
        ):
            self._trainers.pop(0)
            dropped = True
        if dropped:
            gc.collect()  # a Keras model is a circle of objects, with its weights

    def keep(self, made: CachedTrainer) -> None:
        """Have it ready for its next task."""
        self._trainers.append(made)

    def _size(self) -> int:
        return sum(made.size for made in self._trainers)
