"""Every optimizer and callback of Keras does what Keras's own loop does, across tasks too."""

import json
import os
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.data import Dataset, from_arrays
from fedbus.errors import TrainingError
from fedbus.jobs import parse
from fedbus.jobs import training_params_of as told_by
from fedbus.model.layout import Array, Weights
from fedbus.training.options import FRAMEWORKS
from fedbus.training.options.inactive_schedulers import inactive_reason
from fedbus.training.params import Architecture, SchedulerParams, TrainingParams
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec

pytest.importorskip("tensorflow")

from fedbus.frameworks.keras import KerasTrainer
from fedbus.frameworks.keras import trainer as trainers
from fedbus.frameworks.keras.architectures import build
from fedbus.frameworks.keras.devices import has_bfloat16
from fedbus.frameworks.keras.tensors import weights_of
from tests.fedbus.frameworks.alike import assert_alike, through_a_file

import keras  # isort: skip - after the package that says which backend it has
import tensorflow as tf  # isort: skip

AEROS = Path(__file__).parents[4] / "examples" / "aeros"
NET: Architecture = {
    "name": "sequential",
    "config": {
        "input": [6],
        "layers": [["Dense", {"units": 5, "activation": "relu"}], ["Dense", {"units": 3}]],
        "seed": 2,
    },
}
ROWS, STEPS = 8, 3
CLASSES = np.arange(ROWS) % 3
X = np.random.default_rng(1).normal(size=(ROWS, 6)).astype(np.float32)

OPTIMIZERS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (keras.optimizers.RMSprop, {"rho": 0.8, "centered": True, "momentum": 0.5}),
    "adam": (keras.optimizers.Adam, {"amsgrad": True, "beta_1": 0.8}),
    "adadelta": (keras.optimizers.Adadelta, {"rho": 0.8}),
    "adagrad": (keras.optimizers.Adagrad, {"initial_accumulator_value": 0.2}),
    "adamax": (keras.optimizers.Adamax, {"beta_2": 0.9, "clipnorm": 0.1}),
    "nadam": (keras.optimizers.Nadam, {"weight_decay": 0.01}),
    "ftrl": (keras.optimizers.Ftrl, {"l1_regularization_strength": 0.01}),
}


def data() -> Dataset:
    """Return one batch."""
    return from_arrays(X, CLASSES, ROWS)


def params(**more: Any) -> TrainingParams:  # noqa: ANN401 - fields of TrainingParams
    """Ask for one epoch of one batch, unless told otherwise."""
    usual = {"batch_size": ROWS, "learning_rate": 0.1, "keep_optimizer_state": True}
    return TrainingParams(**{**usual, **more})


def counted(seen: list[int]) -> bool:
    """Note that a batch is wanted, and do not stop."""
    seen.append(1)
    return False


def theirs(wanted: TrainingParams, kind: Any, **callbacks: Any) -> Weights:  # noqa: ANN401 - Keras's
    """Train with Keras's own loop."""
    net = build(NET)
    made = kind(learning_rate=wanted.learning_rate, **wanted.optimizer_args)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=made, loss=loss)
    truth = np.eye(3, dtype=np.float32)[CLASSES]
    net.fit(X, truth, batch_size=ROWS, epochs=STEPS, verbose=0, shuffle=False, **callbacks)
    return weights_of(net)


def by_hand(wanted: TrainingParams, kind: Any, *, at_once: bool) -> Weights:  # noqa: ANN401 - Keras's
    """Train with TensorFlow's tape and Keras's optimizer, on rows in the order of the tasks."""
    net = build(NET)
    made = kind(learning_rate=wanted.learning_rate, **wanted.optimizer_args)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    batches = [*data().steps(params(epochs=STEPS if at_once else 1))]
    for x, y in batches if at_once else batches * STEPS:
        with tf.GradientTape() as tape:
            found = loss(np.eye(3, dtype=np.float32)[y], net(x, training=True))
        made.apply(tape.gradient(found, net.trainable_variables), net.trainable_variables)
    return weights_of(net)


def task_by_task(wanted: dict[str, Any]) -> Weights:
    """Train in tasks of one step, by two trainers in turns, each going on where the other ended."""
    trainers = [KerasTrainer(NET), KerasTrainer(NET)]
    weights = trainers[0].initial()
    state: Mapping[str, Array] | None = None
    for number in range(STEPS):
        trainer = trainers[number % 2]
        if state is not None:
            trainer.load_optimizer_state(through_a_file(state))
        weights = trainer.train(weights, data(), params(**wanted, round=number + 1)).weights
        state = trainer.optimizer_state()
    return weights


