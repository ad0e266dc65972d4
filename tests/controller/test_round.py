"""A round at work: who is told what, and told again, until it has ended."""

from dataclasses import replace

import pytest

from fedbus.core.actions import Send
from fedbus.core.events import Woke
from fedbus.wire.documents import RoundState
from fedbus.wire.messages import (
    Dismiss,
    Dismissed,
    EndJob,
    Evaluated,
    JobEnded,
    JobLoaded,
    JobStopped,
    OpenRound,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StopJob,
    TaskTaken,
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
    committed,
    failed,
    job_file,
    loaded,
    version,
)


def opened(plan: Plan, life: int = 1) -> RoundOpened:
    """Say that a round is open."""
    return RoundOpened(job=JOB, task=plan.task, incarnation=life)


def settled(stand: Stand, plan: Plan) -> None:
    """Let everybody answer what a round asks."""
    stand.hear(COLLECTOR, opened(plan))
    for agent in plan.cohort:
        stand.hear(agent, TaskTaken(job=JOB, task=plan.task))
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == []


def test_everybody_is_asked_until_they_answer() -> None:
    """Each for itself."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(A, TaskTaken(job=JOB, task=plan.task))
    assert keys.TrainingRequest(JOB, A) not in stand.asks
    assert keys.TrainingRequest(JOB, B) in stand.asks
    stand.hear(COLLECTOR, opened(plan))
    assert keys.RoundOpening(JOB) not in stand.asks


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        (A, TaskTaken(job=JOB, task=9)),
        (A, TaskTaken(job="job-9", task=1)),
        (COLLECTOR, RoundOpened(job=JOB, task=9, incarnation=1)),
        (COLLECTOR, RoundOpened(job=JOB, task=1, incarnation=3)),
        (OTHER_COLLECTOR, RoundOpened(job=JOB, task=1, incarnation=1)),
        (OTHER_COLLECTOR, Dismissed(job=JOB, task=1, agents=(A,))),
    ],
    ids=["task", "job", "round", "life", "collector", "dismissal"],
)
def test_an_answer_to_another_round_or_of_another_life_ends_no_ask(
    sender: str, answer: object
) -> None:
    """It may be a repetition, overtaken; the one who was asked has perhaps heard nothing."""
    stand = Stand()
    stand.begin_round()
    asked = dict(stand.asks)
    stand.hear(sender, answer)
    assert stand.asks == asked


def test_a_reborn_collector_and_the_cohort_are_told_again() -> None:
    """It has forgotten the round, whom it refused, and who was dismissed."""
    stand = Stand()
    plan = stand.begin_round()
    settled(stand, plan)
    stand.silent.add(C)
    stand.wait(8.0)
    stand.hear(COLLECTOR, Dismissed(job=JOB, task=plan.task, agents=(C,)))
    stand.introduce(COLLECTOR, life=2)
    assert stand.told(COLLECTOR, OpenRound).plan == plan
    assert stand.told(COLLECTOR, Dismiss).agents == (C,)
    assert {key for key in stand.asks if isinstance(key, keys.TrainingRequest)} == {
        keys.TrainingRequest(JOB, A),
        keys.TrainingRequest(JOB, B),
    }
    stand.hear(COLLECTOR, opened(plan, life=1))
    assert keys.RoundOpening(JOB) in stand.asks
    stand.hear(COLLECTOR, opened(plan, life=2))
    assert keys.RoundOpening(JOB) not in stand.asks


def test_a_reborn_agent_of_the_cohort_is_told_again() -> None:
    """The same task; others who are reborn are not its business."""
    stand = Stand()
    stand.introduce("agent.d")
    plan = stand.begin_round(None, COLLECTOR, A, B, C)
    rest = ({A, B, C, "agent.d"} - {*plan.cohort}).pop()
    settled(stand, plan)
    one = plan.cohort[0]
    stand.introduce(one, life=2)
    assert stand.told(one, TrainTask).task == plan.task
    stand.introduce(rest, life=2)
    assert stand.last == []


def test_a_lost_agent_is_dismissed_once_and_asked_no_more() -> None:
    """The collector need not wait for it; when it comes back, the round goes on without it."""
    stand = Stand()
    plan = stand.begin_round()
    stand.silent.add(C)
    stand.wait(8.0)
    assert keys.TrainingRequest(JOB, C) not in stand.asks
    dismissal = stand.asked(keys.DismissalRequest(JOB, C), Dismiss)
    assert (dismissal.task, dismissal.agents) == (plan.task, (C,))
    stand.hear(COLLECTOR, Dismissed(job=JOB, task=9, agents=(C,)))
    assert keys.DismissalRequest(JOB, C) in stand.asks
    stand.hear(COLLECTOR, Dismissed(job=JOB, task=plan.task, agents=(C,)))
    assert keys.DismissalRequest(JOB, C) not in stand.asks
    stand.introduce(C, life=2)
    stand.wait(2.0)
    assert keys.TrainingRequest(JOB, C) not in stand.asks
    assert keys.DismissalRequest(JOB, C) not in stand.asks


def test_a_lost_collector_is_replaced_by_another() -> None:
    """The round is planned anew, under a task that has risen."""
    stand = Stand()
    plan = stand.begin_round()
    lost = plan.collector
    stand.introduce(OTHER_COLLECTOR)
    stand.silent.add(lost)
    stand.wait(8.0)
    assert stand.noted("collector_lost")
    anew = stand.planned
    assert (anew.round, anew.task, anew.collector) == (1, plan.task + 1, OTHER_COLLECTOR)
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_round_waits_for_its_collector_where_there_is_no_other() -> None:
    """And people see why; a collector that is back gets the same round."""
    stand = Stand()
    plan = stand.begin_round()
    settled(stand, plan)
    stand.silent.add(COLLECTOR)
    stand.wait(8.0)
    stand.silent.clear()
    assert not stand.noted("collector_lost")
    stand.tell_states()
    assert stand.state().reason == f"waiting for {COLLECTOR}, which is lost, or another collector"
    stand.introduce(COLLECTOR, life=2)
    assert stand.told(COLLECTOR, OpenRound).plan == plan
    stand.wait(1.0)
    stand.tell_states()
    assert stand.state().reason == ""


def test_a_collector_that_says_nothing_long_after_the_deadline_is_asked_again() -> None:
    """It answers with how the round ended, or opens it."""
    stand = Stand()
    plan = stand.begin_round()
    settled(stand, plan)
    stand.wait(plan.deadline_seconds + 32.0)
    assert stand.asked(keys.RoundOpening(JOB), OpenRound).plan == plan


def test_a_committed_round_is_followed_by_the_next() -> None:
    """From the version it made; whoever is still asked about it is asked no more."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(COLLECTOR, committed(plan, accuracy=0.5))
    assert stand.told(COLLECTOR, RoundEndNoted).task == plan.task
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]
    assert (stand.planned.round, stand.planned.task) == (2, 2)
    assert stand.planned.base.version == plan.base.version + 1


