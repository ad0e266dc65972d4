"""Declines with their reasons: models that an agent cannot hold, use, fetch or train."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.blobs.spool import Spools
from fedbus.errors import TrainingError
from fedbus.plugins import Trainer
from fedbus.training.params import Architecture
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.messages import Decline, Evaluated, EvaluateTask, Receipt, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.acceptance import FACTS_VALID_SECONDS
from fedbus_edge_agent.training.trainers import Trainers
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    SPEC,
    AgentHarness,
    evaluate,
    spec_of,
    train,
    version,
    weights_of,
)


def unused_trainer(_architecture: Architecture) -> Trainer:
    """Fail: this trainer is never loaded."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (lambda: TrainingError("the loss became nan"), "the loss became nan"),
        (lambda: ValueError("bad rows"), "ValueError: bad rows (harness.py:"),
        (MemoryError, "MemoryError (harness.py:"),
        (lambda: TrainingError("ä" * 9000), "ä" * 2048),
    ],
)
def test_training_that_fails_is_declined_with_its_reason(
    harness: AgentHarness, failure: object, reason: str
) -> None:
    """Until the receipt; a repeated task is declined again."""
    harness.runner.failure = failure  # type: ignore[assignment]
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    harness.run_calls()
    told = harness.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert told.startswith(reason)
    assert harness.noted("task_failed")
    harness.receive(CONTROLLER, train())
    assert harness.sent_to(COLLECTOR, Decline).reason == told
    harness.receive(COLLECTOR, Receipt(job=JOB, task=1, verdict="drop", reason="noted"))
    assert harness.asks == {}


@pytest.mark.parametrize(("memory_mb", "taken"), [(5 * 64 - 1, False), (5 * 64, True), (0, True)])
def test_a_model_larger_than_the_memory_is_declined(
    tmp_path: Path, memory_mb: int, taken: bool
) -> None:
    """Before it is fetched; where the memory is unknown, the task is accepted."""
    harness = AgentHarness(tmp_path, memory_mb=memory_mb)
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    harness.receive(CONTROLLER, train(base=big))
    assert bool(harness.fetches) == taken
    if not taken:
        reason = harness.asked(keys.TaskReply(JOB, 1), Decline).reason
        assert reason == "training needs about 320 MiB of memory, 319 are available"


def test_resources_are_measured_every_few_seconds_and_before_each_decline(tmp_path: Path) -> None:
    """A measurement takes as long as a small task; memory that was freed is used."""
    harness = AgentHarness(tmp_path, memory_mb=1000)
    before = harness.measured
    for number in (1, 2, 3):
        harness.receive(CONTROLLER, train(number))
    assert harness.measured == before + 1
    harness.memory_mb = 10
    harness.wait(FACTS_VALID_SECONDS)
    before = harness.measured
    harness.receive(CONTROLLER, train(4))
    assert harness.measured > before
    harness.memory_mb = 1000
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    harness.receive(CONTROLLER, train(5, base=big))
    assert keys.TaskReply(JOB, 5) not in harness.asks


def test_a_running_task_is_not_declined_when_it_is_repeated(tmp_path: Path) -> None:
    """The memory that it uses itself is no reason."""
    harness = AgentHarness(tmp_path)
    harness.receive(CONTROLLER, train())
    harness.memory_mb = 1
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    harness.receive(CONTROLLER, train(base=big))
    harness.receive(CONTROLLER, evaluate())
    harness.receive(CONTROLLER, evaluate())
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.offered().task == 1


