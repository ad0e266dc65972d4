"""Real training of the digits model, called as the training thread calls it."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from threading import Thread
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.simulated_trainer import SimulatedTrainer
from fedbus import demo_data
from fedbus.blobs.spool import Spools
from fedbus.data import Dataset, from_arrays
from fedbus.data.description import DatasetInfo
from fedbus.datasource.config import LoadedData
from fedbus.datasource.source import InMemorySource
from fedbus.errors import FedbusError, PluginError, Stopped, TrainingError
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Layout, Weights
from fedbus.training.params import (
    Architecture,
    DataOverrides,
    PluginChoice,
    TrainingParams,
    Update,
)
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import EvaluateTask, Offer, TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import checked_metrics
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import Model, store_update
from tests.edge_agent.harness import REPOSITORY, train
from tests.plugin_package import Install

RUNTIMES = ("tflite_runtime", "ai_edge_litert", "tensorflow")
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="no torch")
needs_tflite = pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")

SPEC = codec.from_json(ModelSpec, demo_data.read("model.json"))
FILE = demo_data.read("digits.tflite")
LAYOUT = Layout.read(SPEC.layout)


class Nudge:
    """A trainer that adds one to every number, whatever its data."""

    examples = 3
    figure = "loss"

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def initial(self) -> Weights:
        return {t.name: np.zeros(t.shape, np.float32) for t in LAYOUT.tensors}

    def train(self, weights: Weights, _data: Dataset, _params: TrainingParams) -> Update:
        new = {name: array + 1 for name, array in weights.items()}
        return Update(new, self.examples, {self.figure: 0.5})


class Odd(Nudge):
    """A trainer whose metrics no message can hold."""

    figure = "top-5 accuracy"


class InPlace(Nudge):
    """A trainer that changes the arrays it is given, and returns them."""

    def train(self, weights: Weights, _data: Dataset, _params: TrainingParams) -> Update:
        for array in weights.values():
            np.add(array, 1, out=array)
        return Update(weights, self.examples, {self.figure: 0.5})


class Idle(Nudge):
    """A trainer that saw no row."""

    examples = 0


def learnable_data(rows: int = 40) -> Dataset:
    """Return rows that can be learnt: the class is where the light is."""
    y = np.arange(rows) % 10
    x = np.zeros((rows, 64), np.float32)
    x[np.arange(rows), y * 6] = 1.0
    return from_arrays(x, y)


def model_of(architectures: dict[str, dict[str, object]] | None = None) -> Model:
    """Return the digits model with other architectures."""
    spec = SPEC if architectures is None else replace(SPEC, architectures=architectures)
    return Model(spec, LAYOUT, {blob_ref_of(FILE).digest: FILE})


def base_of(value: float | None = None) -> bytes:
    """Return weights: small random ones, or all of one value."""
    rng = np.random.default_rng(1)
    arrays = {
        t.name: rng.normal(0, 0.1, t.shape).astype(np.float32)
        if value is None
        else np.full(t.shape, value, np.float32)
        for t in LAYOUT.tensors
    }
    return bytes(encode(arrays, LAYOUT))


def ref(weights: bytes) -> ModelRef:
    """Return the reference of a version."""
    spec = blob_ref_of(demo_data.read("model.json"))
    return ModelRef(
        model="digits", version=1, weights=blob_ref_of(weights), spec=spec, source=REPOSITORY
    )


def task(weights: bytes, **changes: object) -> TrainTask:
    """Return a training task of the digits model."""
    params = TrainingParams(batch_size=8, epochs=20, learning_rate=0.5, seed=5)
    order = train(base=ref(weights), params=params, inline_up_to=2**20)
    return replace(order, **changes)  # type: ignore[arg-type]  # of many types


def evaluation(weights: bytes, trainer: str | None = None) -> EvaluateTask:
    """Return an evaluation task of the digits model."""
    return EvaluateTask(
        epoch=1, job="job-1", version=ref(weights), params=TrainingParams(), trainer=trainer,
        members=1,
    )  # fmt: skip


def local_trainer_of(folder: Path, trainer: str | None = None, **own: type[Nudge]) -> LocalTrainer:
    """Return a local trainer with further trainers beside the installed ones."""
    return LocalTrainer(Outbox(folder), learnable_data(), trainer, own)


@pytest.mark.parametrize("memory_bytes", [0, 2**20], ids=["file", "memory"])
def test_a_trainer_cannot_change_the_base_that_is_subtracted(
    tmp_path: Path, memory_bytes: int
) -> None:
    """One that trained in place would send an update of zeros, so the round would learn nothing."""
    weights = base_of(1.0)
    spool = Spools(memory_bytes, tmp_path).make(len(weights))
    spool.write(0, weights)
    trainers = local_trainer_of(tmp_path, "tflite", tflite=InPlace)
    with pytest.raises(ValueError, match="read-only"):
        trainers.train(task(weights), model_of(), spool.read(0, spool.size), TaskControl())
    assert bytes(spool.read(0, spool.size)) == weights


def test_rows_that_memory_cannot_hold_are_refused_before_the_first_batch(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of a third-party transform is known only once it is loaded."""
    wide = """
        import numpy as np
        from dataclasses import replace
        class Wide:
            seen = []
            def transform_data(self, batch, rng):
                self.seen.append(len(batch[0]))
                return np.zeros((len(batch[0]), 2**20), np.float32), batch[1]
            def transform_format(self, form):
                return replace(form, x=replace(form.x, size=(2**20,), dtype="float32"))
    """
    install("acme_wide", "[fedbus.transforms]\nwide = acme_wide:Wide", dedent(wide))
    monkeypatch.setattr("fedbus_edge_agent.training.weights_trainer.memory_mb", lambda: 100)
    local_trainer, base = local_trainer_of(tmp_path, own=Nudge), base_of()
    overrides = DataOverrides(transforms=(PluginChoice(id="wide"),))
    params = TrainingParams(data_overrides=overrides)
    assert local_trainer.rows(overrides).format == {}
    model = model_of({"own": {}})
    model = replace(model, spec=replace(model.spec, input={}))
    with pytest.raises(TrainingError, match="40 rows of up to 4194312 bytes need about 640 MiB"):
        local_trainer.train(task(base, params=params), model, base, TaskControl())
    import acme_wide  # type: ignore[import-not-found]

    assert acme_wide.Wide.seen == [3, 3]  # both pipelines were tried, on what 16 MiB hold


