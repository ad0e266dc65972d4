"""Compressed updates: what they leave out is sent later, and no bound of privacy is broken."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import compression
from fedbus.errors import PluginError, PrivacyError, TrainingError
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.model.sections import join_section, split_section
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import CompressedBlob
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training import compressed_update as module
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.compressed_update import (
    CompressedUpdate,
    check_compression,
    compressed_update,
    compression_copies,
    is_compressed,
    keeps_residual,
)
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.residuals import Residuals, add_residual
from tests.edge_agent.training.private_tasks import LOCAL_TERMS, private
from tests.edge_agent.training.test_task_strategy import (
    BASE,
    LAYOUT,
    MODEL,
    NUMBERS,
    task_of,
    trainer_in,
)

WEIGHTS = Layout.of({"w": np.zeros((50, 40), np.float32), "x": np.zeros(300, np.float64)})


def step(name: str, **parameters: Any) -> PluginChoice:  # noqa: ANN401 - numbers
    """Return a step of a chain."""
    return PluginChoice(id=name, parameters=parameters)


SPARSE = (step("top-k", fraction=0.3), step("quantize", bits=4), step("zstandard"))


def compressing(*steps: PluginChoice, number: int = 1, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a task with compressed updates."""
    made = replace(task_of(), task=number, compression=steps, **changes)
    return replace(made, params=replace(made.params, round=number))


def delta_of(scale: float = 1.0) -> bytearray:
    """Return a delta of WEIGHTS."""
    rng = np.random.default_rng(1)
    arrays = {"w": rng.normal(0, scale, (50, 40)).astype("f4"), "x": rng.normal(0, scale, 300)}
    return encode(arrays, WEIGHTS, "delta")


def read(task: TrainTask, made: CompressedUpdate) -> dict[str, Array]:
    """Return what the collector reads."""
    return decode(compression.decode(made.blob, WEIGHTS, task.compression), WEIGHTS, "delta")


def length(arrays: dict[str, Array]) -> float:
    """Return the L2 norm of all arrays."""
    return float(np.sqrt(sum(np.square(array, dtype="f8").sum() for array in arrays.values())))


def test_an_update_and_what_it_leaves_out_are_what_was_intended() -> None:
    """Number by number; float64 is kept in float32."""
    task = compressing(*SPARSE)
    made = compressed_update(task, WEIGHTS, delta_of())
    assert made.residual is not None
    sent, intended = read(task, made), decode(delta_of(), WEIGHTS, "delta")
    for name, left in split_section(made.residual, WEIGHTS).items():
        np.testing.assert_allclose(sent[name] + left, intended[name], rtol=1e-6, atol=1e-7)
    assert compressed_update(task, WEIGHTS, delta_of()).blob == made.blob


def test_other_agents_round_in_another_way() -> None:
    """Their tasks have other seeds; equal rounding errors would not cancel out in the mean."""
    task = compressing(step("quantize"))
    other = replace(task, params=replace(task.params, seed=8))
    assert compressed_update(task, WEIGHTS, delta_of()).blob != (
        compressed_update(other, WEIGHTS, delta_of()).blob
    )


def test_a_lossless_chain_leaves_nothing() -> None:
    """Neither does a task without steps."""
    task = compressing(step("zstandard"))
    assert compressed_update(task, WEIGHTS, delta_of()).residual is None
    assert not keeps_residual(task)
    assert is_compressed(task)
    assert not is_compressed(task_of())
    assert is_compressed(replace(task_of(), frozen=task.base.weights))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_never_quantized(number: float) -> None:
    """Its scale would make all numbers of a block NaN."""
    arrays = {"w": np.zeros((50, 40), np.float32), "x": np.full(300, number)}
    with pytest.raises(TrainingError, match=r"compressed \(tensor 'x': a number that is not finit"):
        compressed_update(compressing(*SPARSE), WEIGHTS, encode(arrays, WEIGHTS, "delta"))


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize(
    "steps",
    [
        (step("cast"),),
        (step("quantize", bits=4),),
        (step("quantize", bits=4, block=0), step("zstandard")),
        SPARSE,
        (step("random-k", fraction=1.0), step("quantize", bits=8, block=1)),
    ],
)
def test_what_the_collector_reads_is_not_longer_than_the_clipped_update(
    steps: tuple[PluginChoice, ...], scale: float
) -> None:
    """Rounding may add to the norm, which the collector measures; the residual has the rest."""
    task = private(compressing(*steps))
    made = compressed_update(task, WEIGHTS, delta_of(scale))
    intended = decode(delta_of(scale), WEIGHTS, "delta")
    sent = read(task, made)
    assert length(sent) <= length(intended)
    if scale > 1e-10 and steps[0].id != "top-k":
        assert length(sent) > 0.9 * length(intended)
    assert made.residual is not None
    for name, left in split_section(made.residual, WEIGHTS).items():
        np.testing.assert_allclose(sent[name] + left, intended[name], rtol=1e-6, atol=1e-6 * scale)


