"""Own state of an objective on disk: pending until the receipt, then adopted or discarded."""

import os
from dataclasses import replace
from pathlib import Path
from time import time

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.blobs.files import FileBlob
from fedbus.errors import StoreError, TrainingError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.model.npz import read_npz, write_npz
from fedbus.model.sections import split_section, update_layout
from fedbus.wire.messages import Offer, TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from fedbus_edge_agent.training.own_state import MAX_JOBS_WITH_STATE, OwnStates
from tests.edge_agent.harness import JOB
from tests.edge_agent.training.strategy_package import install_strategies
from tests.edge_agent.training.test_task_strategy import (
    BASE,
    LAYOUT,
    MODEL,
    NUMBERS,
    STEPS,
    task_of,
    trainer_in,
)
from tests.plugin_package import Install


@pytest.fixture(autouse=True)
def _plugins(install: Install) -> None:
    install_strategies(install)


def task(round_: int, number: int | None = None, **changes: object) -> TrainTask:
    """Return a task of a job with an objective that keeps a state."""
    first = task_of("drift", sections=("variate",))
    changed = replace(first, task=number or round_, **changes)  # type: ignore[arg-type]  # of many types
    return replace(changed, params=replace(changed.params, round=round_))


def offer_of(of: TrainTask) -> Offer:
    """Return an offer for a task."""
    return Offer(
        job=of.job, round=of.round, task=of.task, base=1, update=of.base.weights, examples=1,
        metrics={},
    )  # fmt: skip


def filled(value: float) -> NDArray[np.float32]:
    """Return a state with one value everywhere."""
    return np.full(NUMBERS, value, np.float32)


def keep(states: OwnStates, of: TrainTask, value: float) -> None:
    """Save a state as pending, and adopt it."""
    states.save_pending(of, LAYOUT, filled(value))
    states.settle(offer_of(of), counted=True)


def found(states: OwnStates, of: TrainTask, layout: Layout = LAYOUT) -> float | str:
    """Return the value of the state that a task begins with, or why it begins with none."""
    own, reason = states.load(of, layout)
    assert (own is None) or not reason
    return reason if own is None else float(own[0])


def names(states: OwnStates) -> list[str]:
    """Return the names of the files."""
    return sorted(path.name for path in states.folder.iterdir())


def test_a_state_is_adopted_once_its_update_counts(tmp_path: Path) -> None:
    """The next round begins with it, until then with the one before."""
    states = OwnStates(tmp_path / "own")
    assert found(states, task(1)) == ""
    states.save_pending(task(1), LAYOUT, filled(1))
    assert found(states, task(2)) == ""
    for _ in range(2):  # the agent was killed before it had removed the update
        states.settle(offer_of(task(1)), counted=True)
        assert found(states, task(2)) == 1
    keep(states, task(2), 2)
    assert found(states, task(3)) == 2
    assert names(states) == [f"{JOB}.own"]


def test_a_state_is_discarded_if_its_update_does_not_count(tmp_path: Path) -> None:
    """The last adopted one stays."""
    states = OwnStates(tmp_path / "own")
    keep(states, task(1), 1)
    states.save_pending(task(2), LAYOUT, filled(2))
    for _ in range(2):
        states.settle(offer_of(task(2)), counted=False)
        assert found(states, task(3)) == 1
    states.save_pending(task(3), LAYOUT, filled(3))
    states.discard_pending(task(3))
    states.discard_pending(task(3))
    assert names(states) == [f"{JOB}.own"]


def test_what_an_earlier_task_of_the_same_round_left_stays_until_its_receipt(
    tmp_path: Path,
) -> None:
    """The round was planned again, perhaps after its commit: either task may be the one."""
    states = OwnStates(tmp_path / "own")
    keep(states, task(1), 1)
    states.save_pending(task(2), LAYOUT, filled(2))
    assert found(states, task(2, 3)) == 1
    states.save_pending(task(2, 3), LAYOUT, filled(3))
    states.settle(offer_of(task(2)), counted=True)
    states.settle(offer_of(task(2, 3)), counted=False)
    assert names(states) == [f"{JOB}.own"]
    assert found(states, task(3, 4)) == 2


