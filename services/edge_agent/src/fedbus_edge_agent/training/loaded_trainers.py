"""Trainers that are loaded for models, with the admission of `.tflite` files before them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from fedbus.frameworks.tflite.admission import TFLITE, Admission
from fedbus.plugins import Trainer
from fedbus_edge_agent.training.task_runner import Model
from fedbus_edge_agent.training.trainer_cache import CachedTrainer, TrainerCache
from fedbus_edge_agent.training.trainers import Trainers


class LoadedTrainers:
    """Loads the trainer that is chosen for a model, and reuses it in later tasks."""

    def __init__(self, trainers: Trainers, admission: Admission) -> None:
        self._trainers = trainers
        self._admission = admission
        self._cache = TrainerCache()

    @property
    def last(self) -> CachedTrainer | None:
        """The trainer that was used last."""
        return self._cache.last

    @contextmanager
    def use(self, model: Model, wanted: str | None) -> Iterator[Trainer]:
        """Load or reuse the trainer of a model, and mark its `.tflite` file as in use meanwhile.

        Raises:
            FedbusError: No trainer can be used, or the file is not admitted.
        """
        name = self._trainers.choose(model.spec, wanted)
        cached = self._cache.find(model.spec, name)
        if cached is None:
            self._cache.make_room(model.layout.size)
            cached = self._load(model, name)
            self._cache.add(cached)
        with self._in_use(cached.file):
            yield cached.trainer

    def _load(self, model: Model, name: str) -> CachedTrainer:
        architecture = {
            key: model.files[value["digest"]] if key == "blob" else value
            for key, value in model.spec.architectures[name].items()
        }
        file = architecture.get("blob") if name == TFLITE else None
        digest = None if file is None else self._admission.admit(file, model.layout)
        with self._in_use(digest):
            trainer = self._trainers.factory(name)(architecture)
        return CachedTrainer(model.spec, name, digest, model.layout.size, trainer)

    def _in_use(self, digest: str | None) -> AbstractContextManager[None]:
        return nullcontext() if digest is None else self._admission.using(digest)
