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
from tests.controller.harness import (
    COLLECTOR,
    JOB,
    JUDGE,
    OTHER_COLLECTOR,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    committed,
    failed,
    job_file,
    loaded,
    version,
)


def opened(plan: Plan, life: int = 1) -> RoundOpened:
    """Say that a round is open."""
    return RoundOpened(job=JOB, task=plan.task, incarnation=life)


def settled(harness: Harness, plan: Plan) -> None:
    """Let everybody answer what a round asks."""
    harness.hear(COLLECTOR, opened(plan))
    for agent in plan.cohort:
        harness.hear(agent, TaskTaken(job=JOB, task=plan.task))
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []


def test_everybody_is_asked_until_they_answer() -> None:
    """Each for itself."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(A, TaskTaken(job=JOB, task=plan.task))
    assert keys.TrainingRequest(JOB, A) not in harness.asks
    assert keys.TrainingRequest(JOB, B) in harness.asks
    harness.hear(COLLECTOR, opened(plan))
    assert keys.RoundOpening(JOB) not in harness.asks


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
    harness = Harness()
    harness.begin_round()
    asked = dict(harness.asks)
    harness.hear(sender, answer)
    assert harness.asks == asked


def test_a_reborn_collector_and_the_cohort_are_told_again() -> None:
    """It has forgotten the round, whom it refused, and who was dismissed."""
    harness = Harness()
    plan = harness.begin_round()
    settled(harness, plan)
    harness.silent.add(C)
    harness.wait(8.0)
    harness.hear(COLLECTOR, Dismissed(job=JOB, task=plan.task, agents=(C,)))
    harness.introduce(COLLECTOR, life=2)
    assert harness.told(COLLECTOR, OpenRound).plan == plan
    assert harness.told(COLLECTOR, Dismiss).agents == (C,)
    assert {key for key in harness.asks if isinstance(key, keys.TrainingRequest)} == {
        keys.TrainingRequest(JOB, A),
        keys.TrainingRequest(JOB, B),
    }
    harness.hear(COLLECTOR, opened(plan, life=1))
    assert keys.RoundOpening(JOB) in harness.asks
    harness.hear(COLLECTOR, opened(plan, life=2))
    assert keys.RoundOpening(JOB) not in harness.asks


def test_a_reborn_agent_of_the_cohort_is_told_again() -> None:
    """The same task; others who are reborn are not its business."""
    harness = Harness()
    harness.introduce("agent.d")
    plan = harness.begin_round(None, COLLECTOR, A, B, C)
    rest = ({A, B, C, "agent.d"} - {*plan.cohort}).pop()
    settled(harness, plan)
    one = plan.cohort[0]
    harness.introduce(one, life=2)
    assert harness.told(one, TrainTask).task == plan.task
    harness.introduce(rest, life=2)
    assert harness.last == []


def test_a_lost_agent_is_dismissed_once_and_asked_no_more() -> None:
    """The collector need not wait for it; when it comes back, the round goes on without it."""
    harness = Harness()
    plan = harness.begin_round()
    harness.silent.add(C)
    harness.wait(8.0)
    assert keys.TrainingRequest(JOB, C) not in harness.asks
    dismissal = harness.asked(keys.DismissalRequest(JOB, C), Dismiss)
    assert (dismissal.task, dismissal.agents) == (plan.task, (C,))
    harness.hear(COLLECTOR, Dismissed(job=JOB, task=9, agents=(C,)))
    assert keys.DismissalRequest(JOB, C) in harness.asks
    harness.hear(COLLECTOR, Dismissed(job=JOB, task=plan.task, agents=(C,)))
    assert keys.DismissalRequest(JOB, C) not in harness.asks
    harness.introduce(C, life=2)
    harness.wait(2.0)
    assert keys.TrainingRequest(JOB, C) not in harness.asks
    assert keys.DismissalRequest(JOB, C) not in harness.asks


def test_a_lost_collector_is_replaced_by_another() -> None:
    """The round is planned anew, under a task that has risen."""
    harness = Harness()
    plan = harness.begin_round()
    lost = plan.collector
    harness.introduce(OTHER_COLLECTOR)
    harness.silent.add(lost)
    harness.wait(8.0)
    assert harness.noted("collector_lost")
    anew = harness.planned
    assert (anew.round, anew.task, anew.collector) == (1, plan.task + 1, OTHER_COLLECTOR)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_round_waits_for_its_collector_where_there_is_no_other() -> None:
    """And people see why; a collector that is back gets the same round."""
    harness = Harness()
    plan = harness.begin_round()
    settled(harness, plan)
    harness.silent.add(COLLECTOR)
    harness.wait(8.0)
    harness.silent.clear()
    assert not harness.noted("collector_lost")
    harness.tell_states()
    assert harness.state().reason == f"waiting for {COLLECTOR}, which is lost, or another collector"
    harness.introduce(COLLECTOR, life=2)
    assert harness.told(COLLECTOR, OpenRound).plan == plan
    harness.wait(1.0)
    harness.tell_states()
    assert harness.state().reason == ""


def test_a_collector_that_says_nothing_long_after_the_deadline_is_asked_again() -> None:
    """It answers with how the round ended, or opens it."""
    harness = Harness()
    plan = harness.begin_round()
    settled(harness, plan)
    harness.wait(plan.deadline_seconds + 32.0)
    assert harness.asked(keys.RoundOpening(JOB), OpenRound).plan == plan


def test_a_committed_round_is_followed_by_the_next() -> None:
    """From the version it made; whoever is still asked about it is asked no more."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(COLLECTOR, committed(plan, accuracy=0.5))
    assert harness.told(COLLECTOR, RoundEndNoted).task == plan.task
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]
    assert (harness.planned.round, harness.planned.task) == (2, 2)
    assert harness.planned.base.version == plan.base.version + 1


