"""Rules of commits, of plans and of the state that a strategy keeps, shared by all stores. Pure.

A job does not change its strategy, and each round continues the state that is stored with its base:
so state is neither lost nor used twice, whichever collector or controller was restarted.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import isfinite

from fedbus.text import counted, listed
from fedbus.training.options import impossible_metric
from fedbus.wire.round_records import Contributor, Plan, RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus.wire.strategy_text import strategy_differences
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.privacy_rules import private_commit_fault
from fedbus_repository.stores.protection_rules import protected_commit_fault, protected_plan_fault
from fedbus_repository.stores.records import JobEnd, StoredJob, Version

CONTINUE_STATE = "strategy.continue_state"
"""The key of a job file that asks for the state of the latest version."""

CountedUpdate = tuple[str, int]
"""An update that is part of a committed round of a job: (agent, task)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitContext:
    """The state of a job when a commit arrives.

    Attributes:
        latest: The latest version of the model.
        strategy: The strategy of the job's last round; None before its first one.
        counted: The job's updates for the record's task.
        submitted: The strategy that the job was stored with; None if that is not known.
        entry: The ledger entry of the record's task.
    """

    model: str
    ended: JobEnd | None
    plan: Plan | None
    latest: Version
    strategy: Strategy | None
    counted: Collection[CountedUpdate]
    submitted: Strategy | None = None
    entry: EntryFacts | None = None

    @property
    def private(self) -> Strategy | None:
        """The strategy that the job was stored with, if it has a privacy mechanism."""
        strategy = self.submitted
        return None if strategy is None or strategy.privacy is None else strategy


def commit_fault(record: RoundRecord, context: CommitContext) -> str | None:
    """Return why a round that is not committed yet must be refused; None: it may be committed."""
    if context.ended is not None:
        return f"job {record.job!r} has ended: {context.ended.phase}"
    if record.model != context.model:
        return f"job {record.job!r} trains model {context.model!r}, not {record.model!r}"
    if context.plan is None:
        return f"no round of job {record.job!r} is planned"
    return (
        _plan_fault(record, context.plan)
        or _parent_fault(record, context.latest)
        or _contributor_fault(record, context.plan, context.counted)
        or _strategy_fault(record, context.strategy)
        or private_commit_fault(record, context.private, context.entry)
        or protected_commit_fault(record, context.plan, context.latest, context.submitted)
        or _state_fault(record, context.plan.state)
        or _frozen_fault(record)
        or _thin_fault(record)
        or impossible_metric(record.metrics)
        or None
    )


def plan_fault(plan: Plan, job: StoredJob, base: Version | None) -> str | None:
    """Return why a plan must be refused: its round is committed, or its state not that of its base.

    So only the update for a round's last task can count: a commit for an earlier one is refused.
    """
    if plan.round <= job.rounds:
        return (
            f"the plan of task {plan.task} is for round {plan.round}, which is committed already;"
            f" load job {plan.job!r} again"
        )
    expected = None if base is None else job.state_with(base)
    if plan.state == expected:
        return protected_plan_fault(plan, job, base)
    return (
        f"the plan of task {plan.task} has {_format_state(plan.state)}, where version"
        f" {plan.base.version} is stored with {_format_state(expected)}; load job {plan.job!r}"
        " again"
    )


def continuation_fault(strategy: Strategy | None, latest: Version) -> str | None:
    """Return why a new job cannot continue the state that the latest version is stored with."""
    what = f"version {latest.version} of model {latest.model!r}"
    mend = "leave the key out to begin without a state"
    if latest.job is None:
        return f"{what} was pushed, so no strategy keeps a state with it; {mend}"
    made = f"{what}, of job {latest.job!r},"
    if latest.strategy is None or strategy is None:
        return f"{made} names no strategy; {mend}"
    if differs := strategy_differences(strategy, latest.strategy):
        return f"{made} was made by another strategy: {'; '.join(differs)}; {mend}"
    if latest.state is None:
        return f"strategy {strategy.id!r} keeps no state with {what}; {mend}"
    return None


