"""What people may write for fedbus, and how it is found.

A plug-in is a class or function in any installed package, named by an entry point:

    [project.entry-points."fedbus.trainers"]
    tiny = "acme_fl.tiny:TinyTrainer"

What we ship is registered the same way. Inherit from nothing: mypy checks the fit against these
protocols. A job chooses among installed plug-ins by name and never brings code. What not every
trainer can do is a protocol of its own (`Evaluates`, `Predicts`), found by `isinstance`.
"""

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from random import Random
from typing import Literal, Protocol, overload, runtime_checkable

from fedbus.data import Dataset
from fedbus.errors import PluginError
from fedbus.layout import Array, Weights, listed
from fedbus.training import Metrics, Params, Structure, Update

Group = Literal["trainers", "loaders", "aggregators", "selectors"]


class Trainer(Protocol):
    """Trains one model, rebuilt from the structure its factory was called with.

    One thread uses it at a time. Arrays that cross its border are copies: nobody gets live memory.
    """

    def initial(self) -> Weights:
        """Make the weights of a model that has learnt nothing yet."""
        ...

    def train(self, weights: Weights, data: Dataset, params: Params) -> Update:
        """Start from `weights`, walk `data.steps(params)`, and return the new weights.

        Every call starts afresh: no momentum, no state of the call before. Let `Stopped`, which the
        data raises, pass.

        Raises:
            TrainingError: weights, data or params do not fit.
        """
        ...


@runtime_checkable
class Evaluates(Protocol):
    """A trainer that can score weights on data; needed for the role `evaluate`."""

    def evaluate(self, weights: Weights, data: Dataset, params: Params) -> Metrics:
        """Walk `data.batches()` and return means over all rows, `loss` and `accuracy` if it can.

        Raises:
            TrainingError: weights, data or params do not fit.
        """
        ...


@runtime_checkable
class Predicts(Protocol):
    """A trainer that can answer; the inference service loads a version once and asks it often."""

    def load(self, weights: Weights) -> None:
        """Take these weights for all predictions to come.

        Raises:
            TrainingError: they do not fit.
        """
        ...

    def predict(self, inputs: Array) -> Array:
        """Answer each row. inputs: (rows, …), any real dtype; returns (rows, …), float32.

        Raises:
            TrainingError: the inputs do not fit.
        """
        ...


TrainerFactory = Callable[[Structure], Trainer]
"""What a trainer's entry point names, usually its class: `TinyTrainer(structure)`."""

Loader = Callable[..., Dataset]
"""Makes a data set from keyword arguments: the agent's own settings, never the network's."""


class Aggregator(Protocol):
    """Combines updates block by block, so that memory is bounded whatever the rule."""

    def __call__(self, blocks: Array, weights: Array, /) -> Array:
        """Combine one block. blocks: (agents, numbers); weights: (agents,); returns (numbers,).

        All are float32; the weights add up to one.
        """
        ...


@runtime_checkable
class Folds(Protocol):
    """An aggregator that needs only one update at a time, so memory stays at one model.

    Its entry point names a class; `load` makes it, without arguments.
    """

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        """Add one update's block, (numbers,) float32, to the total, (numbers,) float64, in place.

        The caller divides the total by the sum of the weights.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """What a selector knows of an agent that is online and can train."""

    agent: str
    """The node's name, `agent.…`."""
    last_selected: int = 0
    """The last round of this job it was asked in; 0 is never."""
    examples: int = 0
    load: float = 0.0
    """How busy it says it is, 0 to 1 for each core."""


class Selector(Protocol):
    """Picks the roster of a round."""

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Name at most `want` of the agents; all chance comes from `rng`."""
        ...


@overload
def load(
    group: Literal["trainers"], name: str, allowed: Collection[str] | None = None
) -> TrainerFactory: ...
@overload
def load(
    group: Literal["loaders"], name: str, allowed: Collection[str] | None = None
) -> Loader: ...
@overload
def load(
    group: Literal["aggregators"], name: str, allowed: Collection[str] | None = None
) -> Aggregator | Folds: ...
@overload
def load(
    group: Literal["selectors"], name: str, allowed: Collection[str] | None = None
) -> Selector: ...
def load(group: Group, name: str, allowed: Collection[str] | None = None) -> object:
    """Find and import a plug-in; only this imports its framework.

    Args:
        group: Its kind.
        name: Its entry point's name.
        allowed: The names this process's own settings allow; None allows all that are installed.

    Raises:
        PluginError: none of that name is installed or allowed, two packages claim the name, or its
            import fails.
    """
    found = _installed(group)
    if allowed is not None and name in found and name not in allowed:
        raise PluginError(f"{group} plug-in {name!r} is not allowed here; allowed: {_all(allowed)}")
    if name not in found:
        raise PluginError(f"no {group} plug-in named {name!r}; installed: {_all(found)}")
    if len(found[name]) > 1:
        raise PluginError(f"{group} plug-in {name!r} is claimed twice: {_all(found[name])}")
    (entry,) = found[name].values()
    try:
        plugin: object = entry.load()
        return plugin() if group == "aggregators" and isinstance(plugin, type) else plugin
    except Exception as error:  # whatever the import of somebody's module may raise
        raise PluginError(
            f"{group} plug-in {name!r} ({entry.value}) does not load: {error}"
        ) from error


def installed(group: Group) -> tuple[str, ...]:
    """Name the plug-ins of a kind, sorted, without importing any."""
    return tuple(sorted(_installed(group)))


def _installed(group: Group) -> dict[str, dict[str, EntryPoint]]:
    # To go through all installed packages takes some 10 ms, so it is done once for each path.
    return _on_path(group, tuple(sys.path))


@lru_cache(maxsize=16)
def _on_path(group: Group, _path: tuple[str, ...]) -> dict[str, dict[str, EntryPoint]]:
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=f"fedbus.{group}"):
        # One package may be on the path twice; that is one plug-in.
        found.setdefault(entry.name, {})[entry.value] = entry
    return found


def _all(names: Collection[str]) -> str:
    return listed(names) or "none"
