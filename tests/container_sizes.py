"""Sizes of the containers that can be reached from an object.

A service that keeps an entry for every job, round or request is detected after a few of them, and
the container is named. Its resident memory would show the growth only after thousands.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_LEAVES = (str, bytes, bytearray, memoryview, int, float, type, ModuleType, FunctionType)
_GROUPS = (list, tuple, set, frozenset, deque)


def container_sizes(*roots: object) -> Counter[str]:
    """Count the items of each container, named by its class and attribute."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [(type(root).__name__, root) for root in roots]
    while waiting:
        name, found = waiting.pop()
        if id(found) in seen or isinstance(found, (*_LEAVES, np.ndarray, type(None))):
            continue
        seen.add(id(found))
        if isinstance(found, Mapping):
            counts[name] += len(found)
            waiting += [(name, each) for pair in found.items() for each in pair]
        elif isinstance(found, _GROUPS):
            counts[name] += len(found)
            waiting += [(name, each) for each in found]
        else:
            waiting += [(f"{type(found).__name__}.{part}", it) for part, it in _parts(found)]
    return counts


def _parts(found: object) -> Iterator[tuple[str, Any]]:
    if isinstance(found, partial):
        yield "args", (found.func, found.args, found.keywords)
    elif isinstance(found, MethodType):
        yield "self", found.__self__
    for kind in type(found).__mro__:
        for part in getattr(kind, "__slots__", ()):
            if hasattr(found, part):
                yield part, getattr(found, part)
    yield from getattr(found, "__dict__", {}).items()


def grown(before: Counter[str], after: Counter[str], by: int) -> dict[str, tuple[int, int]]:
    """Return the containers that hold at least `by` more items than before: (before, after)."""
    return {
        name: (before[name], count) for name, count in after.items() if count - before[name] >= by
    }