def test_the_end_of_a_round_is_noted_as_often_as_it_is_told_and_counts_once() -> None:
    """The note may be lost."""
    stand = Stand()
    plan = stand.begin_round()
    ended = committed(plan)
    stand.hear(COLLECTOR, ended)
    second = stand.open_round()
    for _ in range(2):
        stand.hear(COLLECTOR, ended)
        assert stand.last == [Send(COLLECTOR, RoundEndNoted(job=JOB, task=plan.task))]
    assert keys.RoundOpening(JOB) in stand.asks
    assert second.round == 2


@pytest.mark.parametrize("phase", ["waiting", "planning", "running"])
def test_a_commit_is_true_whenever_it_is_told(phase: str) -> None:
    """Even by a collector that was taken for lost, of a round that was planned anew."""
    stand = Stand()
    plan = stand.begin_round()
    if phase == "running":
        stand.introduce(OTHER_COLLECTOR)
    stand.hear(COLLECTOR, failed(plan))
    if phase != "waiting":
        stand.wait(1.0)
        assert stand.planned.task == 2
    if phase == "running":
        stand.open_round()
    stand.hear(COLLECTOR, committed(plan))
    assert stand.planned.round == 2
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_failed_round_is_planned_anew_with_a_rising_task() -> None:
    """A moment later, from the same version; the reason is there to be read."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(COLLECTOR, failed(plan, "1 of 3 updates, 2 are needed"))
    assert stand.state().reason == "round 1 failed: 1 of 3 updates, 2 are needed"
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == []
    stand.wait(1.0)
    assert (stand.planned.round, stand.planned.task) == (1, 2)
    assert stand.planned.base == plan.base


def test_the_failure_of_an_older_plan_is_none_of_this_one() -> None:
    """It is noted, so that its collector is silent."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(COLLECTOR, failed(plan))
    stand.wait(1.0)
    stand.hear(COLLECTOR, failed(plan))
    assert stand.said(RoundEndNoted)
    stand.open_round()
    stand.hear(COLLECTOR, failed(plan))
    assert len(stand.noted("round_failed")) == 1
    assert keys.RoundOpening(JOB) in stand.asks


