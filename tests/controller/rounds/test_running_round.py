"""A running round: requests to its collector and cohort, repeated until answered."""

from dataclasses import replace

import pytest

from fedbus.core.actions import Send
from fedbus.core.events import Woke
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, CompressedBlob
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
from fedbus.wire.strategies import StepLimit
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    EVALUATOR,
    JOB,
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


def opened(plan: Plan, incarnation: int = 1) -> RoundOpened:
    """Build a collector's confirmation that a round is open."""
    return RoundOpened(job=JOB, task=plan.task, incarnation=incarnation)


def settled(harness: Harness, plan: Plan) -> None:
    """Answer all requests of a round."""
    harness.receive(COLLECTOR, opened(plan))
    for agent in plan.cohort:
        harness.receive(agent, TaskTaken(job=JOB, task=plan.task))
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []


def test_each_node_is_asked_until_it_answers() -> None:
    """Independent of the others."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(A, TaskTaken(job=JOB, task=plan.task))
    assert keys.TrainingRequest(JOB, A) not in harness.asks
    assert keys.TrainingRequest(JOB, B) in harness.asks
    harness.receive(COLLECTOR, opened(plan))
    assert keys.RoundOpening(JOB) not in harness.asks


def test_the_collector_learns_how_many_steps_a_training_can_make() -> None:
    """From the job's parameters, so that it can refuse impossible claims."""
    harness = Harness()
    harness.begin_round()
    params = harness.sent_to(A, TrainTask).params
    assert harness.sent_to(COLLECTOR, OpenRound).step_limit == StepLimit(
        epochs=params.epochs,
        batch_size=params.batch_size,
        steps_per_epoch=params.steps_per_epoch,
    )


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
    ids=["task", "job", "round", "incarnation", "collector", "dismissal"],
)
def test_an_answer_about_another_task_or_of_another_incarnation_is_ignored(
    sender: str, answer: object
) -> None:
    """It may be an old repetition; the request itself may be lost."""
    harness = Harness()
    harness.begin_round()
    asked = dict(harness.asks)
    harness.receive(sender, answer)
    assert harness.asks == asked


def test_after_a_restart_of_the_collector_all_nodes_are_asked_again() -> None:
    """The collector has lost the round, its refusals and the dismissals."""
    harness = Harness()
    plan = harness.begin_round()
    settled(harness, plan)
    harness.silent.add(C)
    harness.wait(8.0)
    harness.receive(COLLECTOR, Dismissed(job=JOB, task=plan.task, agents=(C,)))
    harness.introduce(COLLECTOR, incarnation=2)
    assert harness.sent_to(COLLECTOR, OpenRound).plan == plan
    assert harness.sent_to(COLLECTOR, Dismiss).agents == (C,)
    assert {key for key in harness.asks if isinstance(key, keys.TrainingRequest)} == {
        keys.TrainingRequest(JOB, A),
        keys.TrainingRequest(JOB, B),
    }
    harness.receive(COLLECTOR, opened(plan, incarnation=1))
    assert keys.RoundOpening(JOB) in harness.asks
    harness.receive(COLLECTOR, opened(plan, incarnation=2))
    assert keys.RoundOpening(JOB) not in harness.asks


def test_a_restarted_agent_of_the_cohort_is_asked_again() -> None:
    """With the same task; other restarted agents are not asked."""
    harness = Harness()
    harness.introduce("agent.d")
    plan = harness.begin_round(None, COLLECTOR, A, B, C)
    rest = ({A, B, C, "agent.d"} - {*plan.cohort}).pop()
    settled(harness, plan)
    one = plan.cohort[0]
    harness.introduce(one, incarnation=2)
    assert harness.sent_to(one, TrainTask).task == plan.task
    harness.introduce(rest, incarnation=2)
    assert harness.last == []


