"""Training from a thin blob, and with frozen numbers: what the update is the difference to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus import compression
from fedbus.errors import LayoutError, TrainingError
from fedbus.model.blob import decode
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import CompressedBlob, blob_ref_of
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.task_runner import StrategyBlobs, TrainingResult
from tests.edge_agent.training.test_task_strategy import (
    ARRAYS,
    BASE,
    LAYOUT,
    MODEL,
    NUMBERS,
    RATE,
    STEPS,
    TRAINED,
    task_of,
    trainer_in,
)

CHAIN = (PluginChoice(id="quantize", parameters={"bits": 4}), PluginChoice(id="zstandard"))
THIN = bytes(compression.encode(ARRAYS, LAYOUT, CHAIN, np.random.default_rng(1), content="plain"))
START = decode(compression.decode(THIN, LAYOUT, CHAIN, content="plain"), LAYOUT, "plain")


def thin_task() -> TrainTask:
    """Return a task whose base has a thin blob."""
    task = task_of()
    thin = CompressedBlob(blob=blob_ref_of(THIN), compression=CHAIN)
    return replace(task, base=replace(task.base, thin=thin))


def update_of(result: TrainingResult) -> dict[str, Array]:
    """Return the arrays of an update that is not compressed."""
    return decode(result.source.read(0, result.source.size), LAYOUT, "delta")


def test_an_update_is_the_difference_to_what_the_thin_blob_holds(tmp_path: Path) -> None:
    """The trainer moves each number by a constant, so the update has no trace of the rounding."""
    assert any(not np.array_equal(START[name], ARRAYS[name]) for name in TRAINED)
    result = trainer_in(tmp_path).train(thin_task(), MODEL, THIN, TaskControl())
    update = update_of(result)
    for name in TRAINED:
        np.testing.assert_allclose(update[name], -RATE * STEPS, rtol=1e-5)
    assert update["seen"] == STEPS


@pytest.mark.parametrize(
    ("thin", "error"),
    [(THIN[:-1] + b"?", TrainingError), (BASE, TrainingError)],
    ids=["damaged", "the weights"],
)
def test_other_bytes_than_the_thin_blob_are_not_trained_from(
    tmp_path: Path, thin: bytes, error: type[Exception]
) -> None:
    """Their digest is another one."""
    with pytest.raises(error):
        trainer_in(tmp_path).train(thin_task(), MODEL, thin, TaskControl())


def test_a_thin_blob_of_other_steps_is_refused(tmp_path: Path) -> None:
    """The repository has checked it; the agent checks it again."""
    task = thin_task()
    wrong = CompressedBlob(blob=blob_ref_of(THIN), compression=CHAIN[:1])
    task = replace(task, base=replace(task.base, thin=wrong))
    with pytest.raises(LayoutError, match="a blob compressed with"):
        trainer_in(tmp_path).train(task, MODEL, THIN, TaskControl())


def frozen_task(bits: bytes) -> TrainTask:
    """Return a task that freezes numbers."""
    return replace(task_of(), frozen=blob_ref_of(bits))


def test_frozen_numbers_are_left_out_of_the_update(tmp_path: Path) -> None:
    """The trainer has moved all of them. Statistics and whole numbers are never frozen."""
    frozen = np.arange(NUMBERS) % 3 == 0
    made = FrozenBits(NUMBERS)
    made.freeze(0, frozen)
    bits = bytes(made.blob(LAYOUT))
    trainer, task = trainer_in(tmp_path), frozen_task(bits)
    result = trainer.train(task, MODEL, BASE, TaskControl(), StrategyBlobs(frozen=bits))
    sent = bytes(result.source.read(0, result.source.size))
    update = decode(compression.decode(sent, LAYOUT, (), frozen), LAYOUT, "delta")
    flat = np.concatenate([update[name].ravel() for name in TRAINED])
    np.testing.assert_allclose(flat, np.where(frozen, 0, -RATE * STEPS), rtol=1e-5)
    assert update["seen"] == STEPS
    without = trainer.train(replace(task_of(), task=2), MODEL, BASE, TaskControl())
    left_out = result.source.size - without.source.size
    assert left_out < -4 * frozen.sum() + 64, "but for a longer header"


def test_a_task_without_its_bits_is_not_trained(tmp_path: Path) -> None:
    """The update would have numbers that the collector does not expect."""
    bits = bytes(FrozenBits(NUMBERS).blob(LAYOUT))
    with pytest.raises(TrainingError, match="bits of the numbers that the task freezes"):
        trainer_in(tmp_path).train(frozen_task(bits), MODEL, BASE, TaskControl())
    other = StrategyBlobs(frozen=bits[:-1] + b"\x80")
    with pytest.raises(TrainingError):
        trainer_in(tmp_path).train(frozen_task(bits), MODEL, BASE, TaskControl(), other)
