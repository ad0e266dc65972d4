"""Rounds of standalone jobs with real training, each from the weights of the one before."""

from pathlib import Path

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.errors import Stopped, StoreError, TrainingError
from fedbus.model.npz import write_npz
from fedbus.training.params import TrainingParams
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec
from fedbus_edge_agent.standalone.jobs import MAX_KEPT_REPORTS, RoundRequest
from fedbus_edge_agent.standalone.models import UploadedModels
from fedbus_edge_agent.standalone.runner import StandaloneRunner
from fedbus_edge_agent.standalone.schemas import JobReport, ModelMetadata
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from tests.edge_agent.training.test_local_trainer import (
    FILE,
    LAYOUT,
    SPEC,
    Nudge,
    learnable_data,
    needs_tflite,
)


def report(job: str, phase: str = "FINISHED") -> JobReport:
    """Return the report of a job."""
    return JobReport(
        training_id=job, model_name="digits", model_version="1", phase=phase, num_rounds=1  # type: ignore[arg-type]
    )  # fmt: skip


def request(number: int = 1, trainer: str | None = None) -> RoundRequest:
    """Return the request of a round."""
    params = TrainingParams(batch_size=8, epochs=20, learning_rate=0.5, round=number, seed=number)
    return RoundRequest("solo-1", "digits", "1", params, trainer)


def runner_of(
    folder: Path, spec: ModelSpec = SPEC, **own: type[Nudge]
) -> tuple[StandaloneRunner, UploadedModels]:
    """Return a runner for the digits model."""
    models = UploadedModels(folder / "models")
    models.add(ModelMetadata(**{f: getattr(spec, f) for f in ("model", "layout", "architectures")}))
    local_trainer = LocalTrainer(Outbox(folder / "out"), learnable_data(), None, own)
    runner = StandaloneRunner(folder / "jobs", local_trainer, models)
    assert runner.save_job_file("solo-1", b"{}")
    return runner, models


def upload_file(models: UploadedModels, content: bytes) -> None:
    """Upload the model's file."""
    model = models.find("digits", "1")
    assert model is not None
    with models.receiving(model) as path:
        path.write_bytes(content)
        models.store_file(model, path)


@needs_tflite
def test_each_round_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    """The first one with the initial weights; the same job gives the same weights again."""
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        runner, models = runner_of(folder)
        upload_file(models, FILE)
        first = runner.run_round(request(1, "tflite"), TaskControl())
        second = runner.run_round(request(2, "tflite"), TaskControl())
        assert second.metrics["loss"] < first.metrics["loss"]
        assert second.examples == 40
        made.append(runner.weights_path("solo-1").read_bytes())
        with np.load(runner.weights_path("solo-1"), allow_pickle=False) as weights:
            assert sorted(weights.files) == sorted(tensor.name for tensor in LAYOUT.tensors)
    one, two = (
        [*np.load(f"{tmp_path}/{n}/jobs/solo-1/weights.npz").values()] for n in ("one", "two")
    )
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_job_begins_with_the_uploaded_weights(tmp_path: Path) -> None:
    """Else with the trainer's initial ones."""
    spec = codec.from_json(ModelSpec, codec.to_json(SPEC))
    spec = ModelSpec(model="digits", layout=spec.layout, architectures={"nudge": {}})
    runner, models = runner_of(tmp_path, spec, nudge=Nudge)
    runner.run_round(request(), TaskControl())
    assert set(np.load(runner.weights_path("solo-1"))["layers.1.bias"].tolist()) == {1.0}
    model = models.find("digits", "1")
    assert model is not None
    write_npz(tmp_path / "w.npz", {t.name: np.full(t.shape, 5, t.dtype) for t in LAYOUT.tensors})
    models.store_weights(model, tmp_path / "w.npz")
    runner.run_round(request(), TaskControl())
    runner.run_round(request(2), TaskControl())
    assert set(np.load(runner.weights_path("solo-1"))["layers.1.bias"].tolist()) == {7.0}


def test_a_removed_model_file_or_weights_is_reported(tmp_path: Path) -> None:
    """A user may remove each of them while the job runs."""
    runner, models = runner_of(tmp_path)
    with pytest.raises(StoreError, match="No such file"):
        runner.run_round(request(1, "tflite"), TaskControl())
    model = models.find("digits", "1")
    assert model is not None
    (model.folder / "spec.json").unlink()
    with pytest.raises(TrainingError, match="model digits 1 is not here any more"):
        runner.run_round(request(), TaskControl())


@needs_tflite
def test_a_round_is_watched_from_its_start(tmp_path: Path) -> None:
    """The read of a large model can hang as well; a cancelled round does not begin."""
    runner, _ = runner_of(tmp_path)
    control = TaskControl()
    with pytest.raises(StoreError):
        runner.run_round(request(1, "tflite"), control)
    assert control.position() != ""
    control.stop()
    with pytest.raises(Stopped):
        runner.run_round(request(1, "tflite"), control)


def test_a_job_file_is_stored_once(tmp_path: Path) -> None:
    """The same file may be started until it was; another one of this id never."""
    runner, _ = runner_of(tmp_path)
    assert runner.job_file("solo-1") == b"{}"
    assert runner.job_file("other") is None
    assert runner.save_job_file("solo-1", b"{}")
    assert not runner.save_job_file("solo-1", b"{ }")
    runner.save_report(report("solo-1"))
    assert not runner.save_job_file("solo-1", b"{}")
    assert runner.free_bytes() > 0


def test_reports_outlive_the_process(tmp_path: Path) -> None:
    """The last ones, in order; incomplete ones stay where they are."""
    runner, _ = runner_of(tmp_path)
    assert runner.load_reports() == []
    for number in range(MAX_KEPT_REPORTS + 1):
        assert runner.save_job_file(f"j{number}", b"{}")
        runner.save_report(report(f"j{number}"))
    (tmp_path / "jobs" / "j5" / "report.json").write_bytes(b"{")
    found = {each.training_id for each in runner.load_reports()}
    assert "j64" in found
    assert "j5" not in found
    assert len(found) in {MAX_KEPT_REPORTS - 1, MAX_KEPT_REPORTS}


def test_an_unwritable_disk_is_reported(tmp_path: Path) -> None:
    """With the path and the reason."""
    runner, _ = runner_of(tmp_path)
    with pytest.raises(StoreError, match=r"report\.json: No such file"):
        runner.save_report(report("never opened"))
    (tmp_path / "jobs" / "blocked").touch()
    with pytest.raises(StoreError, match=r"job\.json: (Not a directory|File exists)"):
        runner.save_job_file("blocked", b"{}")


def test_the_digits_come_with_their_file() -> None:
    """These tests use the model that fedbus ships."""
    assert demo_data.read("digits.tflite") == FILE
