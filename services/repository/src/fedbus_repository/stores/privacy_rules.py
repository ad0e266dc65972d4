"""Rules of jobs with a privacy mechanism: their bases, plans, ledger entries and commits. Pure.

What a job promises is stored with it, and what it has released is in its ledger: no claim of a
collector or controller counts against these two.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from fedbus.number_text import format_against
from fedbus.privacy.banded import MAX_BANDED_STEPS
from fedbus.privacy.ledger import Composition, Ledger, eligible, planned_composition
from fedbus.privacy.ledger_entries import (
    entry_of_plan,
    is_drawn_by_collector,
    is_entered_with_plan,
    noise_multiplier_of,
)
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.text import counted
from fedbus.wire.messages.job_storage import PlanRefusalKind
from fedbus.wire.privacy import (
    LedgerEntry,
    Participation,
    PrivacyTerms,
)
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy
from fedbus.wire.strategy_text import strategy_differences
from fedbus_repository.stores.ledger_records import AllowedEntry, EntryFacts
from fedbus_repository.stores.records import StoredJob

PRIVACY_KEY: Final = "privacy-mechanisms"
"""The key of a job file that chooses a mechanism."""
TARGET_KEY: Final = "privacy-mechanisms.accounting.target_epsilon"

MAX_LEDGER_ENTRIES: Final = 100_000
MAX_LEDGER_PARTICIPATIONS: Final = 4_000_000
"""Agents of all entries of a job: about 300 MB on disk, and what a restart reads again."""

ROUNDING: Final = 1e-9
"""Relative rounding error of a noise multiplier."""


def first_allowed_entry(terms: PrivacyTerms) -> AllowedEntry:
    """Return the first entry of a new job, in which one agent takes part."""
    after = planned_composition(terms, 1, 1)
    return AllowedEntry(terms=terms, before=Composition(), after=after, earlier=())


@dataclass(frozen=True, slots=True)
class PlanFault:
    """Why a plan breaks its job's terms, and what of it does."""

    kind: PlanRefusalKind
    reason: str


def private_plan_fault(
    plan: Plan, job: StoredJob, terms: PrivacyTerms, ledger: Ledger, asked: int
) -> PlanFault | None:
    """Return why a plan breaks its job's terms, whatever its ε; None: it does not.

    `asked` is the number of agents in all entries of the ledger.
    """
    if full := full_ledger(plan, terms, ledger.entries, asked):
        return PlanFault("ledger-full", full)
    if key := _key_fault(plan, job, terms):
        return PlanFault("key", key)
    cohort = cohort_fault(plan, terms) or ledger.participation_fault(terms, plan.cohort)
    return PlanFault("cohort", cohort) if cohort else None


def cohort_fault(plan: Plan, terms: PrivacyTerms | None) -> str | None:
    """Return why a plan's cohort cannot be asked; only Poisson sampling may draw no agent."""
    poisson = terms is not None and terms.poisson
    if not poisson and not (plan.cohort and plan.quorum):
        return f"the plan of task {plan.task} asks no agent, or needs no update"
    if len({*plan.cohort}) < len(plan.cohort):
        return f"the plan of task {plan.task} asks an agent twice"
    return None


def full_ledger(plan: Plan, terms: PrivacyTerms, entries: int, asked: int) -> str | None:
    """Return why a job's ledger has no room for another round, or None.

    `asked` is the number of agents in all of its entries. The job ends with this sentence, which
    every user may read: it does not tell how many agents a secret cohort had.
    """
    most = MAX_BANDED_STEPS if terms.correlated else MAX_LEDGER_ENTRIES
    if entries >= most:
        return f"the ledger of job {plan.job!r} is full: it has {entries} of {most} entries"
    if asked + len(plan.cohort) > MAX_LEDGER_PARTICIPATIONS:
        return (
            f"the ledger of job {plan.job!r} is full: with another round it would have more than"
            f" {MAX_LEDGER_PARTICIPATIONS} participations of agents"
        )
    return None


def features_fault(plan: Plan, ledger: Ledger) -> str | None:
    """Return why a plan may not train on its features: no entry has paid for them; or None."""
    for each in plan.features:
        if ledger.participation(each.agent) is None:
            return (
                f"the plan of task {plan.task} has features of {each.agent}, which no plan of job"
                f" {plan.job!r} has asked for them"
            )
    return None


def composition_after(plan: Plan, terms: PrivacyTerms, ledger: Ledger) -> Composition:
    """Return what a ledger is composed of, at the most, after a round as it is planned."""
    if is_entered_with_plan(terms):
        entry = entry_of_plan(plan, terms)
        return ledger.composition_with(entry.agents, entry.noise_multiplier)
    fewest = noise_multiplier_of(terms, max(1, plan.quorum))
    return ledger.composition_with(plan.cohort, fewest)


def noise_fault(entry: LedgerEntry, job: StoredJob, ledger: Ledger) -> str | None:
    """Return why an entry that is not in the ledger must be refused, whatever its ε; or None."""
    if job.terms is None:
        return f"job {job.job!r} has no privacy mechanism, so its ledger takes no entry"
    return (
        ledger.task_fault(entry)
        or _task_fault(entry, job)
        or _entry_fault(entry, job.terms, job.plan.cohort if job.plan else ())
        or ledger.participation_fault(job.terms, entry.agents)
    )


