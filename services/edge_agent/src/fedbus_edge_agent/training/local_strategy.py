"""The agent's parts of a job's strategy: its objective, and the transforms of its update."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import cast

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.plugins import BUILTIN_PACKAGE, AfterTraining, Group, Objective, TransformsUpdate
from fedbus.training.params import PluginChoice, TrainingParams

OBJECTIVE_COPIES = 3
"""Copies of a model's bytes that an objective with arrays of its own has in memory beside those of
a training: its linear term, and its own arrays before and after."""


@dataclass(frozen=True, slots=True)
class LocalStrategy:
    """What a job adds to its training here; each part with its id.

    Attributes:
        objective: What is added to the loss; None: nothing.
        transforms: Transforms of the update that have a half for agents, in their order.
    """

    objective: tuple[str, Objective] | None = None
    transforms: tuple[tuple[str, TransformsUpdate], ...] = ()

    @property
    def keeper(self) -> tuple[str, AfterTraining] | None:
        """The objective, if it keeps arrays on the agent or makes sections of updates."""
        if self.objective is None or not isinstance(self.objective[1], AfterTraining):
            return None
        return self.objective[0], self.objective[1]


@dataclass(frozen=True, slots=True)
class StrategyPlugins:
    """The plug-ins for strategies that this agent has; `allowed` as for `plugins.load`."""

    allowed: Collection[str] | None = None

    def check(self, params: TrainingParams) -> int:
        """Reject parts that the agent cannot use, before a task is accepted.

        Parts that fedbus ships are made; a third-party one is not imported before its task runs.

        Returns:
            The copies of the model's bytes that the objective needs in memory, as far as is known.

        Raises:
            PluginError: A part is not installed or allowed, or does not take its parameters.
        """
        copies = 0
        for group, choice in _choices(params):
            plugin = plugins.find(group, choice.id, self.allowed)
            made = self._make(group, choice) if plugin.package == BUILTIN_PACKAGE else None
            if group == "objectives" and (made is None or isinstance(made, AfterTraining)):
                copies = OBJECTIVE_COPIES
        return copies

    def load(self, params: TrainingParams) -> LocalStrategy:
        """Import and make the parts of a job.

        Raises:
            PluginError: A part cannot be used; see `check`.
        """
        objective, transforms = None, []
        for group, choice in _choices(params):
            made = self._make(group, choice)
            if group == "objectives":
                objective = choice.id, cast("Objective", made)
            elif isinstance(made, TransformsUpdate):
                transforms.append((choice.id, made))
        return LocalStrategy(objective, tuple(transforms))

    def _make(self, group: Group, choice: PluginChoice) -> object:
        factory = cast("Callable[..., object]", plugins.load(group, choice.id, self.allowed))
        try:
            made = factory(**choice.parameters)
        except (TypeError, ValueError) as error:
            raise PluginError(f"{group} plug-in {choice.id!r}: {error}") from error
        if group == "objectives" and not callable(getattr(made, "terms", None)):
            raise PluginError(f"{group} plug-in {choice.id!r}: it has no method terms")
        return made


def _choices(params: TrainingParams) -> Iterator[tuple[Group, PluginChoice]]:
    if params.objective is not None:
        yield "objectives", params.objective
    for choice in params.update_transforms:
        yield "update_transforms", choice