def test_three_failures_in_a_row_end_the_job() -> None:
    """A round that is committed begins the count anew."""
    stand = Stand()
    plan = stand.begin_round(loaded(file=job_file(num_rounds=9)))
    for ended in (failed, failed, committed, failed, failed, failed):
        stand.hear(COLLECTOR, ended(plan))
        if keys.JobEnding(JOB) in stand.asks:
            break
        stand.wait(1.0)
        plan = stand.open_round()
    end = stand.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "failed"
    assert end.reason == "round 2 failed 3 times in a row, the last time: too few"
    assert len(stand.noted("round_failed")) == 5


# ── how it ends ───────────────────────────────────────────────────────────────────────────────────


def test_the_last_round_finishes_the_job() -> None:
    """And everybody who was asked anything is told to stop."""
    stand = Stand()
    plan = stand.begin_round(loaded(file=job_file(num_rounds=1)))
    stand.hear(COLLECTOR, committed(plan))
    end = stand.asked(keys.JobEnding(JOB), EndJob)
    assert (end.phase, end.reason) == ("finished", "all 1 rounds are done")
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="finished", reason=end.reason))
    assert (stand.state().phase, stand.state().version) == ("finished", 2)
    assert {key.node for key in stand.asks if isinstance(key, keys.StopRequest)} == {
        COLLECTOR,
        A,
        B,
        C,
    }
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.StopRequest]


def ended_job(stand: Stand) -> Plan:
    """Run a job to its end."""
    plan = stand.begin_round()
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="failed", reason="because"))
    assert (stand.state().phase, stand.state().reason) == ("failed", "because")
    stand.hear(REPOSITORY, loaded(phase="failed", reason="because", plan=plan))
    return plan