@needs_tflite
def test_data_of_other_class_names_than_the_models_are_refused_before_training(
    tmp_path: Path,
) -> None:
    """If a cat were class 0 here and class 1 there, no metric would show it."""
    names = tuple("abcdefghij")
    model = model_of()
    model = replace(model, spec=replace(model.spec, classes=names))
    for own in ((), names, names[::-1], names[:-1]):
        data = from_arrays(*next(learnable_data(32).peek()), info=DatasetInfo(classes=own))
        local_trainer = LocalTrainer(Outbox(tmp_path), data, None, {"own": Nudge})
        weights = base_of(0.0)
        if own in {(), names}:
            assert local_trainer.train(
                task(weights, trainer="tflite"), model, weights, TaskControl()
            )
        else:
            with pytest.raises(
                TrainingError, match=r"data are [a-j, ]+; those of the model are a, b"
            ):
                local_trainer.train(task(weights, trainer="tflite"), model, weights, TaskControl())


def test_a_model_learns_and_its_update_is_the_difference(tmp_path: Path) -> None:
    """Base plus update is more accurate than the base; the same task gives the same bytes."""
    local_trainer, base, control = local_trainer_of(tmp_path, "tflite"), base_of(), TaskControl()
    model = model_of()
    trained = local_trainer.train(task(base), model, base, control)
    assert control.progress == 1.0
    assert trained.stored.offer.examples == 40
    assert trained.inline is not None
    assert blob_ref_of(trained.inline) == trained.stored.offer.update
    delta = decode(trained.inline, LAYOUT, "delta")
    old = decode(base, LAYOUT)
    new = bytes(encode({name: old[name] + delta[name] for name in old}, LAYOUT))
    before = local_trainer.evaluate(evaluation(base), model, base, TaskControl())
    after = local_trainer.evaluate(evaluation(new), model, new, TaskControl())
    assert after.metrics["accuracy"] > before.metrics["accuracy"]
    assert after.examples == 40
    assert after.metrics.keys() == {"loss", "accuracy"}
    again = local_trainer_of(tmp_path / "again", "tflite").train(
        task(base), model, base, TaskControl()
    )
    assert again.inline == trained.inline


@needs_tflite
def test_a_cancellation_stops_training_at_the_next_batch(tmp_path: Path) -> None:
    """Nothing of it is stored."""
    local_trainer, base, control = local_trainer_of(tmp_path), base_of(), TaskControl()
    assert control.progress == 0.0
    control.stop()
    with pytest.raises(Stopped):
        local_trainer.train(task(base, trainer="tflite"), model_of(), base, control)
    assert list(tmp_path.iterdir()) == []


