"""Who is asked in a round: planned, stored, and only then acted upon."""

import pytest

from fedbus.wire.documents import JobState, ModelNeeds
from fedbus.wire.messages import (
    EndJob,
    JobsListed,
    LeaseGranted,
    LoadJob,
    OpenRound,
    PlanStored,
    TrainTask,
)
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from tests.controller.stand import (
    COLLECTOR,
    JOB,
    JUDGE,
    OTHER_COLLECTOR,
    REPOSITORY,
    A,
    B,
    C,
    Stand,
    facts,
    job_file,
    loaded,
    version,
)


def plan(**changes: object) -> Plan:
    """Make the plan of a first round."""
    plain = {
        "job": JOB,
        "round": 1,
        "task": 4,
        "base": version(1),
        "collector": COLLECTOR,
        "cohort": (A, B, C),
        "quorum": 2,
        "deadline_seconds": 10.0,
    }
    return Plan(**(plain | changes))  # type: ignore[arg-type]  # of many types


def test_a_round_is_planned_as_soon_as_all_wanted_agents_are_there() -> None:
    """From the latest version, as the job's next round and task."""
    stand = Stand()
    stand.begin()
    planned = stand.planned
    assert (planned.round, planned.task, planned.base) == (1, 1, version(1))
    assert (planned.collector, sorted(planned.cohort)) == (COLLECTOR, [A, B, C])
    assert (planned.quorum, planned.deadline_seconds) == (2, 10.0)


def test_nobody_is_asked_before_the_plan_is_stored() -> None:
    """So that a restarted controller asks the same agents for the same tasks."""
    stand = Stand()
    stand.begin()
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]
    assert stand.said(TrainTask) == []
    planned = stand.open_round()
    assert stand.told(COLLECTOR, OpenRound).plan == planned
    tasks = [stand.told(agent, TrainTask) for agent in (A, B, C)]
    assert {task.members for task in tasks} == {3}
    assert len({task.params.seed for task in tasks}) == 3
    assert stand.state().phase == "running"
    assert stand.state().agents == 3


def test_the_same_secret_makes_the_same_plan() -> None:
    """A run can be replayed, and not predicted."""
    stands = [Stand(), Stand(), Stand()]
    nodes = (COLLECTOR, OTHER_COLLECTOR, *(f"agent.{number}" for number in range(30)))
    for stand, secret in zip(stands, (b"s", b"s", b"t"), strict=True):
        stand.begin(loaded(secret=secret), *nodes)
    first, second, other = (stand.planned for stand in stands)
    assert first == second
    assert first.cohort != other.cohort


def test_a_round_waits_for_agents_and_says_so_once() -> None:
    """After a while, those that make a quorum are enough."""
    stand = Stand()
    stand.begin(None, COLLECTOR, A)
    assert stand.state().phase == "accepted"
    assert stand.state().reason == "waiting for agents: 1 is online, 3 wanted, 2 needed"
    stand.wait(2.0)
    assert stand.said(JobState) == []
    stand.introduce(B)
    stand.wait(2.0)
    assert keys.PlanStorage(JOB) not in stand.asks
    stand.wait(3.0)
    assert sorted(stand.planned.cohort) == [A, B]


def test_a_job_names_the_agents_that_it_has_seen_and_that_are_offline() -> None:
    """Whoever watches knows which machine to look at; one that only scores is not meant."""
    stand = Stand()
    stand.begin(None, COLLECTOR, A, JUDGE)
    stand.introduce(B, JUDGE, online=False)
    stand.wait(1.0)
    counts = "1 is online, 3 wanted, 2 needed"
    assert stand.state_now().reason == f"waiting for agents: {counts}; offline: agent.b"


def test_a_round_waits_for_a_collector() -> None:
    """However many agents there are."""
    stand = Stand()
    stand.begin(None, A, B, C)
    assert stand.state().reason == "waiting for a collector"
    stand.introduce(COLLECTOR)
    stand.wait(1.0)
    assert stand.planned.collector == COLLECTOR


def test_an_evaluator_is_not_asked_to_train() -> None:
    """Its data is held out."""
    stand = Stand()
    stand.begin(None, COLLECTOR, A, B, C, JUDGE)
    assert JUDGE not in stand.planned.cohort


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "selector 'broken': by zero"),
        ("leaving", "selector 'leaving': it wanted to exit: 4"),
        ("lazy", "selector 'lazy': too late"),
        ("lost", "selector 'lost': no selectors plug-in named 'lost'"),
    ],
)
def test_a_selector_that_fails_ends_the_job_and_nothing_else(name: str, reason: str) -> None:
    """It is somebody's plug-in, or one that this controller lacks."""
    stand = Stand()
    stand.begin(loaded(file=job_file(plugins={"selector": name})))
    end = stand.asked(keys.JobEnding(JOB), EndJob)
    assert (end.phase, end.reason) == ("failed", reason)


def test_a_selector_that_names_too_few_is_asked_again() -> None:
    """A round below its quorum could only fail."""
    stand = Stand()
    stand.begin(loaded(file=job_file(plugins={"selector": "shy"})))
    assert stand.state().reason == "selector 'shy' chose 1 of 3 agents, 2 are needed"
    assert keys.PlanningRetry(JOB) in stand.timers
    stand.wait(61.0)
    end = stand.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "failed"
    assert end.reason.startswith("selector 'shy' chose 1 of 3 agents")


