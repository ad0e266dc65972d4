"""Combinations of a job's settings that cannot work: refused when the job is submitted.

Each rule is one function in `RULES`; it yields faults with a reason and with what would work.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from fedbus.jobs import JobFault, JobFile, training_params_of
from fedbus.strategies.chosen_parts import StrategyError
from fedbus.strategies.compression_rules import compression_rule_faults
from fedbus.strategies.encryption_key_faults import EncryptionKeyFacts
from fedbus.strategies.part_factories import is_shipped
from fedbus.strategies.privacy_rules import privacy_rule_faults
from fedbus.strategies.protection_rules import protection_rule_faults
from fedbus.strategies.resolution import ResolvedStrategy, resolve_with_parts, trained_with
from fedbus.strategies.sgd_rules import sgd_rule_faults
from fedbus.text import counted, listed
from fedbus.training.params import PluginChoice
from fedbus.wire.strategies import Strategy

Rule = Callable[[JobFile, ResolvedStrategy], Iterator[JobFault]]

HALVES: Final = ("feddyn", "scaffold")
"""Ids of algorithms with a half at the server and a half on agents, neither of use alone."""


def strategy_faults(
    job: JobFile,
    /,
    allowed: Collection[str] | None = None,
    *,
    complete: bool = True,
    encryption: EncryptionKeyFacts | None = None,
) -> Iterator[JobFault]:
    """Yield a fault for everything in a job's strategy that cannot be used.

    `allowed` as for `plugins.load`, `encryption` as for `resolve_with_parts`. Of a file that is not
    `complete`, since other keys have faults, the combinations are not checked.
    """
    try:
        resolved = resolve_with_parts(job, allowed, encryption=encryption)
    except StrategyError as error:
        yield from error.faults
        return
    if complete:
        yield from combination_faults(job, resolved)


def combination_faults(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault for each combination of a valid job's settings that cannot work."""
    for rule in RULES:
        yield from rule(job, resolved)


