"""Tasks of a job whose objective keeps a state: each begins with what has counted, exactly once."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from fedbus.core.events import Ran, RunFailed
from fedbus.errors import StoreError
from fedbus.model.blob_header import Blob
from fedbus.training.params import PluginChoice, TrainingParams
from fedbus.wire.messages import Decline, Offer, Receipt, StopJob, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.replies import REMOVAL_RETRY_SECONDS
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.own_state import OwnStates
from fedbus_edge_agent.training.task_runner import (
    NO_STRATEGY_BLOBS,
    Model,
    StrategyBlobs,
    TrainingResult,
    store_update,
)
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    OTHER_COLLECTOR,
    AgentHarness,
    FakeTaskRunner,
    train,
    update_of,
    version,
)


class Killed(BaseException):
    """The process ended here."""


@dataclass(frozen=True, slots=True)
class KillingStates(OwnStates):
    """Own states whose process is killed after a step on the disk, if it is told so."""

    outbox: "KillingOutbox"

    def settle(self, offer: Offer, *, counted: bool) -> bool:
        settled = OwnStates.settle(self, offer, counted=counted)
        if self.outbox.killed_after == "settle":
            raise Killed
        return settled


class KillingOutbox(Outbox):
    """An outbox whose process is killed after a step on the disk, if it is told so."""

    killed_after = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.own_states = KillingStates(folder / "own", self)

    def remove(self, job: str, task: int) -> None:
        super().remove(job, task)
        if self.killed_after == "remove":
            raise Killed


class Keeping(FakeTaskRunner):
    """A task runner whose objective keeps which tasks have counted: a hash of their numbers.

    `begun` has the state that each training began with, by task.
    """

    def __init__(self, harness: AgentHarness) -> None:
        super().__init__(harness.outbox)
        self.begun: list[tuple[int, tuple[float, ...]]] = []

    def train(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,  # noqa: ARG002 - it needs none
    ) -> TrainingResult:
        self._begin("train", task.task, base, control)
        states = self.outbox.own_states
        own, reason = states.load(task, model.layout)
        assert not reason or "which is not before this one" in reason
        before = np.zeros(4, np.float32) if own is None else own
        self.begun.append((task.task, tuple(map(float, before))))
        states.save_pending(task, model.layout, counted_after(before, task.task))
        if isinstance(self.outbox, KillingOutbox) and self.outbox.killed_after == "pending":
            raise Killed
        return store_update(
            self.outbox, task, update_of(task.task), 10, {"loss": 0.5}, kept=("own_state",)
        )


def counted_after(before: Any, task: int) -> Any:  # noqa: ANN401 - arrays
    """Return a state after one more task counted."""
    return (before * 3 + task).astype(np.float32) % np.array([97, 89, 83, 79], np.float32)


def counted(*tasks: int) -> tuple[float, ...]:
    """Return the state after these tasks have counted."""
    state = np.zeros(4, np.float32)
    for task in tasks:
        state = counted_after(state, task)
    return tuple(map(float, state))


def keeping_agent(folder: Path) -> tuple[AgentHarness, Keeping]:
    """Start an agent, as after a kill."""
    harness = AgentHarness(folder, outbox=KillingOutbox(folder))
    runner = Keeping(harness)
    harness.runner = runner
    harness.core._scheduler.runner = runner  # type: ignore[attr-defined]  # noqa: SLF001 - the one of the harness
    return harness, runner


def task(number: int, round_: int | None = None, collector: str = COLLECTOR) -> TrainTask:
    """Return a task of a job whose objective keeps a state."""
    params = TrainingParams(round=round_ or number, objective=PluginChoice(id="any"))
    return train(number, params=params, collector=collector)


def receipt(number: int, verdict: Any) -> Receipt:  # noqa: ANN401 - a literal
    """Return a receipt."""
    return Receipt(job=JOB, task=number, verdict=verdict)


@pytest.mark.parametrize(("verdict", "state"), [("stored", counted(1)), ("drop", counted())])
def test_a_task_waits_for_the_receipt_of_the_round_before(
    tmp_path: Path, verdict: str, state: tuple[float, ...]
) -> None:
    """Only then is it known what its objective begins with; the offer goes to its collector."""
    harness, runner = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(CONTROLLER, task(2, collector=OTHER_COLLECTOR))
    harness.deliver_inputs()
    assert harness.runs == []
    assert harness.asks[keys.TaskReply(JOB, 1)].to == OTHER_COLLECTOR
    harness.receive(OTHER_COLLECTOR, receipt(1, verdict))
    assert [type(run.key) for run in harness.runs] == [keys.UpdateRemoval]  # and not yet the task
    harness.run_calls()
    assert runner.begun == [(1, counted()), (2, state)]
    assert set(harness.asks) == {keys.TaskReply(JOB, 2)}


def test_a_task_waits_for_the_adoption_that_a_receipt_began(tmp_path: Path) -> None:
    """Two threads may be at work."""
    harness, runner = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(COLLECTOR, receipt(1, "stored"))
    harness.receive(CONTROLLER, task(2))
    harness.deliver_inputs()
    assert [type(run.key) for run in harness.runs] == [keys.UpdateRemoval]
    harness.run_calls()
    assert runner.begun[-1] == (2, counted(1))


@pytest.mark.parametrize("counts", [1, 2])
def test_a_task_of_the_same_round_does_not_wait(tmp_path: Path, counts: int) -> None:
    """The round was planned again, perhaps after its commit: one of both counts, either one."""
    harness, runner = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.trained(task(2, 1))
    assert runner.begun == [(1, counted()), (2, counted())]
    harness.receive(COLLECTOR, receipt(counts, "stored"))
    harness.receive(COLLECTOR, receipt(3 - counts, "drop"))
    harness.run_calls()
    harness.trained(task(3, 2))
    assert runner.begun[-1] == (3, counted(counts))


@pytest.mark.parametrize("verdict", ["stored", "drop"])
def test_a_lost_state_of_an_update_that_counts_is_logged(tmp_path: Path, verdict: str) -> None:
    """A user removed the file: the next round begins with the state before."""
    harness, runner = keeping_agent(tmp_path)
    harness.trained(task(1))
    (tmp_path / "own" / f"{JOB}~1~1.pending").unlink()
    harness.receive(COLLECTOR, receipt(1, verdict))
    harness.run_calls()
    lost = [{"job": JOB, "task": 1}] if verdict == "stored" else []
    assert harness.noted("own_state_lost") == lost
    harness.trained(task(2))
    assert runner.begun[-1] == (2, counted())


def test_a_state_that_was_adopted_before_the_update_was_removed_is_not_lost(tmp_path: Path) -> None:
    """The disk refused the removal, and it is repeated."""
    harness, _ = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(COLLECTOR, receipt(1, "stored"))
    (run,) = harness.runs
    assert run.call() == ()
    harness.run_calls()
    assert harness.noted("own_state_lost") == []


def test_other_jobs_do_not_wait(tmp_path: Path) -> None:
    """Nor do the tasks of a job whose objective keeps nothing."""
    harness, runner = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(CONTROLLER, task(2))
    harness.deliver_inputs()
    harness.trained(train(1, job="job-2", params=TrainingParams(round=7)))
    assert [number for number, _ in runner.begun] == [1, 1]


def test_a_waiting_task_fetches_its_inputs_once(tmp_path: Path) -> None:
    """Not again when those of another job have taken their place in the cache."""
    harness, _ = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(CONTROLLER, task(2))
    harness.deliver_inputs()
    harness.receive(CONTROLLER, train(1, job="job-2", base=version(3)))
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.fetches == {}
    harness.receive(COLLECTOR, receipt(1, "stored"))
    harness.run_calls()
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.offered(2)


def test_a_disk_error_delays_the_tasks_of_the_job(tmp_path: Path) -> None:
    """They would begin with a state that has not been adopted yet."""
    harness, runner = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(CONTROLLER, task(2))
    harness.deliver_inputs()
    harness.receive(COLLECTOR, receipt(1, "stored"))
    run = harness.runs.pop()
    harness.handle(RunFailed(run.key, StoreError("read-only file system")))
    (noted,) = harness.noted("own_state_unsettled")
    assert noted == {"job": JOB, "task": 1, "reason": "read-only file system"}
    harness.wait(REMOVAL_RETRY_SECONDS)
    assert harness.runs == [run]
    harness.run_calls()
    assert runner.begun[-1] == (2, counted(1))
    assert harness.files() == [f"{JOB}~2.update", "own"]


def test_a_failed_removal_of_any_other_update_is_left(harness: AgentHarness) -> None:
    """The next start offers it again."""
    harness.trained()
    harness.receive(COLLECTOR, receipt(1, "stored"))
    (run,) = harness.runs
    harness.runs.clear()
    harness.handle(RunFailed(run.key, OSError("gone")))
    assert harness.noted("own_state_unsettled") == []
    assert keys.UpdateRemovalRetry(JOB, 1) not in harness.timers


def test_a_stopped_job_leaves_nothing(tmp_path: Path) -> None:
    """Neither what is adopted nor what is pending."""
    harness, _ = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(COLLECTOR, receipt(1, "stored"))
    harness.run_calls()
    harness.trained(task(2))
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        f"{JOB}.own",
        f"{JOB}~2~2.pending",
    ]
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    harness.run_calls()
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.parametrize("failed", [False, True])
def test_a_job_that_is_stopped_during_an_adoption_leaves_nothing(
    tmp_path: Path, failed: bool
) -> None:
    """The adoption waits for a thread, or for the disk, and would write the state again."""
    harness, _ = keeping_agent(tmp_path)
    harness.trained(task(1))
    harness.receive(COLLECTOR, receipt(1, "stored"))
    (adoption,) = harness.runs
    harness.runs.clear()
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    harness.run_calls()
    if failed:
        harness.handle(RunFailed(adoption.key, StoreError("read-only file system")))
        harness.wait(REMOVAL_RETRY_SECONDS)
        assert harness.runs == [adoption]
        harness.runs.clear()
    harness.handle(Ran(adoption.key, adoption.call()))
    assert [run.key for run in harness.runs] == [keys.OwnStateRemoval(JOB)]
    harness.run_calls()
    assert list((tmp_path / "own").iterdir()) == []


def test_the_result_of_a_task_that_was_dropped_leaves_no_state(tmp_path: Path) -> None:
    """A newer task begins when that is gone."""
    harness, runner = keeping_agent(tmp_path)
    harness.receive(CONTROLLER, task(1))
    harness.deliver_inputs()
    (run,) = harness.runs
    harness.runs.clear()
    result = run.call()
    harness.receive(CONTROLLER, task(2))
    harness.handle(Ran(run.key, result))
    assert [type(run.key) for run in harness.runs] == [keys.UpdateRemoval]
    harness.run_calls()
    assert runner.begun == [(1, counted()), (2, counted())]


class OwnStateMachine(RuleBasedStateMachine):
    """One job of several rounds, whose agent is killed at any step.

    The collector decides which updates count. However late its receipts are, and wherever the agent
    is killed, a training begins with the state that exactly these have made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.start()
        self.task, self.round = 0, 0
        self.counted: list[int] = []
        self.verdicts: dict[int, str] = {}
        self.offered: set[int] = set()
        self.committed: set[int] = set()

    def start(self) -> None:
        """Start the agent."""
        self.harness, self.runner = keeping_agent(Path(self.folder.name))

    def teardown(self) -> None:
        """Remove the folder."""
        self.folder.cleanup()

    def send(self) -> None:
        """Send the current task."""
        self.harness.receive(CONTROLLER, task(self.task, self.round))
        self.harness.deliver_inputs()

    @precondition(lambda self: self.task == 0 or self.task in self.verdicts)
    @rule()
    def begin_the_next_round(self) -> None:
        """The round before has ended, with or without this agent's update."""
        self.task, self.round = self.task + 1, self.round + 1
        self.send()

    @precondition(lambda self: self.task and self.task not in self.verdicts)
    @rule(committed=st.booleans())
    def plan_the_round_again(self, committed: bool) -> None:
        """Its collector was lost, perhaps after the commit; then no update of the new task counts.

        The controller then finds that out at the end of the round.
        """
        counts = committed and self.task in self.offered and self.round not in self.committed
        self.decide(self.task, counts=counts)
        self.task += 1
        self.send()

    def decide(self, number: int, *, counts: bool) -> None:
        """Record whether an update counts."""
        self.verdicts[number] = "stored" if counts else "drop"
        if counts:
            self.counted.append(number)
            self.committed.add(self.round)

    @precondition(lambda self: self.task)
    @rule()
    def repeat_the_task(self) -> None:
        """A controller does so until it is acknowledged."""
        self.send()

    @precondition(lambda self: self.harness.runs)
    @rule(which=st.integers(0, 3))
    def run(self, which: int) -> None:
        """Make one of the calls that wait for a thread, and note what is offered."""
        run = self.harness.runs.pop(which % len(self.harness.runs))
        trained = len(self.runner.begun)
        try:
            result = run.call()
        except Killed:
            self.start()
            return
        except Exception as error:  # noqa: BLE001 - as a thread does
            self.harness.handle(RunFailed(run.key, error))
        else:
            self.harness.handle(Ran(run.key, result))
        for number, state in self.runner.begun[trained:]:
            assert number == self.task
            assert self.round in self.committed or state == counted(*self.counted)
        self.note_offers()

    def note_offers(self) -> None:
        """Note which tasks the collector has an offer for."""
        for key, ask in self.harness.asks.items():
            if isinstance(key, keys.TaskReply) and isinstance(ask.message, Offer):
                self.offered.add(key.task)
            elif isinstance(key, keys.TaskReply):
                assert isinstance(ask.message, Decline)
                assert "counts already" in ask.message.reason
                assert self.verdicts[key.task] == "stored"

    @precondition(lambda self: self.task in self.offered - self.verdicts.keys())
    @rule()
    def count_the_update(self) -> None:
        """The collector commits the round with it; the receipt is not sent yet."""
        self.decide(self.task, counts=self.round not in self.committed)

    @precondition(lambda self: self.task and self.task not in self.verdicts)
    @rule()
    def end_the_round_without_the_update(self) -> None:
        """Another quorum was reached."""
        self.verdicts[self.task] = "drop"

    @precondition(lambda self: self.open_receipts())
    @rule()
    def send_a_receipt(self) -> None:
        """To the oldest offer that is decided."""
        number = self.open_receipts()[0]
        self.harness.receive(COLLECTOR, receipt(number, self.verdicts[number]))

    def open_receipts(self) -> list[int]:
        """Return the decided tasks whose replies are repeated."""
        replies = (key for key in self.harness.asks if isinstance(key, keys.TaskReply))
        return sorted(key.task for key in replies if key.task in self.verdicts)

    @rule(repeated=st.booleans())
    def kill(self, repeated: bool) -> None:
        """Between two events; its controller may repeat the task."""
        self.start()
        self.note_offers()
        if repeated and self.task:
            self.send()
            self.run_all()

    @precondition(lambda self: self.harness.runs)
    @rule(which=st.integers(0, 3), step=st.sampled_from(["pending", "settle", "remove"]))
    def kill_after_a_step_on_the_disk(self, which: int, step: str) -> None:
        """A state is written or adopted; the update is not stored or removed yet, or just so."""
        assert isinstance(self.harness.outbox, KillingOutbox)
        self.harness.outbox.killed_after = step
        self.run(which)
        self.harness.outbox.killed_after = ""
        self.note_offers()

    @precondition(lambda self: self.task and self.task not in self.verdicts)
    @rule()
    def finish_the_round(self) -> None:
        """Without any fault."""
        self.run_all()
        if self.task in self.offered:
            self.count_the_update()
            while self.open_receipts():
                self.send_a_receipt()
            self.run_all()

    def run_all(self) -> None:
        """Run all that waits for a thread."""
        while self.harness.runs:
            self.run(0)


TestOwnStateMachine = OwnStateMachine.TestCase
TestOwnStateMachine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
