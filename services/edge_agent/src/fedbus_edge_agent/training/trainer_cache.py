"""Cache of the trainers that were used last.

TFLite and Keras never free all the memory of a model that is dropped (27 KB and 1.4 MB of the
digits model, measured), so an agent in two jobs must not load both models again in every round.
Large models are dropped nevertheless: a small device may not hold two of them.
"""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.plugins import Trainer
from fedbus.wire.documents import ModelSpec
from fedbus_edge_agent.training.task_runner import Model
from fedbus_edge_agent.training.trainers import Trainers

MAX_TRAINERS = 8
MAX_TRAINERS_BYTES = 32 * 2**20
"""Weights of all cached models; a single model may have more."""


@dataclass(frozen=True, slots=True)
class CachedTrainer:
    """A trainer and what it was loaded for.

    Attributes:
        name: Name of its architecture in the spec.
        file: Digest of its `.tflite` file; None for other frameworks.
        size: Bytes of its model's weights.
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
        before = len(self._trainers)
        while self._trainers and (
            len(self._trainers) >= MAX_TRAINERS or self._size() + size > MAX_TRAINERS_BYTES
        ):
            self._trainers.pop(0)
        if len(self._trainers) < before:
            gc.collect()  # a Keras model is a reference cycle that holds its weights

    def add(self, cached: CachedTrainer) -> None:
        """Add a trainer as the one used last."""
        self._trainers.append(cached)

    def _size(self) -> int:
        return sum(cached.size for cached in self._trainers)


@dataclass(frozen=True, slots=True)
class LoadedTrainers:
    """Loads the trainer that is chosen for a model, and reuses it in later tasks."""

    trainers: Trainers
    admission: Admission
    cache: TrainerCache = field(default_factory=TrainerCache)

    @contextmanager
    def use(self, model: Model, wanted: str | None) -> Iterator[CachedTrainer]:
        """Load or reuse the trainer of a model, and mark its `.tflite` file as in use meanwhile.

        Raises:
            FedbusError: No trainer can be used, or the file is not admitted.
        """
        name = self.trainers.choose(model.spec, wanted)
        cached = self.cache.find(model.spec, name)
        if cached is None:
            self.cache.make_room(model.layout.size)
            cached = self._load(model, name)
            self.cache.add(cached)
        with self._in_use(cached.file):
            yield cached

    def _load(self, model: Model, name: str) -> CachedTrainer:
        architecture = {
            key: model.files[value["digest"]] if key == "blob" else value
            for key, value in model.spec.architectures[name].items()
        }
        file = architecture.get("blob") if name == TFLITE else None
        digest = None if file is None else self.admission.admit(file, model.layout)
        with self._in_use(digest):
            trainer = self.trainers.factory(name)(architecture)
        return CachedTrainer(model.spec, name, digest, model.layout.size, trainer)

    def _in_use(self, digest: str | None) -> AbstractContextManager[None]:
        return nullcontext() if digest is None else self.admission.using(digest)