def private_commit_fault(
    record: RoundRecord, private: Strategy | None, found: EntryFacts | None
) -> str | None:
    """Return why a round must be refused for what it says about privacy, or None.

    Args:
        record: The round.
        private: The strategy that the job was stored with; None: the job has no mechanism.
        found: The ledger entry of the record's task.
    """
    if private is None or private.privacy is None:
        return _open_fault(record)
    if differs := strategy_differences(record.strategy, private):
        return (
            f"the round's strategy is not that which job {record.job!r} was stored with: "
            f"{'; '.join(differs)}"
        )
    if found is None:
        return (
            f"the ledger of job {record.job!r} has no entry for task {record.task}: it must be"
            " stored before noise is drawn"
        )
    if not record.contributors and not private.privacy.poisson:
        return _no_contributor(record)
    if record.privacy != found.spent:
        return f"expected what the ledger states as spent with task {record.task}, got another ε"
    return _combined_fault(record, found.entry)


def ordered_by_use(
    terms: PrivacyTerms, participations: Collection[Participation], entries: int
) -> tuple[Participation, ...]:
    """Order what a ledger says about agents: first those that must not take part next.

    So a message that has no room for all of them leaves out those that matter least.
    """
    return tuple(
        sorted(participations, key=lambda each: (eligible(terms, each, entries), -each.last))
    )


def ordered_by_plan(
    plan: Plan, terms: PrivacyTerms, participations: Collection[Participation], entries: int
) -> tuple[Participation, ...]:
    """Order what a ledger says about agents for the refusal of a plan: first that plan's cohort.

    Then those that must not take part next, in another order for each task. So even where a message
    has room for few of many agents, every refusal tells the controller of agents that it does not
    know of, and a plan that can be stored follows.
    """
    asked = frozenset(plan.cohort)

    def order(each: Participation) -> tuple[bool, bool, int, int]:
        own = each.agent in asked
        turn = crc32(f"{plan.task}/{each.agent}".encode())
        return (not own, eligible(terms, each, entries), -each.count if own else 0, turn)

    return tuple(sorted(participations, key=order))


def _key_fault(plan: Plan, job: StoredJob, terms: PrivacyTerms) -> str | None:
    if not is_drawn_by_collector(terms):
        return None
    if plan.noise_key is None:
        return (
            f"the plan of task {plan.task} names no noise key, and collectors draw the noise of"
            f" job {plan.job!r}; give all collectors one key (`fedbus privacy key FILE`,"
            " FEDBUS_NOISE_KEY)"
        )
    if job.noise_key not in {None, plan.noise_key}:
        return (
            f"the plan of task {plan.task} has the noise key {plan.noise_key[:12]}, and job"
            f" {plan.job!r} began with the key {job.noise_key[:12]}; give collectors that key again"
        )
    return None


def _task_fault(entry: LedgerEntry, job: StoredJob) -> str | None:
    if job.ended is not None:
        return f"job {job.job!r} has ended: {job.ended.phase}"
    if job.plan is None:
        return f"no round of job {job.job!r} is planned"
    if (entry.round, entry.task) != (job.plan.round, job.plan.task):
        return (
            f"expected an entry of the planned round {job.plan.round} as task {job.plan.task},"
            f" got one of round {entry.round} as task {entry.task}"
        )
    if job.plan.round <= job.rounds:
        return f"round {job.plan.round} of job {job.job!r} is committed already"
    return None


def _entry_fault(entry: LedgerEntry, terms: PrivacyTerms, cohort: Sequence[str]) -> str | None:
    if entry.updates is None:
        return f"the entry of task {entry.task} lacks the digest of the updates that are combined"
    if not entry.agents and not terms.poisson:
        return f"the entry of task {entry.task} names no agent"
    if outside := [agent for agent in entry.agents if agent not in frozenset(cohort)]:
        return f"{outside[0]} is not in the cohort of task {entry.task}"
    if len({*entry.agents}) < len(entry.agents):
        return f"the entry of task {entry.task} names an agent twice"
    most = noise_multiplier_of(terms, len(entry.agents))
    if entry.noise_multiplier > most * (1 + ROUNDING):
        return (
            f"the entry of task {entry.task} states the noise multiplier"
            f" {format_against(entry.noise_multiplier, most)}, and"
            f" {counted(len(entry.agents), 'update')} of job {entry.job!r} have"
            f" {most:.4g}"
        )
    return None


def _open_fault(record: RoundRecord) -> str | None:
    if record.privacy is not None or record.strategy.privacy is not None:
        return f"job {record.job!r} has no privacy mechanism, and the round states an ε or terms"
    return None if record.contributors else _no_contributor(record)


def _no_contributor(record: RoundRecord) -> str:
    return f"round {record.round} combines no update; only with Poisson sampling it may"


def _combined_fault(record: RoundRecord, entry: LedgerEntry) -> str | None:
    if entry.updates is None:  # stored with the plan, whose cohort has all contributors
        return None
    same = {*entry.agents} == {each.agent for each in record.contributors}
    if same and entry.updates == digest_of_update_set(record.contributors):
        return None
    return (
        f"the round combines other updates than the ledger's entry for task {record.task}, whose"
        " noise is in it"
    )