@pytest.mark.parametrize("order", [train(trainer="lost"), evaluate(trainer="lost")])
def test_a_task_for_a_missing_trainer_is_declined_at_once(
    tmp_path: Path, order: TrainTask | EvaluateTask
) -> None:
    """Nothing is fetched for it, and the next task is accepted."""
    harness = AgentHarness(tmp_path, trainers=Trainers(factories={"tiny": unused_trainer}))
    harness.receive(CONTROLLER, order)
    answers: list[Decline | Evaluated] = [*harness.sent(Decline), *harness.sent(Evaluated)]
    (answer,) = answers
    assert answer.reason.startswith("no trainers plug-in named 'lost'; installed: ")
    assert harness.fetches == {}
    harness.receive(CONTROLLER, train(2))
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.offered(2).task == 2


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (spec_of(onnx={}), "model tiny needs one of onnx"),
        (
            spec_of({"data_types": {"image": {"size": [8, 8, 1]}}}, tiny={}),
            "the model takes image [8, 8, 1]; the data here is numerical [64]",
        ),
    ],
)
def test_a_model_that_cannot_be_used_is_declined_when_its_spec_arrives(
    tmp_path: Path, spec: bytes, reason: str
) -> None:
    """The fetch of its weights, which may be large, ends."""
    harness = AgentHarness(tmp_path, trainers=Trainers(factories={"tiny": unused_trainer}))
    harness.form = {"x": {"data_types": {"numerical": {"size": [64]}}}}
    harness.receive(CONTROLLER, train(base=version(spec=spec)))
    harness.complete_fetch(
        keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(spec).digest), spec
    )
    assert harness.asked(keys.TaskReply(JOB, 1), Decline).reason == reason
    assert harness.fetches == {}
    assert harness.runs == []


def test_a_failed_download_is_repeated_a_bounded_number_of_times(harness: AgentHarness) -> None:
    """After ten failures the task is declined."""
    harness.receive(CONTROLLER, train())
    weights = keys.TaskInputFetch(keys.TrainingWork(JOB, 1), version().weights.digest)
    spec = keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(SPEC).digest)
    for _ in range(9):
        harness.fail_fetch(weights)
        harness.receive(CONTROLLER, train())
        assert weights not in harness.fetches
        assert spec in harness.fetches
        harness.wait(2.0)
    harness.fail_fetch(weights)
    assert harness.asked(keys.TaskReply(JOB, 1), Decline).reason == "its source is gone"
    assert harness.fetches == {}
    assert harness.spools.used == 0


def test_a_paused_task_fetches_its_inputs_after_the_pause(harness: AgentHarness) -> None:
    """Though another input has arrived meanwhile."""
    harness.receive(CONTROLLER, train())
    harness.fail_fetch(keys.TaskInputFetch(keys.TrainingWork(JOB, 1), version().weights.digest))
    harness.deliver_inputs()
    assert harness.fetches == {}
    harness.wait(2.0)
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.offered().task == 1


@pytest.mark.parametrize(
    ("spec", "sent", "reason"),
    [
        (SPEC, SPEC[:-1] + b" ", "other bytes than its digest names"),
        (b"{}", None, "ModelSpec."),
        (spec_of(tiny={"blob": {"digest": "x", "size": 1}}), None, "architectures.tiny.blob: "),
        (spec_of(tiny={"blob": 7}), None, "architectures.tiny.blob: "),
        (
            spec_of(tiny={"blob": {"digest": "0" * 64, "size": 2**29}}),
            None,
            "architectures: expected files of at most",
        ),
    ],
    ids=["damaged", "no spec", "no digest", "no blob_ref", "too large"],
)
def test_a_spec_that_cannot_be_used_is_declined(
    harness: AgentHarness, spec: bytes, sent: bytes | None, reason: str
) -> None:
    """And it does not affect another task."""
    harness.receive(CONTROLLER, train(base=version(spec=spec)))
    harness.complete_fetch(
        keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(spec).digest), sent or spec
    )
    assert reason in harness.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert harness.fetches == {}
    harness.receive(CONTROLLER, train(1, job="job-2"))
    harness.deliver_inputs()
    harness.run_calls()
    assert keys.TaskReply("job-2", 1) in harness.asks


def test_a_task_is_declined_when_the_disk_cannot_be_used(tmp_path: Path) -> None:
    """There is no room for the model; the agent continues."""
    harness = AgentHarness(tmp_path / "home", Spools(0, tmp_path / "gone"))
    harness.receive(CONTROLLER, train())
    reason = harness.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert reason.startswith("spool: No such file or directory")
    harness.receive(CONTROLLER, train(2, inline=weights_of(1)))
    assert keys.TaskReply(JOB, 2) in harness.asks