def test_four_bits_make_an_update_longer_where_no_node_measures_it() -> None:
    """So the test above tests something: without a bound nothing is scaled down."""
    intended = decode(delta_of(), WEIGHTS, "delta")
    for task in (
        compressing(step("quantize", bits=4)),
        private(compressing(step("quantize", bits=4)), LOCAL_TERMS),
    ):
        assert length(read(task, compressed_update(task, WEIGHTS, delta_of()))) > length(intended)


def test_an_update_that_stays_too_long_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain that made it longer each time would break what the noise is for."""
    longer = {"w": np.ones((50, 40), np.float32), "x": np.full(300, 1e6)}
    monkeypatch.setattr(module, "_encoded", lambda *_: (bytearray(), longer))
    with pytest.raises(PrivacyError, match="longer than the privacy mechanism allows after 4 tri"):
        compressed_update(private(compressing(*SPARSE)), WEIGHTS, delta_of())


def test_a_task_is_declined_before_it_is_trained_if_its_update_cannot_be_compressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason says what is missing, and how to install it."""
    check_compression(task_of())
    check_compression(compressing(*SPARSE))
    with pytest.raises(PluginError, match="no compression step 'gzip'"):
        check_compression(compressing(step("gzip")))
    with pytest.raises(TrainingError, match="the section 'variate' of updates, which cannot be co"):
        check_compression(compressing(step("cast"), sections=("variate",)))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    check_compression(compressing(step("cast")))
    with pytest.raises(PluginError, match=r"install fedbus\[compression\]"):
        check_compression(compressing(*SPARSE))


def test_a_residual_that_overflows_is_refused_later() -> None:
    """The sum is infinite, and then not compressed."""
    greatest = np.finfo("f4").max
    differences = {"w": np.full((50, 40), greatest), "x": np.zeros(300)}
    residual = np.full(2300, greatest, np.float32)
    add_residual(differences, residual, WEIGHTS)
    assert np.isinf(differences["w"]).all()
    add_residual(differences, None, WEIGHTS)
    assert (differences["x"] == greatest).all()


def test_what_an_agent_has_sent_and_what_it_keeps_is_what_it_trained(tmp_path: Path) -> None:
    """Over six rounds, of which two do not count."""
    local_trainer, outbox = trainer_in(tmp_path, "plain"), Outbox(tmp_path)
    trained = join_section(
        decode(
            trainer_in(tmp_path / "other", "plain")
            .train(task_of(), MODEL, BASE, TaskControl())
            .source.read(0, 10_000),
            LAYOUT,
            "delta",
        ),
        LAYOUT,
    )
    total, counted = np.zeros(NUMBERS), 0
    for number, counts in enumerate((True, False, True, True, False, True), 1):
        task, control = compressing(*SPARSE, number=number), TaskControl()
        result = local_trainer.train(task, MODEL, BASE, control)
        assert result.keeps_state
        assert control.notes == []
        sent = compression.decode(result.source.read(0, 10_000), LAYOUT, SPARSE)
        outbox.settle(result.stored, counted=counts)
        if counts:
            counted += 1
            total += join_section(decode(sent, LAYOUT, "delta"), LAYOUT)
    left, reason = outbox.residuals.load(compressing(*SPARSE, number=7), LAYOUT)
    assert not reason
    assert left is not None
    np.testing.assert_allclose(total + left, counted * trained, rtol=1e-5, atol=1e-5)


