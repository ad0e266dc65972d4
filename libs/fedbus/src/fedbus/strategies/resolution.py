"""Resolution of a job's strategy: from ids and parameters to its parts, with all parameters."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.jobs import JobFile, StrategyConfig, choice_of
from fedbus.jobs.schema import ChoiceConfig
from fedbus.plugins import Group, Preset
from fedbus.text import listed
from fedbus.training.params import Argument, PluginChoice
from fedbus.wire.strategies import Strategy


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a strategy: the choice, and what its factory makes of it.

    `taken` are the names of the strategy's parameters that it accepts.
    """

    choice: PluginChoice
    made: object
    taken: Collection[str]

    def names(self, attribute: str) -> tuple[Any, ...]:
        """Return an optional attribute that lists names."""
        return tuple(getattr(self.made, attribute, ()))


def resolve_job(job: JobFile, allowed: Collection[str] | None = None) -> Strategy:
    """Return a job's strategy; as `resolve`."""
    return resolve(job.strategy, allowed)


def resolve(config: StrategyConfig, allowed: Collection[str] | None = None) -> Strategy:
    """Return a job's strategy; `allowed` as for `plugins.load`.

    Raises:
        PluginError: A part is not installed or allowed, or does not take its parameters.
    """
    preset = _preset(config.id, allowed)
    given = _given(config, preset)
    aggregator = _part("aggregators", config.aggregator, preset.aggregator, given, allowed)
    optimizer = _part(
        "server_optimizers", config.server_optimizer, preset.server_optimizer, given, allowed
    )
    objective = _part("objectives", config.objective, preset.objective, given, allowed)
    assert aggregator is not None  # noqa: S101 - every preset has one
    parts = [part for part in (aggregator, optimizer, objective) if part is not None]
    if unused := given.keys() - {name for part in parts for name in part.taken}:
        raise PluginError(f"strategy {config.id!r} takes no {listed(unused)}")
    return Strategy(
        id=config.id,
        aggregator=aggregator.choice,
        server_optimizer=None if optimizer is None else optimizer.choice,
        objective=None if objective is None else objective.choice,
        update_transforms=tuple(map(choice_of, config.update_transforms)),
        facts=tuple(dict.fromkeys(fact for part in parts for fact in part.names("facts"))),
        sections=() if optimizer is None else optimizer.names("sections"),
        state=() if optimizer is None else optimizer.names("state"),
        population=config.population,
    )


def _preset(name: str, allowed: Collection[str] | None) -> Preset:
    if name in plugins.installed_names("strategies"):
        return plugins.load("strategies", name, allowed)
    return Preset(aggregator=PluginChoice(id=name))


def _given(config: StrategyConfig, preset: Preset) -> dict[str, Argument]:
    """Return the strategy's parameters under the names that its parts have for them."""
    given: dict[str, Argument] = {}
    for name, value in config.parameters.items():
        own = preset.renamed.get(name, name)
        if own in given:
            others = (other for other, mapped in preset.renamed.items() if mapped == own)
            raise PluginError(
                f"strategy {config.id!r}: {listed((own, *others))} are one parameter; give one name"
            )
        given[own] = value
    return given


def _part(
    group: Group,
    chosen: ChoiceConfig | None,
    preset: PluginChoice | None,
    given: Mapping[str, Argument],
    allowed: Collection[str] | None,
) -> _Part | None:
    """Make a part with all its parameters, those of `given` that it accepts included.

    A parameter may reach several parts, as FedDyn's `alpha` does: they must not differ.
    """
    choice = preset if chosen is None else choice_of(chosen)
    if choice is None:
        return None
    factory = cast("Callable[..., object]", plugins.load(group, choice.id, allowed))
    accepted = inspect.signature(factory).parameters
    taken = {name: value for name, value in given.items() if name in accepted}
    defaults: Mapping[str, Argument] = {
        name: each.default
        for name, each in accepted.items()
        if each.default is not inspect.Parameter.empty and each.default is not None
    }
    parameters = {**defaults, **choice.parameters, **taken}
    try:
        made = factory(**parameters)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{group} plug-in {choice.id!r}: {error}") from error
    return _Part(PluginChoice(id=choice.id, parameters=parameters), made, taken)
