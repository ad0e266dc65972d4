"""States of standalone jobs, and the order of their rounds."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fedbus.core.actions import Note, Run
from fedbus.errors import Stopped, TrainingError
from fedbus.jobs import JobFile, parse
from fedbus_edge_agent import keys
from fedbus_edge_agent.standalone.jobs import (
    MAX_ACTIVE_JOBS,
    MAX_KEPT_REPORTS,
    MAX_REPORTED_ROUNDS,
    RoundRequest,
    RoundResult,
    StandaloneJobs,
    StartJob,
)
from fedbus_edge_agent.standalone.schemas import JobReport
from fedbus_edge_agent.training.cancellation import TaskControl

GOOD = RoundResult(40, {"loss": 0.5, "accuracy": 0.75})


def job_file(job: str = "solo-1", rounds: int = 2, **more: Any) -> JobFile:  # noqa: ANN401 - any key
    """Parse a job file."""
    plain = {"training_id": job, "model_name": "digits", "num_rounds": rounds, **more}
    return parse(json.dumps(plain).encode())


def started(standalone: StandaloneJobs, *jobs: JobFile) -> StandaloneJobs:
    """Start jobs."""
    for file in jobs:
        list(standalone.start(StartJob(file, "1")))
    return standalone


def report_of(standalone: StandaloneJobs, job: str = "solo-1") -> JobReport:
    """Return the report of a job."""
    report = standalone.report(job)
    assert report is not None
    return report


def next_of(standalone: StandaloneJobs) -> tuple[keys.StandaloneWork, TaskControl]:
    """Begin the next round; return its key and control."""
    taken = standalone.next_round()
    assert taken is not None
    key, control, _, note = taken
    assert isinstance(note, Run)
    return key, control


def test_a_job_is_trained_round_by_round() -> None:
    """Each report is stored; the last round ends the job."""
    done: list[tuple[RoundRequest, TaskControl]] = []
    noted: list[JobReport] = []

    def run_round(request: RoundRequest, control: TaskControl) -> RoundResult:
        done.append((request, control))
        return GOOD

    standalone = StandaloneJobs(run_round, noted.append)
    given = list(standalone.start(StartJob(job_file(batch := "solo-1"), "7")))
    assert given[0] == Note("job_started", {"job": batch, "model": "digits"})
    assert report_of(standalone).phase == "WAITING"
    for number in (1, 2):
        taken = standalone.next_round()
        assert taken is not None
        key, control, call, note = taken
        assert key == keys.StandaloneWork("solo-1", number)
        assert report_of(standalone).phase == "TRAINING"
        assert isinstance(note, Run)
        note.call()
        for action in standalone.round_ended(key, call()):
            if isinstance(action, Run):
                action.call()
        assert done[-1][1] is control
    runner = [request for request, _ in done]
    assert [(each.model, each.version, each.round) for each in runner] == [
        ("digits", "7", 1),
        ("digits", "7", 2),
    ]
    assert runner[0].params.seed != runner[1].params.seed
    report = report_of(standalone)
    assert (report.phase, report.reason) == ("FINISHED", "all 2 rounds are done")
    assert (report.round, report.progress, report.examples) == (2, 1.0, 40)
    own = {"train_loss": 0.5, "train_accuracy": 0.75}  # of the data it trained on
    assert (report.metrics, report.rounds) == (own, (own, own))
    assert report.weights == "/job/result/solo-1/weights"
    assert [each.phase for each in noted] == ["TRAINING", "TRAINING", "TRAINING", "FINISHED"]
    assert standalone.active() == []
    assert standalone.next_round() is None


def test_a_job_ends_at_its_target() -> None:
    """Before its last round."""
    standalone = started(StandaloneJobs(), job_file(rounds=9, stopping_target={"accuracy": 0.7}))
    key, _ = next_of(standalone)
    list(standalone.round_ended(key, GOOD))
    assert report_of(standalone).reason.startswith(
        "train_accuracy 0.75, at least 0.7 was asked of acc"
    )
    assert report_of(standalone).phase == "FINISHED"


def test_progress_is_that_of_all_rounds() -> None:
    """The finished rounds and the progress of the running one."""
    standalone = started(StandaloneJobs(), job_file(rounds=4))
    assert report_of(standalone).progress == 0.0
    key, _ = next_of(standalone)
    list(standalone.round_ended(key, GOOD))
    assert report_of(standalone).progress == 0.25
    _, control = next_of(standalone)

    class Half:
        progress = 0.5

    control.data = Half()  # type: ignore[assignment]
    assert report_of(standalone).progress == pytest.approx(0.375)


def test_jobs_take_turns() -> None:
    """After each round the other job is next."""
    standalone = started(StandaloneJobs(), job_file("a"), job_file("b"))
    order = []
    for _ in range(4):
        key, _ = next_of(standalone)
        order.append((key.job, key.number))
        list(standalone.round_ended(key, GOOD))
    assert order == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_training_job_is_stopped_at_its_next_batch() -> None:
    """Its report changes at once; the result of the running round does not count."""
    standalone = started(StandaloneJobs(), job_file())
    key, control = next_of(standalone)
    list(standalone.cancel("solo-1"))
    assert control.stopped
    assert (report_of(standalone).phase, report_of(standalone).reason) == (
        "INTERRUPTED",
        "stopped by a user",
    )
    assert list(standalone.round_ended(key, GOOD)) == []
    assert report_of(standalone).round == 0
    assert list(standalone.cancel("solo-1")) == []
    assert list(standalone.cancel("unknown")) == []


def test_a_waiting_job_is_stopped_without_effect_on_the_training_one() -> None:
    """Each round has its own cancellation flag."""
    standalone = started(StandaloneJobs(), job_file("a"), job_file("b"))
    _, control = next_of(standalone)
    list(standalone.cancel("b"))
    assert not control.stopped
    assert standalone.active() == ["a"]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (TrainingError("the loss became nan"), "the loss became nan"),
        (ValueError("bad rows"), "ValueError: bad rows"),
        (None, "no result"),
    ],
)
def test_a_round_that_fails_ends_its_job_with_the_reason(result: object, reason: str) -> None:
    """And the next job continues."""
    standalone = started(StandaloneJobs(), job_file("a"), job_file("b"))
    key, _ = next_of(standalone)
    list(standalone.round_ended(key, result))
    assert (report_of(standalone, "a").phase, report_of(standalone, "a").reason) == (
        "FAILED",
        reason,
    )
    assert next_of(standalone)[0] == keys.StandaloneWork("b", 1)


def test_a_process_that_exits_stops_its_round_without_a_report() -> None:
    """The next process reports the job as interrupted."""
    standalone = started(StandaloneJobs(), job_file())
    standalone.stop()
    key, control = next_of(standalone)
    standalone.stop()
    assert control.stopped
    assert list(standalone.round_ended(key, Stopped("asked to"))) == []
    left = report_of(standalone)
    assert left.phase == "TRAINING"
    again = StandaloneJobs(earlier=[left, replace(left, training_id="done", phase="FINISHED")])
    assert report_of(again).phase == "INTERRUPTED"
    assert report_of(again).reason == "the agent was restarted meanwhile"
    assert report_of(again, "done").phase == "FINISHED"
    assert again.active() == []


def test_all_jobs_fail_when_training_hangs() -> None:
    """With the watchdog's reason."""
    standalone = started(StandaloneJobs(), job_file("a"), job_file("b"))
    next_of(standalone)
    list(standalone.fail_all("training hangs"))
    assert [report_of(standalone, job).reason for job in "ab"] == ["training hangs"] * 2
    assert {report_of(standalone, job).phase for job in "ab"} == {"FAILED"}