def test_a_task_whose_update_counts_already_is_refused(tmp_path: Path) -> None:
    """It would change the state a second time. A later round of another base is another job's."""
    states = OwnStates(tmp_path / "own")
    keep(states, task(2, 3), 1)
    with pytest.raises(TrainingError, match="this agent's update for task 3 counts already"):
        states.load(task(2, 3), LAYOUT)
    reason = "the objective's state is of round 2, which is not before this one"
    assert found(states, task(2, 4)) == reason
    assert found(states, task(1)) == reason


def test_a_state_of_another_model_or_objective_is_not_used(tmp_path: Path) -> None:
    """The round begins with zeros, and the reason is logged."""
    states = OwnStates(tmp_path / "own")
    keep(states, task(1), 1)
    reason = "the objective's state is of another model, or was made with other parameters"
    other = task_of("drift", rate=0.25).params
    assert found(states, task(2, params=other)) == reason
    none = replace(other, objective=None)
    assert found(states, task(2, params=none)) == reason
    smaller = Layout(LAYOUT.tensors[:-1])
    assert found(states, task(2), smaller) == reason
    assert found(states, task(2)) == 1


@pytest.mark.parametrize("damage", ["torn", "lacks", "folder", "text"])
def test_a_damaged_state_is_not_used(tmp_path: Path, damage: str) -> None:
    """The training goes on without it."""
    states = OwnStates(tmp_path / "own")
    keep(states, task(1), 1)
    path = tmp_path / "own" / f"{JOB}.own"
    arrays = read_npz(path, "biufU")
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "lacks":
        write_npz(path, {"own": arrays["own"]})
    elif damage == "text":
        write_npz(path, {**arrays, "fedbus:task": np.array(["one", "two"])})
    else:
        path.unlink()
        path.mkdir()
    reason = found(states, task(2))
    assert isinstance(reason, str)
    assert reason.startswith("the objective's state cannot be read (")


def keep_of(states: OwnStates, job: str, days: float) -> None:
    """Adopt a state of a job that was written some days ago."""
    keep(states, task(1, job=job), 1)
    written = time() - days * 86400
    os.utime(states.folder / f"{job}.own", (written, written))


def test_a_state_in_use_is_not_lost_for_another_job(tmp_path: Path) -> None:
    """The server's arrays hold what it has sent: the ninth job is declined instead."""
    states = OwnStates(tmp_path / "own")
    states.make_room(JOB)
    for number in range(MAX_JOBS_WITH_STATE - 1):
        keep_of(states, f"past-{number}", 6.9)
    states.make_room(JOB)
    states.save_pending(task(1, job="past-7"), LAYOUT, filled(1))
    os.utime(tmp_path / "own" / "past-7~1~1.pending", (1, 1))
    local_trainer, control = trainer_in(tmp_path), TaskControl()
    with pytest.raises(
        TrainingError,
        match=r"of 8 other jobs, which is the most, and none of them was unused for 7 days: "
        r"past-0, .*, past-7; try again when one has ended",
    ):
        local_trainer.train(task(1), MODEL, BASE, control)
    states.make_room("past-7")
    states.make_room("past-0")
    assert len(names(states)) == MAX_JOBS_WITH_STATE
    states.remove("past-5")
    states.remove("past-5")
    result = local_trainer.train(task(1), MODEL, BASE, control)
    assert result.keeps_state
    assert control.notes == []


def test_old_states_make_room_and_are_named(tmp_path: Path) -> None:
    """An agent is not always told when a job ends."""
    states = OwnStates(tmp_path / "own")
    for number in range(MAX_JOBS_WITH_STATE):
        keep_of(states, f"past-{number}", 7.1 if number in {2, 4} else 1)
    control = TaskControl()
    trainer_in(tmp_path).train(task(1), MODEL, BASE, control)
    (note,) = control.notes
    assert note == (
        "own_state_removed",
        "of past-2, past-4, unused for 7 days; a job that still runs begins with zeros here",
    )
    assert not {"past-2.own", "past-4.own"} & set(names(states))
    assert len(names(states)) == MAX_JOBS_WITH_STATE - 1