def test_the_end_of_a_round_is_noted_as_often_as_it_is_told_and_counts_once() -> None:
    """The note may be lost."""
    harness = Harness()
    plan = harness.begin_round()
    ended = committed(plan)
    harness.hear(COLLECTOR, ended)
    second = harness.open_round()
    for _ in range(2):
        harness.hear(COLLECTOR, ended)
        assert harness.last == [Send(COLLECTOR, RoundEndNoted(job=JOB, task=plan.task))]
    assert keys.RoundOpening(JOB) in harness.asks
    assert second.round == 2


@pytest.mark.parametrize("phase", ["waiting", "planning", "running"])
def test_a_commit_is_true_whenever_it_is_told(phase: str) -> None:
    """Even by a collector that was taken for lost, of a round that was planned anew."""
    harness = Harness()
    plan = harness.begin_round()
    if phase == "running":
        harness.introduce(OTHER_COLLECTOR)
    harness.hear(COLLECTOR, failed(plan))
    if phase != "waiting":
        harness.wait(1.0)
        assert harness.planned.task == 2
    if phase == "running":
        harness.open_round()
    harness.hear(COLLECTOR, committed(plan))
    assert harness.planned.round == 2
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_failed_round_is_planned_anew_with_a_rising_task() -> None:
    """A moment later, from the same version; the reason is there to be read."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(COLLECTOR, failed(plan, "1 of 3 updates, 2 are needed"))
    assert harness.state().reason == "round 1 failed: 1 of 3 updates, 2 are needed"
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []
    harness.wait(1.0)
    assert (harness.planned.round, harness.planned.task) == (1, 2)
    assert harness.planned.base == plan.base


def test_the_failure_of_an_older_plan_is_none_of_this_one() -> None:
    """It is noted, so that its collector is silent."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(COLLECTOR, failed(plan))
    harness.wait(1.0)
    harness.hear(COLLECTOR, failed(plan))
    assert harness.said(RoundEndNoted)
    harness.open_round()
    harness.hear(COLLECTOR, failed(plan))
    assert len(harness.noted("round_failed")) == 1
    assert keys.RoundOpening(JOB) in harness.asks


def test_three_failures_in_a_row_end_the_job() -> None:
    """A round that is committed begins the count anew."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(num_rounds=9)))
    for ended in (failed, failed, committed, failed, failed, failed):
        harness.hear(COLLECTOR, ended(plan))
        if keys.JobEnding(JOB) in harness.asks:
            break
        harness.wait(1.0)
        plan = harness.open_round()
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "failed"
    assert end.reason == "round 2 failed 3 times in a row, the last time: too few"
    assert len(harness.noted("round_failed")) == 5


# ── how it ends ───────────────────────────────────────────────────────────────────────────────────


def test_the_last_round_finishes_the_job() -> None:
    """And everybody who was asked anything is told to stop."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(num_rounds=1)))
    harness.hear(COLLECTOR, committed(plan))
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert (end.phase, end.reason) == ("finished", "all 1 rounds are done")
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="finished", reason=end.reason))
    assert (harness.state().phase, harness.state().version) == ("finished", 2)
    assert {key.node for key in harness.asks if isinstance(key, keys.StopRequest)} == {
        COLLECTOR,
        A,
        B,
        C,
    }
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.StopRequest]


def ended_job(harness: Harness) -> Plan:
    """Run a job to its end."""
    plan = harness.begin_round()
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="failed", reason="because"))
    assert (harness.state().phase, harness.state().reason) == ("failed", "because")
    harness.hear(REPOSITORY, loaded(phase="failed", reason="because", plan=plan))
    return plan


