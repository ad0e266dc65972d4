"""A `.tflite` file that is damaged, or that kills the process which opens it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus import demo_data
from fedbus.errors import TrainingError
from fedbus.frameworks.file_trial import FileCrash
from fedbus.frameworks.tflite.admission import Admission
from fedbus.frameworks.tflite.signatures import TfliteFacts
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus_edge_agent.standalone.models import UploadedModels
from fedbus_edge_agent.standalone.schemas import ModelMetadata
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import Model
from tests.edge_agent.training.test_local_trainer import (
    FILE,
    LAYOUT,
    SPEC,
    Nudge,
    base_of,
    evaluation,
    learnable_data,
    model_of,
    needs_tflite,
    task,
)


def spec_of(file: bytes) -> ModelSpec:
    """Return the digits model's spec with another file."""
    blob_ref = blob_ref_of(file)
    named = {"digest": blob_ref.digest, "size": blob_ref.size}
    return replace(SPEC, architectures={"tflite": {"blob": named}})


def kills(_data: bytes, _facts: TfliteFacts) -> None:
    """Return the result of a trial whose child process died."""
    raise FileCrash("a child was ended by SIGSEGV")


def passes(_data: bytes, _facts: TfliteFacts) -> None:
    """Return the result of a trial whose child process ended well."""


class MarkedAdmission(Admission):
    """Counts how often a file was marked as in use."""

    def __init__(self) -> None:
        super().__init__(None, trial=passes, tried={})
        self.used: list[str] = []

    @contextmanager
    def using(self, digest: str) -> Iterator[None]:
        self.used.append(digest)
        yield


def test_a_damaged_file_is_declined_and_the_agent_lives(tmp_path: Path) -> None:
    """Half a download ended it by SIGSEGV once, round after round."""
    half = FILE[: len(FILE) // 2]
    model, base = Model(spec_of(half), LAYOUT, {blob_ref_of(half).digest: half}), base_of()
    local_trainer = LocalTrainer(Outbox(tmp_path), learnable_data(), None, {"tflite": Nudge})
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"not a whole \.tflite file: model\."):
            local_trainer.train(task(base), model, base, TaskControl())
    with pytest.raises(TrainingError, match=r"not a whole \.tflite file"):
        local_trainer.evaluate(evaluation(base), model, base, TaskControl())


def test_a_file_that_kills_is_never_opened(tmp_path: Path) -> None:
    """Its child process died; the next task is declined too, after a restart as well."""
    base = base_of()
    for _ in range(2):
        admission = Admission(tmp_path / "trials", "agent.1", kills, {})
        local_trainer = LocalTrainer(
            Outbox(tmp_path), learnable_data(), None, {"tflite": Nudge}, admission=admission
        )
        with pytest.raises(FileCrash, match="a child was ended by SIGSEGV"):
            local_trainer.train(task(base), model_of(), base, TaskControl())


@needs_tflite
def test_a_file_is_marked_while_it_is_opened_and_used(tmp_path: Path) -> None:
    """If the process dies then, the mark stays; the file is opened once for many tasks."""
    admission, base = MarkedAdmission(), base_of()
    local_trainer = LocalTrainer(Outbox(tmp_path), learnable_data(), "tflite", admission=admission)
    for _ in range(2):
        local_trainer.train(task(base), model_of(), base, TaskControl())
    local_trainer.evaluate(evaluation(base), model_of(), base, TaskControl())
    assert admission.used == [blob_ref_of(FILE).digest] * (1 + 3)


def test_files_of_other_frameworks_are_not_marked(tmp_path: Path) -> None:
    """Their trainers check their architectures."""
    admission, base = MarkedAdmission(), base_of()
    local_trainer = LocalTrainer(
        Outbox(tmp_path), learnable_data(), None, {"own": Nudge}, admission=admission
    )
    local_trainer.train(task(base), model_of({"own": {}}), base, TaskControl())
    assert not admission.used


@pytest.mark.parametrize("share", [2, 1])
def test_a_file_is_verified_when_it_is_uploaded(tmp_path: Path, share: int) -> None:
    """The user learns at once what is wrong with it."""
    file = demo_data.read("digits.tflite")
    file = file[: len(file) // share]
    models, spec = UploadedModels(tmp_path / "models"), spec_of(file)
    metadata = ModelMetadata(
        model="digits",
        layout=spec.layout,
        architectures=dict(spec.architectures),
        model_version="1",
    )
    models.add(metadata)
    model = models.find("digits", "1")
    assert model is not None
    upload = tmp_path / "upload"
    upload.write_bytes(file)
    if share > 1:
        with pytest.raises(TrainingError, match=r"not a whole \.tflite file"):
            models.store_file(model, upload)
        assert model.missing()
    else:
        models.store_file(model, upload)
        assert not model.missing()
