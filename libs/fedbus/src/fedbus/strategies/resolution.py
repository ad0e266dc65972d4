"""Resolution of a job's strategy: from ids and parameters to its parts, with all parameters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedbus.errors import PluginError, SettingsError
from fedbus.jobs import JobFault, JobFile, StrategyConfig, training_params_of
from fedbus.plugins.isolation import CallTimeoutError
from fedbus.strategies.chosen_parts import WHOLE, StrategyError
from fedbus.strategies.compression_terms import with_smaller_blobs
from fedbus.strategies.encryption_key_faults import HOMOMORPHIC, EncryptionKeyFacts
from fedbus.strategies.mechanism_part import bound_weights, mechanism_part
from fedbus.strategies.parameter_names import distribute
from fedbus.strategies.part_factories import limited_time
from fedbus.strategies.privacy_terms import privacy_terms
from fedbus.strategies.protection_terms import FEDAVG, forces_fedavg, protected, protection_faults
from fedbus.strategies.strategy_names import find_preset
from fedbus.strategies.strategy_parts import LoadedParts, load_parts
from fedbus.training.params import Argument, PluginChoice, TrainingParams
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy


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
    parts = load_parts(config, preset, allowed)
    given, faults = distribute(config, id_, preset, parts)
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


def _resolved(
    id_: str, parts: LoadedParts, population: int | None, terms: PrivacyTerms | None
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