def test_a_round_that_was_committed_before_its_job_was_ended_is_announced() -> None:
    """The collector's word of it may come too late, or never: the repository knows."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user"))
    assert harness.state().round == 0
    done = loaded(
        phase="cancelled", reason="by a user", rounds=1, latest=version(2), metrics={"loss": 0.5}
    )
    harness.hear(REPOSITORY, done)
    state = harness.state()
    assert (state.phase, state.round, state.version) == ("cancelled", 1, 2)
    assert state.metrics == {"loss": 0.5}
    harness.hear(COLLECTOR, committed(plan))
    assert harness.told(COLLECTOR, RoundEndNoted).task == plan.task


def test_a_job_that_the_repository_says_is_over_is_over() -> None:
    """Whatever it was doing; nothing of the round is asked any more."""
    harness = Harness()
    ended_job(harness)
    assert (harness.state().phase, harness.state().reason) == ("failed", "because")
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.StopRequest]
    assert set(harness.timers) == {keys.LeaseRenewal(), keys.StopDeadline(JOB)}


def test_nodes_are_told_to_stop_until_they_have_or_ten_minutes_are_over() -> None:
    """A node that is gone for good is not asked for ever."""
    harness = Harness()
    ended_job(harness)
    harness.hear(A, JobStopped(job=JOB))
    assert keys.StopRequest(JOB, A) not in harness.asks
    assert harness.asked(keys.StopRequest(JOB, B), StopJob).job == JOB
    harness.wait(601.0)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []


def test_the_end_of_a_round_is_noted_when_its_job_is_over() -> None:
    """By any controller that leads and knows which jobs run; by nobody else."""
    harness = Harness()
    plan = ended_job(harness)
    harness.hear(COLLECTOR, committed(plan))
    assert harness.told(COLLECTOR, RoundEndNoted).task == plan.task

    other = Harness()
    other.hear(COLLECTOR, committed(plan))
    assert other.last == []
    other.introduce(COLLECTOR, A, B, C)
    other.lead(jobs=(JOB,))
    other.hear(COLLECTOR, committed(plan))
    assert other.last == []  # it is being loaded, and will be asked about
    other.hear(REPOSITORY, loaded(phase="failed", plan=plan))
    other.hear(COLLECTOR, committed(plan))
    assert other.said(RoundEndNoted)


@pytest.mark.parametrize("phase", ["waiting", "planning", "running", "failed round", "evaluating"])
def test_a_job_is_cancelled_at_every_phase(phase: str) -> None:
    """Nothing goes on but the question that ends it."""
    harness = Harness()
    fleet = (COLLECTOR, A) if phase == "waiting" else (COLLECTOR, A, B, C, JUDGE)
    harness.begin(None, *fleet)
    if phase not in {"waiting", "planning"}:
        plan = harness.open_round()
        if phase != "running":
            harness.hear(COLLECTOR, failed(plan) if phase == "failed round" else committed(plan))
    harness.cancel()
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]
    assert set(harness.timers) == {keys.LeaseRenewal()}
    harness.wait(90.0)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]


def test_a_round_that_is_committed_while_its_job_ends_is_in_its_state() -> None:
    """The commit was first; the job ends all the same."""
    harness = Harness()
    plan = harness.begin_round()
    harness.cancel()
    harness.hear(COLLECTOR, committed(plan, accuracy=0.5))
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user"))
    state = harness.state()
    assert (state.phase, state.round, state.metrics) == ("cancelled", 1, {"accuracy": 0.5})


def test_ends_are_remembered_but_not_all() -> None:
    """A controller that runs for years keeps the last few hundred."""
    harness = Harness()
    names = [f"job-{number}" for number in range(258)]
    harness.lead(jobs=tuple(names))
    ended: list[JobLoaded] = [
        replace(loaded(), job=name, phase="finished", reason="done") for name in names
    ]
    for job in ended:
        harness.hear(REPOSITORY, job)
    harness.cancel(names[0].encode())
    assert harness.answer()["reason"].startswith("no running job")
    harness.cancel(names[-1].encode())
    assert harness.answer()["reason"] == "it has already finished: done"


def test_an_end_without_a_record_is_no_commit() -> None:
    """A collector that says one without the other is not believed."""
    harness = Harness()
    plan = harness.begin_round()
    odd: RoundEnded = replace(committed(plan), record=None)
    harness.hear(COLLECTOR, odd)
    assert harness.noted("round_failed")


def test_a_round_that_ends_takes_its_dismissals_with_it() -> None:
    """The next round may ask that agent again."""
    harness = Harness()
    plan = harness.begin_round()
    harness.silent.add(C)
    harness.wait(8.0)
    assert keys.DismissalRequest(JOB, C) in harness.asks
    harness.hear(COLLECTOR, committed(plan))
    harness.wait(6.0)
    assert sorted(harness.planned.cohort) == [A, B]
    assert keys.DismissalRequest(JOB, C) not in harness.asks


@pytest.mark.parametrize(
    "timer", [keys.PlanningRetry, keys.EvaluationDeadline, keys.PlanStorageDeadline, keys.JobTimer]
)
def test_a_timer_of_another_phase_does_nothing(timer: type[keys.JobTimer]) -> None:
    """Nor one of a job that is over."""
    harness = Harness()
    harness.begin_round()
    assert harness.tell(Woke(timer(JOB))) == []
    assert harness.tell(Woke(timer("job-9"))) == []


def test_news_that_come_between_two_rounds_change_nothing() -> None:
    """Of a round that is over, or of a job that nobody runs."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(COLLECTOR, committed(plan))
    harness.hear(A, TaskTaken(job=JOB, task=plan.task))
    assert harness.last == []
    harness.introduce(A, life=2)
    assert harness.last == []
    harness.hear(A, Evaluated(job="job-9", version=1, examples=1, metrics={}))
    assert harness.last == []
    harness.hear(REPOSITORY, JobEnded(job="job-9", phase="finished", reason=""))
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_small_version_rides_along_with_the_next_tasks() -> None:
    """The first time each is said; one of another size than it should be does not."""
    for inline, rides in ((b"x" * 100, True), (b"short", False), (None, False)):
        harness = Harness()
        plan = harness.begin_round()
        harness.hear(COLLECTOR, replace(committed(plan), inline=inline))
        second = harness.open_round()
        for agent in second.cohort:
            ask = harness.asks[keys.TrainingRequest(JOB, agent)]
            assert isinstance(ask.message, TrainTask)
            assert ask.message.inline is None
            assert (ask.first is not None) == rides
            assert not rides or ask.first == replace(ask.message, inline=inline)


