"""Rules of plans, ledger entries and commits of private jobs, and their messages."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fedbus.privacy.banded import MAX_BANDED_STEPS
from fedbus.privacy.ledger import Ledger
from fedbus.privacy.ledger_entries import entry_of_plan
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages.job_storage import PlanRefusalKind
from fedbus.wire.privacy import LedgerEntry, Participation, PrivacyTerms
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_repository.stores import privacy_rules
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.privacy_rules import (
    PlanFault,
    cohort_fault,
    composition_after,
    full_ledger,
    noise_fault,
    ordered_by_use,
    private_commit_fault,
    private_plan_fault,
)
from fedbus_repository.stores.records import JobEnd, StoredJob, Version
from tests.repository.harness import (
    AGENTS,
    FEDAVG,
    JOB,
    KEY,
    MODEL,
    PRIVATE,
    TERMS,
    contributor,
    entry_for,
    plan_of,
    record_of,
    spec,
    spent_with,
    weights,
)

BASE = Version(
    model=MODEL, version=1, parent=None, weights=blob_ref_of(weights(0)), spec=blob_ref_of(spec())
)
NEW = StoredJob(
    job=JOB,
    model=MODEL,
    file=b"{}",
    secret=b"",
    ended=None,
    base=BASE,
    latest=BASE,
    rounds=0,
    plan=None,
    strategy=PRIVATE,
    noise_key=KEY,
)
PLAN = plan_of(NEW)
PLANNED = replace(NEW, plan=PLAN)
ENTRY = entry_for(PLAN)
POISSON = replace(TERMS, sampling="poisson", relation="add-or-remove-one", rate=0.1)
LOCAL = replace(TERMS, noise="agents")
BANDED = replace(
    TERMS, release="banded", correlated=True, bands=2, min_separation=2, max_participations=2
)
LAPLACE = replace(
    TERMS, mechanism="ldp-laplace", release="laplace", noise="agents", entered="with-plan"
)


def with_terms(job: StoredJob, terms: PrivacyTerms) -> StoredJob:
    """The job, with other terms."""
    return replace(job, strategy=replace(PRIVATE, privacy=terms))


def ledger(*tasks: Sequence[str]) -> Ledger:
    """A ledger with an entry of each of these sets of agents."""
    return Ledger(
        entry_for(replace(PLAN, task=100 + number), agents) for number, agents in enumerate(tasks)
    )


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_that_keeps_the_terms_is_stored() -> None:
    """The first one, and one with the same key."""
    for job in (NEW, replace(NEW, noise_key=None)):
        assert private_plan_fault(PLAN, job, TERMS, ledger(), 0) is None


@pytest.mark.parametrize(
    ("plan", "terms", "kind", "reason"),
    [
        (
            replace(PLAN, noise_key=None),
            TERMS,
            "key",
            (
                "the plan of task 1 names no noise key, and collectors draw the noise of job"
                " 'digits-1'; give all collectors one key (`fedbus privacy key FILE`,"
                " FEDBUS_NOISE_KEY)"
            ),
        ),
        (
            replace(PLAN, noise_key="b" * 64),
            TERMS,
            "key",
            (
                "the plan of task 1 has the noise key bbbbbbbbbbbb, and job 'digits-1' began with"
                " the key aaaaaaaaaaaa; give collectors that key again"
            ),
        ),
        (
            replace(PLAN, cohort=()),
            TERMS,
            "cohort",
            "the plan of task 1 asks no agent, or needs no update",
        ),
        (
            replace(PLAN, quorum=0),
            TERMS,
            "cohort",
            "the plan of task 1 asks no agent, or needs no update",
        ),
        (
            replace(PLAN, cohort=(AGENTS[0], AGENTS[0])),
            POISSON,
            "cohort",
            "the plan of task 1 asks an agent twice",
        ),
        (
            PLAN,
            replace(TERMS, min_separation=2),
            "cohort",
            (
                "agent agent.a has taken part in entry 1 of the job's ledger; min_separation 2"
                " allows it again from entry 3, and the next one is entry 2"
            ),
        ),
        (
            PLAN,
            replace(TERMS, max_participations=1),
            "cohort",
            (
                "agent agent.a has taken part in 1 entry of the job's ledger, the last is entry 1; "
                "max_participations allows 1"
            ),
        ),
    ],
    ids=["no key", "other key", "no agent", "no quorum", "twice", "separation", "participations"],
)
def test_a_plan_that_breaks_the_terms_is_refused(
    plan: Plan, terms: PrivacyTerms, kind: PlanRefusalKind, reason: str
) -> None:
    """With what of it does; the controller decides by that, not by the sentence."""
    assert private_plan_fault(plan, NEW, terms, ledger(AGENTS), 2) == PlanFault(kind, reason)


def test_a_round_of_poisson_sampling_may_ask_no_agent() -> None:
    """Whether an agent was drawn is part of what is hidden."""
    empty = replace(PLAN, cohort=(), quorum=0)
    assert private_plan_fault(empty, NEW, POISSON, ledger(AGENTS), 2) is None
    assert cohort_fault(empty, None) == "the plan of task 1 asks no agent, or needs no update"
    assert cohort_fault(PLAN, None) is None


def test_agents_that_draw_the_noise_need_no_key() -> None:
    """Theirs is drawn once and never again."""
    assert private_plan_fault(replace(PLAN, noise_key=None), NEW, LOCAL, ledger(), 0) is None


def test_a_ledger_is_bounded() -> None:
    """By its entries, by the steps that fit a message, and by the agents of all entries."""
    assert full_ledger(PLAN, TERMS, 10_000, 3_999_997) is None
    assert full_ledger(PLAN, TERMS, 100_000, 0) == (
        "the ledger of job 'digits-1' is full: it has 100000 of 100000 entries"
    )
    assert full_ledger(PLAN, BANDED, 10_000, 0) == (
        "the ledger of job 'digits-1' is full: it has 10000 of 10000 entries"
    )
    assert full_ledger(PLAN, TERMS, 1, 3_999_998) == (
        "the ledger of job 'digits-1' is full: with another round it would have more than 4000000"
        " participations of agents"
    )


def test_a_full_ledger_is_told_before_what_another_plan_could_mend() -> None:
    """The job is done, whatever else is wrong with the plan."""
    full = private_plan_fault(replace(PLAN, noise_key=None), NEW, TERMS, ledger(), 3_999_998)
    assert full is not None
    assert full.kind == "ledger-full"


def test_a_plan_is_accounted_as_if_the_fewest_came_with_the_most_agents() -> None:
    """No round that was planned may exceed the budget when its entry arrives."""
    central = composition_after(PLAN, TERMS, ledger(AGENTS))
    assert (central.entries, central.participations) == (2, 2)
    assert central.multipliers == ((2.0, 2),)
    local = composition_after(replace(PLAN, quorum=0), LOCAL, ledger())
    assert [number for _, number in local.multipliers] == [1]
    assert local.multipliers[0][0] == pytest.approx(2.0 / 3**0.5)
    asked = composition_after(PLAN, LAPLACE, ledger())
    assert asked == ledger().composition_with(AGENTS, 2.0)


# ── ledger entries ────────────────────────────────────────────────────────────────────────────────


def test_an_entry_of_the_planned_round_is_stored() -> None:
    """All of the cohort, or some of it; under Poisson sampling no agent."""
    for entry in (ENTRY, entry_for(PLAN, AGENTS[:1])):
        assert noise_fault(entry, PLANNED, ledger()) is None
    none = entry_for(PLAN, ())
    assert noise_fault(none, with_terms(PLANNED, POISSON), ledger()) is None
    some = entry_for(PLAN, AGENTS[:1], LOCAL)
    assert noise_fault(some, with_terms(PLANNED, LOCAL), ledger()) is None


@pytest.mark.parametrize(
    ("entry", "job", "reason"),
    [
        (
            ENTRY,
            replace(PLANNED, strategy=None),
            "job 'digits-1' has no privacy mechanism, so its ledger takes no entry",
        ),
        (
            ENTRY,
            replace(PLANNED, ended=JobEnd(job=JOB, phase="cancelled", reason="")),
            "job 'digits-1' has ended: cancelled",
        ),
        (ENTRY, NEW, "no round of job 'digits-1' is planned"),
        (
            ENTRY,
            replace(PLANNED, plan=replace(PLAN, task=2)),
            "expected an entry of the planned round 1 as task 2, got one of round 1 as task 1",
        ),
        (ENTRY, replace(PLANNED, rounds=1), "round 1 of job 'digits-1' is committed already"),
        (
            replace(ENTRY, updates=None),
            PLANNED,
            "the entry of task 1 lacks the digest of the updates that are combined",
        ),
        (replace(ENTRY, agents=()), PLANNED, "the entry of task 1 names no agent"),
        (
            replace(ENTRY, agents=("agent.z",)),
            PLANNED,
            "agent.z is not in the cohort of task 1",
        ),
        (
            replace(ENTRY, agents=(AGENTS[0], AGENTS[0])),
            PLANNED,
            "the entry of task 1 names an agent twice",
        ),
        (
            replace(ENTRY, noise_multiplier=2.001),
            PLANNED,
            (
                "the entry of task 1 states the noise multiplier 2.001, and 3 updates of job "
                "'digits-1' have 2"
            ),
        ),
        (
            entry_for(PLAN, AGENTS[:1]),
            with_terms(PLANNED, LOCAL),
            (
                "the entry of task 1 states the noise multiplier 2, and 1 update of job 'digits-1' "
                "have 1.155"
            ),
        ),
        (
            ENTRY,
            with_terms(PLANNED, replace(TERMS, max_participations=1)),
            (
                "agent agent.a has taken part in 1 entry of the job's ledger, the last is entry 1; "
                "max_participations allows 1"
            ),
        ),
    ],
    ids=[
        "no mechanism",
        "ended",
        "unplanned",
        "planned again",
        "committed",
        "no digest",
        "no agent",
        "outside",
        "twice",
        "too much noise",
        "a share of the noise",
        "participations",
    ],
)
def test_an_entry_that_its_plan_does_not_allow_is_refused(
    entry: LedgerEntry, job: StoredJob, reason: str
) -> None:
    """Its noise is then never drawn."""
    assert noise_fault(entry, job, ledger(AGENTS)) == reason


def test_a_task_has_one_set_of_updates() -> None:
    """The difference of two sums with the same noise would have none."""
    other = entry_for(PLAN, AGENTS[:2])
    assert noise_fault(other, PLANNED, Ledger([ENTRY])) == (
        "task 1 of job digits-1 has a ledger entry for other agents or updates; its noise may not "
        "be drawn again: the round needs a new task"
    )


# ── commits ───────────────────────────────────────────────────────────────────────────────────────

SPENT = spent_with()
RECORD = record_of(PLAN, strategy=PRIVATE, privacy=SPENT)
FOUND = EntryFacts(entry=ENTRY, spent=SPENT)


def test_a_round_with_its_entry_may_be_committed() -> None:
    """In any order of its contributors; one of agents' own noise combines some of those asked."""
    mixed = replace(RECORD, contributors=RECORD.contributors[::-1])
    assert private_commit_fault(mixed, PRIVATE, FOUND) is None
    strategy = replace(PRIVATE, privacy=LAPLACE)
    asked = EntryFacts(entry=entry_of_plan(PLAN, LAPLACE), spent=SPENT)
    some = record_of(PLAN, AGENTS[:1], strategy=strategy, privacy=SPENT)
    assert private_commit_fault(some, strategy, asked) is None
    assert private_commit_fault(record_of(PLAN), None, None) is None


