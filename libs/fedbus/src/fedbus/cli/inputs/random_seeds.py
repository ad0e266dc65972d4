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
_FRAMEWORKS: Final[Mapping[str, Callable[[Any, int], None]]] = {
    "tensorflow": lambda tensorflow, seed: tensorflow.random.set_seed(seed),
    "torch": lambda torch, seed: torch.manual_seed(seed),
    "keras": lambda keras, seed: keras.utils.set_random_seed(seed),
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