def test_a_bounded_number_of_jobs_is_active_and_none_twice() -> None:
    """A further one is refused with the reason."""
    standalone = started(StandaloneJobs(), *(job_file(f"j{n}") for n in range(MAX_ACTIVE_JOBS - 1)))
    assert standalone.refusal("new") is None
    assert standalone.refusal("j3") == "there is a job j3 already; give this one another id"
    started(standalone, job_file("last"))
    assert standalone.refusal("new") == "16 jobs wait already; stop one, or try again later"


def test_a_bounded_number_of_reports_and_rounds_is_kept() -> None:
    """The oldest ended jobs are dropped first; active ones are kept."""
    standalone = started(StandaloneJobs(), job_file("waits"))
    for number in range(MAX_KEPT_REPORTS):
        started(standalone, job_file(f"j{number}"))
        list(standalone.cancel(f"j{number}"))
    assert standalone.report("waits") is not None
    assert standalone.report("j0") is None
    assert standalone.report("j1") is not None
    long = started(StandaloneJobs(), job_file(rounds=MAX_REPORTED_ROUNDS + 5))
    for _ in range(MAX_REPORTED_ROUNDS + 2):
        key, _ = next_of(long)
        list(long.round_ended(key, GOOD))
    assert len(report_of(long).rounds) == MAX_REPORTED_ROUNDS
    assert report_of(long).round == MAX_REPORTED_ROUNDS + 2


def test_an_agent_without_an_api_runs_no_round() -> None:
    """The default runner does nothing."""
    standalone = started(StandaloneJobs(), job_file())
    taken = standalone.next_round()
    assert taken is not None
    assert taken[2]() is None


def test_keys_about_other_agents_are_named_and_ignored() -> None:
    """The same file may be a fleet's; keys that have an effect are not named."""
    given: dict[str, Any] = {
        "round": {"quorum": 2, "agents": 3, "keep_optimizer_state": True, "deadline_seconds": None},
        "plugins": {"selector": "other", "trainer": "tflite"},
        "strategy": {"id": "fedadam", "population": 9},
    }
    standalone = started(StandaloneJobs(), job_file(**given), job_file("plain"))
    assert report_of(standalone).ignored == (
        *("plugins.selector", "round.agents", "round.quorum"),
        *("strategy.id", "strategy.population"),
    )
    assert report_of(standalone, "plain").ignored == ()
