"""Check of a job's ledger: its limits, its ε, and that each committed round has its entry. Pure.

Entries are counted and composed a second time, without `Ledger`; only `dp_accounting` makes an ε of
the result, since there is no second accountant.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Final

from fedbus.privacy.accounting import account
from fedbus.privacy.ledger import Composition
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.simulation.stored_records import EntryLike, RecordsError
from fedbus.wire.privacy import LedgerEntry, PrivacyTerms
from fedbus.wire.round_records import RoundRecord

CLOSE: Final = 1e-9
"""Relative difference up to which a noise multiplier is the expected one."""
_EACH_AGENT: Final = frozenset({"laplace", "randomized-response", "dp-sgd", "features"})
"""Releases whose entries are stored with the plan."""


def check_ledger(
    job: str, terms: PrivacyTerms, ledger: Sequence[EntryLike], records: Iterable[RoundRecord]
) -> None:
    """Check a job's whole ledger, and its committed rounds against it.

    Raises:
        RecordsError: An entry breaks a limit of the job or states another ε than it costs, or a
            round has no entry, or one of other updates.
    """
    entries = [each.entry for each in ledger]
    _check_order(job, entries)
    _check_participations(job, terms, entries)
    for number, each in enumerate(ledger, start=1):
        _check_multiplier(job, terms, each.entry)
        _check_spent(job, terms, entries[:number], each)
    by_task = {each.entry.task: each for each in ledger}
    for record in records:
        _check_round(record, by_task.get(record.task))


def composed(entries: Sequence[LedgerEntry]) -> Composition:
    """Return what a ledger with these entries adds up to, counted a second time."""
    steps: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        for agent in entry.agents:
            steps.setdefault(agent, []).append(number)
    weights = [0.0 if not each.noise_multiplier else each.noise_multiplier**-2 for each in entries]
    # Added in the order of the ledger, as another order may round the last digit differently.
    sums = [[*accumulate(weights[at] for at in own)][-1] for own in steps.values()]
    gaps = [later - at for own in steps.values() for at, later in pairwise(own)]
    bare = any(not each.noise_multiplier and each.agents for each in entries)
    return Composition(
        entries=len(entries),
        participations=max((len(own) for own in steps.values()), default=0),
        precision=math.inf if bare else max(sums, default=0.0),
        multipliers=tuple(sorted(Counter(each.noise_multiplier for each in entries).items())),
        separation=min(gaps, default=None),
    )


def _check_order(job: str, entries: Sequence[LedgerEntry]) -> None:
    """Check that tasks and rounds increase, so that no task has two entries."""
    for before, entry in pairwise(entries):
        if entry.task <= before.task or entry.round < before.round:
            raise RecordsError(
                f"the ledger of job {job!r} has round {entry.round} as task {entry.task} after"
                f" round {before.round} as task {before.task}"
            )
    if foreign := [entry.job for entry in entries if entry.job != job]:
        raise RecordsError(f"the ledger of job {job!r} has an entry of job {foreign[0]!r}")


def _check_participations(job: str, terms: PrivacyTerms, entries: Sequence[LedgerEntry]) -> None:
    had: dict[str, list[int]] = {}
    for number, entry in enumerate(entries, start=1):
        for agent in entry.agents:
            had.setdefault(agent, []).append(number)
    for agent, numbers in had.items():
        gaps = [later - at for at, later in pairwise(numbers)]
        most = terms.max_participations
        if min(gaps, default=terms.min_separation) < terms.min_separation or (
            most is not None and len(numbers) > most
        ):
            raise RecordsError(
                f"{agent} takes part in the entries {numbers} of job {job!r}, whose min_separation"
                f" is {terms.min_separation} and max_participations {most}"
            )


def _check_multiplier(job: str, terms: PrivacyTerms, entry: LedgerEntry) -> None:
    expected = terms.noise_multiplier
    by_shares = terms.noise == "agents" and not _is_of_each_agent(terms)
    if by_shares:
        expected *= math.sqrt(min(len(entry.agents), terms.cohort) / terms.cohort)
    if not math.isclose(entry.noise_multiplier, expected, rel_tol=CLOSE):
        raise RecordsError(
            f"task {entry.task} of job {job!r} is accounted with the noise multiplier"
            f" {entry.noise_multiplier}; {len(entry.agents)} updates have {expected}"
        )


def _check_spent(
    job: str, terms: PrivacyTerms, entries: Sequence[LedgerEntry], each: EntryLike
) -> None:
    """Check what an entry states as spent: with the entries up to it."""
    made, spent = composed(entries), each.spent
    found = account(terms, made)
    what = f"entry {len(entries)} of job {job!r}"
    counts = (spent.entries, spent.participations)
    if counts != (made.entries, made.participations):
        raise RecordsError(f"{what} counts {counts}, expected {made.entries, made.participations}")
    if (spent.epsilon, spent.accountant, spent.delta) != (
        found.epsilon,
        found.accountant,
        terms.delta,
    ):
        raise RecordsError(f"{what} states ε {spent.epsilon}, and it costs {found.epsilon}")
    target = terms.target_epsilon
    if target is not None and (spent.epsilon is None or spent.epsilon > target):
        raise RecordsError(f"{what} has ε {spent.epsilon}, above the budget {target}")
    unknown = spent.model_epsilon is None
    if spent.epsilon is None or unknown:
        if not unknown:
            raise RecordsError(f"{what} has no finite ε, and its model has {spent.model_epsilon}")
    elif spent.model_epsilon is not None and spent.model_epsilon < spent.epsilon:
        raise RecordsError(f"{what} costs {spent.epsilon}, and its model {spent.model_epsilon}")


def _check_round(record: RoundRecord, found: EntryLike | None) -> None:
    what = f"round {record.round} of job {record.job!r}"
    if found is None:
        raise RecordsError(f"{what} has no ledger entry for its task {record.task}")
    entry, combined = found.entry, {one.agent for one in record.contributors}
    if entry.round != record.round or record.privacy != found.spent:
        raise RecordsError(f"{what} states other figures than its ledger entry")
    if entry.updates is None:
        if not combined <= {*entry.agents}:
            raise RecordsError(f"{what} counts an agent that its ledger entry does not name")
    elif combined != {*entry.agents} or entry.updates != digest_of_update_set(record.contributors):
        raise RecordsError(f"{what} combines other updates than its ledger entry names")


def _is_of_each_agent(terms: PrivacyTerms) -> bool:
    """Return whether each agent's noise protects it alone, so that nothing adds up."""
    return terms.release in _EACH_AGENT or terms.relation == "replace-one"