def test_a_lost_agent_is_dismissed_once_and_not_asked_again() -> None:
    """When it comes back, the round continues without it."""
    harness = Harness()
    plan = harness.begin_round()
    harness.silent.add(C)
    harness.wait(8.0)
    assert keys.TrainingRequest(JOB, C) not in harness.asks
    dismissal = harness.asked(keys.DismissalRequest(JOB, C), Dismiss)
    assert (dismissal.task, dismissal.agents) == (plan.task, (C,))
    harness.receive(COLLECTOR, Dismissed(job=JOB, task=9, agents=(C,)))
    assert keys.DismissalRequest(JOB, C) in harness.asks
    harness.receive(COLLECTOR, Dismissed(job=JOB, task=plan.task, agents=(C,)))
    assert keys.DismissalRequest(JOB, C) not in harness.asks
    harness.introduce(C, incarnation=2)
    harness.wait(2.0)
    assert keys.TrainingRequest(JOB, C) not in harness.asks
    assert keys.DismissalRequest(JOB, C) not in harness.asks


def test_a_lost_collector_is_replaced_by_another() -> None:
    """The round is planned again, with a higher task number."""
    harness = Harness()
    plan = harness.begin_round()
    lost = plan.collector
    harness.introduce(OTHER_COLLECTOR)
    harness.silent.add(lost)
    harness.wait(8.0)
    assert harness.noted("collector_lost")
    again = harness.planned
    assert (again.round, again.task, again.collector) == (1, plan.task + 1, OTHER_COLLECTOR)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_round_waits_for_its_collector_where_there_is_no_other() -> None:
    """The job's reason names it; when it is back, it gets the same round."""
    harness = Harness()
    plan = harness.begin_round()
    settled(harness, plan)
    harness.silent.add(COLLECTOR)
    harness.wait(8.0)
    harness.silent.clear()
    assert not harness.noted("collector_lost")
    harness.tell_states()
    assert harness.state().reason == f"waiting for {COLLECTOR}, which is lost, or another collector"
    harness.introduce(COLLECTOR, incarnation=2)
    assert harness.sent_to(COLLECTOR, OpenRound).plan == plan
    harness.wait(1.0)
    harness.tell_states()
    assert harness.state().reason == ""


def test_a_collector_that_is_silent_after_the_deadline_is_asked_again() -> None:
    """It reports how the round ended, or opens it."""
    harness = Harness()
    plan = harness.begin_round()
    settled(harness, plan)
    harness.wait(plan.deadline_seconds + 32.0)
    assert harness.asked(keys.RoundOpening(JOB), OpenRound).plan == plan


def test_a_committed_round_is_followed_by_the_next() -> None:
    """From its version; open requests of the round are cancelled."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(COLLECTOR, committed(plan, accuracy=0.5))
    assert harness.sent_to(COLLECTOR, RoundEndNoted).task == plan.task
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]
    assert (harness.planned.round, harness.planned.task) == (2, 2)
    assert harness.planned.base.version == plan.base.version + 1


def test_a_repeated_round_end_is_acknowledged_and_counts_once() -> None:
    """The first acknowledgement may be lost."""
    harness = Harness()
    plan = harness.begin_round()
    ended = committed(plan)
    harness.receive(COLLECTOR, ended)
    second = harness.open_round()
    for _ in range(2):
        harness.receive(COLLECTOR, ended)
        assert harness.last == [Send(COLLECTOR, RoundEndNoted(job=JOB, task=plan.task))]
    assert keys.RoundOpening(JOB) in harness.asks
    assert second.round == 2


@pytest.mark.parametrize("phase", ["waiting", "planning", "running"])
def test_a_commit_counts_whenever_it_is_reported(phase: str) -> None:
    """Even by a collector that seemed lost, after the round was planned again."""
    harness = Harness()
    plan = harness.begin_round()
    if phase == "running":
        harness.introduce(OTHER_COLLECTOR)
    harness.receive(COLLECTOR, failed(plan))
    if phase != "waiting":
        harness.wait(1.0)
        assert harness.planned.task == 2
    if phase == "running":
        harness.open_round()
    harness.receive(COLLECTOR, committed(plan))
    assert harness.planned.round == 2
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_failed_round_is_planned_again_with_a_higher_task() -> None:
    """A moment later, from the same version; the job's document has the reason."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(COLLECTOR, failed(plan, "1 of 3 updates, 2 are needed"))
    assert harness.state().reason == "round 1 failed: 1 of 3 updates, 2 are needed"
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []
    harness.wait(1.0)
    assert (harness.planned.round, harness.planned.task) == (1, 2)
    assert harness.planned.base == plan.base