def test_only_agents_that_are_there_are_asked_and_each_once() -> None:
    """Whatever a selector names, and no more than were wanted."""
    stand = Stand()
    stand.begin(loaded(file=job_file(plugins={"selector": "wild"})), COLLECTOR, A, B, C, "agent.d")
    assert stand.planned.cohort == (A, B, C)


def test_a_stored_plan_is_acted_upon_once() -> None:
    """An answer to an earlier plan is none to this one."""
    stand = Stand()
    stand.begin()
    stand.hear(REPOSITORY, PlanStored(job=JOB, task=7))
    assert stand.last == []
    stand.open_round()
    stand.hear(REPOSITORY, PlanStored(job=JOB, task=1))
    assert stand.last == []


def test_a_plan_that_is_never_stored_is_looked_up_again() -> None:
    """The repository may know of a later one; it keeps silent about what it cannot store."""
    stand = Stand()
    stand.begin()
    stand.wait(31.0)
    assert stand.noted("job_reloaded") == [{"job": JOB}]
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == []
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    stand.hear(REPOSITORY, JobsListed(jobs=(JOB,)))
    assert stand.asked(keys.JobLoading(JOB), LoadJob).job == JOB


def test_a_restarted_controller_opens_the_stored_round_again() -> None:
    """The same cohort, the same tasks, the same seeds."""
    before, after = Stand(), Stand()
    stored = before.begin_round()
    seeds = {task.params.seed for task in before.said(TrainTask)}
    after.begin(loaded(plan=stored))
    assert after.told(COLLECTOR, OpenRound).plan == stored
    assert {task.params.seed for task in after.said(TrainTask)} == seeds


def test_a_plan_whose_round_is_committed_is_not_opened_again() -> None:
    """The next one is planned, and its task rises."""
    stand = Stand()
    metrics = {"accuracy": 0.5, "train_loss": 1.0}
    stand.begin(loaded(plan=plan(), rounds=1, latest=version(2), metrics=metrics))
    planned = stand.planned
    assert (planned.round, planned.task, planned.base) == (2, 5, version(2))


def test_a_job_that_is_done_is_ended_when_it_is_loaded() -> None:
    """Its controller was killed before it could say so."""
    stand = Stand()
    stand.begin(loaded(plan=plan(round=2), rounds=2, metrics={"loss": 1.0, "train_loss": 1.0}))
    assert stand.asked(keys.JobEnding(JOB), EndJob).reason == "all 2 rounds are done"


def test_how_a_job_ended_is_announced_again() -> None:
    """Its controller was killed before it could say so; nothing more is done for it."""
    stand = Stand()
    stand.begin(loaded(phase="failed", reason="no agents", rounds=1))
    state = stand.state()
    assert (state.phase, state.reason, state.round) == ("failed", "no agents", 1)
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == []
    stand.hear(REPOSITORY, JobsListed(jobs=(JOB,)))
    assert keys.JobLoading(JOB) not in stand.asks


def test_a_job_file_that_cannot_be_read_any_more_fails_the_job() -> None:
    """Or its model would be busy for ever."""
    stand = Stand()
    stand.begin(loaded(file=b'{"from": "the future"}'))
    end = stand.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "failed"
    assert end.reason.startswith("its job file cannot be read any more")
    assert stand.state().phase == "failed"
    assert stand.state().model == "digits"


def test_an_unreadable_job_that_has_ended_keeps_its_end() -> None:
    """Only its state is announced again."""
    stand = Stand()
    stand.begin(loaded(file=b"{}", phase="cancelled", reason="by a user"))
    assert (stand.state().phase, stand.state().reason) == ("cancelled", "by a user")
    assert keys.JobEnding(JOB) not in stand.asks


def test_agents_that_say_they_cannot_are_not_asked() -> None:
    """They would only decline; the job says why it waits."""
    stand = Stand()
    needs = ModelNeeds(architectures=("torch",))
    stand.begin(loaded(needs=needs), COLLECTOR, C)
    stand.introduce_as(A, facts("train", trainers=("tflite",)))
    stand.introduce_as(B, facts("train", trouble="its worker hangs"))
    stand.wait(1.0)
    why = "the model is for torch; here there is tflite; 1 cannot: its worker hangs"
    counts = "3 are online, 3 wanted, 2 needed"
    assert stand.state_now().reason == f"waiting for agents: {counts}; 1 cannot: {why}"
    stand.introduce_as(A, facts("train", trainers=("tflite", "torch")))
    stand.wait(5.0)
    assert sorted(stand.planned.cohort) == [A, C]


def test_a_trainer_that_a_job_names_is_looked_for() -> None:
    """Where an agent names its own."""
    stand = Stand()
    file = job_file(plugins={"trainer": "own"}, round={"agents": 1})
    stand.begin(loaded(file=file), COLLECTOR)
    stand.introduce_as(A, facts("train", trainers=("tflite",)))
    stand.wait(6.0)
    assert keys.PlanStorage(JOB) not in stand.asks
    stand.introduce_as(B, facts("train", trainers=("own",)))
    stand.wait(6.0)
    assert stand.planned.cohort == (B,)
