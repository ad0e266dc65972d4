"""Ledger entries of a round: when each is stored, by whom, and what it holds. Pure.

The node that draws the noise decides. If each agent protects its own data against the collector,
the repository stores the entry with the plan: each agent that is asked may release something. In
all other cases the collector has it stored once it knows which updates it combines.
"""

from collections.abc import Iterable
from math import sqrt

from fedbus.privacy.update_set import digest_of_update_set
from fedbus.wire.privacy import LedgerEntry, PrivacyTerms
from fedbus.wire.round_records import Contributor, Plan


def is_entered_with_plan(terms: PrivacyTerms) -> bool:
    """Return whether what each agent sends is protected by itself, also against the collector."""
    return terms.entered == "with-plan"


def is_drawn_by_collector(terms: PrivacyTerms) -> bool:
    """Return whether the collector draws the noise, so that a plan must name its key."""
    return terms.noise == "collector"


def entry_of_plan(plan: Plan, terms: PrivacyTerms) -> LedgerEntry:
    """Return the entry that is stored with a plan: all asked agents may have released something."""
    return _entry(plan, plan.cohort, None, terms.noise_multiplier)


def trains_on_features(plan: Plan, terms: PrivacyTerms) -> bool:
    """Return whether a plan releases nothing: an entry before it has the features that it uses."""
    return terms.release == "features" and bool(plan.features)


def entry_of_round(
    plan: Plan, terms: PrivacyTerms, contributors: Iterable[Contributor]
) -> LedgerEntry:
    """Return the entry that the collector has stored before it combines these updates.

    Args:
        plan: The round's plan.
        terms: What the job promises.
        contributors: The updates that count, in any order.
    """
    if is_entered_with_plan(terms):
        return entry_of_plan(plan, terms)
    combined = {each.agent: each for each in contributors}
    agents = tuple(agent for agent in plan.cohort if agent in combined)
    multiplier = noise_multiplier_of(terms, len(agents))
    return _entry(plan, agents, digest_of_update_set(combined.values()), multiplier)


def noise_multiplier_of(terms: PrivacyTerms, came: int) -> float:
    """Return the noise multiplier of a sum of `came` updates.

    If the agents draw the noise, each adds an equal share of the variance that a whole cohort has
    together, so fewer updates have less. More than wanted count as a whole cohort.
    """
    if terms.noise == "collector":
        return terms.noise_multiplier
    return terms.noise_multiplier * sqrt(min(came, terms.cohort) / terms.cohort)


def _entry(
    plan: Plan, agents: tuple[str, ...], updates: str | None, noise_multiplier: float
) -> LedgerEntry:
    return LedgerEntry(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        agents=agents,
        updates=updates,
        noise_multiplier=noise_multiplier,
    )