@pytest.mark.parametrize(("inline", "rides"), [(b"w" * 100, True), (b"w" * 99, False)])
def test_a_small_model_rides_along_with_the_next_tasks(inline: bytes, rides: bool) -> None:
    """The first time only, and only if it is whole: who misses it fetches it."""
    harness = Harness()
    plan = harness.begin_round()
    harness.hear(COLLECTOR, replace(committed(plan), inline=inline))
    harness.open_round()
    ask = harness.asks[keys.TrainingRequest(JOB, A)]
    assert ask.message.inline is None
    assert (ask.first is not None and ask.first.inline == inline) is rides


def test_a_round_says_which_agents_it_has_lost() -> None:
    """Whoever watches must not think that all is well until the deadline."""
    harness = Harness()
    harness.begin_round()
    assert harness.state_now().reason == ""
    harness.silent.update((A, B))
    harness.wait(10.0)
    reason = "2 of 3 agents are lost (agent.a, agent.b); round 1 needs 2"
    assert harness.state_now().reason == reason


def test_a_round_names_an_agent_that_was_killed() -> None:
    """Its last will comes at once, and long before it counts as lost."""
    harness = Harness()
    harness.begin_round()
    harness.silent.add(A)
    harness.introduce(A, online=False)
    harness.wait(1.0)
    said = "1 of 3 agents is offline or silent (agent.a); round 1 needs 2"
    assert harness.state_now().reason == said


def test_rounds_and_ends_are_told_with_their_times() -> None:
    """By the controller's clock for a round, by the repository's for a job."""
    harness = Harness()
    begun = harness.utc()
    plan = harness.begin_round(loaded(submitted="2026-11-29T08:53:28.120Z"))
    harness.wait(3.0)
    harness.hear(COLLECTOR, committed(plan, accuracy=0.5))
    (done,) = harness.said(RoundState)
    assert (done.began, done.at) == (begun, harness.utc())
    harness.cancel()
    ended = "2026-11-29T08:54:00.000Z"
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user", at=ended))
    state = harness.state()
    assert (state.submitted, state.ended, state.at) == (
        "2026-11-29T08:53:28.120Z",
        ended,
        harness.utc(),
    )


def test_a_jobs_secret_decides_the_seeds_of_its_tasks() -> None:
    """Who does not know the secret cannot predict them; a restarted controller draws them again."""

    def seed(secret: bytes) -> int:
        harness = Harness()
        harness.begin_round(loaded(secret=secret))
        return harness.asked(keys.TrainingRequest(JOB, A), TrainTask).params.seed

    assert seed(b"s" * 32) == seed(b"s" * 32)
    assert seed(b"s" * 32) != seed(b"t" * 32)