def test_a_round_that_was_committed_before_its_job_was_ended_is_announced() -> None:
    """The collector's word of it may come too late, or never: the repository knows."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user"))
    assert stand.state().round == 0
    done = loaded(
        phase="cancelled", reason="by a user", rounds=1, latest=version(2), metrics={"loss": 0.5}
    )
    stand.hear(REPOSITORY, done)
    state = stand.state()
    assert (state.phase, state.round, state.version) == ("cancelled", 1, 2)
    assert state.metrics == {"loss": 0.5}
    stand.hear(COLLECTOR, committed(plan))
    assert stand.told(COLLECTOR, RoundEndNoted).task == plan.task


def test_a_job_that_the_repository_says_is_over_is_over() -> None:
    """Whatever it was doing; nothing of the round is asked any more."""
    stand = Stand()
    ended_job(stand)
    assert (stand.state().phase, stand.state().reason) == ("failed", "because")
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.StopRequest]
    assert set(stand.timers) == {keys.LeaseRenewal(), keys.StopDeadline(JOB)}


def test_nodes_are_told_to_stop_until_they_have_or_ten_minutes_are_over() -> None:
    """A node that is gone for good is not asked for ever."""
    stand = Stand()
    ended_job(stand)
    stand.hear(A, JobStopped(job=JOB))
    assert keys.StopRequest(JOB, A) not in stand.asks
    assert stand.asked(keys.StopRequest(JOB, B), StopJob).job == JOB
    stand.wait(601.0)
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == []


def test_the_end_of_a_round_is_noted_when_its_job_is_over() -> None:
    """By any controller that leads and knows which jobs run; by nobody else."""
    stand = Stand()
    plan = ended_job(stand)
    stand.hear(COLLECTOR, committed(plan))
    assert stand.told(COLLECTOR, RoundEndNoted).task == plan.task

    other = Stand()
    other.hear(COLLECTOR, committed(plan))
    assert other.last == []
    other.introduce(COLLECTOR, A, B, C)
    other.lead(jobs=(JOB,))
    other.hear(COLLECTOR, committed(plan))
    assert other.last == []  # it is being loaded, and will be asked about
    other.hear(REPOSITORY, loaded(phase="failed", plan=plan))
    other.hear(COLLECTOR, committed(plan))
    assert other.said(RoundEndNoted)


@pytest.mark.parametrize("phase", ["waiting", "planning", "running", "failed round", "scoring"])
def test_a_job_is_cancelled_at_every_phase(phase: str) -> None:
    """Nothing goes on but the question that ends it."""
    stand = Stand()
    fleet = (COLLECTOR, A) if phase == "waiting" else (COLLECTOR, A, B, C, JUDGE)
    stand.begin(None, *fleet)
    if phase not in {"waiting", "planning"}:
        plan = stand.open_round()
        if phase != "running":
            stand.hear(COLLECTOR, failed(plan) if phase == "failed round" else committed(plan))
    stand.cancel()
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]
    assert set(stand.timers) == {keys.LeaseRenewal()}
    stand.wait(90.0)
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]


def test_a_round_that_is_committed_while_its_job_ends_is_in_its_state() -> None:
    """The commit was first; the job ends all the same."""
    stand = Stand()
    plan = stand.begin_round()
    stand.cancel()
    stand.hear(COLLECTOR, committed(plan, accuracy=0.5))
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user"))
    state = stand.state()
    assert (state.phase, state.round, state.metrics) == ("cancelled", 1, {"accuracy": 0.5})


def test_ends_are_remembered_but_not_all() -> None:
    """A controller that runs for years keeps the last few hundred."""
    stand = Stand()
    names = [f"job-{number}" for number in range(258)]
    stand.lead(jobs=tuple(names))
    ended: list[JobLoaded] = [
        replace(loaded(), job=name, phase="finished", reason="done") for name in names
    ]
    for job in ended:
        stand.hear(REPOSITORY, job)
    stand.cancel(names[0].encode())
    assert stand.answer()["reason"].startswith("no running job")
    stand.cancel(names[-1].encode())
    assert stand.answer()["reason"] == "it has already finished: done"


def test_an_end_without_a_record_is_no_commit() -> None:
    """A collector that says one without the other is not believed."""
    stand = Stand()
    plan = stand.begin_round()
    odd: RoundEnded = replace(committed(plan), record=None)
    stand.hear(COLLECTOR, odd)
    assert stand.noted("round_failed")


def test_a_round_that_ends_takes_its_dismissals_with_it() -> None:
    """The next round may ask that agent again."""
    stand = Stand()
    plan = stand.begin_round()
    stand.silent.add(C)
    stand.wait(8.0)
    assert keys.DismissalRequest(JOB, C) in stand.asks
    stand.hear(COLLECTOR, committed(plan))
    stand.wait(6.0)
    assert sorted(stand.planned.cohort) == [A, B]
    assert keys.DismissalRequest(JOB, C) not in stand.asks


@pytest.mark.parametrize(
    "timer", [keys.PlanningRetry, keys.ScoringDeadline, keys.PlanStorageDeadline, keys.JobTimer]
)
def test_a_timer_of_another_phase_does_nothing(timer: type[keys.JobTimer]) -> None:
    """Nor one of a job that is over."""
    stand = Stand()
    stand.begin_round()
    assert stand.tell(Woke(timer(JOB))) == []
    assert stand.tell(Woke(timer("job-9"))) == []


def test_news_that_come_between_two_rounds_change_nothing() -> None:
    """Of a round that is over, or of a job that nobody runs."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(COLLECTOR, committed(plan))
    stand.hear(A, TaskTaken(job=JOB, task=plan.task))
    assert stand.last == []
    stand.introduce(A, life=2)
    assert stand.last == []
    stand.hear(A, Evaluated(job="job-9", version=1, examples=1, metrics={}))
    assert stand.last == []
    stand.hear(REPOSITORY, JobEnded(job="job-9", phase="finished", reason=""))
    assert stand.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_small_version_rides_along_with_the_next_tasks() -> None:
    """The first time each is said; one of another size than it should be does not."""
    for inline, rides in ((b"x" * 100, True), (b"short", False), (None, False)):
        stand = Stand()
        plan = stand.begin_round()
        stand.hear(COLLECTOR, replace(committed(plan), inline=inline))
        second = stand.open_round()
        for agent in second.cohort:
            ask = stand.asks[keys.TrainingRequest(JOB, agent)]
            assert isinstance(ask.message, TrainTask)
            assert ask.message.inline is None
            assert (ask.first is not None) == rides
            assert not rides or ask.first == replace(ask.message, inline=inline)