def test_a_full_disk_leaves_the_adopted_state(tmp_path: Path) -> None:
    """The task is declined, and says what had no room."""
    states = OwnStates(tmp_path / "own")
    keep(states, task(1), 1)
    (tmp_path / "own" / f"{JOB}~2~2.pending").mkdir()
    with pytest.raises(StoreError, match=r"objective's state of a job: .*~2~2\.pending: Is a d"):
        states.save_pending(task(2), LAYOUT, filled(2))
    assert found(states, task(3)) == 1
    with pytest.raises(StoreError, match=r"~2~2\.pending"):
        states.settle(offer_of(task(2)), counted=False)


class FullOutbox(Outbox):
    """An outbox without room for an update."""

    def save(self, stored: StoredOffer, _update: object, *, durable: bool = False) -> FileBlob:
        assert durable
        assert self.own_states.has_pending(stored.offer)
        raise StoreError("no room")


def test_a_state_is_pending_before_the_offer_exists_and_never_without(tmp_path: Path) -> None:
    """A kill between the two leaves a state without an update, which the next start removes."""
    local_trainer = trainer_in(tmp_path)
    local_trainer._outbox = FullOutbox(tmp_path)  # noqa: SLF001 - the disk is full from now on
    with pytest.raises(StoreError, match="no room"):
        local_trainer.train(task(1), MODEL, BASE, TaskControl())
    states = OwnStates(tmp_path / "own")
    assert names(states) == []
    states.save_pending(task(1), LAYOUT, filled(1))
    assert Outbox(tmp_path).load() == []
    assert names(states) == []


def test_an_update_is_removed_after_its_state_was_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed in between offers it again; the other way round it would be lost."""
    outbox = Outbox(tmp_path)
    result = trainer_in(tmp_path).train(task(1), MODEL, BASE, TaskControl())
    seen: list[tuple[str, float | str]] = []
    monkeypatch.setattr(
        outbox, "remove", lambda job, _task: seen.append((job, found(outbox.own_states, task(2))))
    )
    outbox.settle(result.stored, counted=True)
    assert seen == [(JOB, 1.0)]


def test_an_objectives_own_arrays_are_those_of_its_last_update_that_counted(
    tmp_path: Path,
) -> None:
    """As SCAFFOLD's recursion, computed here for one number."""
    local_trainer, outbox, rate = trainer_in(tmp_path), Outbox(tmp_path), 0.5
    own = 0.0
    for number, counted in ((1, True), (2, False), (3, True), (4, True)):
        control = TaskControl()
        result = local_trainer.train(task(number), MODEL, BASE, control)
        blob = result.source.read(0, result.source.size)
        arrays = decode(blob, update_layout(LAYOUT, ("variate",)), "delta")
        moved = -rate * STEPS * (1 - own)
        variate = own - 0.0 - moved / (STEPS * rate)
        assert np.allclose(arrays["a"], moved)
        section = split_section(arrays["section:variate"], LAYOUT)
        assert all(np.allclose(array, variate - own) for array in section.values())
        assert result.keeps_state
        assert control.notes == []
        outbox.settle(result.stored, counted=counted)
        own = variate if counted else own
    control = TaskControl()
    local_trainer.train(task(1, 5), MODEL, BASE, control)
    assert [event for event, _ in control.notes] == ["own_state_reset"]


def test_a_job_without_such_an_objective_writes_nothing(tmp_path: Path) -> None:
    """Neither does an objective that keeps nothing."""
    for name in ("prox", "empty"):
        result = trainer_in(tmp_path).train(task_of(name), MODEL, BASE, TaskControl())
        assert not result.keeps_state
    assert not (tmp_path / "own").exists()
