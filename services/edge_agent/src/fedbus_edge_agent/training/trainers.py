"""Trainers that an agent has, and the choice among them for a model; none is loaded for it."""

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.frameworks.installed import is_installed
from fedbus.jobs.eligibility import RowFormat
from fedbus.plugins import TrainerFactory
from fedbus.text import listed
from fedbus.training.options import FRAMEWORKS
from fedbus.training.params import DataOverrides, TrainingParams
from fedbus.wire.documents import ModelSpec
from fedbus.wire.identifiers import BASE
from fedbus.wire.privacy import PrivacyTerms


@runtime_checkable
class TaskChecker(Protocol):
    """A task runner that can judge a task before its inputs are fetched."""

    def check(self, trainer: str | None, overrides: DataOverrides | None) -> None:
        """Raise PluginError for a job's plug-in that is not installed, or not allowed."""

    def check_strategy(self, params: TrainingParams, privacy: PrivacyTerms | None = None) -> int:
        """Return the copies of the model's bytes that a job's objective needs in memory.

        Raises:
            PluginError: A part of the job's strategy is not installed or allowed, or does not take
                its parameters.
            PrivacyError: A privacy mechanism is not the one of the terms, or not of fedbus.
        """

    def rows(self, overrides: DataOverrides) -> RowFormat:
        """Return the format of the rows that a trainer would get with a job's `overrides`.

        Raises:
            FedbusError: The data cannot be read in this way.
        """

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Return the name of the architecture that will be used; raise PluginError if none can."""


class Trainers:
    """The trainers of an agent.

    Args:
        preferred: Trainer of the agent's settings; it is allowed.
        factories: Trainers without an entry point, by name, such as those of a simulation.
        allowed: Installed trainers that a job may choose beside fedbus's; see `plugins.load`.
    """

    def __init__(
        self,
        preferred: str | None = None,
        factories: Mapping[str, TrainerFactory] | None = None,
        allowed: Collection[str] | None = None,
    ) -> None:
        self._preferred = preferred
        self._factories = factories or {}
        chosen = [preferred] if preferred is not None else []
        self._allowed = None if allowed is None else frozenset([*allowed, *chosen])

    def available(self) -> tuple[str, ...]:
        """Return the names of the trainers that can be loaded, sorted."""
        usable = (p for p in plugins.find_all("trainers") if p.allowed(self._allowed))
        return tuple(
            sorted({*self._factories, *(p.name for p in usable if not _missing_packages(p))})
        )

    def check(self, wanted: str | None) -> None:
        """Raise PluginError for a trainer that is unknown, not allowed, or lacks its framework."""
        if wanted is None or wanted in self._factories:
            return
        if wanted == BASE:
            if not self._shipped():
                raise PluginError(f"no trainer of fedbus is available here; {self._listed()}")
            return
        lacking = _missing_packages(plugins.find("trainers", wanted, self._allowed))
        if lacking:
            raise PluginError(
                f"trainer {wanted!r} needs {' or '.join(lacking)}, not installed here; "
                f"{self._listed()}"
            )

    def check_preferred(self) -> None:
        """Raise PluginError if the trainer that this agent's settings name cannot be loaded.

        A trainer of fedbus is not imported, since that would load its framework. A third-party
        trainer is: only its import shows which packages it needs.
        """
        self.check(self._preferred)
        if self._preferred in {None, BASE, *self._factories}:
            return
        plugin = plugins.find("trainers", str(self._preferred), self._allowed)
        if plugin.package != plugins.BUILTIN_PACKAGE:
            try:
                plugin.import_object()
            except PluginError as error:
                others = listed({*self.available()} - {plugin.name}) or "none"
                raise PluginError(f"{error}; other trainers here: {others}") from error

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        """Return the trainer to use: the job's, else the preferred one, else the first available.

        A trainer and its architecture in a spec have the same name.

        Raises:
            PluginError: The trainer is not available, the spec has no architecture for it, or the
                architecture names a model plug-in that is not allowed.
        """
        name = wanted if wanted is not None else self._preferred
        if name is None:
            name = _first_available(spec, self.available())
        elif name == BASE:
            name = _first_available(spec, self._shipped())
        else:
            self.check(name)
        if name not in spec.architectures:
            known = listed(spec.architectures) or "none"
            raise PluginError(f"model {spec.model} has no architecture for {name}; it has {known}")
        plugins.check_model(name, spec.architectures[name], self._allowed)
        return name

    def _shipped(self) -> tuple[str, ...]:
        names = self.available()
        return tuple(name for name in names if name in FRAMEWORKS and name not in self._factories)

    def _listed(self) -> str:
        return f"trainers here: {listed(self.available()) or 'none'}"

    def factory(self, name: str) -> TrainerFactory:
        """Import a trainer and return its factory; errors are those of `plugins.load`."""
        return self._factories.get(name) or plugins.load("trainers", name, self._allowed)


def _first_available(spec: ModelSpec, available: Collection[str]) -> str:
    offered = [name for name in spec.architectures if name in available]
    if not offered:
        raise PluginError(f"model {spec.model} needs one of {listed(spec.architectures)}")
    return offered[0]


def _missing_packages(plugin: plugins.Plugin) -> tuple[str, ...]:
    """Return the packages of which a trainer of fedbus needs one, if none is installed."""
    if plugin.package != plugins.BUILTIN_PACKAGE or plugin.name not in FRAMEWORKS:
        return ()
    providers = FRAMEWORKS[plugin.name].providers
    return () if any(map(is_installed, providers)) else providers