def test_every_optimizer_is_held_against_keras() -> None:
    """None of the catalogue's is forgotten here."""
    assert set(OPTIMIZERS) == set(FRAMEWORKS["keras"].optimizers)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_does_what_kerass_own_loop_does(name: str) -> None:
    """In three steps at once, and in three tasks with its state saved and restored between."""
    kind, args = OPTIMIZERS[name]
    wanted = {"optimizer": name, "optimizer_args": args}
    own = by_hand(params(**wanted), kind, at_once=True)
    trainer = KerasTrainer(NET)
    first = trainer.initial()
    for _ in range(2):  # the second task knows nothing of the first
        assert_alike(trainer.train(first, data(), params(**wanted, epochs=STEPS)).weights, own)
    assert_alike(task_by_task(wanted), by_hand(params(**wanted), kind, at_once=False))
    assert max(float(np.abs(own[tensor] - first[tensor]).max()) for tensor in own) > 1e-5


def test_a_moving_average_of_the_weights_is_what_training_gives() -> None:
    """As `fit` leaves it."""
    args = {"use_ema": True, "ema_momentum": 0.5}
    own = theirs(params(optimizer="sgd", optimizer_args=args), keras.optimizers.SGD)
    trainer = KerasTrainer(NET)
    wanted = params(optimizer="sgd", optimizer_args=args, epochs=STEPS)
    assert_alike(trainer.train(trainer.initial(), data(), wanted).weights, own)


def test_a_learning_rate_that_waits_for_better_is_lowered_across_tasks_too() -> None:
    """What the callback has counted is remembered with the optimizer."""
    chosen = SchedulerParams("reducelronplateau", {"factor": 0.5, "patience": 1, "min_delta": 10.0})
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor=0.5, patience=1, min_delta=10.0
    )
    own = theirs(params(), keras.optimizers.SGD, callbacks=[callback])
    plain = theirs(params(), keras.optimizers.SGD)
    assert any(np.abs(own[tensor] - plain[tensor]).max() > 1e-4 for tensor in own)
    trainer = KerasTrainer(NET)
    at_once = params(scheduler=chosen, epochs=STEPS)
    assert_alike(trainer.train(trainer.initial(), data(), at_once).weights, own)
    assert_alike(task_by_task({"scheduler": chosen}), own)


@pytest.mark.parametrize(("kept", "rate"), [(True, 0.0025), (False, 0.005)])
def test_the_scheduler_of_an_aeros_job_acts_from_round_to_round(rate: float, *, kept: bool) -> None:
    """Where its state is kept; as the job stands, with one epoch in a round, it is warned of."""
    job = json.loads(AEROS.joinpath("job.json").read_text())
    job["scheduler_config"]["min_delta"] = "10"  # so that no epoch is better than the first
    told = told_by(parse(json.dumps({**job, "round": {"keep_optimizer_state": kept}}).encode()))
    assert bool(inactive_reason(told)) is not kept
    spec = json.loads(AEROS.joinpath("model.json").read_text())
    trainer = KerasTrainer(spec["architectures"]["keras"])
    x = np.random.default_rng(0).random((16, 64), np.float32)
    weights = trainer.initial()
    for number in range(1, int(job["num_rounds"]) + 1):
        asked = replace(told, seed=number, round=number, keep_optimizer_state=True)
        if kept and number > 1:
            trainer.load_optimizer_state(through_a_file(trainer.optimizer_state()))
        weights = trainer.train(weights, from_arrays(x, np.arange(16) % 10), asked).weights
    assert float(trainer.optimizer_state()["optimizer/1"]) == pytest.approx(rate)


def test_training_may_stop_early_with_its_best_weights() -> None:
    """As Keras's callback does it."""
    args: dict[str, Any] = {"min_delta": 10.0, "patience": 1, "restore_best_weights": True}
    callback = keras.callbacks.EarlyStopping(monitor="loss", **args)
    own = theirs(params(), keras.optimizers.SGD, callbacks=[callback])
    trainer = KerasTrainer(NET)
    wanted = params(scheduler=SchedulerParams("earlystopping", args), epochs=STEPS)
    assert_alike(trainer.train(trainer.initial(), data(), wanted).weights, own)


@pytest.mark.parametrize(
    "told", [{"monitor": "auc"}, {"monitor": "auc", "mode": "auto"}, {"monitor": "loss"}]
)
def test_a_callback_knows_which_way_a_metric_is_better(told: dict[str, Any]) -> None:
    """Of a model that answers scores too: a rate is lowered where the metric is not better."""
    for min_delta, lowered in ((0.0, False), (10.0, True)):
        trainer = KerasTrainer(NET)
        args = {**told, "factor": 0.5, "patience": 1, "min_delta": min_delta}
        chosen = SchedulerParams("reducelronplateau", args)
        wanted = params(metrics=("auc",), epochs=4)
        plain = trainer.train(trainer.initial(), data(), wanted).weights
        ours = trainer.train(trainer.initial(), data(), replace(wanted, scheduler=chosen)).weights
        assert any((ours[name] != plain[name]).any() for name in ours) is lowered