class Impatient(TaskControl):
    """A control that is cancelled at the third batch, and counts the requested batches."""

    __slots__ = ("wanted",)

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 0

    def _count_batch(self) -> bool:
        self.wanted += 1
        if self.wanted == 3:
            self.stop()
        return super()._count_batch()


@pytest.mark.parametrize(
    "framework",
    [
        pytest.param("tflite", marks=needs_tflite),
        pytest.param("torch", marks=needs_torch),
    ],
)
def test_a_cancelled_training_ends_before_its_next_batch(tmp_path: Path, framework: str) -> None:
    """So does an evaluation; nothing of either is stored, and the next task works."""
    local_trainer, base, control = local_trainer_of(tmp_path, framework), base_of(), Impatient()
    with pytest.raises(Stopped):
        local_trainer.train(task(base), model_of(), base, control)
    assert (control.wanted, control.batches_requested) == (3, 2)
    local_trainer = LocalTrainer(Outbox(tmp_path), learnable_data(200), framework)
    control = Impatient()
    with pytest.raises(Stopped):
        local_trainer.evaluate(evaluation(base), model_of(), base, control)
    assert control.wanted == 3
    assert list(tmp_path.iterdir()) == []
    assert (
        local_trainer.train(task(base), model_of(), base, TaskControl()).stored.offer.examples
        == 200
    )


