"""The check of a ledger finds whatever understates what was released; each finding is tried."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fedbus.privacy.budget import spent_of
from fedbus.privacy.ledger import Ledger
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.simulation.ledger_check import check_ledger, composed
from fedbus.simulation.stored_records import RecordsError
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef
from fedbus.wire.privacy import LedgerEntry, PrivacyTerms
from fedbus.wire.round_records import Contributor, RoundRecord
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.ledger_records import EntryFacts
from tests.fedbus.privacy.contributors import contributors_of

TERMS = PrivacyTerms(
    mechanism="dp-fixed", release="gaussian", noise_multiplier=4.0, delta=1e-5, cohort=2
)
COHORTS = (("agent.a", "agent.b"), ("agent.b",), ("agent.a", "agent.c"))


def updates_of(task: int, agents: Sequence[str]) -> dict[str, str]:
    """Digests of updates, other ones for each task."""
    return {agent: f"{task}{agent[-1]}".ljust(64, "0").translate({99: 102}) for agent in agents}


def stored(terms: PrivacyTerms = TERMS, cohorts: Sequence[Sequence[str]] = COHORTS) -> list[Any]:
    """A ledger as the repository stores it: task 2 for round 1, and so on."""
    found, ledger = [], Ledger()
    for number, agents in enumerate(cohorts, start=1):
        entry = LedgerEntry(
            job="job-1",
            round=number,
            task=number + 1,
            agents=tuple(agents),
            updates=digest_of_update_set(contributors_of(updates_of(number + 1, agents))),
            noise_multiplier=terms.noise_multiplier,
        )
        ledger.append(entry)
        found.append(EntryFacts(entry=entry, spent=spent_of(terms, ledger.composition())))
    return found


def record_of(each: EntryFacts, terms: PrivacyTerms = TERMS, **changes: Any) -> RoundRecord:  # noqa: ANN401 - any field
    """The record of the round that an entry was stored for."""
    entry = each.entry
    updates = updates_of(entry.task, entry.agents)
    made = RoundRecord(
        job=entry.job,
        round=entry.round,
        task=entry.task,
        model="tiny",
        parent=entry.round,
        spec=BlobRef(digest="0" * 64, size=1),
        strategy=Strategy(id="fedavg", aggregator=PluginChoice(id="mean"), privacy=terms),
        contributors=tuple(
            Contributor(agent=agent, task=entry.task, examples=1, update=update, metrics={})
            for agent, update in updates.items()
        ),
        refusals=(),
        metrics={},
        seconds={},
        privacy=each.spent,
    )
    return replace(made, **changes)


def check(ledger: Sequence[EntryFacts], *records: RoundRecord, terms: PrivacyTerms = TERMS) -> None:
    """Check them."""
    check_ledger("job-1", terms, ledger, records)


def fault(ledger: Sequence[EntryFacts], *records: RoundRecord, **more: Any) -> str:  # noqa: ANN401 - of `check`
    """Return what the check finds."""
    with pytest.raises(RecordsError) as found:
        check(ledger, *records, **more)
    return str(found.value)


def entry_of(ledger: list[Any], at: int, **changes: Any) -> list[Any]:  # noqa: ANN401 - any field
    """Return a ledger with another entry."""
    changed = replace(ledger[at], entry=replace(ledger[at].entry, **changes))
    return [*ledger[:at], changed, *ledger[at + 1 :]]


def spent(ledger: list[Any], at: int, **changes: Any) -> list[Any]:  # noqa: ANN401 - any field
    """Return a ledger that states something else as spent."""
    changed = replace(ledger[at], spent=replace(ledger[at].spent, **changes))
    return [*ledger[:at], changed, *ledger[at + 1 :]]


def test_a_true_ledger_passes() -> None:
    """Also one with an entry whose round failed."""
    ledger = stored()
    check(ledger, record_of(ledger[0]), record_of(ledger[2]))
    check([])


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, sampling="poisson", rate=0.1, relation="add-or-remove-one"),
        replace(TERMS, release="metric", noise_multiplier=0.0, delta=0.0),
        replace(TERMS, release="banded", bands=2),
        replace(TERMS, release="laplace", noise="agents", relation="replace-one"),
    ],
    ids=lambda terms: terms.release + terms.sampling,
)
def test_counts_are_those_of_the_ledger(terms: PrivacyTerms) -> None:
    """A second count makes the same composition, for every kind of release."""
    ledger = stored(terms)
    check(ledger, *(record_of(each, terms) for each in ledger), terms=terms)
    entries = [each.entry for each in ledger]
    assert composed(entries) == Ledger(entries).composition()
    assert composed([]) == Ledger().composition()


def test_an_order_that_no_job_has_is_found() -> None:
    """One task has one entry, and entries are of this job."""
    ledger = stored()
    assert "as task 2 after round 1 as task 2" in fault(entry_of(ledger, 1, task=2))
    assert "has round 1 as task 4 after round 2" in fault(entry_of(ledger, 2, round=1))
    assert "has an entry of job 'job-2'" in fault(entry_of(ledger, 1, job="job-2"))


def test_limits_of_participations_hold() -> None:
    """They count entries, committed or not."""
    assert "agent.b takes part in the entries [1, 2]" in fault(
        stored(), terms=replace(TERMS, min_separation=2)
    )
    check(stored(), terms=replace(TERMS, max_participations=2))
    assert "takes part in the entries" in fault(
        stored(), terms=replace(TERMS, max_participations=1)
    )


def test_another_noise_multiplier_is_found() -> None:
    """If the agents draw the noise together, fewer of them have less."""
    more = entry_of(stored(), 1, noise_multiplier=4.1)
    assert "is accounted with the noise multiplier 4.1; 1 updates have 4.0" in fault(more)
    shares = replace(TERMS, noise="agents")
    assert "1 updates have 2.828" in fault(stored(shares), terms=shares)


def test_an_epsilon_that_is_too_small_is_found() -> None:
    """Also a count, and the model's ε."""
    ledger = stored()
    low = spent(ledger, 2, epsilon=0.5, model_epsilon=0.5)
    assert "entry 3 of job 'job-1' states ε 0.5, and it costs" in fault(low)
    assert "entry 2 of job 'job-1' counts (1, 2)" in fault(spent(ledger, 1, entries=1))
    assert "and its model 0.1" in fault(spent(ledger, 0, model_epsilon=0.1))
    check(spent(ledger, 0, model_epsilon=None))
    metric = replace(TERMS, release="metric", noise_multiplier=0.0, delta=0.0)
    known = spent(stored(metric), 0, model_epsilon=1.0)
    assert "no finite ε, and its model has 1.0" in fault(known, terms=metric)


