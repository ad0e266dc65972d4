"""Combinations of a privacy mechanism with a job's strategy and training that cannot work. Pure.

Each rule is one function in `PRIVACY_RULES`, as those of `combinations`.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.errors import PluginError
from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.mechanism_cohort import POISSON
from fedbus.jobs.privacy_consistency import ACCOUNTING, PRIVACY
from fedbus.limits import MAX_TRANSFORMS
from fedbus.privacy.banded import MAX_BANDED_STEPS
from fedbus.privacy.budget import budget_fault
from fedbus.privacy.ledger import Composition, planned_composition
from fedbus.privacy.terms_faults import terms_faults
from fedbus.strategies.mechanism_rules import MECHANISM_RULES, UNKNOWN_STEPS
from fedbus.strategies.mistnet_rules import MISTNET, mistnet_faults
from fedbus.strategies.privacy_terms import AVERAGING
from fedbus.strategies.resolution import ResolvedStrategy
from fedbus.text import counted, listed
from fedbus.training.dp_sgd import NO_DP_SGD_OPTIMIZERS
from fedbus.wire.privacy import PrivacyTerms

_SENT: Final = frozenset({"norm_bit"})
"""Facts that an agent sends under a privacy mechanism, protected as the update is."""
_BY_METRICS: Final = frozenset({"reducelronplateau", "earlystopping", "terminateonnan"})
"""Schedulers that decide by metrics of the training data, which have no noise."""


_OF_MEAN: Final = frozenset(n for n, rules in MECHANISM_RULES.items() if rules.fixed_denominator)
"""Mechanisms whose noise is worth less with another aggregator."""


def privacy_rule_faults(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault for each combination with the job's privacy mechanism that cannot work."""
    terms = resolved.strategy.privacy
    if terms is None:
        return
    yield from terms_faults(terms)
    yield from _sections(resolved, terms)
    yield from _facts(resolved, terms)
    yield from _transforms(resolved)
    yield from _empty_rounds(resolved, terms)
    yield from _rounds_of_banded_noise(job, terms)
    if terms.mechanism == MISTNET:
        yield from mistnet_faults(job, resolved)
    if terms.mechanism == "dp-sgd":
        yield from _trained_by_torch(job)
        yield from _accounted_gradients(job)


def cohort_fault(job: JobFile, trainers: int) -> JobFault | None:
    """Return the fault of a job that wants more agents in a round, or in a row, than there are.

    Args:
        job: The job.
        trainers: The number of agents that train, online or not, as far as the caller knows.
    """
    chosen = job.privacy_mechanisms.chosen
    wanted = None if chosen is None else chosen[1].cohort
    if chosen is None or wanted is None:
        return None
    known = f"{counted(trainers, 'agent')} that can train {'is' if trainers == 1 else 'are'} known"
    if wanted > trainers:
        return JobFault(
            key=f"{PRIVACY}.{chosen[0]}.num_sampled_clients",
            problem=f"{wanted}, but {known}: each mean is divided by {wanted}, so updates would "
            "count for less than they are",
            hint=f"give {trainers} or less, or start more agents first"
            if trainers
            else "start agents",
        )
    apart = chosen[1].separation
    if wanted * apart > trainers:
        return JobFault(
            key=f"{PRIVACY}.{chosen[0]}.min_separation",
            problem=f"{apart} rounds of {wanted} different agents need {wanted * apart} agents, "
            f"but {known}",
            hint=f"give {trainers // wanted} or less, or start more agents first",
        )
    return None


def first_round_fault(terms: PrivacyTerms, aggregator: str = AVERAGING) -> JobFault | None:
    """Return the fault of a job whose budget is too small for a single round.

    The first ε that a process computes takes two seconds: `dp_accounting` is imported for it. So
    a controller leaves this to the repository. Without that package there is no fault.
    """
    if terms.target_epsilon is None or terms.steps == UNKNOWN_STEPS:
        return None
    try:
        reason = budget_fault(terms, Composition(), planned_composition(terms, 1, 1))
    except PluginError:
        return None
    if reason is None:
        return None
    hint = budget_hint(terms, aggregator)
    return JobFault(key=f"{ACCOUNTING}.target_epsilon", problem=reason, hint=hint)


def budget_hint(terms: PrivacyTerms, aggregator: str = AVERAGING) -> str:
    """Return how to mend a budget that is too small for a single round."""
    noise = (
        f"give a greater one, or more noise in {_key(terms)}: `fedbus privacy plan` says how much"
    )
    of_mean = terms.mechanism in _OF_MEAN and terms.noise != "agents"
    if aggregator == AVERAGING or not of_mean:
        return noise
    return (
        f"choose the aggregator {AVERAGING}: what {aggregator} returns, one agent may change by "
        f"twice the clipping norm, so the same noise gives a larger ε; or {noise}"
    )