class SlowData(InMemorySource):
    """Data that call `meanwhile` while they are loaded."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(learnable_data())
        self.meanwhile = meanwhile

    def for_task(self, wants: Mapping[str, Any], wanted: DataOverrides | None = None) -> LoadedData:
        self.meanwhile()
        return super().for_task(wants, wanted)


class Eager(Nudge):
    """A trainer that can also evaluate, and must not be called."""

    def train(self, _weights: Weights, _data: Dataset, _params: TrainingParams) -> Update:
        raise AssertionError

    def evaluate(
        self, _weights: Weights, _data: Dataset, _params: TrainingParams
    ) -> dict[str, float]:
        raise AssertionError


def test_a_task_that_is_cancelled_while_its_data_load_ends_then(tmp_path: Path) -> None:
    """Training and evaluation alike; the trainer is not called."""
    base, model = base_of(), model_of({"eager": {}})
    loads: list[TaskControl] = []

    def stop() -> None:
        loads[-1].stop()

    local_trainer = LocalTrainer(Outbox(tmp_path), SlowData(stop), None, {"eager": Eager})
    for begin in (
        lambda control: local_trainer.train(task(base), model, base, control),
        lambda control: local_trainer.evaluate(evaluation(base), model, base, control),
    ):
        loads.append(TaskControl())
        with pytest.raises(Stopped):
            begin(loads[-1])


def test_the_position_where_loading_hangs_is_found(tmp_path: Path) -> None:
    """The thread is known from the start of the work."""
    base, control = base_of(), TaskControl()
    (asked, ask), (freed, free) = os.pipe(), os.pipe()

    def hang() -> None:
        os.write(ask, b"x")
        os.read(freed, 1)

    local_trainer = LocalTrainer(Outbox(tmp_path), SlowData(hang), None, {"own": Nudge})
    work = Thread(
        target=local_trainer.train, args=(task(base), model_of({"own": {}}), base, control)
    )
    assert control.position() == ""
    work.start()
    os.read(asked, 1)
    place = control.position()
    os.write(free, b"x")
    work.join()
    for end in (asked, ask, freed, free):
        os.close(end)
    assert re.fullmatch(r"test_local_trainer.py:\d+ in hang", place)


class Deaf(Nudge):
    """A trainer that takes a cancellation for a fault of its data, and continues."""

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        with suppress(Exception):
            for _ in data.steps(params):
                pass
        return super().train(weights, data, params)


def test_the_result_of_a_trainer_that_ignores_its_cancellation_is_not_stored(
    tmp_path: Path,
) -> None:
    """No service waits for it."""
    local_trainer, base = local_trainer_of(tmp_path, deaf=Deaf), base_of(0.0)
    with pytest.raises(Stopped):
        local_trainer.train(task(base), model_of({"deaf": {}}), base, Impatient())
    assert list(tmp_path.iterdir()) == []
    assert local_trainer.train(task(base), model_of({"deaf": {}}), base, TaskControl()).stored


class Exiting(Nudge):
    """A trainer that tries to exit the process."""

    def train(self, _weights: Weights, _data: Dataset, _params: TrainingParams) -> Update:
        sys.exit("no data")


class NotFinite(Nudge):
    """A trainer whose weights are not finite."""

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        update = super().train(weights, data, params)
        update.weights["layers.1.weight"][3, 2] = np.nan
        return update


class Incomplete(Nudge):
    """A trainer that lost a tensor."""

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        update = super().train(weights, data, params)
        return replace(update, weights={"w": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    ("trainer", "reason"),
    [
        (Exiting, r"tried to exit: SystemExit: no data \(test_local_trainer.py:\d+ in train\)"),
        (NotFinite, "'layers.1.weight' is not finite after training .*nan.* lower learning_rate"),
        (Incomplete, "weights lack layers.0.bias"),
    ],
)
def test_a_result_that_is_no_update_is_a_failure(
    tmp_path: Path, trainer: type[Nudge], reason: str
) -> None:
    """Reported by the agent that made it, before a collector would have to refuse it."""
    local_trainer, base = local_trainer_of(tmp_path, bad=trainer), base_of(0.0)
    with pytest.raises(FedbusError, match=reason):
        local_trainer.train(task(base), model_of({"bad": {}}), base, TaskControl())
    assert list(tmp_path.iterdir()) == []


def test_a_control_returns_the_position_of_its_thread() -> None:
    """Nothing before the work has begun."""
    control = TaskControl()
    assert control.position() == ""
    control.begin()
    assert "test_" in control.position() or "errors.py" in control.position()


@pytest.mark.parametrize(
    ("own", "wanted", "used"),
    [
        (None, "other", "other"),
        ("nudge", None, "nudge"),
        ("nudge", "other", "other"),
        (None, None, "nudge"),
    ],
)
def test_the_trainer_is_the_jobs_else_the_preferred_else_an_available_one(
    tmp_path: Path, own: str | None, wanted: str | None, used: str
) -> None:
    """Of those for which the model has an architecture."""
    local_trainer = local_trainer_of(tmp_path, own, nudge=Nudge, other=Nudge)
    model = model_of({"onnx": {}, "nudge": {"is": "nudge"}, "other": {"is": "other"}})
    base = base_of(0.0)
    trained = local_trainer.train(task(base, trainer=wanted), model, base, TaskControl())
    assert trained.inline is not None
    assert set(decode(trained.inline, LAYOUT, "delta")["layers.1.bias"].tolist()) == {1.0}
    before = local_trainer.weights_trainer.loaded.cache.last
    assert before is not None
    assert before.name == used
    local_trainer.train(task(base, trainer=wanted, task=2), model, base, TaskControl())
    assert local_trainer.weights_trainer.loaded.cache.last is before  # it is made once


@pytest.mark.parametrize(
    ("own", "wanted", "architectures", "reason"),
    [
        (None, None, {"onnx": {}}, "model digits needs one of onnx"),
        (None, "torch", {"nudge": {}}, "has no architecture for torch; it has nudge"),
        ("torch", None, {"nudge": {}}, "has no architecture for torch; it has nudge"),
        (None, "missing", {"missing": {}}, "no trainers plug-in named 'missing'"),
    ],
)
def test_a_model_that_no_trainer_here_can_train_is_refused(
    tmp_path: Path,
    own: str | None,
    wanted: str | None,
    architectures: dict[str, dict[str, object]],
    reason: str,
) -> None:
    """The reason lists what there is."""
    if "torch" in {own, wanted}:
        pytest.importorskip("torch")
    local_trainer, base = local_trainer_of(tmp_path, own, nudge=Nudge), base_of(0.0)
    with pytest.raises(PluginError, match=reason):
        local_trainer.train(
            task(base, trainer=wanted), model_of(architectures), base, TaskControl()
        )


def test_a_trainer_that_cannot_evaluate_is_refused(tmp_path: Path) -> None:
    """The protocol requires it of no trainer."""
    local_trainer, base = local_trainer_of(tmp_path, nudge=Nudge), base_of(0.0)
    with pytest.raises(PluginError, match="Nudge cannot evaluate"):
        local_trainer.evaluate(
            evaluation(base, "nudge"), model_of({"nudge": {}}), base, TaskControl()
        )


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """Before a trainer sees them."""
    local_trainer, base = local_trainer_of(tmp_path, nudge=Nudge), base_of(0.0)
    for work in (
        lambda: local_trainer.train(
            task(base), model_of({"nudge": {}}), base[:-1] + b"x", TaskControl()
        ),
        lambda: local_trainer.evaluate(
            evaluation(base), model_of({"nudge": {}}), base + b"x", TaskControl()
        ),
    ):
        with pytest.raises(TrainingError, match="not those of its digest"):
            work()


@pytest.mark.parametrize(
    ("trainer", "sentence"), [(Odd, "the trainer's metrics"), (Idle, "Offer.examples")]
)
def test_an_offer_that_is_no_valid_message_is_not_made(
    tmp_path: Path, trainer: type[Nudge], sentence: str
) -> None:
    """It would be repeated without end; the task is declined, and nothing stored."""
    local_trainer, base = local_trainer_of(tmp_path, odd=trainer), base_of(0.0)
    with pytest.raises(FedbusError, match=sentence):
        local_trainer.train(task(base), model_of({"odd": {}}), base, TaskControl())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": float("nan")},
        {"loss": "low"},
        {"loss": None},
        {"a b": 1.0},
        {f"m{i}": 1.0 for i in range(65)},
    ],
)
def test_metrics_that_no_message_can_hold_are_refused(metrics: dict[str, float]) -> None:
    """Not finite, not a number, an invalid name, or too many."""
    with pytest.raises(TrainingError, match="the trainer's metrics"):
        checked_metrics(metrics)


def test_metrics_of_any_numeric_type_are_converted() -> None:
    """A framework's own scalars are no message's numbers."""
    figures = checked_metrics({"loss": 0.5, "accuracy": 1, "top": cast("float", np.float32(0.25))})
    assert json.dumps(figures) == '{"loss": 0.5, "accuracy": 1.0, "top": 0.25}'


@pytest.mark.parametrize("name", ["accuracy", "f1", "auc"])
def test_a_fraction_outside_0_to_1_is_refused(name: str) -> None:
    """Before it leaves the agent; what rounding adds to 1 is cut off."""
    with pytest.raises(TrainingError, match=f"{name}: expected a fraction, 0 to 1, got 2.18"):
        checked_metrics({"loss": 2.18, name: 2.18})
    assert checked_metrics({name: 1 + 1e-9, "loss": 2.18}) == {name: 1.0, "loss": 2.18}


def test_only_a_small_update_is_part_of_its_offer(tmp_path: Path) -> None:
    """The task defines the limit."""
    outbox, update = Outbox(tmp_path), b"x" * 100
    assert store_update(outbox, train(inline_up_to=99), update, 1, {}).inline is None
    kept = store_update(outbox, train(inline_up_to=100), update, 1, {})
    assert kept.inline == update
    assert codec.unpack(Offer, codec.pack(kept.stored.offer)) == kept.stored.offer


def test_a_simulated_trainer_makes_real_updates_without_training(tmp_path: Path) -> None:
    """The same task gives the same bytes; the oracle receives them."""
    heard: list[tuple[int, bytes]] = []
    base = base_of(0.0)
    for folder in ("one", "two"):
        local_trainer = SimulatedTrainer(
            Outbox(tmp_path / folder),
            5,
            lambda order, blob: heard.append((order.task, bytes(blob))),
        )
        trained = local_trainer.train(task(base), model_of(), base, TaskControl())
        assert trained.stored.offer.examples == 5
        score = local_trainer.evaluate(evaluation(base), model_of(), base, TaskControl())
        assert 0 < score.metrics["accuracy"] < 1
    assert heard[0] == heard[1]


def test_a_job_chooses_only_what_the_owner_allows(tmp_path: Path, install: Install) -> None:
    """A package may have been installed as a dependency; the preferred trainer is allowed."""
    source = "class Own:\n    def __init__(self, architecture): raise ValueError('it was made')"
    install("acme_own", "[fedbus.trainers]\nown = acme_own:Own", source)
    model, base = model_of({"own": {}}), base_of(0.0)

    def local_trainer(trainer: str | None, *allowed: str) -> LocalTrainer:
        return LocalTrainer(Outbox(tmp_path), learnable_data(), trainer, allowed=allowed)

    def order(local_trainer: LocalTrainer, wanted: str | None) -> None:
        local_trainer.train(task(base, trainer=wanted), model, base, TaskControl())

    with pytest.raises(PluginError, match=r"'own' of acme_own is not allowed here; .*tfli"):
        order(local_trainer(None), "own")
    with pytest.raises(PluginError, match="model digits needs one of own"):
        order(local_trainer(None), None)
    for allowed in (
        local_trainer(None, "own"),
        local_trainer(None, "acme-own"),
        local_trainer("own"),
        local_trainer(None, "all"),
    ):
        with pytest.raises(ValueError, match="it was made"):
            order(allowed, "own")
