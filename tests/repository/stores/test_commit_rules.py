"""Rules of commits, plans and states, and their messages."""

from dataclasses import replace

import pytest

from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import CompressedBlob, blob_ref_of
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy, TrainingFacts
from fedbus_repository.stores.commit_rules import (
    CommitContext,
    commit_fault,
    continuation_fault,
    plan_fault,
)
from fedbus_repository.stores.records import JobEnd, StoredJob, Version
from tests.repository.harness import (
    AGENTS,
    FEDAVG,
    FEDAVGM,
    JOB,
    MODEL,
    contributor,
    momentum,
    record_of,
    ref_of,
    spec,
    state_after,
    weights,
)

LATEST = Version(
    model=MODEL, version=4, parent=3, weights=blob_ref_of(weights(0)), spec=blob_ref_of(spec())
)
PLAN = Plan(
    job=JOB,
    round=3,
    task=5,
    base=ref_of(LATEST),
    collector="collector.1",
    cohort=AGENTS,
    quorum=1,
    deadline_seconds=60.0,
)
CONTEXT = CommitContext(
    model=MODEL, ended=None, plan=PLAN, latest=LATEST, strategy=None, counted=()
)
RECORD = record_of(PLAN)


def test_a_round_as_it_was_planned_may_be_committed() -> None:
    """Nothing stands against it."""
    assert commit_fault(RECORD, CONTEXT) is None


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (
            replace(CONTEXT, ended=JobEnd(job=JOB, phase="cancelled", reason="")),
            "job 'digits-1' has ended: cancelled",
        ),
        (replace(CONTEXT, model="faces"), "job 'digits-1' trains model 'faces', not 'digits'"),
        (replace(CONTEXT, plan=None), "no round of job 'digits-1' is planned"),
        (
            replace(CONTEXT, plan=replace(PLAN, task=6)),
            "expected the planned round 3 as task 6, got round 3 as task 5",
        ),
        (
            replace(CONTEXT, latest=replace(LATEST, version=5)),
            "expected the latest version 5 of model 'digits' as parent, got version 4",
        ),
        (
            replace(CONTEXT, latest=replace(LATEST, spec=blob_ref_of(b"another"))),
            "expected the spec of version 4, got another one",
        ),
        (
            replace(CONTEXT, plan=replace(PLAN, cohort=AGENTS[1:])),
            "agent.a is not in the cohort of task 5",
        ),
        (
            replace(CONTEXT, counted={(AGENTS[1], 5)}),
            "agent.b's update for task 5 already counts in job 'digits-1'",
        ),
    ],
    ids=["ended", "model", "unplanned", "planned again", "parent", "spec", "cohort", "counted"],
)
def test_a_round_that_does_not_fit_its_job_is_refused(context: CommitContext, reason: str) -> None:
    """Each with a sentence for the round's record."""
    assert commit_fault(RECORD, context) == reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            replace(RECORD, contributors=(contributor(AGENTS[0], 4),)),
            "agent.a's update is for task 4, not for task 5",
        ),
        (
            replace(RECORD, contributors=(contributor(AGENTS[0], 5),) * 2),
            "agent.a is counted twice",
        ),
    ],
    ids=["other task", "twice"],
)
def test_a_round_that_counts_wrongly_is_refused(record: RoundRecord, reason: str) -> None:
    """An update counts once, for the task it answers."""
    assert commit_fault(record, CONTEXT) == reason


FEDNOVA = Strategy(id="fednova", aggregator=PluginChoice(id="fednova"), facts=("steps",))
MEDIAN = Strategy(id="fedmedian", aggregator=PluginChoice(id="median"))
ARRAYS = momentum(1.0)
STEPS = (PluginChoice(id="quantize", parameters={"bits": 8}), PluginChoice(id="zstandard"))
THIN = replace(FEDAVG, download=STEPS)