def test_the_failure_of_an_earlier_plan_is_ignored() -> None:
    """It is acknowledged, so that its collector does not repeat it."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(COLLECTOR, failed(plan))
    harness.wait(1.0)
    harness.receive(COLLECTOR, failed(plan))
    assert harness.sent(RoundEndNoted)
    harness.open_round()
    harness.receive(COLLECTOR, failed(plan))
    assert len(harness.noted("round_failed")) == 1
    assert keys.RoundOpening(JOB) in harness.asks


def test_three_failures_in_a_row_end_the_job() -> None:
    """A committed round resets the count."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(num_rounds=9)))
    for ended in (failed, failed, committed, failed, failed, failed):
        harness.receive(COLLECTOR, ended(plan))
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
    """Each node that was asked is told to stop."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(num_rounds=1)))
    harness.receive(COLLECTOR, committed(plan))
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert (end.phase, end.reason) == ("finished", "all 1 rounds are done")
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="finished", reason=end.reason))
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
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="failed", reason="because"))
    assert (harness.state().phase, harness.state().reason) == ("failed", "because")
    harness.receive(REPOSITORY, loaded(phase="failed", reason="because", plan=plan))
    return plan


def test_a_round_that_was_committed_before_its_job_was_ended_is_announced() -> None:
    """The collector's report may be late or lost: the repository has the commit."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user"))
    assert harness.state().round == 0
    done = loaded(
        phase="cancelled", reason="by a user", rounds=1, latest=version(2), metrics={"loss": 0.5}
    )
    harness.receive(REPOSITORY, done)
    state = harness.state()
    assert (state.phase, state.round, state.version) == ("cancelled", 1, 2)
    assert state.metrics == {"loss": 0.5}
    harness.receive(COLLECTOR, committed(plan))
    assert harness.sent_to(COLLECTOR, RoundEndNoted).task == plan.task


def test_a_job_that_the_repository_ended_is_ended() -> None:
    """At any stage; all requests of the round are cancelled."""
    harness = Harness()
    ended_job(harness)
    assert (harness.state().phase, harness.state().reason) == ("failed", "because")
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.StopRequest]
    assert set(harness.timers) == {keys.LeaseRenewal(), keys.StopDeadline(JOB)}


def test_nodes_are_told_to_stop_until_they_answer_or_for_ten_minutes() -> None:
    """A node that never comes back is not asked without end."""
    harness = Harness()
    ended_job(harness)
    harness.receive(A, JobStopped(job=JOB))
    assert keys.StopRequest(JOB, A) not in harness.asks
    assert harness.asked(keys.StopRequest(JOB, B), StopJob).job == JOB
    harness.wait(601.0)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == []


def test_the_end_of_a_round_is_acknowledged_when_its_job_is_over() -> None:
    """Only by a controller that leads and knows which jobs run."""
    harness = Harness()
    plan = ended_job(harness)
    harness.receive(COLLECTOR, committed(plan))
    assert harness.sent_to(COLLECTOR, RoundEndNoted).task == plan.task

    other = Harness()
    other.receive(COLLECTOR, committed(plan))
    assert other.last == []
    other.introduce(COLLECTOR, A, B, C)
    other.lead(jobs=(JOB,))
    other.receive(COLLECTOR, committed(plan))
    assert other.last == []  # it is being loaded, and will be asked about
    other.receive(REPOSITORY, loaded(phase="failed", plan=plan))
    other.receive(COLLECTOR, committed(plan))
    assert other.sent(RoundEndNoted)