def _plan_fault(record: RoundRecord, plan: Plan) -> str | None:
    if (record.round, record.task) == (plan.round, plan.task):
        return None
    return (
        f"expected the planned round {plan.round} as task {plan.task},"
        f" got round {record.round} as task {record.task}"
    )


def _parent_fault(record: RoundRecord, latest: Version) -> str | None:
    if record.parent != latest.version:
        return (
            f"expected the latest version {latest.version} of model {record.model!r} as parent,"
            f" got version {record.parent}"
        )
    if record.spec != latest.spec:
        return f"expected the spec of version {latest.version}, got another one"
    return None


def _contributor_fault(
    record: RoundRecord, plan: Plan, updates: Collection[CountedUpdate]
) -> str | None:
    cohort = frozenset(plan.cohort)
    seen: set[str] = set()
    for each in record.contributors:
        if each.agent not in cohort:
            return f"{each.agent} is not in the cohort of task {record.task}"
        if each.task != record.task:
            return f"{each.agent}'s update is for task {each.task}, not for task {record.task}"
        if each.agent in seen:
            return f"{each.agent} is counted twice"
        if (each.agent, each.task) in updates:
            return (
                f"{each.agent}'s update for task {each.task} already counts in job {record.job!r}"
            )
        seen.add(each.agent)
    return None


def _strategy_fault(record: RoundRecord, earlier: Strategy | None) -> str | None:
    strategy = record.strategy
    if earlier is not None and (differs := strategy_differences(strategy, earlier)):
        return (
            f"job {record.job!r} has used another strategy in its earlier rounds:"
            f" {'; '.join(differs)}; submit a new job to change it"
        )
    for each in record.contributors:
        facts = each.facts
        if missing := [name for name in strategy.facts if getattr(facts, name) is None]:
            what = f"{each.agent}'s update lacks {listed(missing)}"
            return f"{what}, which strategy {strategy.id!r} needs"
    return _coefficient_fault(record, record.contributors)


def _coefficient_fault(record: RoundRecord, contributors: Collection[Contributor]) -> str | None:
    found = [each.coefficient for each in contributors if each.coefficient is not None]
    if found and len(found) < len(contributors):
        without = listed(each.agent for each in contributors if each.coefficient is None)
        return f"expected a coefficient of each update or of none, got none of {without}"
    if not all(map(isfinite, (*found, record.base_coefficient))):
        return "expected finite coefficients"
    return None


def _state_fault(record: RoundRecord, before: StrategyState | None) -> str | None:
    strategy, state = record.strategy, record.state
    arrays = None if state is None else state.arrays
    if strategy.state and arrays is None:
        names = listed(strategy.state)
        return f"strategy {strategy.id!r} keeps {names}, and the round has no arrays of its state"
    if arrays is not None and not strategy.state:
        return f"strategy {strategy.id!r} keeps no arrays, and the round has arrays of its state"
    if state is None:
        if before is not None:
            return f"expected the state after {counted(before.rounds + 1, 'round')}, got none"
        return None
    rounds = 1 if before is None else before.rounds + 1
    if state.rounds != rounds:
        return f"expected the state after {counted(rounds, 'round')}, got that after {state.rounds}"
    return None


def _frozen_fault(record: RoundRecord) -> str | None:
    strategy, state = record.strategy, record.state
    if state is None or state.frozen is None or strategy.freezing is not None:
        return None
    return f"strategy {strategy.id!r} freezes nothing, and the round has frozen numbers"


def _thin_fault(record: RoundRecord) -> str | None:
    """Return why a round's thin blob is not the one that its strategy makes, or None."""
    made = () if record.thin is None else record.thin.compression
    if made == record.strategy.download:
        return None
    found, wanted = (listed(step.id for step in each) for each in (made, record.strategy.download))
    return (
        f"strategy {record.strategy.id!r} makes downloads smaller by {wanted or 'no step'}, and the"
        f" round's thin blob is made by {found or 'none'}"
    )


def _format_state(state: StrategyState | None) -> str:
    if state is None:
        return "no state of a strategy"
    arrays = "" if state.arrays is None else f" ({state.arrays.digest[:12]})"
    return f"a strategy's state after {counted(state.rounds, 'round')}{arrays}"