@pytest.mark.parametrize(("inline", "rides"), [(b"w" * 100, True), (b"w" * 99, False)])
def test_a_small_model_rides_along_with_the_next_tasks(inline: bytes, rides: bool) -> None:
    """The first time only, and only if it is whole: who misses it fetches it."""
    stand = Stand()
    plan = stand.begin_round()
    stand.hear(COLLECTOR, replace(committed(plan), inline=inline))
    stand.open_round()
    ask = stand.asks[keys.TrainingRequest(JOB, A)]
    assert ask.message.inline is None
    assert (ask.first is not None and ask.first.inline == inline) is rides


def test_a_round_says_which_agents_it_has_lost() -> None:
    """Whoever watches must not think that all is well until the deadline."""
    stand = Stand()
    stand.begin_round()
    assert stand.state_now().reason == ""
    stand.silent.update((A, B))
    stand.wait(10.0)
    assert stand.state_now().reason == "2 of 3 agents are lost (agent.a, agent.b); round 1 needs 2"


def test_a_round_names_an_agent_that_was_killed() -> None:
    """Its last will comes at once, and long before it counts as lost."""
    stand = Stand()
    stand.begin_round()
    stand.silent.add(A)
    stand.introduce(A, online=False)
    stand.wait(1.0)
    said = "1 of 3 agents is offline or silent (agent.a); round 1 needs 2"
    assert stand.state_now().reason == said


def test_rounds_and_ends_are_told_with_their_times() -> None:
    """By the controller's clock for a round, by the repository's for a job."""
    stand = Stand()
    begun = stand.utc()
    plan = stand.begin_round(loaded(submitted="2026-11-29T08:53:28.120Z"))
    stand.wait(3.0)
    stand.hear(COLLECTOR, committed(plan, accuracy=0.5))
    (done,) = stand.said(RoundState)
    assert (done.began, done.at) == (begun, stand.utc())
    stand.cancel()
    ended = "2026-11-29T08:54:00.000Z"
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user", at=ended))
    state = stand.state()
    assert (state.submitted, state.ended, state.at) == (
        "2026-11-29T08:53:28.120Z",
        ended,
        stand.utc(),
    )


def test_a_jobs_secret_decides_the_seeds_of_its_tasks() -> None:
    """Who does not know the secret cannot predict them; a restarted controller draws them again."""

    def seed(secret: bytes) -> int:
        stand = Stand()
        stand.begin_round(loaded(secret=secret))
        return stand.asked(keys.TrainingRequest(JOB, A), TrainTask).params.seed

    assert seed(b"s" * 32) == seed(b"s" * 32)
    assert seed(b"s" * 32) != seed(b"t" * 32)
