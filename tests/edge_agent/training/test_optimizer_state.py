"""Optimizer state from round to round of a job, and how long it is kept."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus.data import Dataset
from fedbus.errors import StoreError, TrainingError
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Array, Weights
from fedbus.training.params import Architecture, TrainingParams, Update
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.optimizer_state import OptimizerStates
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.round_files import MAX_JOBS_WITH_FILES, RoundFiles
from tests.edge_agent.harness import REPOSITORY, train
from tests.edge_agent.training.test_local_trainer import (
    LAYOUT,
    Nudge,
    learnable_data,
    model_of,
    needs_tflite,
)


class Counts(Nudge):
    """A trainer that adds its state: the number of its trainings."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.times = 0

    def train(self, weights: Weights, _data: Dataset, _params: TrainingParams) -> Update:
        self.times += 1
        new = {name: array + np.float32(self.times) for name, array in weights.items()}
        times, self.times = self.times, 0
        self.left = times
        return Update(new, 3, {"loss": 0.5})

    def optimizer_state(self) -> Mapping[str, Array]:
        return {"times": np.array(self.left)}

    def load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        self.times = int(state["times"])


class Memory(Nudge):
    """A trainer with a state that the test sets."""

    def __init__(self, held: Mapping[str, Array] | None = None) -> None:
        super().__init__({})
        self.held = held or {}
        self.found: Mapping[str, Array] | None = None

    def optimizer_state(self) -> Mapping[str, Array]:
        return self.held

    def load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        self.found = state


def states_in(folder: Path) -> OptimizerStates:
    """Return the optimizer states of a folder."""
    return OptimizerStates(RoundFiles(folder, ".state"))


def round_(number: int, **more: object) -> TrainingParams:
    """Return the parameters of a round."""
    return replace(TrainingParams(round=number), **more)  # type: ignore[arg-type]  # its fields


def restored(states: OptimizerStates, job: str, params: TrainingParams) -> float | None:
    """Return which round's state a round would begin with, as the number in it."""
    memory = Memory()
    states.restore(memory, job, params)
    return None if memory.found is None else float(memory.found["a"])


def save(states: OptimizerStates, job: str, params: TrainingParams) -> None:
    """Save a state with the round's number in it."""
    states.save(Memory({"a": np.array(params.round)}), job, params)


BASE = encode({t.name: np.zeros(t.shape, np.float32) for t in LAYOUT.tensors}, LAYOUT, "plain")


def task_of(number: int, *, kept: bool = True) -> TrainTask:
    """Return the task of a round whose base is zeros."""
    task = train(number)
    base = ModelRef(
        model="digits",
        version=1,
        spec=task.base.spec,
        weights=blob_ref_of(bytes(BASE)),
        source=REPOSITORY,
    )
    params = replace(task.params, round=number, keep_optimizer_state=kept)
    return replace(task, params=params, base=base)


class Late(Memory):
    """A trainer whose state cannot be read after its training."""

    folder: Path

    def __init__(self, _architecture: Architecture) -> None:
        super().__init__()

    def optimizer_state(self) -> Mapping[str, Array]:
        assert [path.name for path in self.folder.glob("*.update")] == ["job-1~2.update"]
        raise MemoryError


@pytest.mark.parametrize("kept", [True, False])
def test_a_round_continues_with_the_state_of_the_one_before_if_the_job_wants_it(
    tmp_path: Path, kept: bool
) -> None:
    """Over a restart too; a repeated round begins where it began before."""
    model = model_of({"counts": {}})

    def added(round_number: int) -> float:
        local_trainer = LocalTrainer(Outbox(tmp_path), learnable_data(), None, {"counts": Counts})
        trained = local_trainer.train(task_of(round_number, kept=kept), model, BASE, TaskControl())
        update = decode(trained.source.read(0, trained.source.size), LAYOUT, "delta")
        return float(next(iter(update.values())).flat[0])

    found = [added(number) for number in (1, 2, 3, 3)]
    assert found == ([1, 2, 3, 3] if kept else [1, 1, 1, 1])


@needs_tflite
def test_the_state_of_a_tflite_model_is_saved_and_restored(tmp_path: Path) -> None:
    """Completely, and no loss is logged."""
    local_trainer = LocalTrainer(Outbox(tmp_path), learnable_data(), "tflite")
    for number in (1, 2):
        task, control = task_of(number), TaskControl()
        params = replace(task.params, optimizer_args={"momentum": 0.9})
        local_trainer.train(replace(task, params=params), model_of(), BASE, control)
        assert control.notes == []
    assert len(list((tmp_path / "states").iterdir())) == 2


