"""Resolution of a job's strategy: from ids and parameters to its parts, with all parameters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from fedbus.errors import PluginError, SettingsError
from fedbus.jobs import JobFault, JobFile, StrategyConfig, choice_of, training_params_of
from fedbus.jobs.foreign_keys import ROUND_WORDS
from fedbus.jobs.plugin_options import ChoiceConfig
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.plugins import Preset
from fedbus.plugins.isolation import CallTimeoutError
from fedbus.strategies.catalog import strategies_taking
from fedbus.strategies.chosen_parts import (
    WHOLE,
    Given,
    GivenParameter,
    StrategyError,
    StrategyPart,
    load_part,
)
from fedbus.strategies.compression_terms import with_smaller_blobs
from fedbus.strategies.mechanism_part import bound_weights, mechanism_part, misplaced_mechanism
from fedbus.strategies.part_factories import PartGroup, limited_time
from fedbus.strategies.privacy_terms import privacy_terms
from fedbus.strategies.protection_terms import (
    FEDAVG,
    HOMOMORPHIC,
    EncryptionKeyFacts,
    forces_fedavg,
    protected,
    protection_faults,
)
from fedbus.strategies.strategy_names import find_preset
from fedbus.text import in_given_order, listed, nearest
from fedbus.training.params import Argument, PluginChoice, TrainingParams
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy

SYNONYMS: Final[Mapping[str, str]] = {
    "eta": "server_learning_rate",
    "server_lr": "server_learning_rate",
    "momentum": "server_momentum",
    "mu": "proximal_mu",
}
"""Other systems' names of parameters: read so if a part takes the name here, and not theirs."""


@dataclass(frozen=True, slots=True)
class ResolvedStrategy:
    """A strategy with the optional attributes of its parts, by name; absent ones are left out.

    A part is None if the strategy has none; `update_transforms` has those of all, in their order.
    `of_training` is that of the aggregator's factory.
    """

    strategy: Strategy
    aggregator: Mapping[str, Any]
    server_optimizer: Mapping[str, Any] | None
    objective: Mapping[str, Any] | None
    of_training: tuple[str, ...] = ()
    update_transforms: tuple[Mapping[str, Any], ...] = ()


