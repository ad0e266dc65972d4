"""Spent ε of a job and of its model, and the sentence that refuses a job more of it.

`accounting` imports `dp_accounting` in the first call.
"""

from collections.abc import Iterable
from math import fsum

from fedbus.number_text import format_conservatively
from fedbus.privacy.accounting import account, epsilon_of, round_up
from fedbus.privacy.ledger import Composition
from fedbus.text import counted
from fedbus.wire.privacy import PrivacySpent, PrivacyTerms


def spent_of(
    terms: PrivacyTerms,
    composition: Composition,
    earlier: Iterable[tuple[float | None, float]] = (),
) -> PrivacySpent:
    """Return what a job has spent, and what all jobs that trained its model have spent together.

    Args:
        terms: Those of the job.
        composition: What its ledger adds up to.
        earlier: ε, None if unknown, and δ of each other job that trained the model.

    Raises:
        PluginError: `dp_accounting` is not installed.
    """
    found = account(terms, composition)
    others = list(earlier)
    known = [epsilon for epsilon, _ in others if epsilon is not None]
    total: float | None = None
    if found.epsilon is not None and len(known) == len(others):
        total = fsum([found.epsilon, *known])
        total = total if not known else round_up(total)
    return PrivacySpent(
        mechanism=terms.mechanism,
        unit=terms.unit,
        relation=terms.relation,
        sampling=terms.sampling,
        accountant=found.accountant,
        epsilon=found.epsilon,
        delta=terms.delta,
        target_epsilon=terms.target_epsilon,
        entries=composition.entries,
        participations=composition.participations,
        model_epsilon=total,
        model_delta=fsum([terms.delta, *(delta for _, delta in others)]),
    )


def budget_fault(terms: PrivacyTerms, before: Composition, after: Composition) -> str | None:
    """Return why a job may not have the release that makes its ledger `after`; None: it may.

    Raises:
        PluginError: `dp_accounting` is not installed.
    """
    target = terms.target_epsilon
    if target is None:
        return None
    wanted = epsilon_of(terms, after)
    if wanted is not None and wanted <= target:
        return None
    more = "no finite ε" if wanted is None else _format_epsilon(wanted)
    if not before.entries:
        return f"the privacy budget of ε {target:g} is too small: the first round would give {more}"
    spent = epsilon_of(terms, before)
    had = "no finite ε" if spent is None else f"ε {_format_epsilon(spent)}"
    return (
        f"the privacy budget is spent: {had} of {target:g} after "
        f"{counted(before.entries, 'ledger entry')}; one more would give {more}"
    )


def _format_epsilon(value: float) -> str:
    return format_conservatively(value, 3, lower_is_better=True)