def test_a_budget_that_is_exceeded_is_found() -> None:
    """A ledger with a target never goes beyond it."""
    ledger = stored()
    top = ledger[-1].spent.epsilon
    check(ledger, terms=replace(TERMS, target_epsilon=top))
    assert "above the budget" in fault(ledger, terms=replace(TERMS, target_epsilon=top / 2))


def test_a_round_without_its_entry_is_found() -> None:
    """Its noise would not be accounted for."""
    ledger = stored()
    last = record_of(ledger[2])
    assert "round 3 of job 'job-1' has no ledger entry for its task 4" in fault(ledger[:2], last)
    states = "states other figures than its ledger entry"
    assert states in fault(ledger, replace(last, privacy=ledger[1].spent))
    assert states in fault(ledger, replace(last, round=2))
    assert "combines other updates" in fault(
        ledger, replace(last, contributors=last.contributors[:1])
    )
    other = replace(last.contributors[0], update="1" * 64)
    assert "combines other updates" in fault(
        ledger, replace(last, contributors=(other, last.contributors[1]))
    )


def test_an_entry_of_a_plan_names_at_least_those_who_answered() -> None:
    """Each agent that was asked may have released something."""
    ledger = entry_of(stored(), 0, updates=None)
    record = record_of(stored()[0])
    check(ledger, replace(record, contributors=record.contributors[:1]))
    other = replace(record.contributors[0], agent="agent.z")
    assert "counts an agent that its ledger entry does not name" in fault(
        ledger, replace(record, contributors=(other,))
    )


def test_an_entry_without_noise_has_no_epsilon() -> None:
    """Its precision is infinite."""
    entry = stored()[0].entry
    assert composed([replace(entry, noise_multiplier=0.0)]).precision == float("inf")