def other_names(preset: Preset, taken: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the other names by which a job may give parameters, by the name of a parameter.

    Args:
        taken: The names of all parameters of the preset's parts.
    """
    read = {other: own for other, own in SYNONYMS.items() if other not in taken}
    others: dict[str, tuple[str, ...]] = {}
    for other, own in {**read, **preset.renamed}.items():
        if own in taken:
            others[own] = (*others.get(own, ()), other)
    return others


def resolve_job(
    job: JobFile,
    allowed: Collection[str] | None = None,
    *,
    encryption: EncryptionKeyFacts | None = None,
) -> Strategy:
    """Return a job's strategy; as `resolve_with_parts`."""
    return resolve_with_parts(job, allowed, encryption=encryption).strategy


def resolve_with_parts(
    job: JobFile,
    allowed: Collection[str] | None = None,
    *,
    encryption: EncryptionKeyFacts | None = None,
) -> ResolvedStrategy:
    """Return a job's strategy with its parts; otherwise as `resolve`.

    Parameters of an aggregator that describe the agents' training, such as FedNova's `momentum`,
    are by default the job's own. `encryption` is the encryption key of the controller; a job with
    homomorphic encryption has a fault without one.
    """
    with limited_time():
        return _resolve(job.strategy, allowed, job, encryption)


def trained_with(params: TrainingParams, objective: PluginChoice | None) -> dict[str, Argument]:
    """Return what an aggregator's `of_training` may name: how agents train."""
    own = {} if objective is None else objective.parameters
    return {
        "momentum": params.optimizer_args.get("momentum", 0.0),
        "proximal_mu": 0.0,
        "learning_rate": params.learning_rate,
        **own,
    }


def resolve(config: StrategyConfig, allowed: Collection[str] | None = None) -> Strategy:
    """Return the strategy of these settings; `allowed` as for `plugins.load`.

    Raises:
        StrategyError: A part is not installed or allowed, does not take its parameters, or exceeds
            the time limit.
    """
    with limited_time():
        return _resolve(config, allowed, None).strategy


def _resolve(
    config: StrategyConfig,
    allowed: Collection[str] | None,
    job: JobFile | None,
    encryption: EncryptionKeyFacts | None = None,
) -> ResolvedStrategy:
    try:
        id_, preset = find_preset(config.id, allowed)
    except PluginError as error:
        faults = [JobFault(key=WHOLE, problem=str(error))]
        raise StrategyError(faults, timed_out=isinstance(error, CallTimeoutError)) from error
    parts = _load(config, preset, allowed)
    given, faults = _distribute(config, id_, preset, parts)
    if job is not None and forces_fedavg(job, preset):
        id_, parts = FEDAVG, replace(parts, server_optimizer=None)
    if job is not None and (mechanism := mechanism_part(job, parts.aggregator.id, allowed)):
        parts = replace(parts, transforms=(*parts.transforms, mechanism))
    if job is not None:
        faults += bound_weights(job, parts.aggregator, given)
        faults += protection_faults(job, parts.aggregator.id, encryption)
    if parts.objective is not None:
        parts.objective.make(parts.reaching(parts.objective, given), {}, allowed)
    objective = None if parts.objective is None else parts.objective.choice
    training = {} if job is None else trained_with(training_params_of(job), objective)
    for part in parts.all:
        if part is not parts.objective:
            part.make(parts.reaching(part, given), training, allowed)
    faults += (fault for part in parts.all for fault in part.faults)
    if faults:
        raise StrategyError(faults, timed_out=any(part.timed_out for part in parts.all))
    terms = None if job is None else privacy_terms(job, parts.aggregator.id)
    resolved = _resolved(id_, parts, config.population, terms)
    if job is None:
        return resolved
    try:
        strategy = protected(with_smaller_blobs(resolved.strategy, job), job, encryption)
    except SettingsError as error:
        raise StrategyError([JobFault(key=HOMOMORPHIC, problem=str(error))]) from error
    return replace(resolved, strategy=strategy)


@dataclass(frozen=True, slots=True)
class _Parts:
    aggregator: StrategyPart
    server_optimizer: StrategyPart | None
    objective: StrategyPart | None
    transforms: tuple[StrategyPart, ...]

    @property
    def named(self) -> tuple[StrategyPart, ...]:
        """The parts that get the strategy's parameters."""
        chosen = (self.objective, self.aggregator, self.server_optimizer)
        return tuple(part for part in chosen if part is not None)

    def reaching(self, part: StrategyPart, given: Given) -> Given:
        """Return the strategy's parameters that reach a part.

        One may reach several parts, as FedDyn's `alpha` does: they must not differ. A part that
        takes any name gets those that no part states.
        """
        if part in self.transforms:
            return {}
        stated = {name for each in self.named for name in each.takes.named}
        return {
            name: each
            for name, each in given.items()
            if name in part.takes.named or (part.takes.any_name and name not in stated)
        }

    @property
    def all(self) -> tuple[StrategyPart, ...]:
        return (*self.named, *self.transforms)


def _load(config: StrategyConfig, preset: Preset, allowed: Collection[str] | None) -> _Parts:
    def part(
        group: PartGroup, slot: str, chosen: ChoiceConfig | None, default: PluginChoice | None
    ) -> StrategyPart | None:
        choice = default if chosen is None else choice_of(chosen)
        if choice is None:
            return None
        return load_part(group, choice, WHOLE if chosen is None else f"{WHOLE}.{slot}", allowed)

    aggregator = part("aggregators", "aggregator", config.aggregator, preset.aggregator)
    assert aggregator is not None  # noqa: S101 - every preset has one
    return _Parts(
        aggregator,
        part(
            "server_optimizers",
            "server_optimizer",
            config.server_optimizer,
            preset.server_optimizer,
        ),
        part("objectives", "objective", config.objective, preset.objective),
        tuple(
            _load_transform(each, f"{WHOLE}.update_transforms[{n}]", allowed)
            for n, each in enumerate(config.update_transforms)
        ),
    )


def _load_transform(
    chosen: ChoiceConfig, key: str, allowed: Collection[str] | None
) -> StrategyPart:
    part = load_part("update_transforms", choice_of(chosen), key, allowed)
    if part.id in MECHANISMS:
        part.faults = [misplaced_mechanism(part.id, key)]
        part.factory = None
    return part


def _distribute(
    config: StrategyConfig, id_: str, preset: Preset, parts: _Parts
) -> tuple[dict[str, GivenParameter], list[JobFault]]:
    """Return the strategy's parameters under the names of its parts, and faults of names."""
    given: dict[str, GivenParameter] = {}
    faults = []
    for written, value in config.parameters.items():
        key = f"{WHOLE}.parameters.{written}"
        name = _own_name(written, preset, parts)
        if name is None:
            faults.append(_unknown(written, key, id_, preset, parts))
        elif name in given:
            problem = f"{given[name].key} is the same parameter"
            faults.append(JobFault(key=key, problem=problem, hint="give it under one name"))
        else:
            given[name] = GivenParameter(key, value)
    return given, faults


def _own_name(written: str, preset: Preset, parts: _Parts) -> str | None:
    """Return the name that the parts have for a parameter; None if no part takes it."""
    for name in (preset.renamed.get(written), written, SYNONYMS.get(written)):
        if name is not None and any(part.takes.takes(name) for part in parts.named):
            return name
    return None


def _unknown(written: str, key: str, id_: str, preset: Preset, parts: _Parts) -> JobFault:
    taken = dict.fromkeys(name for part in parts.named for name in part.takes.named)
    takes = f"{id_} takes {in_given_order(taken) or 'none'}"
    if others := strategies_taking(written) or strategies_taking(SYNONYMS.get(written, "")):
        takes = f"{listed(others)} {'has' if len(others) == 1 else 'have'} it; {takes}"
    elif near := nearest(written, (*taken, *preset.renamed, *ROUND_WORDS)):
        takes = f"did you mean '{near}'? {takes}"
    return JobFault(key=key, problem="unknown parameter", hint=takes)


def _resolved(
    id_: str, parts: _Parts, population: int | None, terms: PrivacyTerms | None
) -> ResolvedStrategy:
    aggregator, optimizer, objective = parts.aggregator, parts.server_optimizer, parts.objective
    facts = (fact for part in parts.all for fact in part.names("facts"))
    state = () if optimizer is None else optimizer.names("state")
    read = () if objective is None else objective.names("server_state")
    strategy = Strategy(
        id=id_,
        aggregator=aggregator.choice,
        server_optimizer=None if optimizer is None else optimizer.choice,
        objective=None if objective is None else objective.choice,
        update_transforms=tuple(part.choice for part in parts.transforms),
        facts=tuple(dict.fromkeys(facts)),
        sections=() if optimizer is None else optimizer.names("sections"),
        state=state,
        server_state=read,
        population=population,
        privacy=terms,
    )
    return ResolvedStrategy(
        strategy,
        aggregator.attributes or {},
        None if optimizer is None else optimizer.attributes,
        None if objective is None else objective.attributes,
        aggregator.of_training,
        tuple(part.attributes or {} for part in parts.transforms),
    )