def _key(terms: PrivacyTerms) -> str:
    return f"{PRIVACY}.{terms.mechanism}"


def _sections(resolved: ResolvedStrategy, terms: PrivacyTerms) -> Iterator[JobFault]:
    strategy = resolved.strategy
    if strategy.sections:
        yield JobFault(
            key=_key(terms),
            problem=f"it bounds and noises the differences of an update only, and {strategy.id} "
            f"adds {listed(map(repr, strategy.sections))} to it",
            hint="choose a strategy without such arrays, such as fedprox or fedadam",
        )


def _facts(resolved: ResolvedStrategy, terms: PrivacyTerms) -> Iterator[JobFault]:
    strategy = resolved.strategy
    asked = [name for name in strategy.facts if name not in _SENT]
    if asked and not strategy.sections:
        yield JobFault(
            key=_key(terms),
            problem=f"{strategy.id} needs {listed(map(repr, asked))} of each agent, exact figures "
            "of its data that have no noise, so agents do not send them",
            hint="choose a strategy that needs none, such as fedavg, fedprox or fedadam",
        )


def _transforms(resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault if the mechanism is one transform more than a message may have."""
    transforms = len(resolved.strategy.update_transforms)
    if transforms > MAX_TRANSFORMS:
        yield JobFault(
            key="strategy.update_transforms",
            problem=f"expected at most {MAX_TRANSFORMS - 1} beside a privacy mechanism, got "
            f"{transforms - 1}",
        )


def _empty_rounds(resolved: ResolvedStrategy, terms: PrivacyTerms) -> Iterator[JobFault]:
    least = resolved.aggregator.get("least_updates", 1)
    if terms.poisson and least > 1:
        yield JobFault(
            key=f"{ACCOUNTING}.sampling",
            problem=f"{POISSON}, so a round may have no update, but "
            f"{resolved.strategy.aggregator.id} with these parameters needs "
            f"{counted(least, 'update')}",
            hint="leave it out, or choose another aggregator: mean and median need none",
        )


def _rounds_of_banded_noise(job: JobFile, terms: PrivacyTerms) -> Iterator[JobFault]:
    """Yield a fault if a round could not be told all earlier ones, whose noise it draws again."""
    if terms.correlated and job.num_rounds > MAX_BANDED_STEPS:
        yield JobFault(
            key="num_rounds",
            problem=f"{job.num_rounds}, but with {terms.mechanism} each round draws the noise of "
            f"all earlier ones again, at most {MAX_BANDED_STEPS}",
            hint=f"give {MAX_BANDED_STEPS} or less, or choose dp-fixed",
        )


def _trained_by_torch(job: JobFile) -> Iterator[JobFault]:
    if job.plugins.trainer not in {None, "torch"}:
        yield JobFault(
            key="plugins.trainer",
            problem=f"'{job.plugins.trainer}', but only torch trains with dp-sgd",
            hint="choose torch, or dp-fixed, which works with every trainer",
        )


def _accounted_gradients(job: JobFile) -> Iterator[JobFault]:
    """Yield faults of a training that sees more of the data than its noisy gradients."""
    optimizer = job.optimizer_config.optimizer
    if optimizer in NO_DP_SGD_OPTIMIZERS:
        yield JobFault(
            key="optimizer_config.optimizer",
            problem=f"'{optimizer}', but it {NO_DP_SGD_OPTIMIZERS[optimizer]}",
            hint="choose sgd or adam",
        )
    for key, scheduler in _schedulers(job):
        if scheduler in _BY_METRICS:
            yield JobFault(
                key=key,
                problem=f"'{scheduler}', but it decides by metrics of the training data, which "
                "have no noise",
                hint="choose one that counts steps, such as steplr",
            )
    if job.round.precision == "mixed":
        yield JobFault(
            key="round.precision",
            problem="'mixed', but dp-sgd computes in full precision only",
            hint="leave it out",
        )


def _schedulers(job: JobFile) -> Iterator[tuple[str, str | None]]:
    """Yield all schedulers of a job with their keys; parts of a chain, too."""
    warmup = job.warmup_config
    yield "warmup_config.scheduler", warmup.scheduler
    for key, config in (
        ("scheduler_config", job.scheduler_config),
        ("warmup_config.scheduler_conf", warmup.scheduler_conf),
    ):
        yield f"{key}.scheduler", config.scheduler
        for number, part in enumerate(config.schedulers or ()):
            yield f"{key}.schedulers[{number}].scheduler", part.scheduler
