"""What an agent declines, with its reason: what it cannot hold, use, fetch or train."""

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
from fedbus_edge_agent.core import RECENT_SECONDS
from fedbus_edge_agent.training.trainers import Trainers
from tests.edge_agent.stand import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    SPEC,
    Stand,
    evaluate,
    spec_of,
    train,
    version,
    weights_of,
)


def nobody(_architecture: Architecture) -> Trainer:
    """A trainer that is never made."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (lambda: TrainingError("the loss became nan"), "the loss became nan"),
        (lambda: ValueError("bad rows"), "ValueError: bad rows (stand.py:"),
        (MemoryError, "MemoryError (stand.py:"),
        (lambda: TrainingError("ä" * 9000), "ä" * 2048),
    ],
)
def test_training_that_fails_is_declined_with_its_reason(
    stand: Stand, failure: object, reason: str
) -> None:
    """Until the collector has heard it; asked again, it is said again."""
    stand.bench.failure = failure  # type: ignore[assignment]
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.work()
    told = stand.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert told.startswith(reason)
    assert stand.noted("task_failed")
    stand.hear(CONTROLLER, train())
    assert stand.told(COLLECTOR, Decline).reason == told
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="drop", reason="noted"))
    assert stand.asks == {}


@pytest.mark.parametrize(("memory_mb", "taken"), [(5 * 64 - 1, False), (5 * 64, True), (0, True)])
def test_a_model_that_cannot_be_held_is_declined(
    tmp_path: Path, memory_mb: int, taken: bool
) -> None:
    """Before it is fetched; where nobody knows the memory, it is tried."""
    stand = Stand(tmp_path, memory_mb=memory_mb)
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    stand.hear(CONTROLLER, train(base=big))
    assert bool(stand.fetches) == taken
    if not taken:
        reason = stand.asked(keys.TaskReply(JOB, 1), Decline).reason
        assert reason == "training needs about 320 MiB of memory, 319 are available"


def test_room_is_measured_now_and_then_and_always_before_a_refusal(tmp_path: Path) -> None:
    """It takes as long as all else that a small task needs; memory that is free again is used."""
    stand = Stand(tmp_path, memory_mb=1000)
    before = stand.measured
    for number in (1, 2, 3):
        stand.hear(CONTROLLER, train(number))
    assert stand.measured == before + 1
    stand.memory_mb = 10
    stand.wait(RECENT_SECONDS)
    before = stand.measured
    stand.hear(CONTROLLER, train(4))
    assert stand.measured > before
    stand.memory_mb = 1000
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    stand.hear(CONTROLLER, train(5, base=big))
    assert keys.TaskReply(JOB, 5) not in stand.asks


def test_a_task_under_way_is_not_refused_when_it_is_ordered_again(tmp_path: Path) -> None:
    """The memory it takes itself is no reason."""
    stand = Stand(tmp_path)
    stand.hear(CONTROLLER, train())
    stand.memory_mb = 1
    big = replace(version(), weights=BlobRef(digest="0" * 64, size=64 * 2**20))
    stand.hear(CONTROLLER, train(base=big))
    stand.hear(CONTROLLER, evaluate())
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    assert stand.offered().task == 1


@pytest.mark.parametrize("order", [train(trainer="lost"), evaluate(trainer="lost")])
def test_an_order_for_a_trainer_that_is_not_here_is_refused_at_once(
    tmp_path: Path, order: TrainTask | EvaluateTask
) -> None:
    """Nothing is fetched for it, and the next order is followed."""
    stand = Stand(tmp_path, trainers=Trainers(own={"tiny": nobody}))
    stand.hear(CONTROLLER, order)
    answers: list[Decline | Evaluated] = [*stand.said(Decline), *stand.said(Evaluated)]
    (answer,) = answers
    assert answer.reason.startswith("no trainers plug-in named 'lost'; installed: ")
    assert stand.fetches == {}
    stand.hear(CONTROLLER, train(2))
    stand.bring()
    stand.work()
    assert stand.offered(2).task == 2


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
def test_a_model_that_cannot_be_used_here_is_refused_when_its_spec_comes(
    tmp_path: Path, spec: bytes, reason: str
) -> None:
    """Its weights, which may be large, are fetched no further."""
    stand = Stand(tmp_path, trainers=Trainers(own={"tiny": nobody}))
    stand.form = {"x": {"data_types": {"numerical": {"size": [64]}}}}
    stand.hear(CONTROLLER, train(base=version(spec=spec)))
    stand.arrive(keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(spec).digest), spec)
    assert stand.asked(keys.TaskReply(JOB, 1), Decline).reason == reason
    assert stand.fetches == {}
    assert stand.runs == []


def test_what_does_not_come_is_fetched_again_but_not_for_ever(stand: Stand) -> None:
    """After ten failures the task is declined."""
    stand.hear(CONTROLLER, train())
    weights = keys.TaskInputFetch(keys.TrainingWork(JOB, 1), version().weights.digest)
    spec = keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(SPEC).digest)
    for _ in range(9):
        stand.lose(weights)
        stand.hear(CONTROLLER, train())
        assert weights not in stand.fetches
        assert spec in stand.fetches
        stand.wait(2.0)
    stand.lose(weights)
    assert stand.asked(keys.TaskReply(JOB, 1), Decline).reason == "its source is gone"
    assert stand.fetches == {}
    assert stand.spools.used == 0


def test_a_task_in_a_pause_is_gathered_when_it_is_over(stand: Stand) -> None:
    """Though something else of it has arrived meanwhile."""
    stand.hear(CONTROLLER, train())
    stand.lose(keys.TaskInputFetch(keys.TrainingWork(JOB, 1), version().weights.digest))
    stand.bring()
    assert stand.fetches == {}
    stand.wait(2.0)
    stand.bring()
    stand.work()
    assert stand.offered().task == 1


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
            "a spec that names a file of 536870912 bytes, at most",
        ),
    ],
    ids=["damaged", "no spec", "no digest", "no blob_ref", "too large"],
)
def test_a_spec_that_cannot_be_used_is_declined(
    stand: Stand, spec: bytes, sent: bytes | None, reason: str
) -> None:
    """And no other task stumbles over it."""
    stand.hear(CONTROLLER, train(base=version(spec=spec)))
    stand.arrive(
        keys.TaskInputFetch(keys.TrainingWork(JOB, 1), blob_ref_of(spec).digest), sent or spec
    )
    assert reason in stand.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert stand.fetches == {}
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.bring()
    stand.work()
    assert keys.TaskReply("job-2", 1) in stand.asks


def test_a_disk_that_cannot_be_used_declines_the_task(tmp_path: Path) -> None:
    """There is no room for the model; the agent lives."""
    stand = Stand(tmp_path / "home", Spools(0, tmp_path / "gone"))
    stand.hear(CONTROLLER, train())
    reason = stand.asked(keys.TaskReply(JOB, 1), Decline).reason
    assert reason.startswith("spool: No such file or directory")
    stand.hear(CONTROLLER, train(2, inline=weights_of(1)))
    assert keys.TaskReply(JOB, 2) in stand.asks