@pytest.mark.parametrize("phase", ["waiting", "planning", "running", "failed round", "evaluating"])
def test_a_job_is_cancelled_at_every_phase(phase: str) -> None:
    """All requests but the one to end it are cancelled."""
    harness = Harness()
    fleet = (COLLECTOR, A) if phase == "waiting" else (COLLECTOR, A, B, C, EVALUATOR)
    harness.begin(None, *fleet)
    if phase not in {"waiting", "planning"}:
        plan = harness.open_round()
        if phase != "running":
            harness.receive(COLLECTOR, failed(plan) if phase == "failed round" else committed(plan))
    harness.cancel()
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]
    assert set(harness.timers) == {keys.LeaseRenewal()}
    harness.wait(90.0)
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]


def test_a_round_that_is_committed_while_its_job_ends_is_in_its_state() -> None:
    """The commit was first; the job still ends."""
    harness = Harness()
    plan = harness.begin_round()
    harness.cancel()
    harness.receive(COLLECTOR, committed(plan, accuracy=0.5))
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.JobEnding]
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user"))
    state = harness.state()
    assert (state.phase, state.round, state.metrics) == ("cancelled", 1, {"accuracy": 0.5})


def test_the_number_of_ended_jobs_kept_is_bounded() -> None:
    """A controller that runs for years keeps the last few hundred."""
    harness = Harness()
    names = [f"job-{number}" for number in range(258)]
    harness.lead(jobs=tuple(names))
    ended: list[JobLoaded] = [
        replace(loaded(), job=name, phase="finished", reason="done") for name in names
    ]
    for job in ended:
        harness.receive(REPOSITORY, job)
    harness.cancel(names[0].encode())
    assert harness.answer()["reason"].startswith("no running job")
    harness.cancel(names[-1].encode())
    assert harness.answer()["reason"] == "it has already finished: done"


def test_an_end_without_a_record_is_no_commit() -> None:
    """A report with a version and no record is invalid."""
    harness = Harness()
    plan = harness.begin_round()
    odd: RoundEnded = replace(committed(plan), record=None)
    harness.receive(COLLECTOR, odd)
    assert harness.noted("round_failed")


def test_the_end_of_a_round_cancels_its_dismissals() -> None:
    """The next round may ask that agent again."""
    harness = Harness()
    plan = harness.begin_round()
    harness.silent.add(C)
    harness.wait(8.0)
    assert keys.DismissalRequest(JOB, C) in harness.asks
    harness.receive(COLLECTOR, committed(plan))
    harness.wait(6.0)
    assert sorted(harness.planned.cohort) == [A, B]
    assert keys.DismissalRequest(JOB, C) not in harness.asks


@pytest.mark.parametrize(
    "timer", [keys.PlanningRetry, keys.EvaluationDeadline, keys.PlanStorageDeadline, keys.JobTimer]
)
def test_a_timer_of_another_stage_does_nothing(timer: type[keys.JobTimer]) -> None:
    """Nor does one of an ended job."""
    harness = Harness()
    harness.begin_round()
    assert harness.handle(Woke(timer(JOB))) == []
    assert harness.handle(Woke(timer("job-9"))) == []


