"""Trainers of an agent, and the choice among them for a model, without loading any."""

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.frameworks.installed import is_installed
from fedbus.jobs.eligibility import RowFormat
from fedbus.plugins import TrainerFactory
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS
from fedbus.training.params import DataOverrides
from fedbus.wire.documents import ModelSpec
from fedbus.wire.identifiers import BASE


@runtime_checkable
class TaskChecker(Protocol):
    """A bench that knows, before it works, which of a spec's architectures it uses, and on what."""

    def check(self, trainer: str | None, overrides: DataOverrides | None) -> None:
        """Refuse a job's choice of plug-ins.

        Raises:
            PluginError: there is no such plug-in here, or it is not allowed.
        """

    def rows(self, overrides: DataOverrides) -> RowFormat:
        """Return the format of the rows that a trainer would be given with a job's `overrides`.

        Raises:
            FedbusError: the data cannot be read so.
        """

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Name the architecture that will be used.

        Raises:
            PluginError: there is none for any trainer here.
        """


class Trainers:
    """The trainers of an agent.

    `own` need no entry point; of those that are installed, a job chooses among what we ship and
    what `allowed` names, as for `plugins.load`; `preferred`, this agent's own choice, needs no
    other permission.
    """

    def __init__(
        self,
        preferred: str | None = None,
        own: Mapping[str, TrainerFactory] | None = None,
        allowed: Collection[str] | None = None,
    ) -> None:
        self._preferred = preferred
        self._own = own or {}
        chosen = [preferred] if preferred is not None else []
        self._allowed = None if allowed is None else frozenset([*allowed, *chosen])

    def here(self) -> tuple[str, ...]:
        """Name those that can be loaded, sorted."""
        usable = (p for p in plugins.find_all("trainers") if p.allowed(self._allowed))
        return tuple(sorted({*self._own, *(p.name for p in usable if not _lacks(p))}))

    def check(self, wanted: str | None) -> None:
        """Refuse a trainer that is unknown, not allowed, or lacks its framework.

        Raises:
            PluginError: with what there is.
        """
        if wanted is None or wanted in self._own:
            return
        if wanted == BASE:
            if not self._shipped():
                there = listed(self.here()) or "none"
                raise PluginError(f"no trainer that fedbus ships is here; trainers here: {there}")
            return
        lacking = _lacks(plugins.find("trainers", wanted, self._allowed))
        if lacking:
            there = listed(self.here()) or "none"
            raise PluginError(
                f"trainer {wanted!r} needs {' or '.join(lacking)}, not installed here; "
                f"trainers here: {there}"
            )

    def check_own_choice(self) -> None:
        """Refuse what this agent's own settings prefer, before anybody counts on it.

        A trainer of ours is not imported for that, which would bring its framework; one of others
        is: nobody else knows what it needs.

        Raises:
            PluginError: with what there is.
        """
        self.check(self._preferred)
        if self._preferred in {None, BASE, *self._own}:
            return
        plugin = plugins.find("trainers", str(self._preferred), self._allowed)
        if plugin.package != plugins.BUILTIN_PACKAGE:
            try:
                plugin.import_object()
            except PluginError as error:
                there = listed({*self.here()} - {plugin.name}) or "none"
                raise PluginError(f"{error}; other trainers here: {there}") from error

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Pick a trainer: the job's choice, else this agent's own, else one that is here.

        Raises:
            PluginError: it is not here, the spec has no architecture for it, or that names a model
                plug-in that is not allowed here.
        """
        name = wanted if wanted is not None else self._preferred
        if name is None:
            name = _first_of(spec, self.here())
        elif name == BASE:
            name = _first_of(spec, self._shipped())
        else:
            self.check(name)
        if name not in spec.architectures:
            known = listed(spec.architectures) or "none"
            raise PluginError(f"model {spec.model} has no architecture for {name}; it has {known}")
        plugins.check_model(name, spec.architectures[name], self._allowed)
        return name

    def _shipped(self) -> tuple[str, ...]:
        return tuple(name for name in self.here() if name in FRAMEWORKS and name not in self._own)

    def factory(self, name: str) -> TrainerFactory:
        """Load a trainer.

        Raises:
            PluginError: see `plugins.load`.
        """
        return self._own.get(name) or plugins.load("trainers", name, self._allowed)


def _first_of(spec: ModelSpec, here: Collection[str]) -> str:
    offered = [name for name in spec.architectures if name in here]
    if not offered:
        raise PluginError(f"model {spec.model} needs one of {listed(spec.architectures)}")
    return offered[0]


def _lacks(plugin: plugins.Plugin) -> tuple[str, ...]:
    """Name the packages of which a trainer of ours needs one, if none of them is installed."""
    if plugin.package != plugins.BUILTIN_PACKAGE or plugin.name not in FRAMEWORKS:
        return ()
    providers = FRAMEWORKS[plugin.name].providers
    return () if any(map(is_installed, providers)) else providers
