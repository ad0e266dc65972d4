"""What trainers remember from round to round, and for how long it is kept."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus.data import Dataset
from fedbus.errors import StoreError, TrainingError
from fedbus.layout import Array, Weights
from fedbus.training import Params, Structure, Update
from fedbus.weights import decode, encode
from fedbus.wire.values import ModelRef
from fedbus_edge_agent.outbox import Outbox
from fedbus_edge_agent.remembering import MAX_JOBS, States
from fedbus_edge_agent.work import Flag, Workbench
from tests.edge_agent.stand import REPOSITORY, manifest_of, train
from tests.edge_agent.test_work import LAYOUT, Nudge, model_of, shard


class Counts(Nudge):
    """A trainer that adds what it remembers: how often it has trained."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        self.times = 0

    def train(self, weights: Weights, _data: Dataset, _params: Params) -> Update:
        self.times += 1
        new = {name: array + np.float32(self.times) for name, array in weights.items()}
        times, self.times = self.times, 0
        self.left = times
        return Update(new, 3, {"loss": 0.5})

    def state(self) -> Mapping[str, Array]:
        return {"times": np.array(self.left)}

    def resume(self, state: Mapping[str, Array]) -> None:
        self.times = int(state["times"])


class Memory(Nudge):
    """A trainer with a state as the test wants it."""

    def __init__(self, held: Mapping[str, Array] | None = None) -> None:
        super().__init__({})
        self.held = held or {}
        self.found: Mapping[str, Array] | None = None

    def state(self) -> Mapping[str, Array]:
        return self.held

    def resume(self, state: Mapping[str, Array]) -> None:
        self.found = state


def round_(number: int, **more: object) -> Params:
    """Ask for a round."""
    return replace(Params(round=number), **more)  # type: ignore[arg-type]  # its fields


def recalled(states: States, job: str, params: Params) -> float | None:
    """Ask which round's state a round would begin from, as the number in it."""
    memory = Memory()
    states.recall(memory, job, params)
    return None if memory.found is None else float(memory.found["a"])


def keep(states: States, job: str, params: Params) -> None:
    """Keep a state with the round's number in it."""
    states.keep(Memory({"a": np.array(params.round)}), job, params)


@pytest.mark.parametrize("kept", [True, False])
def test_an_agent_goes_on_where_its_round_before_ended_if_the_job_wants_it(
    tmp_path: Path, kept: bool
) -> None:
    """Over a restart too; a round done again begins where it began before."""
    model = model_of({"counts": {}})
    base = encode({t.name: np.zeros(t.shape, np.float32) for t in LAYOUT.tensors}, LAYOUT, "plain")

    def added(round_number: int) -> float:
        bench = Workbench(Outbox(tmp_path), shard(), None, {"counts": Counts})
        task = train(round_number)
        task = replace(
            task,
            round=round_number,
            params=replace(task.params, keep_state=kept),
            base=ModelRef(
                model="digits",
                version=1,
                card=task.base.card,
                weights=manifest_of(bytes(base)),
                source=REPOSITORY,
            ),
        )
        trained = bench.train(task, model, base, Flag())
        update = decode(trained.source.read(0, trained.source.size), LAYOUT, "delta")
        return float(next(iter(update.values())).flat[0])

    found = [added(number) for number in (1, 2, 3, 3)]
    assert found == ([1, 2, 3, 3] if kept else [1, 1, 1, 1])


def test_a_state_of_another_optimizer_or_a_torn_one_is_as_good_as_none(tmp_path: Path) -> None:
    """The round begins afresh; another learning rate does not matter."""
    states = States(tmp_path / "states")
    assert recalled(states, "job-1", round_(1)) is None
    keep(states, "job-1", round_(1))
    assert recalled(states, "job-1", round_(1)) is None
    assert recalled(states, "job-1", round_(2, learning_rate=0.5)) == 1
    assert recalled(states, "job-1", round_(2, optimizer="adam")) is None
    assert recalled(states, "job-1", round_(2, optimizer_args={"momentum": 0.5})) is None
    assert recalled(states, "job", round_(2)) is None
    path = tmp_path / "states" / "job-1~1.state"
    path.write_bytes(path.read_bytes()[:-30])
    assert recalled(states, "job-1", round_(2)) is None


def test_two_rounds_of_a_job_are_kept_and_the_last_few_jobs(tmp_path: Path) -> None:
    """A job that begins again forgets what one of its name left."""
    states = States(tmp_path)
    (tmp_path / "job-0~x.state").touch()
    for number in range(1, 5):
        keep(states, "job-0", round_(number))
    assert sorted(path.name for path in tmp_path.glob("job-0~[0-9]*")) == [
        "job-0~3.state",
        "job-0~4.state",
    ]
    keep(states, "job-0", round_(1))
    assert recalled(states, "job-0", round_(9)) == 1
    os.utime(tmp_path / "job-0~1.state", (0, 0))
    for number in range(1, MAX_JOBS + 2):
        keep(states, f"job-{number}", round_(1))
        os.utime(tmp_path / f"job-{number}~1.state", (number, number))
    left = {path.name.partition("~")[0] for path in tmp_path.glob("*~[0-9]*")}
    assert left == {f"job-{number}" for number in range(2, MAX_JOBS + 2)}


def test_what_is_no_array_of_numbers_is_not_kept(tmp_path: Path) -> None:
    """Nothing is ever pickled."""
    states = States(tmp_path)
    for wrong in (np.array([object()]), [1, 2]):
        with pytest.raises(TrainingError, match="remembers 'a', which is no array of numbers"):
            states.keep(Memory({"a": wrong}), "job", round_(1))  # type: ignore[dict-item]
    states.keep(Nudge({}), "job", round_(1))
    assert list(tmp_path.iterdir()) == []
    blocked = States(tmp_path / "file" / "states")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="states"):
        keep(blocked, "job", round_(1))