def with_coefficients(*coefficients: float | None) -> RoundRecord:
    """A round whose updates have these coefficients."""
    counted = (
        replace(contributor(agent, 5), coefficient=each)
        for agent, each in zip(AGENTS, coefficients, strict=True)
    )
    return replace(RECORD, contributors=tuple(counted))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            replace(RECORD, strategy=FEDNOVA),
            "agent.a's update lacks steps, which strategy 'fednova' needs",
        ),
        (
            with_coefficients(0.5, None, 0.5),
            "expected a coefficient of each update or of none, got none of agent.b",
        ),
        (with_coefficients(0.5, float("inf"), 0.5), "expected finite coefficients"),
        (replace(RECORD, base_coefficient=float("nan")), "expected finite coefficients"),
        (
            replace(RECORD, strategy=FEDAVGM),
            "strategy 'fedavgm' keeps momentum, and the round has no arrays of its state",
        ),
        (
            replace(RECORD, strategy=FEDAVGM, state=state_after(1)),
            "strategy 'fedavgm' keeps momentum, and the round has no arrays of its state",
        ),
        (
            replace(RECORD, state=state_after(1, ARRAYS)),
            "strategy 'fedavg' keeps no arrays, and the round has arrays of its state",
        ),
        (
            replace(RECORD, strategy=FEDAVGM, state=state_after(3, ARRAYS)),
            "expected the state after 1 round, got that after 3",
        ),
        (
            replace(RECORD, state=replace(state_after(1), frozen=blob_ref_of(b"bits"))),
            "strategy 'fedavg' freezes nothing, and the round has frozen numbers",
        ),
        (
            replace(RECORD, strategy=THIN),
            (
                "strategy 'fedavg' makes downloads smaller by quantize, zstandard, and the"
                " round's thin blob is made by none"
            ),
        ),
        (
            replace(RECORD, thin=CompressedBlob(blob=blob_ref_of(b""), compression=STEPS)),
            (
                "strategy 'fedavg' makes downloads smaller by no step, and the round's thin blob is"
                " made by quantize, zstandard"
            ),
        ),
    ],
    ids=[
        "a fact",
        "a coefficient",
        "infinite",
        "infinite base",
        "no state",
        "no arrays",
        "foreign arrays",
        "rounds",
        "foreign bits",
        "no thin blob",
        "foreign thin blob",
    ],
)
def test_a_round_that_contradicts_its_strategy_is_refused(record: RoundRecord, reason: str) -> None:
    """No collector could continue from it, and no oracle could check it."""
    assert commit_fault(record, CONTEXT) == reason


@pytest.mark.parametrize(
    "record",
    [
        replace(
            RECORD,
            strategy=FEDNOVA,
            contributors=(replace(contributor(AGENTS[0], 5), facts=TrainingFacts(steps=3)),),
        ),
        replace(with_coefficients(None, None, None), strategy=MEDIAN),
        with_coefficients(0.5, 0.0, -2.0),
        replace(RECORD, strategy=FEDAVGM, state=state_after(1, ARRAYS)),
        replace(RECORD, state=state_after(1)),
        replace(
            RECORD,
            strategy=THIN,
            thin=CompressedBlob(blob=blob_ref_of(b"smaller"), compression=STEPS),
        ),
    ],
    ids=["facts", "a median", "any numbers", "arrays", "numbers only", "a thin blob"],
)
def test_a_round_of_any_strategy_may_be_committed(record: RoundRecord) -> None:
    """Aggregators choose their coefficients themselves."""
    assert commit_fault(record, CONTEXT) is None


def test_a_round_continues_the_state_of_its_plan() -> None:
    """A round that was aggregated without it would begin the state again."""
    planned = replace(CONTEXT, plan=replace(PLAN, state=state_after(2, ARRAYS)))
    record = replace(RECORD, strategy=FEDAVGM, state=state_after(3, ARRAYS))
    assert commit_fault(record, planned) is None
    assert commit_fault(replace(record, state=state_after(1, ARRAYS)), planned) == (
        "expected the state after 3 rounds, got that after 1"
    )
    assert commit_fault(RECORD, planned) == "expected the state after 3 rounds, got none"


