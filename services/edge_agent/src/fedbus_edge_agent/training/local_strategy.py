"""The agent's parts of a job: its objective, transforms of its update, its privacy mechanism."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import cast

from fedbus import plugins
from fedbus.errors import PluginError, PrivacyError
from fedbus.plugins import (
    BUILTIN_PACKAGE,
    AfterTraining,
    Group,
    Objective,
    ProtectsCombined,
    ProtectsUpdate,
    TransformsUpdate,
)
from fedbus.training.params import PluginChoice, TrainingParams
from fedbus.wire.privacy import PrivacyTerms
from fedbus_edge_agent.training.private_task import check_mechanism_noise, update_mechanism

OBJECTIVE_COPIES = 3
"""Copies of a model's bytes that an objective with arrays of its own has in memory beside those of
a training: its linear term, and its own arrays before and after."""


@dataclass(frozen=True, slots=True)
class LocalStrategy:
    """What a job adds to its training here; each part with its id.

    Attributes:
        objective: What is added to the loss; None: nothing.
        transforms: Transforms of the update that have a half for agents, in their order.
        mechanism: The privacy mechanism, which follows them; None: none.
    """

    objective: tuple[str, Objective] | None = None
    transforms: tuple[tuple[str, TransformsUpdate], ...] = ()
    mechanism: tuple[str, ProtectsUpdate] | None = None

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

    def check(self, params: TrainingParams, privacy: PrivacyTerms | None = None) -> int:
        """Reject parts that the agent cannot use, before a task is accepted.

        Parts that fedbus ships are made; a third-party one is not imported before its task runs.

        Returns:
            The copies of the model's bytes that the objective needs in memory, as far as is known.

        Raises:
            PluginError: A part is not installed or allowed, or does not take its parameters.
            PrivacyError: A privacy mechanism is not the one of the terms, or not of fedbus.
        """
        copies = 0
        for group, choice in _choices(params):
            package = plugins.find(group, choice.id, self.allowed).package
            made = self._make(group, choice) if package == BUILTIN_PACKAGE else None
            if group == "update_transforms":
                _check_mechanism(choice, made, package, privacy)
            elif made is None or isinstance(made, AfterTraining):
                copies = OBJECTIVE_COPIES
        return copies

    def load(self, params: TrainingParams, privacy: PrivacyTerms | None = None) -> LocalStrategy:
        """Import and make the parts of a job.

        Raises:
            PluginError: A part cannot be used; see `check`, which is repeated for all parts.
            PrivacyError: See `check`.
        """
        objective, transforms, mechanism = None, [], None
        for group, choice in _choices(params):
            made = self._make(group, choice)
            if group == "objectives":
                objective = choice.id, cast("Objective", made)
                continue
            package = plugins.find(group, choice.id, self.allowed).package
            _check_mechanism(choice, made, package, privacy)
            if isinstance(made, ProtectsUpdate):
                mechanism = choice.id, made
            elif isinstance(made, TransformsUpdate):
                transforms.append((choice.id, made))
        return LocalStrategy(objective, tuple(transforms), mechanism)

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


def _check_mechanism(
    choice: PluginChoice, made: object, package: str, privacy: PrivacyTerms | None
) -> None:
    """Raise PrivacyError for a transform that is wrongly a privacy mechanism, or wrongly none.

    `made` is None for a third-party transform that is not imported yet.
    """
    if privacy is None or choice.id != update_mechanism(privacy):
        if isinstance(made, ProtectsUpdate | ProtectsCombined):
            raise PrivacyError(
                f"update transform {choice.id!r} is a privacy mechanism, and the task's privacy "
                "terms do not name it; a job chooses one by its key in privacy-mechanisms"
            )
        return
    if package != BUILTIN_PACKAGE:
        raise PrivacyError(
            f"the privacy mechanism {choice.id!r} is of the package {package or 'unknown'!r}; an "
            "agent lets none but those of fedbus protect its updates"
        )
    if not isinstance(made, ProtectsUpdate):
        raise PrivacyError(
            f"the privacy mechanism {choice.id!r} cannot protect an update: it has no method "
            "protect"
        )
    check_mechanism_noise(choice, made, privacy)
