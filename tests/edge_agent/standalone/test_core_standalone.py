"""Standalone jobs and the tasks of others share one worker, in turns."""

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
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, train
from tests.edge_agent.standalone.test_jobs import job_file
from tests.held import grown, held


@dataclass
class School:
    """Learns nothing, quickly, and notes what it is told to."""

    runner: list[str] = field(default_factory=list)
    notes: list[JobReport] = field(default_factory=list)
    failure: Exception | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)

    def run_round(self, request: RoundRequest, control: TaskControl) -> RoundResult:
        assert not control.stopped
        if self.failure is not None:
            raise self.failure
        self.runner.append(f"{request.job} {request.round}")
        control.notes.extend(self.problems)
        return RoundResult(5, {"loss": 1.0 / request.round})


class Both(AgentHarness):
    """An agent with both kinds of work."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.school = School()
        standalone = StandaloneJobs(self.school.run_round, self.school.notes.append)
        self.agent = AgentCore(
            self.runner,
            self.outbox,
            self.spools,
            self._facts,
            thread=TrainingThread(),
            standalone=standalone,
        )
        self.core = self.agent
        self.tell(Connected())

    def begin(self, job: str = "solo-1", rounds: int = 2) -> None:
        """Begin a standalone job."""
        self.tell(Local(StartJob(job_file(job, rounds), "1")))

    def phase(self, job: str = "solo-1") -> str:
        """Ask how it stands."""
        report = self.agent.standalone.report(job)
        assert report is not None
        return report.phase


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """Set up an agent that has nothing to do."""
    return Both(tmp_path)


def test_a_standalone_job_is_trained_noted_and_counted(both: Both) -> None:
    """Without a word on the bus."""
    both.begin()
    assert both.agent.active_jobs() == {"solo-1": 1}
    both.wait(1.0)
    assert both.doing() == "standalone solo-1 1"
    both.work()
    assert both.school.runner == ["solo-1 1", "solo-1 2"]
    assert both.school.notes[-1].phase == "FINISHED"
    assert both.asks == {}
    assert both.doing() == ""
    assert both.agent.active_jobs() == {}
    assert both.agent.counters.outcomes == {("standalone", "done"): 2}
    assert both.agent.counters.jobs == {"solo-1": (2, {"loss": 0.5})}


def test_what_goes_wrong_beside_the_work_is_noted(both: Both) -> None:
    """For whoever reads the agent's log; the work counts."""
    both.school.problems = [("optimizer_state_lost", "the disk is full")]
    both.begin(rounds=1)
    both.work()
    assert [note for note in both.notes if note.event == "optimizer_state_lost"] == [
        Note(
            "optimizer_state_lost",
            {"work": ["standalone", "solo-1", 1], "reason": "the disk is full"},
        )
    ]
    assert both.phase() == "FINISHED"


def test_tasks_and_standalone_jobs_take_turns(both: Both) -> None:
    """Neither keeps the worker for itself."""
    both.begin(rounds=3)
    for number in (1, 2):
        both.hear(CONTROLLER, train(1, job=f"job-{number}"))
    both.bring()
    order = []
    while both.runs:
        run = both.runs.pop(0)
        if isinstance(run.key, keys.WorkKey):
            order.append(run.key.kind)
        both.tell(Ran(run.key, run.call()))
    assert order == ["standalone", "train", "standalone", "train", "standalone"]
    assert both.agent.counters.outcomes == {("standalone", "done"): 3, ("train", "done"): 2}


def test_a_job_that_is_stopped_frees_the_worker_at_its_next_batch(both: Both) -> None:
    """A task that waits is worked on then."""
    both.begin()
    (run,) = [each for each in both.runs if isinstance(each.key, keys.StandaloneWork)]
    both.hear(CONTROLLER, train())
    both.bring()
    both.tell(Local(CancelJob("solo-1")))
    assert both.phase() == "INTERRUPTED"
    both.runs.remove(run)
    both.tell(Ran(run.key, RoundResult(5, {})))
    both.work()
    assert both.offered().task == 1
    assert both.school.runner == []


def test_a_round_that_fails_is_counted_and_the_next_job_goes_on(both: Both) -> None:
    """Its reason is in its report."""
    both.school.failure = ValueError("bad rows")
    both.begin("a")
    both.work()
    both.school.failure = None
    both.begin("b", rounds=1)
    both.work()
    assert (both.phase("a"), both.phase("b")) == ("FAILED", "FINISHED")
    assert both.agent.counters.outcomes == {("standalone", "failed"): 1, ("standalone", "done"): 1}


def test_a_standalone_job_that_hangs_ends_the_process_too(both: Both) -> None:
    """After the grace, with everything else given up."""
    both.begin()
    both.runs.clear()
    both.hear(CONTROLLER, train())
    both.wait(STALL_SECONDS)
    assert both.phase() == "FAILED"
    assert both.asked(keys.TaskReply(JOB, 1), Decline).reason.startswith("training hangs")
    both.begin("b")
    assert both.runs[-1].key == keys.ReportWrite("b")  # nothing is learnt any more
    both.wait(30.0)
    assert isinstance(both.last[-1], Quit)


def test_a_process_that_leaves_stops_a_lesson(both: Both) -> None:
    """The next life says that the job was interrupted."""
    both.begin()
    both.tell(Stopping())
    (run,) = [each for each in both.runs if isinstance(each.key, keys.StandaloneWork)]
    with pytest.raises(AssertionError):
        run.call()


def test_nothing_is_kept_of_standalone_jobs_beyond_the_last(both: Both) -> None:
    """Of hundreds; their results lie on the disk."""
    counts = []
    for kind, count in (("first", MAX_KEPT_REPORTS), ("more", 300)):
        for number in range(count):
            both.begin(f"{kind}-{number}", rounds=2)
            both.work()
        both.school.runner.clear()
        both.school.notes.clear()
        counts.append(held(both.agent.standalone, both.agent.counters))
    assert grown(counts[0], counts[1], 30) == {}
