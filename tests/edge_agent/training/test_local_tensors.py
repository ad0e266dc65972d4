"""Tensors of the role `local` stay with the agent, from round to round and over restarts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.errors import StoreError
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Array, Layout, Weights
from fedbus.training.params import Architecture, TrainingParams, Update
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_tensors import LocalTensors
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import Model
from tests.edge_agent.harness import train
from tests.edge_agent.training.test_local_trainer import SPEC, evaluation, learnable_data, ref

LAYOUT = Layout.of(
    {"mine": np.zeros(2, np.float32), "w": np.zeros(2, np.float32)}, {"mine": "local"}
)
BASE = bytes(encode({"mine": np.full(2, 10, np.float32), "w": np.zeros(2, np.float32)}, LAYOUT))
MODEL = Model(replace(SPEC, architectures={"plus": {}}), LAYOUT, {})


class AddOne:
    """A trainer that adds one to every number, and evaluates to the weights that it is given."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def initial(self) -> Weights:
        return decode(BASE, LAYOUT)

    def train(self, weights: Weights, _data: Any, _params: TrainingParams) -> Update:  # noqa: ANN401
        return Update(
            {n: np.array(a) + np.float32(1) for n, a in weights.items()}, 3, {"loss": 0.5}
        )

    def evaluate(self, weights: Weights, _data: Any, _params: TrainingParams) -> dict[str, float]:  # noqa: ANN401
        return {"mine": float(weights["mine"][0])}


def local_trainer(folder: Path) -> LocalTrainer:
    """Start an agent, or start it again."""
    return LocalTrainer(Outbox(folder), learnable_data(), None, {"plus": AddOne})


def task(number: int, **changes: object) -> TrainTask:
    """Return the task of a round."""
    params = TrainingParams(round=number)
    return replace(
        train(number, base=ref(BASE), params=params, inline_up_to=2**20),
        **changes,  # type: ignore[arg-type]
    )


def trained(folder: Path, order: TrainTask, control: TaskControl | None = None) -> dict[str, Array]:
    """Train a round; return the tensors of its update."""
    made = local_trainer(folder).train(order, MODEL, BASE, control or TaskControl())
    assert made.inline is not None
    assert blob_ref_of(made.inline) == made.stored.offer.update
    return decode(made.inline, LAYOUT, "delta")


def score(folder: Path, job: str = "job-1") -> float:
    """Evaluate a version on this agent."""
    order = replace(evaluation(BASE), job=job)
    return local_trainer(folder).evaluate(order, MODEL, BASE, TaskControl()).metrics["mine"]


def test_a_local_tensor_continues_from_round_to_round_and_is_in_no_update(tmp_path: Path) -> None:
    """The agent is restarted before each round; a repeated round begins where it began before."""
    assert score(tmp_path) == 10
    for number, wanted in ((1, 11), (2, 12), (2, 12), (3, 13)):
        assert trained(tmp_path, task(number)).keys() == {"w"}
        assert score(tmp_path) == wanted


def test_another_job_begins_with_the_models_own_value(tmp_path: Path) -> None:
    """The values of one job have no effect on another."""
    trained(tmp_path, task(1))
    assert score(tmp_path, "job-2") == 10
    trained(tmp_path, task(2, job="job-2"))
    assert score(tmp_path, "job-2") == 11


@pytest.mark.parametrize("torn", [b"", b"nonsense", None], ids=["empty", "nonsense", "other model"])
def test_unreadable_local_tensors_are_logged_and_replaced_by_the_models(
    tmp_path: Path, torn: bytes | None
) -> None:
    """A power cut may damage the file; the agent's update counts."""
    trained(tmp_path, task(1))
    (path,) = (tmp_path / "local").iterdir()
    if torn is None:
        np.savez(tmp_path / "other.npz", mine=np.zeros(3))
        torn = (tmp_path / "other.npz").read_bytes()
    path.write_bytes(torn)
    control = TaskControl()
    trained(tmp_path, task(2), control)
    assert control.notes == [
        (
            "local_tensors_reset",
            "the local tensors of earlier rounds cannot be read; using the model's",
        )
    ]
    assert score(tmp_path) == 11


def test_a_disk_that_cannot_store_them_loses_no_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update is on disk already; the log names the loss."""

    def full(*_: object) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(LocalTensors, "save", full)
    control = TaskControl()
    assert trained(tmp_path, task(1), control).keys() == {"w"}
    assert control.notes == [("local_tensors_lost", "no room")]
