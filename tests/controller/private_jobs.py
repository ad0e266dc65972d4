"""Private jobs for tests: their terms, what they have spent, and the reports of their rounds."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fedbus.wire.messages import JobLoaded, RoundEnded
from fedbus.wire.privacy import Participation, PrivacySpent, PrivacyTerms
from fedbus.wire.round_records import Contributor, Plan, RoundRecord
from fedbus.wire.strategies import Strategy
from tests.controller.harness import (
    COLLECTOR,
    SPEC,
    STRATEGY,
    A,
    B,
    C,
    Harness,
    job_file,
    loaded,
    version,
)

KEY = "1a" * 32
OTHER_KEY = "2b" * 32


def terms(**changes: Any) -> PrivacyTerms:  # noqa: ANN401 - any field
    """State central Gaussian noise for cohorts of three agents."""
    plain = PrivacyTerms(
        mechanism="dp-fixed", release="gaussian", noise_multiplier=1.1, delta=1e-5, cohort=3
    )
    return replace(plain, **changes)


def poisson_terms(**changes: Any) -> PrivacyTerms:  # noqa: ANN401 - any field
    """State Poisson sampling of three from thirty agents."""
    relation, population = "add-or-remove-one", 30
    plain = terms(sampling="poisson", relation=relation, population=population, rate=0.1)
    return replace(plain, **changes)


def strategy(of: PrivacyTerms) -> Strategy:
    """Return federated averaging with these terms."""
    return replace(STRATEGY, privacy=of)


def private_job(of: PrivacyTerms, **changes: Any) -> JobLoaded:  # noqa: ANN401 - any field
    """Build the repository's answer about a job with these terms."""
    return loaded(**({"strategy": strategy(of), "file": job_file(num_rounds=9)} | changes))


def spent(of: PrivacyTerms, entries: int, participations: int = 1) -> PrivacySpent:
    """State what a job has spent after this number of ledger entries."""
    return PrivacySpent(
        mechanism=of.mechanism,
        unit=of.unit,
        relation=of.relation,
        sampling=of.sampling,
        accountant=of.accountant,
        epsilon=0.5 * entries,
        delta=of.delta,
        entries=entries,
        participations=participations,
        model_epsilon=0.5 * entries,
        model_delta=of.delta,
    )


def took_part(count: int, last: int, *agents: str) -> tuple[Participation, ...]:
    """State in how many entries some agents took part, and in which one last."""
    return tuple(Participation(agent=agent, count=count, last=last) for agent in agents)


def committed_privately(
    plan: Plan, of: PrivacyTerms, after: PrivacySpent | None, agents: Iterable[str] | None = None
) -> RoundEnded:
    """Build the report of a committed round; all of the cohort counted if no `agents` are named."""
    counted = plan.cohort if agents is None else tuple(agents)
    record = RoundRecord(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        model="digits",
        parent=plan.base.version,
        spec=SPEC,
        strategy=strategy(of),
        contributors=tuple(
            Contributor(agent=agent, task=plan.task, examples=1, update="d" * 64, metrics={})
            for agent in counted
        ),
        refusals=(),
        metrics={},
        seconds={"collected": 1.0},
        privacy=after,
    )
    return RoundEnded(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        version=version(plan.base.version + 1),
        reason="",
        record=record,
    )


def begin_privately(job: JobLoaded, *agents: str) -> Harness:
    """Lead, with a collector that has a key and some agents, and load a job."""
    harness = Harness()
    harness.introduce_key(COLLECTOR, KEY)
    harness.begin(job, *(agents or (A, B, C)))
    return harness
