"""Standalone jobs and a controller's tasks take turns on the training thread."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedbus.core.actions import Note, Quit
from fedbus.core.events import Connected, Local, Ran, Stopping
from fedbus.wire.messages import Decline
from fedbus_edge_agent import keys
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.standalone.jobs import (
    MAX_KEPT_REPORTS,
    CancelJob,
    RoundRequest,
    RoundResult,
    StandaloneJobs,
    StartJob,
)
from fedbus_edge_agent.standalone.schemas import JobReport
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.watchdog import STALL_SECONDS, TrainingThread
from tests.container_sizes import container_sizes, grown
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, train
from tests.edge_agent.standalone.test_jobs import job_file


@dataclass
class FakeRunner:
    """Runs rounds without training, and records requests and reports."""

    rounds: list[str] = field(default_factory=list)
    reports: list[JobReport] = field(default_factory=list)
    failure: Exception | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)

    def run_round(self, request: RoundRequest, control: TaskControl) -> RoundResult:
        assert not control.stopped
        if self.failure is not None:
            raise self.failure
        self.rounds.append(f"{request.job} {request.round}")
        control.notes.extend(self.problems)
        return RoundResult(5, {"loss": 1.0 / request.round})


class StandaloneHarness(AgentHarness):
    """An agent with tasks and standalone jobs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fake_runner = FakeRunner()
        standalone = StandaloneJobs(self.fake_runner.run_round, self.fake_runner.reports.append)
        self.agent = AgentCore(
            self.runner,
            self.outbox,
            self.spools,
            self._facts,
            thread=TrainingThread(),
            standalone=standalone,
        )
        self.core = self.agent
        self.handle(Connected())

    def begin(self, job: str = "solo-1", rounds: int = 2) -> None:
        """Start a standalone job."""
        self.handle(Local(StartJob(job_file(job, rounds), "1")))

    def phase(self, job: str = "solo-1") -> str:
        """Return the phase of a job."""
        report = self.agent.standalone.report(job)
        assert report is not None
        return report.phase


@pytest.fixture
def harness(tmp_path: Path) -> StandaloneHarness:
    """Return an agent that has nothing to do."""
    return StandaloneHarness(tmp_path)


def test_a_standalone_job_is_trained_reported_and_counted(harness: StandaloneHarness) -> None:
    """Without a message on the bus."""
    harness.begin()
    assert harness.agent.active_jobs() == {"solo-1": 1}
    harness.wait(1.0)
    assert harness.running_task() == "standalone solo-1 1"
    harness.run_calls()
    assert harness.fake_runner.rounds == ["solo-1 1", "solo-1 2"]
    assert harness.fake_runner.reports[-1].phase == "FINISHED"
    assert harness.asks == {}
    assert harness.running_task() == ""
    assert harness.agent.active_jobs() == {}
    assert harness.agent.counters.outcomes == {("standalone", "done"): 2}
    assert harness.agent.counters.jobs == {"solo-1": (2, {"loss": 0.5})}


def test_faults_that_do_not_end_the_round_are_logged(harness: StandaloneHarness) -> None:
    """The round counts."""
    harness.fake_runner.problems = [("optimizer_state_lost", "the disk is full")]
    harness.begin(rounds=1)
    harness.run_calls()
    assert [note for note in harness.notes if note.event == "optimizer_state_lost"] == [
        Note(
            "optimizer_state_lost",
            {"work": ["standalone", "solo-1", 1], "reason": "the disk is full"},
        )
    ]
    assert harness.phase() == "FINISHED"


def test_tasks_and_standalone_jobs_take_turns(harness: StandaloneHarness) -> None:
    """Neither keeps the training thread for itself."""
    harness.begin(rounds=3)
    for number in (1, 2):
        harness.receive(CONTROLLER, train(1, job=f"job-{number}"))
    harness.deliver_inputs()
    order = []
    while harness.runs:
        run = harness.runs.pop(0)
        if isinstance(run.key, keys.WorkKey):
            order.append(run.key.kind)
        harness.handle(Ran(run.key, run.call()))
    assert order == ["standalone", "train", "standalone", "train", "standalone"]
    assert harness.agent.counters.outcomes == {("standalone", "done"): 3, ("train", "done"): 2}


def test_a_stopped_job_frees_the_training_thread_at_its_next_batch(
    harness: StandaloneHarness,
) -> None:
    """A waiting task runs then."""
    harness.begin()
    (run,) = [each for each in harness.runs if isinstance(each.key, keys.StandaloneWork)]
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    harness.handle(Local(CancelJob("solo-1")))
    assert harness.phase() == "INTERRUPTED"
    harness.runs.remove(run)
    harness.handle(Ran(run.key, RoundResult(5, {})))
    harness.run_calls()
    assert harness.offered().task == 1
    assert harness.fake_runner.rounds == []


def test_a_failed_round_is_counted_and_the_next_job_continues(harness: StandaloneHarness) -> None:
    """The report has the reason."""
    harness.fake_runner.failure = ValueError("bad rows")
    harness.begin("a")
    harness.run_calls()
    harness.fake_runner.failure = None
    harness.begin("b", rounds=1)
    harness.run_calls()
    assert (harness.phase("a"), harness.phase("b")) == ("FAILED", "FINISHED")
    assert harness.agent.counters.outcomes == {
        ("standalone", "failed"): 1,
        ("standalone", "done"): 1,
    }


def test_a_standalone_job_that_hangs_ends_the_process_too(harness: StandaloneHarness) -> None:
    """After the grace period; all other work fails before."""
    harness.begin()
    harness.runs.clear()
    harness.receive(CONTROLLER, train())
    harness.wait(STALL_SECONDS)
    assert harness.phase() == "FAILED"
    assert harness.asked(keys.TaskReply(JOB, 1), Decline).reason.startswith("training hangs")
    harness.begin("b")
    assert harness.runs[-1].key == keys.ReportWrite("b")  # no round begins any more
    harness.wait(30.0)
    assert isinstance(harness.last[-1], Quit)


def test_a_process_that_exits_stops_a_round(harness: StandaloneHarness) -> None:
    """The next process reports the job as interrupted."""
    harness.begin()
    harness.handle(Stopping())
    (run,) = [each for each in harness.runs if isinstance(each.key, keys.StandaloneWork)]
    with pytest.raises(AssertionError):
        run.call()


def test_only_the_last_standalone_jobs_are_kept_in_memory(harness: StandaloneHarness) -> None:
    """Of hundreds; their results are on disk."""
    counts = []
    for kind, count in (("first", MAX_KEPT_REPORTS), ("more", 300)):
        for number in range(count):
            harness.begin(f"{kind}-{number}", rounds=2)
            harness.run_calls()
        harness.fake_runner.rounds.clear()
        harness.fake_runner.reports.clear()
        counts.append(container_sizes(harness.agent.standalone, harness.agent.counters))
    assert grown(counts[0], counts[1], 30) == {}