def _enough_updates(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if a round may be committed with fewer updates than the aggregator needs."""
    rule = resolved.strategy.aggregator.id
    least, wanted = resolved.aggregator.get("least_updates", 1), job.round
    if wanted.quorum >= least or wanted.quorum == 0:  # 0 with Poisson sampling: `privacy_rules`
        return
    key = "quorum" if "quorum" in wanted.model_fields_set else "agents"
    got = (
        f"{wanted.quorum}"
        if key == "quorum"
        else f"{wanted.agents}, so a quorum of {wanted.quorum}"
    )
    yield JobFault(
        key=f"round.{key}",
        problem=f"{got}, but {rule} with these parameters needs {counted(least, 'update')}",
        hint=f"give round.agents and round.quorum of at least {least}, or another aggregator: mean "
        "and median need 1",
    )


def _known_population(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if the number of agents is missing, too small, or has no effect."""
    key, strategy = "strategy.population", resolved.strategy
    needed = (resolved.server_optimizer or {}).get("needs_population", False)
    if needed and strategy.population is None:
        hint = f"{strategy.id} needs the number of agents that may take part in the job"
        yield JobFault(key=key, problem="missing", hint=hint)
    elif strategy.population is not None and strategy.population < job.round.agents:
        yield JobFault(
            key=key,
            problem=f"{strategy.population}, but each round asks {job.round.agents} agents "
            "(round.agents)",
            hint="give the number of all agents that may take part in the job",
        )
    elif strategy.population is not None and not needed and not _may_use_population(strategy):
        problem = f"no part of {strategy.id} uses it"
        yield JobFault(key=key, problem=problem, hint="leave it out")


def _may_use_population(strategy: Strategy) -> bool:
    """Return whether the accountant, or a part that fedbus does not ship, gets the population."""
    if strategy.privacy is not None:
        return True
    server = strategy.server_optimizer
    own = server is not None and not is_shipped("server_optimizers", server.id)
    return own or any(
        not is_shipped("update_transforms", each.id) for each in strategy.update_transforms
    )


def _arrays_fit(_: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield faults of arrays that one part uses and the other does not make."""
    strategy = resolved.strategy
    added = (resolved.objective or {}).get("sections", ())
    read = (resolved.objective or {}).get("server_state", ())
    server, agents = strategy.server_optimizer, strategy.objective
    together = "choose both parts of one strategy, as the ids scaffold and feddyn do"
    if missing := _less(strategy.sections, added):
        lacking = _does_not("objective", agents, "add")
        yield JobFault(
            key="strategy.objective",
            problem=f"the server optimizer uses {missing} of each update, and {lacking}",
            hint=together,
        )
    if missing := _less(read, strategy.state):
        lacking = _does_not("server optimizer", server, "keep")
        yield JobFault(
            key="strategy.server_optimizer",
            problem=f"the objective reads {missing} of the server, and {lacking}",
            hint=together,
        )
    if unused := _less(added, strategy.sections):
        lacking = _does_not("server optimizer", server, "use")
        yield JobFault(
            key="strategy.server_optimizer",
            problem=f"the objective adds {unused} to each update, and {lacking}",
            hint=together,
        )


def _all_count_equally(_: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if agents adopt arrays of their own whose update counts less, or not at all."""
    objective, aggregator = resolved.strategy.objective, resolved.strategy.aggregator
    if objective is None or not (resolved.objective or {}).get("after"):
        return
    if resolved.strategy.sections and resolved.strategy.privacy is not None:
        return  # refused by `privacy_rules`
    if not resolved.aggregator.get("weighs_equally"):
        yield JobFault(
            key="strategy.aggregator",
            problem=f"{aggregator.id} with these parameters does not use all updates equally, but "
            f"the server's arrays match those of objective {objective.id!r} on agents only then",
            hint="choose mean with weighted false, or an objective without arrays of its own, such "
            "as proximal",
        )


def _sections_are_sent_as_they_are(_: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if update transforms would leave a part of the update as it is."""
    strategy = resolved.strategy
    if strategy.sections and strategy.update_transforms and strategy.privacy is None:
        yield JobFault(
            key="strategy.update_transforms",
            problem=f"{strategy.update_transforms[0].id} changes the differences of an update "
            f"only, and {strategy.id} adds {listed(map(repr, strategy.sections))} to it, from "
            "which the differences can be computed",
            hint="leave it out, or choose a strategy without such arrays, such as fedprox",
        )


def _two_halves(_: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield faults of one algorithm's halves: both are chosen, and with equal parameters."""
    server, agents = resolved.strategy.server_optimizer, resolved.strategy.objective
    for id_ in HALVES:
        has_server = server is not None and server.id == id_
        if has_server != (agents is not None and agents.id == id_):
            key, kind = ("objective", "server") if has_server else ("server_optimizer", "agents'")
            problem = f"only the {kind} half of {id_} is chosen"
            yield JobFault(key=f"strategy.{key}", problem=problem, hint=f"choose {id_} here too")
    if server is None or agents is None or server.id != agents.id:
        return
    for name in server.parameters.keys() & agents.parameters.keys():
        ours, theirs = server.parameters[name], agents.parameters[name]
        if ours != theirs:
            yield JobFault(
                key=f"strategy.parameters.{name}",
                problem=f"{ours} of the server optimizer, but {theirs} of the objective",
                hint="give it once, here: it reaches both",
            )


def _as_trained(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield faults of an aggregator's parameters about a training that the job does not do."""
    aggregator = resolved.strategy.aggregator
    actual = trained_with(training_params_of(job), resolved.strategy.objective)
    for name in resolved.of_training:
        given = aggregator.parameters.get(name)
        if given is not None and name in actual and given != actual[name]:
            yield JobFault(
                key=f"strategy.parameters.{name}",
                problem=f"{given}, but agents train with {actual[name]}",
                hint="leave it out: it is that of the training",
            )


def _continued_state(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if there is no state to continue, or only a part of it."""
    if not job.strategy.continue_state:
        return
    key, strategy = "strategy.continue_state", resolved.strategy
    if (resolved.objective or {}).get("after"):
        problem = f"agents' own arrays of {strategy.id} are of one job, and would begin at zero"
        yield JobFault(key=key, problem=problem, hint="leave it out")
    elif not strategy.state:
        problem = f"{strategy.id} keeps no state from round to round"
        yield JobFault(key=key, problem=problem, hint="leave it out")


RULES: Final[tuple[Rule, ...]] = (
    _enough_updates,
    sgd_rule_faults,
    _known_population,
    _arrays_fit,
    _all_count_equally,
    _sections_are_sent_as_they_are,
    _two_halves,
    _as_trained,
    _continued_state,
    privacy_rule_faults,
    protection_rule_faults,
    compression_rule_faults,
)


def _less(names: Iterable[str], others: Collection[str]) -> str:
    return listed(repr(name) for name in names if name not in others)


def _does_not(kind: str, choice: PluginChoice | None, verb: str) -> str:
    if choice is None:
        return f"no {kind} {verb}s it"
    return f"{kind} {choice.id!r} does not {verb} it"