def test_messages_between_two_rounds_change_nothing() -> None:
    """They are about an ended round, or a job that does not run here."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(COLLECTOR, committed(plan))
    harness.receive(A, TaskTaken(job=JOB, task=plan.task))
    assert harness.last == []
    harness.introduce(A, incarnation=2)
    assert harness.last == []
    harness.receive(A, Evaluated(job="job-9", version=1, examples=1, metrics={}))
    assert harness.last == []
    harness.receive(REPOSITORY, JobEnded(job="job-9", phase="finished", reason=""))
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_a_small_version_is_inside_the_next_tasks() -> None:
    """The first time each is said; one of another size than it should be does not."""
    for inline, rides in ((b"x" * 100, True), (b"short", False), (None, False)):
        harness = Harness()
        plan = harness.begin_round()
        harness.receive(COLLECTOR, replace(committed(plan), inline=inline))
        second = harness.open_round()
        for agent in second.cohort:
            ask = harness.asks[keys.TrainingRequest(JOB, agent)]
            assert isinstance(ask.message, TrainTask)
            assert ask.message.inline is None
            assert (ask.first is not None) == rides
            assert not rides or ask.first == replace(ask.message, inline=inline)


@pytest.mark.parametrize(("inline", "rides"), [(b"w" * 100, True), (b"w" * 99, False)])
def test_only_a_complete_version_is_inside_the_next_tasks(inline: bytes, rides: bool) -> None:
    """In the first message only; an agent that does not get it fetches it."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(COLLECTOR, replace(committed(plan), inline=inline))
    harness.open_round()
    ask = harness.asks[keys.TrainingRequest(JOB, A)]
    assert ask.message.inline is None
    assert (ask.first is not None and ask.first.inline == inline) is rides


@pytest.mark.parametrize("download", [["cast"], []], ids=["asked for", "not asked for"])
@pytest.mark.parametrize("inline", [b"w" * 100, None], ids=["small", "large"])
def test_tasks_name_the_thin_blob_if_the_job_wants_it_and_weights_are_not_inside(
    download: list[str], inline: bytes | None
) -> None:
    """A version of an earlier job may have one; the collector always has the weights."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(download=download)))
    thin = CompressedBlob(
        blob=BlobRef(digest="e" * 64, size=30), compression=(PluginChoice(id="cast"),)
    )
    done = committed(plan)
    assert done.version is not None
    harness.receive(
        COLLECTOR, replace(done, version=replace(done.version, thin=thin), inline=inline)
    )
    second = harness.open_round()
    assert second.base.thin == thin
    task = harness.asks[keys.TrainingRequest(JOB, A)].message
    assert isinstance(task, TrainTask)
    assert task.base == (second.base if download and inline is None else second.base.whole)


def test_a_round_names_its_lost_agents() -> None:
    """Otherwise a user learns of them at the deadline only."""
    harness = Harness()
    harness.begin_round()
    assert harness.state_now().reason == ""
    harness.silent.update((A, B))
    harness.wait(10.0)
    reason = "2 of 3 agents are lost (agent.a, agent.b); round 1 needs 2"
    assert harness.state_now().reason == reason


def test_a_round_names_an_agent_that_was_killed() -> None:
    """Its last will arrives at once, long before it counts as lost."""
    harness = Harness()
    harness.begin_round()
    harness.silent.add(A)
    harness.introduce(A, online=False)
    harness.wait(1.0)
    said = "1 of 3 agents is offline or silent (agent.a); round 1 needs 2"
    assert harness.state_now().reason == said


def test_documents_contain_the_times_of_rounds_and_ends() -> None:
    """By the controller's clock for a round, by the repository's for a job."""
    harness = Harness()
    begun = harness.utc()
    plan = harness.begin_round(loaded(submitted="2026-11-29T08:53:28.120Z"))
    harness.wait(3.0)
    harness.receive(COLLECTOR, committed(plan, accuracy=0.5))
    (done,) = harness.sent(RoundState)
    assert (done.began, done.at) == (begun, harness.utc())
    harness.cancel()
    ended = "2026-11-29T08:54:00.000Z"
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="by a user", at=ended))
    state = harness.state()
    assert (state.submitted, state.ended, state.at) == (
        "2026-11-29T08:53:28.120Z",
        ended,
        harness.utc(),
    )


def test_a_jobs_secret_decides_the_seeds_of_its_tasks() -> None:
    """Without the secret they cannot be predicted; a restarted controller draws the same."""

    def seed(secret: bytes) -> int:
        harness = Harness()
        harness.begin_round(loaded(secret=secret))
        return harness.asked(keys.TrainingRequest(JOB, A), TrainTask).params.seed

    assert seed(b"s" * 32) == seed(b"s" * 32)
    assert seed(b"s" * 32) != seed(b"t" * 32)
