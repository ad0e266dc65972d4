"""Random seeds of a model's first weights, also for frameworks that are imported later."""

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

import numpy as np

_SEED_LIMIT: Final = 2**32
"""Exclusive upper limit of seeds in NumPy and Keras."""


def _seed_torch(torch: Any, seed: int) -> None:  # noqa: ANN401 - a module that may not be installed
    torch.manual_seed(seed)


def _seed_tensorflow(tensorflow: Any, seed: int) -> None:  # noqa: ANN401 - as above
    tensorflow.random.set_seed(seed)


def _seed_keras(keras: Any, seed: int) -> None:  # noqa: ANN401 - as above
    keras.utils.set_random_seed(seed)


_FRAMEWORKS: Final[Mapping[str, Callable[[Any, int], None]]] = {
    "tensorflow": _seed_tensorflow,
    "torch": _seed_torch,
    "keras": _seed_keras,
}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `random`, NumPy and each framework: loaded ones now, others after their import.

    A framework that a factory imports is therefore seeded before the factory's next line.
    """
    seed %= _SEED_LIMIT
    for name, seed_it in _FRAMEWORKS.items():
        if (module := sys.modules.get(name)) is not None:
            seed_it(module, seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that user code uses
    finder = _SeedingFinder(seed)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _SeedingFinder:
    """An import finder that seeds frameworks at the end of their import."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _FRAMEWORKS else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_seed(module: ModuleType) -> None:
            run(module)
            before = random.getstate()  # Keras seeds this one, too
            _FRAMEWORKS[name](module, self._seed)
            random.setstate(before)

        setattr(spec.loader, "exec_module", run_and_seed)  # noqa: B010 - mypy refuses the assignment
        return spec