def test_an_update_counts_though_there_is_no_room_for_the_optimizer_state(
    tmp_path: Path,
) -> None:
    """The loss is logged, and so is the next round's begin without a state."""
    (tmp_path / "states").touch()  # where a folder should be
    local_trainer = LocalTrainer(Outbox(tmp_path), learnable_data(), None, {"counts": Counts})
    flags = []
    for number in (1, 2):
        flags.append(TaskControl())
        trained = local_trainer.train(task_of(number), model_of({"counts": {}}), BASE, flags[-1])
        assert trained.stored.offer.round == number
        assert (tmp_path / f"job-1~{number}.update").stat().st_size > trained.source.size
    first, second = (control.notes for control in flags)
    assert [happened for happened, _ in first] == ["optimizer_state_lost"]
    assert first[0][1].endswith("states: File exists")
    assert [happened for happened, _ in second] == ["optimizer_state_reset", "optimizer_state_lost"]


def test_the_optimizer_state_is_saved_after_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If that fails, the state of an older round is removed as well."""
    monkeypatch.setattr(Late, "folder", tmp_path, raising=False)
    states = tmp_path / "states"
    states.mkdir()
    save(states_in(states), "job-1", round_(1))
    save(states_in(states), "job-2", round_(1))
    local_trainer, control = (
        LocalTrainer(Outbox(tmp_path), learnable_data(), None, {"late": Late}),
        TaskControl(),
    )
    local_trainer.train(task_of(2), model_of({"late": {}}), BASE, control)
    ((happened, reason),) = [note for note in control.notes if note[0] != "optimizer_state_reset"]
    assert (happened, reason.split(" ")[0]) == ("optimizer_state_lost", "MemoryError")
    assert [path.name for path in states.iterdir()] == ["job-2~1.state"]


def test_a_state_that_cannot_be_written_whole_leaves_no_file(tmp_path: Path) -> None:
    """A part of it would use disk space that is missing."""
    (tmp_path / "taken~1.state").mkdir()
    with pytest.raises(StoreError, match=r"taken~1\.state: Is a directory"):
        RoundFiles(tmp_path, ".state").save("taken", 1, {"a": np.zeros(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["taken~1.state"]


def test_a_state_of_another_optimizer_or_a_damaged_one_is_not_used(tmp_path: Path) -> None:
    """The round begins without a state; another learning rate does not matter."""
    states = states_in(tmp_path / "states")
    assert restored(states, "job-1", round_(1)) is None
    save(states, "job-1", round_(1))
    assert restored(states, "job-1", round_(1)) is None
    assert restored(states, "job-1", round_(2, learning_rate=0.5)) == 1
    assert restored(states, "job-1", round_(2, optimizer="adam")) is None
    assert restored(states, "job-1", round_(2, optimizer_args={"momentum": 0.5})) is None
    assert restored(states, "job", round_(2)) is None
    path = tmp_path / "states" / "job-1~1.state"
    path.write_bytes(path.read_bytes()[:-30])
    assert restored(states, "job-1", round_(2)) is None


def test_two_rounds_of_a_job_are_kept_and_the_last_few_jobs(tmp_path: Path) -> None:
    """A job that begins again drops the states of an older job of its name."""
    states = states_in(tmp_path)
    (tmp_path / "job-0~x.state").touch()
    for number in range(1, 5):
        save(states, "job-0", round_(number))
    assert sorted(path.name for path in tmp_path.glob("job-0~[0-9]*")) == [
        "job-0~3.state",
        "job-0~4.state",
    ]
    save(states, "job-0", round_(1))
    assert restored(states, "job-0", round_(9)) == 1
    os.utime(tmp_path / "job-0~1.state", (0, 0))
    for number in range(1, MAX_JOBS_WITH_FILES + 2):
        save(states, f"job-{number}", round_(1))
        os.utime(tmp_path / f"job-{number}~1.state", (number, number))
    left = {path.name.partition("~")[0] for path in tmp_path.glob("*~[0-9]*")}
    assert left == {f"job-{number}" for number in range(2, MAX_JOBS_WITH_FILES + 2)}


def test_a_state_that_is_no_array_of_numbers_is_not_saved(tmp_path: Path) -> None:
    """Nothing is ever pickled."""
    states = states_in(tmp_path)
    for wrong in (np.array([object()]), [1, 2]):
        with pytest.raises(TrainingError, match="state 'a': expected an array of numbers, got "):
            states.save(Memory({"a": wrong}), "job", round_(1))  # type: ignore[dict-item]
    states.save(Nudge({}), "job", round_(1))
    assert list(tmp_path.iterdir()) == []
    blocked = states_in(tmp_path / "file" / "states")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="states"):
        save(blocked, "job", round_(1))