def test_a_job_does_not_change_its_strategy() -> None:
    """Its state would be read by a strategy that did not write it."""
    assert commit_fault(RECORD, replace(CONTEXT, strategy=FEDAVG)) is None
    unweighted = replace(FEDAVG, aggregator=PluginChoice(id="mean", parameters={"weighted": False}))
    assert commit_fault(RECORD, replace(CONTEXT, strategy=unweighted)) == (
        "job 'digits-1' has used another strategy in its earlier rounds: "
        "aggregator.parameters.weighted is left out here and false there; "
        "submit a new job to change it"
    )


MADE = replace(LATEST, job=JOB, round=3, strategy=FEDAVGM, state=state_after(3, ARRAYS))
STORED = StoredJob(
    job=JOB,
    model=MODEL,
    file=b"{}",
    secret=b"",
    ended=None,
    base=LATEST,
    latest=LATEST,
    rounds=2,
    plan=None,
)


def test_a_plan_has_the_state_of_its_base() -> None:
    """A controller that lost it must not begin a new one."""
    assert plan_fault(PLAN, STORED, LATEST) is None
    assert plan_fault(replace(PLAN, state=MADE.state), STORED, MADE) is None
    arrays = blob_ref_of(ARRAYS).digest[:12]
    assert plan_fault(PLAN, STORED, MADE) == (
        "the plan of task 5 has no state of a strategy, where version 4 is stored with a strategy's"
        f" state after 3 rounds ({arrays}); load job 'digits-1' again"
    )
    assert plan_fault(replace(PLAN, state=state_after(3)), STORED, None) == (
        "the plan of task 5 has a strategy's state after 3 rounds, where version 4 is stored with"
        " no state of a strategy; load job 'digits-1' again"
    )


def test_a_plan_for_a_committed_round_is_refused() -> None:
    """Agents would train for nothing; those of its earlier task have updates that count."""
    assert plan_fault(PLAN, replace(STORED, rounds=3), LATEST) == (
        "the plan of task 5 is for round 3, which is committed already; load job 'digits-1' again"
    )


def test_the_state_of_another_job_is_continued_only_if_the_job_says_so() -> None:
    """A new job begins without one."""
    other = replace(STORED, job="digits-2", base=MADE, latest=MADE, rounds=0)
    assert plan_fault(PLAN, other, MADE) is None
    continued = replace(other, continues_state=True)
    assert (other.state, continued.state) == (None, MADE.state)
    assert plan_fault(replace(PLAN, state=MADE.state), continued, MADE) is None


MEND = "leave the key out to begin without a state"


@pytest.mark.parametrize(
    ("strategy", "latest", "reason"),
    [
        (FEDAVGM, MADE, None),
        (
            FEDAVGM,
            LATEST,
            "version 4 of model 'digits' was pushed, so no strategy keeps a state with it",
        ),
        (
            FEDAVGM,
            replace(MADE, strategy=None),
            "version 4 of model 'digits', of job 'digits-1', names no strategy",
        ),
        (
            replace(FEDAVGM, population=100),
            MADE,
            (
                "version 4 of model 'digits', of job 'digits-1', was made by another strategy:"
                " population is 100 here and left out there"
            ),
        ),
        (
            FEDAVG,
            replace(MADE, strategy=FEDAVG, state=None),
            "strategy 'fedavg' keeps no state with version 4 of model 'digits'",
        ),
    ],
    ids=["it may", "pushed", "unnamed", "another", "no state"],
)
def test_a_new_job_continues_the_state_of_its_own_strategy_only(
    strategy: Strategy, latest: Version, reason: str | None
) -> None:
    """The momenta of one optimizer mean nothing to another one."""
    expected = reason and f"{reason}; {MEND}"
    assert continuation_fault(strategy, latest) == expected