def test_a_round_of_poisson_sampling_may_combine_nothing() -> None:
    """It adds noise to the model, and says so."""
    strategy = replace(PRIVATE, privacy=POISSON)
    found = EntryFacts(entry=entry_for(PLAN, ()), spent=SPENT)
    empty = record_of(PLAN, (), strategy=strategy, privacy=SPENT)
    assert private_commit_fault(empty, strategy, found) is None


STORED = "the round's strategy is not that which job 'digits-1' was stored with: "
COMBINED = (
    "the round combines other updates than the ledger's entry for task 1, whose noise is in it"
)
CLIPPED_LESS = replace(
    PRIVATE,
    update_transforms=(PluginChoice(id="dp-fixed", parameters={"clipping_norm": 9.0}),),
)


@pytest.mark.parametrize(
    ("record", "found", "reason"),
    [
        (
            replace(RECORD, strategy=CLIPPED_LESS),
            FOUND,
            STORED + "update_transforms[0].parameters.clipping_norm is 9.0 here and 1.0 there",
        ),
        (
            replace(RECORD, strategy=replace(PRIVATE, privacy=replace(TERMS, delta=0.1))),
            FOUND,
            STORED + "privacy.delta is 0.1 here and 1e-05 there",
        ),
        (
            replace(RECORD, strategy=replace(PRIVATE, privacy=None)),
            FOUND,
            STORED + "privacy.mechanism is left out here and dp-fixed there; privacy.unit",
        ),
        (
            RECORD,
            None,
            (
                "the ledger of job 'digits-1' has no entry for task 1: it must be stored before"
                " noise is drawn"
            ),
        ),
        (
            replace(RECORD, contributors=()),
            FOUND,
            "round 1 combines no update; only with Poisson sampling it may",
        ),
        (
            replace(RECORD, privacy=replace(SPENT, epsilon=0.1)),
            FOUND,
            "expected what the ledger states as spent with task 1, got another ε",
        ),
        (
            replace(RECORD, privacy=None),
            FOUND,
            "expected what the ledger states as spent with task 1, got another ε",
        ),
        (
            replace(RECORD, contributors=RECORD.contributors[:2]),
            FOUND,
            COMBINED,
        ),
        (
            replace(
                RECORD,
                contributors=(*RECORD.contributors[:2], contributor(AGENTS[2], 1, b"another")),
            ),
            FOUND,
            COMBINED,
        ),
    ],
    ids=[
        "strategy",
        "terms",
        "no terms",
        "no entry",
        "no update",
        "other ε",
        "no ε",
        "fewer agents",
        "other update",
    ],
)
def test_a_private_round_that_is_not_what_the_ledger_says_is_refused(
    record: RoundRecord, found: EntryFacts | None, reason: str
) -> None:
    """Whatever its collector claims."""
    assert (private_commit_fault(record, PRIVATE, found) or "").startswith(reason)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            replace(RECORD, strategy=FEDAVG),
            "job 'digits-1' has no privacy mechanism, and the round states an ε or terms",
        ),
        (
            replace(RECORD, privacy=None),
            "job 'digits-1' has no privacy mechanism, and the round states an ε or terms",
        ),
        (
            record_of(PLAN, ()),
            "round 1 combines no update; only with Poisson sampling it may",
        ),
    ],
    ids=["ε", "terms", "no update"],
)
def test_a_round_without_a_mechanism_states_none(record: RoundRecord, reason: str) -> None:
    """A collector cannot make a job private."""
    assert private_commit_fault(record, None, None) == reason


# ── what is said about agents ─────────────────────────────────────────────────────────────────────


def test_those_that_must_not_take_part_are_named_first() -> None:
    """A message without room for all then leaves out those that matter least."""
    had = [Participation(agent=f"agent.{n}", count=n, last=9 - n) for n in (1, 2, 3)]
    found = ordered_by_use(replace(TERMS, max_participations=3), had, 9)
    assert [each.agent for each in found] == ["agent.3", "agent.1", "agent.2"]
    assert MAX_BANDED_STEPS < privacy_rules.MAX_LEDGER_ENTRIES