MILLION = Layout(
    (Tensor("w", (700, 1000), "float32"), Tensor("v", (300_000,), "float32")),
)


@pytest.mark.parametrize(
    "steps",
    [
        (step("zstandard"),),
        (step("cast"),),
        (step("quantize", bits=4, block=0), step("zstandard", level=1)),
        (step("top-k", fraction=0.1), step("quantize", bits=4), step("zstandard")),
        (step("top-k", fraction=1), step("zstandard", level=1)),
        (step("random-k", fraction=1),),
    ],
)
def test_compression_takes_no_more_memory_than_an_agent_counts_on(
    steps: tuple[PluginChoice, ...],
) -> None:
    """Also where a private update is scaled and compressed again; a thin base is one more copy."""
    task, size = compressing(*steps), 4_000_000
    rng = np.random.default_rng(1)
    arrays = {t.name: rng.normal(0, 1, t.shape).astype("f4") for t in MILLION.tensors}
    delta = encode(arrays, MILLION, "delta")
    tracemalloc.start()
    try:
        compressed_update(private(task), MILLION, delta)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < compression_copies(task) * size + 4 * 2**20
    thin = CompressedBlob(blob=task.base.weights, compression=steps)
    more = replace(task, base=replace(task.base, thin=thin))
    assert compression_copies(more) == compression_copies(task) + 1
    assert compression_copies(compressing()) == 0


def test_each_thing_that_is_gone_is_named(tmp_path: Path) -> None:
    """A residual that is gone, though the objective's own state is there, also after a restart."""
    outbox, task = Outbox(tmp_path), compressing(*SPARSE)
    result = trainer_in(tmp_path, "plain").train(task, MODEL, BASE, TaskControl())
    outbox.own_states.save_pending(task, LAYOUT, np.ones(NUMBERS, np.float32))
    stored = replace(result.stored, kept=("own_state", *result.stored.kept))
    outbox.save(stored, result.source.read(0, result.source.size))
    (pending,) = outbox.residuals.folder.iterdir()
    pending.unlink()
    ((found, _),) = Outbox(tmp_path).load()
    assert found.kept == ("own_state", "residual")
    assert outbox.settle(found, counted=True) == ("residual",)
    assert [path.suffix for path in outbox.own_states.folder.iterdir()] == [".own"]


def test_a_residual_of_another_model_is_not_sent(tmp_path: Path) -> None:
    """Other steps may send it; a job that has ended leaves none."""
    outbox, task = Outbox(tmp_path), compressing(*SPARSE)
    result = trainer_in(tmp_path, "plain").train(task, MODEL, BASE, TaskControl())
    assert outbox.has_pending(result.stored.offer)
    assert outbox.settle(result.stored, counted=True) == ()
    assert not outbox.has_pending(result.stored.offer)
    later = compressing(step("cast"), number=2)
    found, reason = outbox.residuals.load(later, LAYOUT)
    assert (reason, found is None) == ("", False)
    found, reason = outbox.residuals.load(later, WEIGHTS)
    assert found is None
    assert reason == (
        "the residual of compressed updates is of another model, or was made with other parameters"
    )
    control = TaskControl()
    trainer_in(tmp_path, "plain").train(
        compressing(*SPARSE, number=1, job="j-2"), MODEL, BASE, control
    )
    outbox.forget_job(task.job)
    assert [path.suffix for path in (tmp_path / "residuals").iterdir()] == [".pending"]


def test_an_unreadable_residual_is_begun_again(tmp_path: Path) -> None:
    """The log says so; what it held is lost."""
    residuals = Residuals(tmp_path / "residuals")
    residuals.folder.mkdir()
    task, control = compressing(*SPARSE, number=2), TaskControl()
    (residuals.folder / f"{task.job}.own").write_bytes(b"damaged")
    trainer_in(tmp_path, "plain").train(task, MODEL, BASE, control)
    assert [event for event, _ in control.notes] == ["residual_reset"]