def test_a_job_may_watch_the_accuracy_of_a_model_of_scores() -> None:
    """The digits' own spec, as an aerOS job says it."""
    spec = codec.from_json(ModelSpec, demo_data.read("model.json"))
    job = {
        **json.loads(demo_data.read("job.json")),
        "scheduler_config": {"scheduler": "EarlyStopping", "monitor": "val_accuracy"},
    }
    asked = replace(told_by(parse(json.dumps(job).encode())), seed=1, epochs=9)
    trainer = KerasTrainer(spec.architectures["keras"])
    x = np.random.default_rng(0).random((16, 64), np.float32)
    seen: list[int] = []
    rows = from_arrays(x, np.arange(16) % 10).with_stop(lambda: counted(seen))
    easy = replace(
        asked, batch_size=16, learning_rate=1e-6
    )  # nothing changes, so nothing is better
    trainer.train(trainer.initial(), rows, easy)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("chosen", "batches"), [(None, 12), (SchedulerParams("terminateonnan"), 2)]
)
def test_a_loss_that_is_no_number_ends_training(
    chosen: SchedulerParams | None, batches: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """At the end of the epoch, and with the callback for it after the batch; no word is printed."""
    seen: list[int] = []
    rows = from_arrays(np.tile(X, (12, 1)), np.tile(CLASSES, 12)).with_stop(lambda: counted(seen))
    trainer = KerasTrainer(NET)
    wanted = params(learning_rate=1e30, epochs=9, scheduler=chosen)
    capfd.readouterr()
    with pytest.raises(TrainingError, match="a lower learning_rate may help"):
        trainer.train(trainer.initial(), rows, wanted)
    assert len(seen) == batches
    assert capfd.readouterr().out == ""


def test_no_optimizer_state_stays_in_memory_after_a_task() -> None:
    """What an optimizer begins with is known by one number each, not by twice the model."""
    layers = [["Dense", {"units": 400_000}], ["Dense", {"units": 3}]]
    trainer = KerasTrainer({"name": "sequential", "config": {"input": [6], "layers": layers}})
    weights = trainer.initial()
    size = sum(weight.nbytes for weight in weights.values())
    tracemalloc.start()  # which knows of numpy's arrays, not of TensorFlow's
    try:
        for keep_optimizer_state in (False, True, False):
            trainer.train(
                weights, data(), params(optimizer="adam", keep_optimizer_state=keep_optimizer_state)
            )
            assert tracemalloc.get_traced_memory()[0] < 0.5 * size
        trainer.train(weights, data(), params(optimizer="adam"))
        state = trainer.optimizer_state()
        assert sum(array.nbytes for array in state.values()) > 2 * size
    finally:
        tracemalloc.stop()


def test_a_state_that_is_not_of_this_job_is_refused() -> None:
    """With what made it."""
    trainer = KerasTrainer(NET)
    for _ in range(2):
        with pytest.raises(TrainingError, match="nothing has been trained to its end with keep_op"):
            trainer.optimizer_state()
        trainer.train(trainer.initial(), data(), params(keep_optimizer_state=False))
    weights = trainer.train(trainer.initial(), data(), params(optimizer="adam")).weights
    state = dict(trainer.optimizer_state())
    for wrong, sentence in (
        (state, r"kept by keras \('adam'.*needs that of keras \('sgd'"),
        ({}, "kept by an unknown trainer"),
    ):
        trainer.load_optimizer_state(wrong)
        with pytest.raises(TrainingError, match=sentence):
            trainer.train(weights, data(), params())
    trainer.load_optimizer_state({**state, "optimizer/3": np.zeros(2)})
    with pytest.raises(TrainingError, match="damaged, or of another model"):
        trainer.train(weights, data(), params(optimizer="adam"))


def test_mixed_precision_trains_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half the bits in the products; the weights stay whole."""
    monkeypatch.setattr(trainers, "has_bfloat16", lambda: True)
    trainer = KerasTrainer(NET)
    full = trainer.train(trainer.initial(), data(), params(epochs=5)).weights
    mixed = trainer.train(trainer.initial(), data(), params(epochs=5, precision="mixed")).weights
    assert_alike(full, mixed, 0.05)
    assert any((full[name] != mixed[name]).any() for name in full)
    assert {array.dtype for array in mixed.values()} == {np.dtype(np.float32)}
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="of processors")
def test_a_processor_trains_in_full_whatever_the_job_says() -> None:
    """It would only imitate bfloat16, and take longer."""
    trainer = KerasTrainer(NET)
    full = trainer.train(trainer.initial(), data(), params()).weights
    mixed = trainer.train(trainer.initial(), data(), params(precision="mixed")).weights
    assert_alike(full, mixed, 0)


@pytest.mark.parametrize(
    ("gpus", "able"),
    [([], False), ([(7, 5)], False), ([(8, 0), (7, 5)], False), ([(8, 0), (9, 0)], True)],
)
def test_bfloat16_needs_gpus_that_all_have_it(
    gpus: list[tuple[int, int]], *, able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's Ampere was the first."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: gpus)
    details = "get_device_details"
    monkeypatch.setattr(tf.config.experimental, details, lambda gpu: {"compute_capability": gpu})
    assert has_bfloat16() is able


def test_agents_share_a_gpu() -> None:
    """TensorFlow would take all of its memory at once; its import here says otherwise."""
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
