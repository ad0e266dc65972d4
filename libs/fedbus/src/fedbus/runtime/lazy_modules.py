"""Import of modules whose content is loaded when it is first used.

After `load_on_first_use`, an `import` of a named module makes it without its content, which is
loaded with the first access to a name that the module lacks. Whatever uses it finds all of it.
"""

import sys
import threading
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.abc import Loader  # it imports tempfile, random and others

_LOADER: Final = "__loader_of_content__"
_loading = threading.RLock()


class LazyModule(ModuleType):
    """A module without its content; a common module once that is loaded.

    `importlib.util.LazyLoader` is not safe with threads before Python 3.11.9.
    """

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a module's attribute
        """Load the content, and return an attribute; raise what loading raises."""
        with _loading:
            loader = self.__dict__.pop(_LOADER, None)
            if loader is not None:
                try:
                    loader.exec_module(self)
                except BaseException:
                    self.__dict__[_LOADER] = loader  # the next access tries again
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment] # LazyModule adds no fields
            elif type(self) is LazyModule:  # its own content asks, while it is loaded
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)


class _EmptyLoader:
    """Makes a module without its content, which another loader has."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__dict__[_LOADER] = self._loader
        module.__class__ = LazyModule


class _LazyFinder:
    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _EmptyLoader(spec.loader)  # type: ignore[assignment] # has its methods
        return spec


def load_on_first_use(names: Collection[str]) -> None:
    """Load these modules, written in Python, when they are used; those imported already stay."""
    sys.meta_path.insert(0, _LazyFinder(names))
